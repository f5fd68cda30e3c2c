"""The model's face: `SimPostgres`, and `SimDatabase` in the place of `pbs_cloud.runtime.database.Database`."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TypeVar

import asyncpg
from testkit.simulator.postgres.connection import LOST, SimConnection
from testkit.simulator.postgres.rows import Transaction
from testkit.simulator.postgres.storage import ALL_TENANTS, Hooks, Storage

from pbs_cloud.contracts.errors import Unavailable

T = TypeVar("T")
_AWAY = "the database is not available"
_CONFLICTS = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
_RETRIES = 10
_ISOLATION = {None: False, "read_committed": False, "repeatable_read": True}


class SimPostgres:
    """A Postgres in memory; each schema is that of a service, migrated. The same `seed` makes the same UUIDs."""

    def __init__(self, hooks: Hooks, *, seed: int = 0) -> None:
        self._hooks = hooks
        self._seed = seed
        self._schemas: dict[str, Storage] = {}

    def storage(self, schema: str) -> Storage:
        """The state of a schema, for looking at it."""
        if schema not in self._schemas:
            self._schemas[schema] = Storage(schema, self._hooks, self._seed)
        return self._schemas[schema]

    def database(self, schema: str) -> SimDatabase:
        """A new handle, as one process has it: all handles of a schema share its rows."""
        return SimDatabase(schema, self.storage(schema), random.Random(self._seed))


class SimDatabase:
    """Transactions of one process in one schema (see `pbs_cloud.runtime.database.Database`)."""

    name = "database"

    def __init__(self, schema: str, storage: Storage, jitter: random.Random) -> None:
        self.schema = schema
        self.storage = storage
        self.closed = False
        self._jitter = jitter
        self.open: dict[Transaction, None] = {}

    async def start(self) -> None:
        """Nothing to wait for: the schema is there."""
        self.closed = False

    async def stop(self) -> None:
        """No transaction begins any more."""
        self.closed = True

    def ready(self) -> bool:
        """Whether it was not stopped."""
        return not self.closed

    async def ping(self, timeout: float = 2.0) -> bool:
        """Whether a statement can run."""
        try:
            async with self.system(wait=timeout) as connection:
                await connection.execute("SELECT 1")
        except Unavailable:
            return False
        return True

    def tenant(self, tenant_id: str, *, wait: float = 30.0) -> SimTransaction:
        """A transaction that sees and writes only rows of `tenant_id`."""
        if tenant_id in ("", ALL_TENANTS):
            raise ValueError(f"{tenant_id!r} is no tenant")
        return SimTransaction(self, tenant_id, False)

    def system(self, *, wait: float = 30.0, isolation: str | None = None) -> SimTransaction:
        """A transaction that sees all tenants."""
        return SimTransaction(self, ALL_TENANTS, _ISOLATION[isolation])

    async def retrying(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run `work` again after a serialization failure or a deadlock."""
        for attempt in range(_RETRIES):
            try:
                return await work()
            except _CONFLICTS:
                await asyncio.sleep((0.5 + self._jitter.random()) * 0.005 * 2 ** min(attempt, 6))
        return await work()

    def crash(self) -> None:
        """The process dies: its connections break, the server rolls its transactions back at once."""
        self.closed = True
        for transaction in list(self.open):
            self.storage.lose(transaction)
        self.open.clear()


class SimTransaction:
    """`async with` around a transaction."""

    __slots__ = ("_database", "_isolated", "_tenant", "_transaction")

    def __init__(self, database: SimDatabase, tenant: str, isolated: bool) -> None:
        self._database = database
        self._tenant = tenant
        self._isolated = isolated
        self._transaction: Transaction | None = None

    async def __aenter__(self) -> SimConnection:
        database = self._database
        if database.closed:
            raise Unavailable(_AWAY)
        transaction = database.storage.begin(self._tenant, isolated=self._isolated)
        self._transaction = transaction
        database.open[transaction] = None
        return SimConnection(database.storage, transaction)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        transaction, database = self._transaction, self._database
        assert transaction is not None
        try:
            if error is not None:
                database.storage.roll_back(transaction)
                if transaction.lost and isinstance(error, (OSError, asyncpg.InterfaceError, asyncpg.PostgresError)):
                    raise Unavailable(_AWAY) from error
                return
            await self._commit(transaction)
        finally:
            database.open.pop(transaction, None)

    async def _commit(self, transaction: Transaction) -> None:
        storage, schema = self._database.storage, self._database.schema
        try:
            if (waits := storage.hooks.point("commit", schema)) is not None:
                await waits
        except LOST as error:
            storage.lose(transaction)
            raise Unavailable(_AWAY) from error
        except BaseException:
            storage.roll_back(transaction)
            raise
        if transaction.lost:
            raise Unavailable(_AWAY)
        storage.commit(transaction)
        try:
            if (waits := storage.hooks.point("committed", schema)) is not None:
                await waits
        except Exception as error:
            raise Unavailable(_AWAY) from error
