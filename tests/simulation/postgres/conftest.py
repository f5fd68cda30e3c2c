"""Databases of the real server for the comparisons, and sessions on them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio
from simulation.postgres.both import RealSession
from simulation.postgres.interleaving import DEADLOCK_SECONDS, Server
from testkit.servers import PostgresServer


@pytest.fixture(scope="session")
def real_databases(postgres: PostgresServer) -> dict[str, str]:
    """URL by schema: one database each for all tests here, which clear it before they use it."""
    return {schema: asyncio.run(postgres.service_database(schema)) for schema in ("chunkstore", "gc")}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def servers(postgres: PostgresServer, real_databases: dict[str, str]) -> AsyncIterator[dict[str, Server]]:
    """Sessions of both schemas."""
    found: dict[str, Server] = {}
    admin = await asyncpg.connect(postgres.url)
    for schema, url in real_databases.items():
        await admin.execute(f"ALTER ROLE pbs_{schema} SET deadlock_timeout = '{DEADLOCK_SECONDS}s'")
        sessions = {name: await RealSession.connect(url, schema) for name in ("A", "B", "C", "watcher")}
        found[schema] = Server(schema, sessions)
        await admin.execute(f"ALTER ROLE pbs_{schema} RESET deadlock_timeout")
    yield found
    for server in found.values():
        for session in server.sessions.values():
            await session.connection.close()
    await admin.close()
