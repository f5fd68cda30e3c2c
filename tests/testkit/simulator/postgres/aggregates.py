"""Aggregates with GROUP BY, and window functions over the whole result.

Both leave their results in slots of the frames from which the rest of the query is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sqlglot import exp
from testkit.simulator.postgres.expressions import compile_condition, compile_expression
from testkit.simulator.postgres.failures import UnsupportedSql
from testkit.simulator.postgres.joins import Step
from testkit.simulator.postgres.scope import Compilation, Compute, Expression, Frame, Scope, only
from testkit.simulator.postgres.sorting import SortKey, sort_by, sort_keys
from testkit.simulator.postgres.values import Jsonb

_KINDS = (exp.Count, exp.Sum, exp.Min, exp.Max, exp.ArrayAgg, exp.JSONArrayAgg)
Prepare = Callable[[Iterator[None], Frame], list[Frame]]


def in_query(roots: Sequence[exp.Expr], *kinds: type[exp.Expr]) -> list[exp.Expr]:
    """Nodes of some kinds, outermost first, without those inside of inner queries or of other found nodes."""
    found: list[exp.Expr] = []
    ahead = list(reversed(roots))
    while ahead:
        node = ahead.pop()
        if isinstance(node, kinds):
            found.append(node)
        elif not isinstance(node, (exp.Select, exp.Union)):
            ahead.extend(reversed(list(node.iter_expressions())))
    return found


@dataclass(slots=True)
class Aggregate:
    """One aggregate: its slot, the value it collects of each row, and what it makes of the values."""

    slot: int
    finish: Callable[[list[Any]], Any]
    value: Compute
    skip_nulls: bool
    condition: Compute | None = None
    order: list[SortKey] = field(default_factory=list)

    def collect(self, frame: Frame, into: list[Any]) -> None:
        """Look at one row."""
        if self.condition is not None and self.condition(frame) is not True:
            return
        value = self.value(frame)
        if value is None and self.skip_nulls:
            return
        into.append(([key.compute(frame) for key in self.order], value) if self.order else value)

    def result(self, values: list[Any]) -> Any:
        """The aggregate of what was collected."""
        if self.order:
            sort_by(values, self.order, lambda row: row[0])
            values = [value for _, value in values]
        return self.finish(values)


def _sum_type(kind: str | None) -> str:
    if kind in ("int2", "int4"):
        return "int8"
    if kind in ("int8", "numeric"):
        return "numeric"
    raise UnsupportedSql(f"sum of {kind}")


def _total(kind: str) -> Callable[[list[Any]], Any]:
    if kind == "int8":
        return lambda values: sum(values) if values else None
    return lambda values: Decimal(sum(values)) if values else None


def _json_list(values: list[Any]) -> Any:
    return Jsonb([item.load() if isinstance(item, Jsonb) else item for item in values]) if values else None


def compile_aggregate(compilation: Compilation, scope: Scope, node: exp.Expr) -> tuple[Aggregate, str]:
    """An aggregate with its FILTER, and the type of its result. Raises UnsupportedSql."""
    condition: Compute | None = None
    if isinstance(node, exp.Filter):
        condition = compile_condition(compilation, scope, node.expression.this).compute
        node = node.this
    only(node, "this", "big_int")
    argument = node.this
    order: list[SortKey] = []
    if isinstance(argument, exp.Order):
        order = sort_keys(argument.expressions, lambda key: compile_expression(compilation, scope, key))
        argument = argument.this
    distinct = isinstance(argument, exp.Distinct)
    if distinct:
        argument = argument.expressions[0]
    slot = compilation.new_slots()
    if isinstance(node, exp.Count) and isinstance(argument, exp.Star):
        return Aggregate(slot, len, lambda _: 1, False, condition), "int8"
    inner = compile_expression(compilation, scope, argument)
    finish, kind, skip = _finisher(node, inner.type, distinct)
    return Aggregate(slot, finish, inner.compute, skip, condition, order), kind


def _finisher(node: exp.Expr, kind: str | None, distinct: bool) -> tuple[Callable[[list[Any]], Any], str, bool]:
    """What to do with the values, the type of the result, whether nulls are left out."""
    if isinstance(node, exp.Count):
        return (lambda values: len(set(values))) if distinct else len, "int8", True
    if distinct or kind is None:
        raise UnsupportedSql(node.sql("postgres"))
    if isinstance(node, exp.Sum):
        return _total(_sum_type(kind)), _sum_type(kind), True
    if isinstance(node, (exp.Min, exp.Max)) and kind not in ("jsonb", "bool"):
        choose: Callable[[list[Any]], Any] = min if isinstance(node, exp.Min) else max
        return lambda values: choose(values) if values else None, kind, True
    if isinstance(node, exp.ArrayAgg):
        return lambda values: values or None, f"{kind}[]", False
    if isinstance(node, exp.JSONArrayAgg):
        return _json_list, "jsonb", False
    raise UnsupportedSql(node.sql("postgres"))


def compile_aggregates(
    compilation: Compilation, scope: Scope, roots: Sequence[exp.Expr], group: exp.Group | None, steps: list[Step]
) -> Prepare | None:
    """None if the query has no aggregates; otherwise they are entered into `scope.computed`."""
    nodes = in_query(roots, exp.Filter, exp.Window, *_KINDS)
    nodes = [node for node in nodes if not isinstance(node, exp.Window)]
    if not nodes and group is None:
        return None
    found: list[Aggregate] = []
    computed: dict[exp.Expr, Expression] = {}
    for node in nodes:
        if node not in computed:
            aggregate, kind = compile_aggregate(compilation, scope, node)
            found.append(aggregate)
            computed[node] = slot_expression(aggregate.slot, kind, node.key.lower())
    keys: list[Compute] = []
    if group is not None:
        only(group, "expressions")
        keys = [compile_expression(compilation, scope, node).compute for node in group.expressions]
    scope.computed.update(computed)
    empty = [(step.source.slot, step.source.empty) for step in steps]

    def prepare(rows: Iterator[None], frame: Frame) -> list[Frame]:
        groups: dict[tuple[Any, ...], tuple[Frame, list[list[Any]]]] = {}
        for _ in rows:
            key = tuple([compute(frame) for compute in keys])
            if key not in groups:
                groups[key] = (frame[:], [[] for _ in found])
            for aggregate, values in zip(found, groups[key][1], strict=True):
                aggregate.collect(frame, values)
        if not groups and not keys:
            for slot, nothing in empty:
                frame[slot], frame[slot + 1] = nothing, None
            groups[()] = (frame, [[] for _ in found])
        for saved, collected in groups.values():
            for aggregate, values in zip(found, collected, strict=True):
                saved[aggregate.slot] = aggregate.result(values)
        return [saved for saved, _ in groups.values()]

    return prepare


def slot_expression(slot: int, kind: str | None, name: str) -> Expression:
    """What stands in a slot."""
    return Expression(lambda frame: frame[slot], kind, name=name)


def compile_windows(compilation: Compilation, scope: Scope, roots: Sequence[exp.Expr]) -> Prepare | None:
    """`row_number`, and `count` and `sum` up to the current row and its peers; entered into `scope.computed`."""
    nodes = in_query(roots, exp.Window)
    if not nodes:
        return None
    windows = [_compile_window(compilation, scope, node) for node in nodes]

    def prepare(rows: Iterator[None], frame: Frame) -> list[Frame]:
        frames = [frame[:] for _ in rows]
        for window in windows:
            window(frames)
        return frames

    return prepare


def _compile_window(compilation: Compilation, scope: Scope, node: exp.Expr) -> Callable[[list[Frame]], None]:
    only(node, "this", "order", "over")
    order = node.args.get("order")
    keys: list[SortKey] = []
    if order is not None:
        keys = sort_keys(order.expressions, lambda key: compile_expression(compilation, scope, key))
    if isinstance(node.this, exp.RowNumber):
        slot = compilation.new_slots()
        scope.computed[node] = slot_expression(slot, "int8", "row_number")
        return lambda frames: _number(frames, keys, slot)
    if not isinstance(node.this, (exp.Sum, exp.Count)):
        raise UnsupportedSql(node.sql("postgres"))
    aggregate, kind = compile_aggregate(compilation, scope, node.this)
    scope.computed[node] = slot_expression(aggregate.slot, kind, node.this.key.lower())
    return lambda frames: _accumulate(frames, keys, aggregate)


def _in_order(frames: list[Frame], keys: list[SortKey]) -> list[tuple[list[Any], Frame]]:
    keyed = [([key.compute(frame) for key in keys], frame) for frame in frames]
    sort_by(keyed, keys, lambda row: row[0])
    return keyed


def _number(frames: list[Frame], keys: list[SortKey], slot: int) -> None:
    for number, (_, frame) in enumerate(_in_order(frames, keys), 1):
        frame[slot] = number


def _accumulate(frames: list[Frame], keys: list[SortKey], aggregate: Aggregate) -> None:
    values: list[Any] = []
    peers: list[Frame] = []
    peer_key: list[Any] | None = None
    for key, frame in [*_in_order(frames, keys), ([object()], None)]:
        if peers and key != peer_key:
            result = aggregate.result(list(values))
            for peer in peers:
                peer[aggregate.slot] = result
            peers = []
        if frame is not None:
            aggregate.collect(frame, values)
            peers.append(frame)
        peer_key = key
