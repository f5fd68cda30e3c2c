"""The state of one schema: its tables, running transactions, the order of commits, and compiled statements."""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Coroutine
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import asyncpg
from testkit.simulator.postgres.catalog import Catalog, Table, Values
from testkit.simulator.postgres.ddl import apply_ddl
from testkit.simulator.postgres.failures import UnsupportedSql
from testkit.simulator.postgres.locks import Lockable
from testkit.simulator.postgres.migrations import catalog_of
from testkit.simulator.postgres.modify import Outcome
from testkit.simulator.postgres.queries import Query
from testkit.simulator.postgres.rows import Row, Savepoint, TableRows, Transaction
from testkit.simulator.postgres.scope import CONTEXT, Context
from testkit.simulator.postgres.statements import Statement, compile_statement
from testkit.simulator.postgres.values import Jsonb

ALL_TENANTS = "*"
_SETTING = re.compile(r"\s*(SET LOCAL \w+ = \w+\s*(;\s*|$)|ANALYZE \w+$)+")
_TEMPORARY = re.compile(r"CREATE TEMPORARY TABLE (\w+)")
_COMPILED: dict[str, dict[str, Statement]] = {}


class Hooks(Protocol):
    """What the simulator is told, and may fail or delay."""

    def point(self, kind: str, detail: str) -> Awaitable[None] | None:
        """`statement` before each, `commit` before it is applied, `committed` after; None: nothing to wait for."""
        ...

    def now(self) -> datetime:
        """The clock of the server, with a time zone."""
        ...


