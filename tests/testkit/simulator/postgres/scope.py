"""Names of a statement while it is compiled, and the frame that its compiled parts work on.

A frame is a list made for each execution: `frame[0]` the `Context`, `frame[1]` the arguments, then slots. Each source
of each FROM clause owns two slots of the whole statement: the values of its current row, and their `Version` (None for
what is no table). So an inner query reads rows of an outer one without any chain of environments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from sqlglot import exp
from testkit.simulator.postgres.catalog import Catalog, Table
from testkit.simulator.postgres.failures import UnsupportedSql
from testkit.simulator.postgres.locks import Lockable
from testkit.simulator.postgres.rows import TableRows, Transaction
from testkit.simulator.postgres.values import WHOLE, casting, literal

if TYPE_CHECKING:
    from testkit.simulator.postgres.queries import Query
    from testkit.simulator.postgres.referential import Due

Frame = list[Any]
Compute = Callable[[Frame], Any]
CONTEXT, ARGUMENTS, FIRST_SLOT = 0, 1, 2


class Server(Protocol):
    """What a statement asks of the server."""

    def clock(self) -> datetime:
        """`clock_timestamp()`."""
        ...

    def new_uuid(self) -> UUID:
        """`gen_random_uuid()`."""
        ...

    def advisory(self, key: int) -> Lockable:
        """What `pg_advisory_xact_lock(key)` locks."""
        ...


class Context:
    """What a statement works in: its transaction, what it sees, the tables by number, the server."""

    __slots__ = ("command", "due", "server", "snapshot", "tables", "transaction")

    def __init__(self, transaction: Transaction, snapshot: int, tables: list[TableRows], server: Server) -> None:
        self.transaction = transaction
        self.snapshot = snapshot
        self.command = transaction.command
        self.tables = tables
        self.server = server
        self.due: list[Due] = []
        """Foreign keys to look at when the statement has done its work."""


@dataclass(slots=True)
class Expression:
    """A compiled expression: `compute(frame)` gives its value; `type` None: not known.

    `slots`: rows that it reads. `parameter`, `text`: an argument or a quoted literal that still has no type.
    """

    compute: Compute
    type: str | None = None
    slots: frozenset[int] = frozenset()
    parameter: int | None = None
    text: str | None = None
    name: str = "?column?"


@dataclass(slots=True)
class Source:
    """Something in a FROM clause: its name, columns with their types, and the slot of its row."""

    name: str
    columns: dict[str, tuple[int, str | None]]
    slot: int
    table: Table | None = None

    @property
    def empty(self) -> tuple[None, ...]:
        """The row of an outer join that found nothing."""
        return (None,) * len(self.columns)


@dataclass(slots=True)
class CommonTable:
    """A WITH query: the slot of its result, a list of tuples."""

    slot: int
    columns: dict[str, tuple[int, str | None]]


@dataclass(slots=True)
class Compilation:
    """One statement being compiled."""

    catalog: Catalog
    size: int = FIRST_SLOT
    parameters: dict[int, str] = field(default_factory=dict)
    parameter_count: int = 0
    common: dict[str, CommonTable] = field(default_factory=dict)
    locking: list[tuple[int, Query]] = field(default_factory=list)
    """Inner queries with locks: they run first, each result goes into its slot."""

    def new_slots(self, count: int = 1) -> int:
        """Number of the first of `count` new slots."""
        self.size += count
        return self.size - count

    def table(self, name: str) -> Table:
        """Raises UnsupportedSql for a table that the schema does not have."""
        found = self.catalog.tables.get(name)
        if found is None:
            raise UnsupportedSql(f"no table {name!r} in schema {self.catalog.schema!r}")
        return found

    def table_source(self, table: Table, name: str) -> Source:
        """A new source for a table."""
        columns: dict[str, tuple[int, str | None]] = {
            column.name: (number, column.type) for number, column in enumerate(table.columns)
        }
        return Source(name, columns, self.new_slots(2), table)


class Scope:
    """Names visible in one query: its own sources, then those of the queries around it."""

    def __init__(self, outer: Scope | None = None) -> None:
        self.outer = outer
        self.sources: list[Source] = []
        self.outside: set[int] = set()
        """Slots of outer queries that are read in here."""
        self.computed: dict[exp.Expr, Expression] = {}
        """What aggregates and window functions of this query have left in slots."""

    def add(self, source: Source) -> None:
        """Raises UnsupportedSql for a name that is there already."""
        if any(other.name == source.name for other in self.sources):
            raise UnsupportedSql(f"name {source.name!r} twice in FROM")
        self.sources.append(source)

    def column(self, name: str, table: str) -> Expression:
        """Raises UnsupportedSql for unknown and ambiguous names."""
        found = [
            (source, *source.columns[name])
            for source in self.sources
            if name in source.columns and table in ("", source.name)
        ]
        if len(found) > 1:
            raise UnsupportedSql(f"column {name!r} is ambiguous")
        if found:
            source, position, kind = found[0]
            return _reader(source.slot, position, kind, name)
        if self.outer is None:
            raise UnsupportedSql(f"no column {table}.{name}" if table else f"no column {name}")
        above = self.outer.column(name, table)
        self.outside |= above.slots
        return above


def _reader(slot: int, position: int, kind: str | None, name: str) -> Expression:
    def compute(frame: Frame) -> Any:
        return frame[slot][position]

    return Expression(compute, kind, frozenset((slot,)), name=name)


def with_type(compilation: Compilation, found: Expression, kind: str | None) -> Expression:
    """Give an argument or a literal the type that its place demands; others stay as they are."""
    if kind is None or found.type is not None:
        return found
    if found.text is not None:
        value = literal(found.text, kind)
        return Expression(lambda _: value, kind, name=found.name)
    if found.parameter is not None:
        known = compilation.parameters.setdefault(found.parameter, kind)
        convert = None if known == kind or {known, kind} <= WHOLE else casting(known, kind)
        compute = found.compute
        if convert is None:
            return Expression(compute, kind, name=found.name, parameter=found.parameter)

        def converted(frame: Frame) -> Any:
            value = compute(frame)
            return None if value is None else convert(value)

        return Expression(converted, kind, name=found.name, parameter=found.parameter)
    return found


def unified(compilation: Compilation, found: list[Expression]) -> list[Expression]:
    """Expressions of one type, as in a comparison: the first type that is known goes to those without one."""
    kind = next((item.type for item in found if item.type is not None), None)
    if kind is None and any(item.text is not None for item in found):
        kind = "text"
    return [with_type(compilation, item, kind) for item in found]


def slots_of(found: Iterable[Expression]) -> frozenset[int]:
    """All rows that some expressions read."""
    return frozenset().union(*(item.slots for item in found))


def only(node: exp.Expr, *known: str) -> None:
    """Raises UnsupportedSql if the parser found something in `node` besides what the caller knows."""
    for name, value in node.args.items():
        if value and name not in known and name not in ("_type", "comments"):
            raise UnsupportedSql(f"{name} in {type(node).__name__}: {node.sql('postgres')}")
