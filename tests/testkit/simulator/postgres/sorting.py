"""ORDER BY: keys of rows and their order, nulls as Postgres puts them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlglot import exp
from testkit.simulator.postgres.failures import UnsupportedSql
from testkit.simulator.postgres.scope import Compute, Expression, only

_UNSORTABLE = frozenset(("jsonb", None))


@dataclass(slots=True)
class SortKey:
    """One key of an order."""

    compute: Compute
    descending: bool
    nulls_first: bool


def sort_keys(ordered: Sequence[exp.Ordered], compile_key: Callable[[exp.Expr], Expression]) -> list[SortKey]:
    """Raises UnsupportedSql."""
    keys: list[SortKey] = []
    for node in ordered:
        only(node, "this", "desc", "nulls_first")
        found = compile_key(node.this)
        if found.type in _UNSORTABLE:
            raise UnsupportedSql(f"order by {found.type}: {node.sql('postgres')}")
        keys.append(SortKey(found.compute, bool(node.args.get("desc")), bool(node.args.get("nulls_first"))))
    return keys


def sort_by(rows: list[Any], keys: Sequence[SortKey], values: Callable[[Any], Sequence[Any]]) -> None:
    """Sort `rows` in place, stable; `values(row)` gives the values of the keys."""
    if len(rows) < 2:
        return
    for number in range(len(keys) - 1, -1, -1):
        key = keys[number]
        null_is = key.nulls_first is key.descending

        def rank(row: Any, number: int = number, null_is: bool = null_is) -> tuple[Any, ...]:
            value = values(row)[number]
            return (null_is,) if value is None else (not null_is, value)

        rows.sort(key=rank, reverse=key.descending)
