"""How the rows of one source are walked: a table by an index or from its beginning, or a list of tuples.

A scan is a generator that puts one row after the other into its slot of the frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

from testkit.simulator.postgres.catalog import Index
from testkit.simulator.postgres.rows import Row, TableRows
from testkit.simulator.postgres.scope import CONTEXT, Compute, Frame, Source

Scan: TypeAlias = Callable[[Frame], Iterator[None]]


@dataclass(slots=True)
class Term:
    """`column = value`, or with `many` one of several values: what an index can be asked for."""

    position: int
    compute: Compute
    many: bool
    condition: Compute
    """What it was taken from."""


def choose_index(indexes: Sequence[Index], terms: Sequence[Term]) -> tuple[int, list[Term]] | None:
    """Number of the index to use with its terms: a unique one if all its columns are given, else the longest."""
    given: dict[int, Term] = {}
    for term in terms:
        if term.position not in given or not term.many:
            given[term.position] = term
    best: tuple[tuple[bool, int], int] | None = None
    for number, index in enumerate(indexes):
        if index.predicate is None and all(column in given for column in index.columns):
            rank = (index.unique, len(index.columns))
            if best is None or rank > best[0]:
                best = (rank, number)
    if best is None:
        return None
    return best[1], [given[column] for column in indexes[best[1]].columns]


def _keys(terms: Sequence[Term]) -> Callable[[Frame], Sequence[Any]]:
    """Keys to look up, in their order, as a B-tree gives them."""
    if not any(term.many for term in terms):
        if len(terms) == 1:
            only = terms[0].compute
            return lambda frame: (only(frame),)
        computes = [term.compute for term in terms]
        return lambda frame: (tuple([compute(frame) for compute in computes]),)

    def keys(frame: Frame) -> Sequence[Any]:
        columns: list[Sequence[Any]] = []
        for term in terms:
            value = term.compute(frame)
            if not term.many:
                columns.append((value,))
            else:
                columns.append(sorted({item for item in value or () if item is not None}))
        if len(columns) == 1:
            return columns[0]
        return list(product(*columns))

    return keys


def _all_rows(_: Frame, table: TableRows) -> Iterable[Row]:
    return table.rows.values()


def _indexed(index: int, terms: Sequence[Term]) -> Callable[[Frame, TableRows], Iterable[Row]]:
    keys = _keys(terms)

    def rows(frame: Frame, table: TableRows) -> Iterable[Row]:
        wanted = keys(frame)
        by_key = table.indexes[index].by_key
        if len(wanted) == 1:
            return by_key.get(wanted[0], ())
        found: dict[Row, None] = {}
        for key in wanted:
            if key in by_key:
                found.update(by_key[key])
        return found

    return rows


def table_scan(source: Source, terms: Sequence[Term], filters: Sequence[Compute]) -> Scan:
    """Visible rows of a table for which all `filters` (which repeat the `terms`) are true.

    A row with one version that an index has found need not be asked about the terms again.
    """
    assert source.table is not None
    slot, number = source.slot, source.table.number
    chosen = choose_index(source.table.indexes, terms)
    candidates = _all_rows if chosen is None else _indexed(*chosen)
    used = [] if chosen is None else [term.condition for term in chosen[1]]
    rest = [condition for condition in filters if condition not in used]

    def scan(frame: Frame) -> Iterator[None]:
        context = frame[CONTEXT]
        snapshot, reader, command = context.snapshot, context.transaction, context.command
        for row in candidates(frame, context.tables[number]):
            versions = row.versions
            version = versions[-1]
            if version.ended_by is not None or version.by.commit > snapshot:
                found = row.seen(snapshot, reader, command)
                if found is None:
                    continue
                version = found
            frame[slot] = version.values
            frame[slot + 1] = version
            for condition in rest if len(versions) == 1 else filters:
                if condition(frame) is not True:
                    break
            else:
                yield

    return scan


def list_scan(source: Source, rows: Callable[[Frame], Iterable[tuple[Any, ...]]], filters: Sequence[Compute]) -> Scan:
    """Rows of a list (an inner query, a WITH query, unnest)."""
    slot = source.slot

    def scan(frame: Frame) -> Iterator[None]:
        for values in rows(frame):
            frame[slot] = values
            for condition in filters:
                if condition(frame) is not True:
                    break
            else:
                yield

    return scan


def no_source(filters: Sequence[Compute]) -> Scan:
    """The one row of a query without FROM."""

    def scan(frame: Frame) -> Iterator[None]:
        if all(condition(frame) is True for condition in filters):
            yield

    return scan


def joined(outer: Scan, inner: Scan) -> Scan:
    """For each row of `outer` all of `inner`, which may look at it."""

    def scan(frame: Frame) -> Iterator[None]:
        for _ in outer(frame):
            yield from inner(frame)

    return scan


def left_joined(outer: Scan, inner: Scan, source: Source, after: Sequence[Compute]) -> Scan:
    """The same, with a row of nulls where `inner` has none; `after`: conditions on the joined row."""
    slot, empty = source.slot, source.empty

    def scan(frame: Frame) -> Iterator[None]:
        for _ in outer(frame):
            found = False
            for _ in inner(frame):
                found = True
                if all(condition(frame) is True for condition in after):
                    yield
            if not found:
                frame[slot], frame[slot + 1] = empty, None
                if all(condition(frame) is True for condition in after):
                    yield

    return scan
