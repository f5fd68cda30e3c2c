"""Postgres for one service: a pool in its schema, tenant-bound transactions, patience while the server is away."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg

from pbs_cloud.contracts.errors import Unavailable
from pbs_cloud.runtime.cancelling import cancel_and_wait
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.lifecycle import Component
from pbs_cloud.runtime.logging import get_logger
from pbs_cloud.runtime.revisions import head_revision, is_current

T = TypeVar("T")
Connection = Any  # asyncpg carries no types: a pooled `asyncpg.Connection`

ALL_TENANTS = "*"
WAIT_SECONDS = 30.0
_CONNECT_SECONDS = 5.0
_STATEMENT_SECONDS = 60.0
_CONFLICT_RETRIES = 10
_WATCH_SECONDS = 1.0
_QUIET_SECONDS = 5.0  # everything starts at once: a short wait is no news
_CONFLICTS = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
_SERVER_WENT = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
)
# The server answers and cannot do its work: no room, no memory, a statement that was cut off.
_UNABLE = (asyncpg.InsufficientResourcesError, asyncpg.OperatorInterventionError)
_AWAY = "the database is not available"

_log = get_logger(__name__)


class Database(Component):
    """Pool of connections that log in as the service's role, with `search_path` set to its schema.

    Every statement runs in `tenant()` or `system()`: outside them row-level security refuses all rows. `json` and
    `jsonb` columns are Python values. A lost connection surfaces as `contracts.errors.Unavailable`; the pool outlives
    restarts of the server.
    """

    name = "database"

    def __init__(
        self, url: str, *, schema: str, application_name: str, max_size: int = 10, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self.schema = schema
        self._clock = clock
        self._head = head_revision(schema)
        self._reachable = False
        self._closed = False
        self._pool_arguments: dict[str, Any] = {
            "dsn": url,
            "min_size": 0,
            "max_size": max_size,
            "timeout": _CONNECT_SECONDS,
            "command_timeout": _STATEMENT_SECONDS,
            "init": _install_codecs,
            "reset": _keep_as_it_is,
            "server_settings": {"search_path": schema, "application_name": application_name},
        }
        self._pool: Any = None
        self._watcher: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect; waits for the server and for the schema's migrations as long as it takes."""
        delay, reason, patience = 0.02, None, time.monotonic() + _QUIET_SECONDS
        while (problem := await self._connect()) is not None:
            if problem != reason and time.monotonic() > patience:
                _log.info("waiting for the database", schema=self.schema, reason=problem)
                reason = problem
            await self._clock.sleep(delay)
            delay = min(delay * 1.5, 0.5)
        self._reachable = True
        self._watcher = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Close all connections; waits at most five seconds for running transactions."""
        self._closed, self._reachable = True, False
        if self._watcher is not None:
            await cancel_and_wait([self._watcher])
        if self._pool is None:
            return
        try:
            await asyncio.wait_for(self._pool.close(), 5.0)
        except TimeoutError:
            self._pool.terminate()

    def ready(self) -> bool:
        """Whether the server could be used within the last seconds."""
        return self._reachable

    async def ping(self, timeout: float = 2.0) -> bool:
        """Whether a statement can run right now."""
        try:
            async with self.system(wait=timeout) as connection:
                await connection.execute("SELECT 1")
        except Unavailable:
            return False
        return True

    @asynccontextmanager
    async def tenant(self, tenant_id: str, *, wait: float = WAIT_SECONDS) -> AsyncIterator[Connection]:
        """A transaction that sees only rows of `tenant_id`.

        Args:
            wait: seconds to wait for a server that is away, before the transaction has begun.

        Raises:
            Unavailable: no connection in `wait` seconds, or it was lost before the commit was confirmed.
        """
        if tenant_id in ("", ALL_TENANTS):
            raise ValueError(f"{tenant_id!r} is no tenant")
        async with self._transaction(tenant_id, wait, None) as connection:
            yield connection

    @asynccontextmanager
    async def system(self, *, wait: float = WAIT_SECONDS, isolation: str | None = None) -> AsyncIterator[Connection]:
        """A transaction that sees all tenants, for jobs that cross them; never for the request of a tenant.

        Args:
            wait: as in `tenant`.
            isolation: `repeatable_read` or `serializable`; default read committed.
        """
        async with self._transaction(ALL_TENANTS, wait, isolation) as connection:
            yield connection

    async def retrying(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run `work`, which opens its own transaction, again after a serialization failure or a deadlock."""
        for attempt in range(_CONFLICT_RETRIES):
            try:
                return await work()
            except _CONFLICTS:
                await self._clock.sleep((0.5 + secrets.randbelow(1000) / 1000) * 0.005 * 2 ** min(attempt, 6))
        return await work()

    async def _connect(self) -> str | None:
        """What is missing; None when the pool stands and the schema is migrated."""
        try:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(**self._pool_arguments)
            async with self.system(wait=0.0) as connection:
                if self._head is None:
                    return None
                found = await connection.fetchval("SELECT version_num FROM alembic_version")
        except (OSError, Unavailable, asyncpg.InterfaceError) as error:
            return str(error) or type(error).__name__
        except asyncpg.PostgresError as error:
            return str(error)
        return None if is_current(found, self._head) else f"schema is at {found}, needs {self._head}"

    @asynccontextmanager
    async def _transaction(self, tenant_id: str, wait: float, isolation: str | None) -> AsyncIterator[Connection]:
        connection, transaction = await self._begin(tenant_id, wait, isolation)
        try:
            try:
                yield connection
            except BaseException:
                await _roll_back(connection, transaction)
                raise
            await transaction.commit()
        except (OSError, asyncpg.InterfaceError, asyncpg.PostgresError) as error:
            lost = _is_lost(connection, error)
            if not lost and not isinstance(error, _UNABLE):
                raise
            self._reachable = self._reachable and not lost
            raise Unavailable(_AWAY) from error
        finally:
            await self._release(connection)

    async def _begin(self, tenant_id: str, wait: float, isolation: str | None) -> tuple[Connection, Any]:
        """A connection with an open transaction bound to the tenant."""
        deadline, delay = self._clock.monotonic() + wait, 0.02
        while True:
            if self._pool is None or self._closed:
                raise Unavailable(_AWAY)
            remaining = max(deadline - self._clock.monotonic(), 0.0)
            try:
                begun = await self._begin_once(tenant_id, max(remaining, 1.0), isolation)
            except (OSError, asyncpg.InterfaceError, *_SERVER_WENT) as error:
                self._reachable = self._reachable and self._all_in_use()
                if remaining <= delay:
                    raise Unavailable(_AWAY) from error
            else:
                self._reachable = True
                return begun
            await self._clock.sleep(delay)
            delay = min(delay * 2, 1.0)

    def _all_in_use(self) -> bool:
        """Whether a wait for a connection says nothing about the server."""
        return bool(self._pool.get_idle_size() == 0 and self._pool.get_size() == self._pool.get_max_size())

    async def _watch(self) -> None:
        """Notice that the server went or came back also when nobody asks it."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            if not self._all_in_use():
                await self.ping(1.0)

    async def _begin_once(self, tenant_id: str, timeout: float, isolation: str | None) -> tuple[Connection, Any]:
        connection = await self._pool.acquire(timeout=timeout)
        try:
            transaction = connection.transaction(isolation=isolation)
            await transaction.start()
            await connection.fetchval("SELECT set_config('pbs.tenant', $1, true)", tenant_id)
        except BaseException:
            await self._release(connection)
            raise
        return connection, transaction

    async def _release(self, connection: Connection) -> None:
        try:
            await self._pool.release(connection)
        except asyncpg.InternalClientError as error:  # lost at this very moment: the pool has taken it back already
            _log.debug("a lost connection was released twice", error=str(error))


async def _roll_back(connection: Connection, transaction: Any) -> None:
    if _is_closed(connection):
        return
    try:
        await transaction.rollback()
    except (OSError, asyncpg.InterfaceError, asyncpg.PostgresError) as error:
        _log.debug("rollback failed", error=str(error))


def _is_closed(connection: Connection) -> bool:
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:  # the pool has taken it back already, because it was lost
        return True


def _is_lost(connection: Connection, error: BaseException) -> bool:
    return isinstance(error, _SERVER_WENT) or _is_closed(connection)


async def _keep_as_it_is(_connection: Connection) -> None:
    """Nothing outlives a transaction here, so the pool's usual reset would be one round trip for nothing.

    A transaction that is still open is rolled back by the pool all the same.
    """


async def _install_codecs(connection: Connection) -> None:
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, encoder=_encode_json, decoder=json.loads, schema="pg_catalog")


def _encode_json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
