"""The real server's tables between tests."""

from __future__ import annotations

from simulation.postgres.both import RealSession
from testkit.simulator.postgres.migrations import catalog_of

_RESTART = (
    "SELECT setval(oid, 1, false) FROM pg_class WHERE relkind = 'S' AND relnamespace = current_schema()::regnamespace"
)


async def clear(session: RealSession, schema: str) -> None:
    """Empty all tables (`outbox_sequence` keeps its row); identities count from 1 again."""
    tables = [table.name for table in catalog_of(schema).tables.values() if not table.temporary]
    deletes = [f"DELETE FROM {name}" for name in reversed(tables) if name != "outbox_sequence"]
    connection = await session.begin("*")
    await connection.execute("; ".join(deletes))
    await connection.fetch(_RESTART)
    await session.end(commit=True)
