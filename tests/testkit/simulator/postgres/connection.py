"""One open transaction as the services see it: the part of asyncpg's connection that they use."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import asyncpg
from testkit.simulator.postgres.catalog import Values
from testkit.simulator.postgres.failures import UnsupportedSql, postgres_error
from testkit.simulator.postgres.rows import Savepoint, Transaction
from testkit.simulator.postgres.statements import Record, Statement
from testkit.simulator.postgres.values import binary_copy

if TYPE_CHECKING:
    from testkit.simulator.postgres.storage import Storage

LOST = (OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError)


class SimConnection:
    """Statements in one transaction."""

    def __init__(self, storage: Storage, transaction: Transaction) -> None:
        self._storage = storage
        self.transaction_state = transaction

    def is_closed(self) -> bool:
        """Whether the connection was lost."""
        return self.transaction_state.lost

    def transaction(self) -> Nested:
        """A nested transaction."""
        return Nested(self)

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        """Run a statement: its command tag."""
        if not args and self._storage.is_setting(query):
            await self._until(self._arrive("set"))
            return "SET"
        if not args and self._storage.is_temporary(query):
            await self._until(self._arrive("create temporary table"))
            return "CREATE TABLE"
        statement = self._storage.statement(query)
        waits = self._arrive(statement.title)
        if waits is not None:
            await self._until(waits)
        outcome = await self._storage.run(self.transaction_state, statement, args)
        return f"{statement.tag} {outcome.count}"

    async def executemany(self, command: str, args: Any, *, timeout: float | None = None) -> None:
        """Run a statement once for each of some argument lists."""
        statement = self._storage.statement(command)
        await self._until(self._arrive(statement.title))
        for given in args:
            await self._storage.run(self.transaction_state, statement, tuple(given))

    async def fetch(self, query: str, *args: Any, timeout: float | None = None) -> list[Record]:
        """All rows."""
        statement, rows = await self._rows(query, args)
        return statement.records(rows)

    async def fetchrow(self, query: str, *args: Any, timeout: float | None = None) -> Record | None:
        """The first row."""
        statement, rows = await self._rows(query, args)
        return statement.first(rows[0]) if rows else None

    async def fetchval(self, query: str, *args: Any, column: int = 0, timeout: float | None = None) -> Any:
        """One value of the first row."""
        statement, rows = await self._rows(query, args)
        return statement.first(rows[0])[column] if rows else None

    async def cursor(self, query: str, *args: Any, prefetch: int | None = None) -> AsyncIterator[Record]:
        """Rows one after the other; the query sees what is there when the first is asked for."""
        for row in await self.fetch(query, *args):
            yield row

    async def copy_from_query(
        self,
        query: str,
        *args: Any,
        output: Callable[[bytes], Awaitable[None]],
        format: str | None = None,
        timeout: float | None = None,
    ) -> str:
        """Rows in the binary format of COPY, handed to `output`."""
        if format != "binary":
            raise UnsupportedSql(f"COPY in format {format}")
        statement, rows = await self._rows(query, args)
        await output(binary_copy(rows, [kind for _, kind in statement.columns]))
        return f"COPY {len(rows)}"

    async def copy_records_to_table(
        self, table_name: str, *, records: Any, columns: Sequence[str] | None = None, timeout: float | None = None
    ) -> str:
        """Insert rows given in the order of the table's columns."""
        table = self._storage.catalog_table(table_name)
        names = list(columns) if columns is not None else [column.name for column in table.columns]
        places = ", ".join(f"${number}" for number in range(1, len(names) + 1))
        statement = self._storage.statement(f"INSERT INTO {table_name} ({', '.join(names)}) VALUES ({places})")
        await self._until(self._arrive(f"copy {table_name}"))
        count = 0
        given = [row async for row in records] if hasattr(records, "__aiter__") else records
        for row in given:
            await self._storage.run(self.transaction_state, statement, tuple(row))
            count += 1
        return f"COPY {count}"

    async def _rows(self, query: str, args: tuple[Any, ...]) -> tuple[Statement, list[Values]]:
        storage, transaction = self._storage, self.transaction_state
        statement = storage.statement(query)
        waits = self._arrive(statement.title)
        if waits is not None:
            await self._until(waits)
        if statement.alone is not None:
            return statement, storage.run_alone(transaction, statement.alone, statement, args)
        return statement, (await storage.run(transaction, statement, args)).rows

    async def begin_nested(self) -> Savepoint:
        """SAVEPOINT."""
        await self._until(self._arrive("savepoint"))
        savepoint = Savepoint(self.transaction_state)
        self.transaction_state.savepoints.append(savepoint)
        return savepoint

    async def end_nested(self, savepoint: Savepoint, *, keep: bool) -> None:
        """RELEASE, or ROLLBACK TO. Raises asyncpg.InFailedSQLTransactionError: there is nothing to keep."""
        transaction = self.transaction_state
        if transaction.ended:
            if keep:
                self._refuse()
            return
        failed, transaction.failed = transaction.failed, False
        transaction.savepoints.remove(savepoint)
        if failed or not keep:
            self._storage.roll_back_to(transaction, savepoint)
        if failed and keep:
            transaction.failed = True
            self._refuse()

    def _arrive(self, what: str) -> Awaitable[None] | None:
        """A statement reaches the server, or the connection breaks before it does: what to wait for, `_until` it."""
        if self.transaction_state.ended or self.transaction_state.failed:
            self._refuse()
        try:
            return self._storage.hooks.point("statement", what)
        except LOST:
            self._storage.lose(self.transaction_state)
            raise

    async def _until(self, waits: Awaitable[None] | None) -> None:
        try:
            if waits is not None:
                await waits
        except LOST:
            self._storage.lose(self.transaction_state)
            raise
        if self.transaction_state.ended:
            self._refuse()

    def _refuse(self) -> None:
        """Why a transaction that has ended takes no statement.

        Raises asyncpg.InterfaceError, asyncpg.ConnectionDoesNotExistError, asyncpg.InFailedSQLTransactionError.
        """
        if self.transaction_state.lost:
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
        if self.transaction_state.failed:
            raise postgres_error(
                asyncpg.InFailedSQLTransactionError,
                "current transaction is aborted, commands ignored until end of transaction block",
            )
        raise asyncpg.InterfaceError("the transaction has ended")


class Nested:
    """`async with` around a savepoint: an error takes back what was done since, and the transaction goes on."""

    __slots__ = ("_connection", "_savepoint")

    def __init__(self, connection: SimConnection) -> None:
        self._connection = connection
        self._savepoint: Savepoint | None = None

    async def __aenter__(self) -> None:
        self._savepoint = await self._connection.begin_nested()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._savepoint is not None
        await self._connection.end_nested(self._savepoint, keep=error is None)
