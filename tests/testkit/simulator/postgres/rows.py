"""Rows and their versions, transactions, snapshots, indexes: what Postgres keeps in its heap, in memory.

A `Row` is one logical row with a chain of versions, oldest first; locks are held on the row, not on a version. A
snapshot is the number of the last commit it sees. Versions that nobody can see any more are dropped.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from testkit.simulator.postgres.catalog import Index, Table, Values
from testkit.simulator.postgres.locks import Lockable

if TYPE_CHECKING:
    from testkit.simulator.postgres.locks import Wait

RUNNING = 1 << 62
"""Commit number of a transaction that has not committed."""
ALL_COMMANDS = 1 << 62


class Transaction:
    """One transaction. `commit`: its place in the order of commits. `command`: number of the running statement."""

    __slots__ = (
        "began",
        "command",
        "commit",
        "ended",
        "failed",
        "isolated",
        "locks",
        "lost",
        "number",
        "savepoints",
        "snapshot",
        "tenant",
        "touched",
        "waiting",
        "watchers",
    )

    def __init__(self, number: int, tenant: str, isolated: bool, began: datetime) -> None:
        self.number = number
        self.tenant = tenant
        self.isolated = isolated
        self.began = began
        self.commit = RUNNING
        self.command = 0
        self.snapshot: int | None = None
        self.locks: list[Lockable] = []
        self.touched: list[Row] = []
        self.waiting: Wait | None = None
        self.watchers: list[Wait] = []
        self.savepoints: list[Savepoint] = []
        self.failed = False
        self.ended = False
        self.lost = False

    def __repr__(self) -> str:
        return f"Transaction({self.number})"


class Savepoint:
    """Where a transaction stood when a nested one began: its command, rows touched and locks taken until then."""

    __slots__ = ("command", "locks", "touched")

    def __init__(self, transaction: Transaction) -> None:
        self.command = transaction.command
        self.touched = len(transaction.touched)
        self.locks = len(transaction.locks)


class Version:
    """Values of a row from the transaction that made them (`by`, in its `command`) to the one that ended them."""

    __slots__ = ("by", "command", "ended_by", "ended_command", "row", "values")

    def __init__(self, row: Row, values: Values, by: Transaction) -> None:
        self.row = row
        self.values = values
        self.by = by
        self.command = by.command
        self.ended_by: Transaction | None = None
        self.ended_command = 0


class Row(Lockable):
    """A logical row."""

    __slots__ = ("number", "table", "versions")

    def __init__(self, table: TableRows, number: int) -> None:
        super().__init__()
        self.table = table
        self.number = number
        self.versions: list[Version] = []

    def seen(self, snapshot: int, reader: Transaction, command: int) -> Version | None:
        """The version that a statement sees: committed up to its snapshot, or its transaction's own of before."""
        for version in reversed(self.versions):
            by = version.by
            if by.commit <= snapshot or (by is reader and version.command < command):
                ender = version.ended_by
                if ender is None:
                    return version
                if ender.commit <= snapshot or (ender is reader and version.ended_command < command):
                    return None
                return version
        return None

    def newest(self, reader: Transaction) -> Version | None:
        """The newest version that is committed or the transaction's own; None if the row is gone."""
        for version in reversed(self.versions):
            if version.by.commit < RUNNING or version.by is reader:
                ender = version.ended_by
                if ender is not None and (ender.commit < RUNNING or ender is reader):
                    return None
                return version
        return None


class IndexRows:
    """Rows by key; a row stands under the keys of all its versions. Nulls are left out."""

    __slots__ = ("by_key", "index", "single")

    def __init__(self, index: Index) -> None:
        self.index = index
        self.single = len(index.columns) == 1
        self.by_key: dict[Any, dict[Row, None]] = {}

    def key_of(self, values: Values) -> Any:
        """The key of a row; None if the index does not hold it."""
        index = self.index
        if index.predicate is not None and not index.predicate(values):
            return None
        key = index.key(values)
        if not self.single and None in key:
            return None
        return key

    def add(self, row: Row, values: Values) -> None:
        """Enter a row under the key of one of its versions."""
        key = self.key_of(values)
        if key is not None:
            found = self.by_key.get(key)
            if found is None:
                self.by_key[key] = {row: None}
            else:
                found[row] = None

    def remove(self, row: Row, values: Values) -> None:
        """Take a row out, unless one of the versions it still has is under the same key."""
        key = self.key_of(values)
        if key is None or any(self.key_of(version.values) == key for version in row.versions):
            return
        found = self.by_key.get(key)
        if found is not None:
            found.pop(row, None)
            if not found:
                del self.by_key[key]


class TableRows:
    """The rows of one table in the order of their insertion."""

    __slots__ = ("indexes", "last_row", "next_identity", "rows", "table")

    def __init__(self, table: Table) -> None:
        self.table = table
        self.rows: dict[int, Row] = {}
        self.indexes = [IndexRows(index) for index in table.indexes]
        self.next_identity = 1
        self.last_row = 0

    def insert(self, values: Values, by: Transaction) -> Version:
        """A new row, visible to others when `by` commits."""
        self.last_row += 1
        row = Row(self, self.last_row)
        self.rows[row.number] = row
        version = Version(row, values, by)
        row.versions.append(version)
        for index in self.indexes:
            index.add(row, values)
        by.touched.append(row)
        return version

    def update(self, old: Version, values: Values, by: Transaction) -> Version:
        """A new version of a row that `by` has locked."""
        row = old.row
        version = Version(row, values, by)
        old.ended_by, old.ended_command = by, by.command
        row.versions.append(version)
        for index in self.indexes:
            index.add(row, values)
        by.touched.append(row)
        return version

    def delete(self, old: Version, by: Transaction) -> None:
        """End a row that `by` has locked."""
        old.ended_by, old.ended_command = by, by.command
        by.touched.append(old.row)

    def undo(self, row: Row, by: Transaction, after: int = -1) -> None:
        """Take back all that `by` did to a row in commands after `after`."""
        versions = row.versions
        while versions and versions[-1].by is by and versions[-1].command > after:
            self._drop(row, len(versions) - 1)
        if versions and versions[-1].ended_by is by and versions[-1].ended_command > after:
            versions[-1].ended_by = None
        if not versions:
            self.rows.pop(row.number, None)

    def prune(self, row: Row, oldest: int) -> bool:
        """Drop what no snapshot from `oldest` on can see; whether only one version is left, or none."""
        versions = row.versions
        while len(versions) > 1 and versions[1].by.commit <= oldest:
            self._drop(row, 0)
        if len(versions) == 1:
            ender = versions[0].ended_by
            if ender is None:
                return True
            if ender.commit <= oldest:
                self._drop(row, 0)
        if not versions:
            self.rows.pop(row.number, None)
            return True
        return False

    def _drop(self, row: Row, position: int) -> None:
        version = row.versions.pop(position)
        for index in self.indexes:
            index.remove(row, version.values)
