"""The same statements on the model and on a real Postgres, and what both answered in a form that can be compared."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import asyncpg
from testkit.simulator.postgres import SimPostgres

from pbs_cloud.runtime.database import _install_codecs

NOW = datetime.now(UTC)
_ROUGH_SECONDS = 1000.0
_MOST_OFF = 100_000.0


class Clock:
    """Hooks that let everything pass."""

    async def point(self, kind: str, detail: str) -> None:
        """Nothing happens."""

    def now(self) -> datetime:
        """The real time, as the real server has it."""
        return datetime.now(UTC)


def comparable(value: Any, known: frozenset[Any]) -> Any:
    """A value of an answer without what differs from server to server: generated UUIDs, the exact time."""
    if isinstance(value, uuid.UUID):
        value = uuid.UUID(int=value.int)
        return value if value in known else "a new uuid"
    if isinstance(value, datetime):
        return value if value in known else f"about {round((value - NOW).total_seconds() / _ROUGH_SECONDS)}"
    if isinstance(value, (int, float)) and abs(value - NOW.timestamp()) < _MOST_OFF:
        return f"about {round((value - NOW.timestamp()) / _ROUGH_SECONDS)}"
    if isinstance(value, float):
        return f"about {round(value / _ROUGH_SECONDS)}"
    if isinstance(value, list):
        return [comparable(item, known) for item in value]
    return (type(value).__name__, value)


def rows_of(found: Sequence[Any], known: frozenset[Any]) -> list[Any]:
    """Rows with the names of their columns."""
    return [[(name, comparable(row[number], known)) for number, name in enumerate(row.keys())] for row in found]


class RealSession:
    """A session on the server."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self._transaction: Any = None

    @classmethod
    async def connect(cls, url: str, schema: str) -> RealSession:
        """A connection like those of the services."""
        connection = await asyncpg.connect(url, server_settings={"search_path": schema, "jit": "off"})
        await _install_codecs(connection)
        return cls(connection)

    async def begin(self, tenant: str, *, isolated: bool = False) -> Any:
        """Begin a transaction: the connection."""
        self._transaction = self.connection.transaction(isolation="repeatable_read" if isolated else None)
        await self._transaction.start()
        await self.connection.execute("SELECT set_config('pbs.tenant', $1, true)", tenant)
        return self.connection

    async def end(self, *, commit: bool) -> None:
        """Commit or roll back."""
        await (self._transaction.commit() if commit else self._transaction.rollback())


class ModelSession:
    """A session on the model."""

    def __init__(self, postgres: SimPostgres, schema: str) -> None:
        self._database = postgres.database(schema)
        self._transaction: Any = None

    async def begin(self, tenant: str, *, isolated: bool = False) -> Any:
        """Begin a transaction: the connection."""
        if tenant == "*":
            self._transaction = self._database.system(isolation="repeatable_read" if isolated else None)
        else:
            self._transaction = self._database.tenant(tenant)
        return await self._transaction.__aenter__()

    async def end(self, *, commit: bool) -> None:
        """Commit or roll back."""
        error = None if commit else RuntimeError("roll back")
        await self._transaction.__aexit__(type(error), error, None)


def failure(error: BaseException) -> str:
    """An error without what only a server says: the class decides what callers do."""
    return f"{type(error).__name__}"


async def settled() -> None:
    """Let everything that can go on in this process go on."""
    for _ in range(20):
        await asyncio.sleep(0)
