"""A whole statement: WITH queries in their order, then the main one; compiled once for each text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import asyncpg
from sqlglot import exp
from testkit.simulator.postgres.catalog import Catalog, Values
from testkit.simulator.postgres.expressions import HANDLERS
from testkit.simulator.postgres.failures import UnsupportedSql
from testkit.simulator.postgres.functions import FUNCTIONS
from testkit.simulator.postgres.insert import Insert, compile_insert
from testkit.simulator.postgres.locks import BLOCK, UPDATE, lock
from testkit.simulator.postgres.modify import Change, Outcome, compile_change
from testkit.simulator.postgres.parsing import parse_statement
from testkit.simulator.postgres.queries import Query
from testkit.simulator.postgres.referential import look_at_foreign_keys
from testkit.simulator.postgres.scope import CommonTable, Compilation, Compute, Context, Frame, Scope
from testkit.simulator.postgres.select import INNER_QUERIES, compile_query
from testkit.simulator.postgres.values import Convert, Jsonb, taken_as_is, taking

HANDLERS.update(FUNCTIONS)
HANDLERS.update(INNER_QUERIES)
_TAGS: dict[type[exp.Expr], str] = {exp.Insert: "INSERT 0", exp.Update: "UPDATE", exp.Delete: "DELETE"}
_ADVISORY = "pg_advisory_xact_lock"


@dataclass(slots=True)
class AdvisoryLock:
    """`SELECT pg_advisory_xact_lock(key)`."""

    key: Compute
    columns: list[tuple[str, str | None]]

    async def run(self, frame: Frame) -> Outcome:
        """Wait for the lock."""
        context: Context = frame[0]
        await lock(context.server.advisory(self.key(frame)), context.transaction, UPDATE, BLOCK)
        return Outcome([(None,)], 1)


@dataclass(slots=True)
class Part:
    """One query of a statement, with the inner queries that must have locked their rows before it begins."""

    runs: Query | Insert | Change | AdvisoryLock
    before: list[tuple[int, Query]]
    slot: int = 0

    async def run(self, frame: Frame) -> Outcome:
        """Run it; the rows also go into its slot."""
        for slot, query in self.before:
            frame[slot] = await query.run_locking(frame)
        runs = self.runs
        if not isinstance(runs, Query):
            outcome = await runs.run(frame)
        else:
            rows = await runs.run_locking(frame) if runs.locks else runs.run(frame)
            outcome = Outcome(rows, len(rows))
        if self.slot:
            frame[self.slot] = outcome.rows
        return outcome


@dataclass(slots=True)
class Statement:
    """A compiled statement; `columns`: names and types of its rows; `types`: those of its arguments, if known."""

    text: str
    title: str
    tag: str
    empty: Frame
    types: list[str | None]
    takes: list[tuple[int, type | None, Convert]]
    """Conversions of arguments by their number, with the type that needs none."""
    parts: list[Part]
    alone: Query | None
    """The only query of a statement that changes and locks nothing."""
    record: type[Record]
    columns: list[tuple[str, str | None]]
    json: bool

    def frame(self, arguments: tuple[Any, ...]) -> Frame:
        """A frame for one execution, still without its context. Raises asyncpg.DataError, asyncpg.InterfaceError."""
        if len(arguments) != len(self.types):
            raise asyncpg.InterfaceError(
                f"the server expects {len(self.types)} arguments for this query, {len(arguments)} were passed"
            )
        frame = self.empty[:]
        taken = frame[1] = list(arguments)
        for number, as_is, take in self.takes:
            value = taken[number]
            if value is not None and type(value) is not as_is:
                taken[number] = take(value)
        return frame

    async def run(self, frame: Frame) -> Outcome:
        """Run all parts, then look at foreign keys."""
        outcome = Outcome()
        for part in self.parts:
            outcome = await part.run(frame)
        context: Context = frame[0]
        if context.due:
            await look_at_foreign_keys(context)
        return outcome

    def records(self, rows: list[Values]) -> list[Record]:
        """Rows as the caller gets them."""
        record = self.record
        if not self.json:
            return [record(row) for row in rows]
        return [self.first(row) for row in rows]

    def first(self, row: Values) -> Record:
        """One row as the caller gets it."""
        if not self.json:
            return self.record(row)
        return self.record([item.load() if type(item) is Jsonb else item for item in row])


class Record(tuple[Any, ...]):
    """A row by position and by name, as `asyncpg.Record`; each statement has a class of its own."""

    __slots__ = ()
    _places: ClassVar[dict[str, int]] = {}

    def __getitem__(self, key: Any) -> Any:
        if type(key) is str:
            return tuple.__getitem__(self, self._places[key])
        return tuple.__getitem__(self, key)

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a column, or `default` if there is no such column."""
        return self[key] if key in self._places else default

    def keys(self) -> Any:
        """Names of the columns."""
        return self._places.keys()

    def values(self) -> Any:
        """The values in order."""
        return iter(self)

    def items(self) -> Any:
        """Pairs of name and value."""
        return [(name, tuple.__getitem__(self, place)) for name, place in self._places.items()]

    def __contains__(self, key: object) -> bool:
        return key in self._places

    def __repr__(self) -> str:
        return f"<Record {' '.join(f'{name}={value!r}' for name, value in self.items())}>"