class Storage:
    """One schema of the model."""

    def __init__(self, schema: str, hooks: Hooks, seed: int) -> None:
        self.hooks = hooks
        self.clock = hooks.now
        self.catalog: Catalog = catalog_of(schema)
        self.tables = [TableRows(table) for table in self.catalog.tables.values()]
        self.commits = 0
        self.open: dict[Transaction, None] = {}
        self.refused: list[str] = []
        """What the model did not understand: a service may have swallowed the error."""
        self._compiled = _COMPILED.setdefault(schema, {})
        self._began = 0
        self._random = random.Random(seed)
        self._advisory: dict[int, Lockable] = {}
        self._unpruned: list[Row] = []
        self._fill()

    def _fill(self) -> None:
        transaction = self.begin(ALL_TENANTS)
        for text in self.catalog.fill:
            run_at_once(self.run(transaction, self.statement(text), ()))
        self.commit(transaction)

    def catalog_table(self, name: str) -> Table:
        """Raises UnsupportedSql."""
        if name not in self.catalog.tables:
            raise UnsupportedSql(f"no table {name!r}")
        return self.catalog.tables[name]

    def rows_of(self, name: str) -> list[dict[str, Any]]:
        """All committed rows of a table by column, as nobody's statement sees them."""
        rows = self.tables[self.catalog_table(name).number]
        names = [column.name for column in rows.table.columns]
        nobody = Transaction(0, ALL_TENANTS, False, self.hooks.now())
        found = [row.newest(nobody) for row in rows.rows.values()]
        return [
            {
                key: value.load() if isinstance(value, Jsonb) else value
                for key, value in zip(names, item.values, strict=True)
            }
            for item in found
            if item is not None
        ]

    def statement(self, text: str) -> Statement:
        """The compiled statement of a text. Raises UnsupportedSql."""
        found = self._compiled.get(text)
        if found is None:
            try:
                found = self._compiled[text] = compile_statement(self.catalog, text)
            except UnsupportedSql as error:
                self.refused.append(str(error))
                raise
        return found

    def is_setting(self, text: str) -> bool:
        """Whether a text only sets parameters of the planner and the like, which the model does not have."""
        return _SETTING.fullmatch(text) is not None

    def is_temporary(self, text: str) -> bool:
        """Make the temporary tables of a text; they are empty for each transaction. False: it is something else."""
        names = _TEMPORARY.findall(text)
        if not names:
            return False
        if any(name not in self.catalog.tables for name in names):
            apply_ddl(self.catalog, text[text.index("CREATE TEMPORARY") :])
            for name in names:
                self.catalog.tables[name].temporary = True
        if len(self.tables) < len(self.catalog.tables):
            self.tables += [TableRows(table) for table in list(self.catalog.tables.values())[len(self.tables) :]]
        return True

    def begin(self, tenant: str, *, isolated: bool = False) -> Transaction:
        """A new transaction; `isolated`: repeatable read."""
        self._began += 1
        transaction = Transaction(self._began, tenant, isolated, self.hooks.now())
        self.open[transaction] = None
        return transaction

    async def run(self, transaction: Transaction, statement: Statement, args: tuple[Any, ...]) -> Outcome:
        """Run a statement. An error undoes the transaction and frees its locks, as Postgres does before ROLLBACK."""
        if statement.alone is not None:
            rows = self.run_alone(transaction, statement.alone, statement, args)
            return Outcome(rows, len(rows))
        frame = statement.frame(args)
        frame[CONTEXT] = self._context(transaction)
        try:
            return await statement.run(frame)
        except BaseException as error:
            self._failed(transaction, error)
            raise
        finally:
            if not transaction.isolated:
                transaction.snapshot = None

    def run_alone(
        self, transaction: Transaction, query: Query, statement: Statement, args: tuple[Any, ...]
    ) -> list[Values]:
        """The same for a statement that is nothing but a query without locks: its rows, at once."""
        frame = statement.frame(args)
        frame[CONTEXT] = self._context(transaction)
        try:
            return query.run(frame)
        except BaseException as error:
            self._failed(transaction, error)
            raise
        finally:
            if not transaction.isolated:
                transaction.snapshot = None

    def _context(self, transaction: Transaction) -> Context:
        transaction.command += 1
        snapshot = transaction.snapshot
        if snapshot is None:
            snapshot = transaction.snapshot = self.commits
        return Context(transaction, snapshot, self.tables, self)

    def _failed(self, transaction: Transaction, error: BaseException) -> None:
        if isinstance(error, UnsupportedSql):
            self.refused.append(str(error))
        transaction.failed = True
        if transaction.savepoints and not transaction.ended:
            self.roll_back_to(transaction, transaction.savepoints[-1])
        else:
            self.roll_back(transaction)

    def commit(self, transaction: Transaction) -> None:
        """Apply a transaction; one that has failed is rolled back, as COMMIT does."""
        if transaction.failed:
            self.roll_back(transaction)
            return
        if not transaction.touched:
            self._end(transaction)
            return
        dropped = [row for row in transaction.touched if row.table.table.temporary]
        if dropped:
            self._undo(dropped, transaction)
        self.commits += 1
        transaction.commit = self.commits
        self._end(transaction)
        self._prune(transaction.touched)

    def roll_back(self, transaction: Transaction) -> None:
        """Take back all that a transaction did. Repeatable."""
        if transaction.ended:
            return
        self._undo(transaction.touched, transaction)
        self._end(transaction)

    def roll_back_to(self, transaction: Transaction, savepoint: Savepoint) -> None:
        """Take back what was done after a savepoint, and free the locks taken after it. Repeatable."""
        later = transaction.touched[savepoint.touched :]
        for row in reversed(later):
            row.table.undo(row, transaction, savepoint.command)
        del transaction.touched[savepoint.touched :]
        locks = transaction.locks[savepoint.locks :]
        del transaction.locks[savepoint.locks :]
        for lock in locks:
            lock.free(transaction)
        self._wake_watchers(transaction)

    def lose(self, transaction: Transaction) -> None:
        """The connection of a transaction breaks: the server rolls it back."""
        if transaction.lost or transaction.ended:
            return
        transaction.lost = True
        waiting = transaction.waiting
        if waiting is not None:
            if waiting.lock is not None and waiting in waiting.lock.waiters:
                waiting.lock.waiters.remove(waiting)
                waiting.lock.grant()
            if not waiting.future.done():
                waiting.future.set_exception(asyncpg.ConnectionDoesNotExistError("connection was closed"))
        self.roll_back(transaction)

    def _undo(self, rows: list[Row], transaction: Transaction) -> None:
        for row in reversed(rows):
            row.table.undo(row, transaction)

    def _end(self, transaction: Transaction) -> None:
        transaction.ended = True
        self.open.pop(transaction, None)
        for lock in transaction.locks:
            lock.free(transaction)
        self._wake_watchers(transaction)

    @staticmethod
    def _wake_watchers(transaction: Transaction) -> None:
        watchers, transaction.watchers = transaction.watchers, []
        for waiting in watchers:
            if not waiting.future.done():
                waiting.future.set_result(None)

    def _prune(self, rows: list[Row]) -> None:
        oldest = min((item.snapshot for item in self.open if item.snapshot is not None), default=self.commits)
        left = [row for row in (*self._unpruned, *rows) if not row.table.prune(row, oldest)]
        self._unpruned = list(dict.fromkeys(left))

    def new_uuid(self) -> UUID:
        """`gen_random_uuid()`."""
        return UUID(int=self._random.getrandbits(128), version=4)

    def advisory(self, key: int) -> Lockable:
        """What `pg_advisory_xact_lock(key)` locks."""
        return self._advisory.setdefault(key, Lockable())


def run_at_once(work: Coroutine[Any, Any, Any]) -> Any:
    """Result of a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    work.close()
    raise AssertionError("it had to wait")
