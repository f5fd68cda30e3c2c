"""What a schema consists of, as the DDL of its migrations says; immutable once it is built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

Values = tuple[Any, ...]


@dataclass(slots=True)
class Column:
    """A column; `default` is an expression over no columns, `identity` a number that the table gives."""

    name: str
    type: str
    not_null: bool = False
    identity: bool = False
    default: Callable[[list[Any]], Any] | None = None


@dataclass(slots=True)
class Index:
    """Columns by position; a partial index holds only rows for which `predicate` is true."""

    name: str
    columns: tuple[int, ...]
    unique: bool = False
    primary: bool = False
    predicate: Callable[[Values], bool] | None = None
    key: Callable[[Values], Any] = field(init=False)

    def __post_init__(self) -> None:
        self.key = itemgetter(*self.columns)

    @property
    def is_key(self) -> bool:
        """Whether a foreign key could refer to its columns: changing them takes the strongest row lock."""
        return self.unique and self.predicate is None


@dataclass(slots=True)
class ForeignKey:
    """Columns of `table` that name a row of `parent` by an index of it."""

    name: str
    table: Table
    columns: tuple[int, ...]
    parent: Table
    parent_index: int
    cascade: bool
    child_index: int | None = None


@dataclass(slots=True)
class Check:
    """A condition on a row's values that must not be false."""

    name: str
    holds: Callable[[Values], bool]


@dataclass(slots=True)
class Table:
    """A table; `number` is its position among the tables of the schema, `policy` an expression on a frame."""

    name: str
    number: int
    columns: list[Column] = field(default_factory=list)
    indexes: list[Index] = field(default_factory=list)
    foreign_keys: list[ForeignKey] = field(default_factory=list)
    referenced_by: list[ForeignKey] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    policy_sql: str | None = None
    temporary: bool = False
    _keys: tuple[int, frozenset[int]] = (0, frozenset())
    """Of so many indexes these are the key columns."""

    def position(self, name: str) -> int:
        """Position of a column. Raises KeyError."""
        for number, column in enumerate(self.columns):
            if column.name == name:
                return number
        raise KeyError(f"column {name!r} of table {self.name!r}")

    @property
    def key_columns(self) -> frozenset[int]:
        """Columns whose change takes the row lock FOR UPDATE."""
        if self._keys[0] != len(self.indexes):
            columns = frozenset(number for index in self.indexes if index.is_key for number in index.columns)
            self._keys = (len(self.indexes), columns)
        return self._keys[1]


@dataclass(slots=True)
class Catalog:
    """All tables of a schema, and statements that its migrations run to fill them."""

    schema: str
    tables: dict[str, Table] = field(default_factory=dict)
    fill: list[str] = field(default_factory=list)

    def add(self, name: str) -> Table:
        """A new, empty table."""
        table = Table(name, len(self.tables))
        self.tables[name] = table
        return table