def compile_statement(catalog: Catalog, text: str) -> Statement:
    """Raises UnsupportedSql."""
    node = parse_statement(text)
    compilation = Compilation(catalog)
    parts = [_common(compilation, item) for item in _with(node)]
    main = _part(compilation, node)
    parts.append(main)
    alone = main.runs if isinstance(main.runs, Query) and not (main.runs.locks or main.before or parts[1:]) else None
    columns = main.runs.columns
    places = {name: number for number, (name, _) in reversed(list(enumerate(columns)))}
    places = {name: places[name] for name, _ in columns}
    record = type("Record", (Record,), {"__slots__": (), "_places": places})
    types = [compilation.parameters.get(number) for number in range(compilation.parameter_count)]
    takes = [(number, taken_as_is(kind), taking(kind)) for number, kind in enumerate(types) if kind is not None]
    empty: Frame = [None] * compilation.size
    return Statement(
        text, _title(node), _TAGS.get(type(node), "SELECT"), empty, types, takes, parts, alone,
        record, columns,
        any(kind == "jsonb" for _, kind in columns),
    )  # fmt: skip


def _with(node: exp.Expr) -> list[exp.CTE]:
    found = node.args.get("with_")
    if found is None:
        return []
    if found.args.get("recursive"):
        raise UnsupportedSql("WITH RECURSIVE")
    node.set("with_", None)
    return list(found.expressions)


def _common(compilation: Compilation, node: exp.CTE) -> Part:
    alias = node.args["alias"]
    if alias.args.get("columns") or node.this.args.get("with_"):
        raise UnsupportedSql(node.sql("postgres"))
    part = _part(compilation, node.this)
    part.slot = compilation.new_slots()
    columns = {name: (number, kind) for number, (name, kind) in enumerate(part.runs.columns)}
    compilation.common[node.alias] = CommonTable(part.slot, columns)
    return part


def _part(compilation: Compilation, node: exp.Expr) -> Part:
    first = len(compilation.locking)
    runs: Query | Insert | Change | AdvisoryLock
    if isinstance(node, exp.Insert):
        runs = compile_insert(compilation, node)
    elif isinstance(node, (exp.Update, exp.Delete)):
        runs = compile_change(compilation, node)
    elif isinstance(node, exp.Select) and _is_advisory(node):
        inner = exp.Select(expressions=node.expressions[0].expressions)
        runs = AdvisoryLock(compile_query(compilation, inner, Scope()).computes[0], [(_ADVISORY, None)])
    else:
        runs = compile_query(compilation, node, None)
    return Part(runs, compilation.locking[first:])


def _is_advisory(node: exp.Select) -> bool:
    only = node.expressions[0] if len(node.expressions) == 1 else None
    return isinstance(only, exp.Anonymous) and only.name.lower() == _ADVISORY and node.args.get("from_") is None


def _title(node: exp.Expr) -> str:
    """What to call the statement in a trace: its verb and its first table."""
    table = next(node.find_all(exp.Table), None)
    return f"{node.key} {table.name}" if table is not None else node.key
