"""The schema: every table is guarded by row-level security, partitions included."""

import asyncpg
import pytest

from pbs_cloud.runtime.database import Database


async def test_every_table_forces_row_level_security(database: Database) -> None:
    async with database.system() as connection:
        rows = await connection.fetch(
            "SELECT relname, relrowsecurity AND relforcerowsecurity AS forced FROM pg_class"
            " WHERE relnamespace = 'chunkstore'::regnamespace AND relkind IN ('r', 'p')"
        )
    unguarded = {row["relname"] for row in rows if not row["forced"]}
    assert unguarded == {"alembic_version", "outbox_sequence"}


async def test_another_tenant_neither_reads_nor_writes(database: Database) -> None:
    insert = "INSERT INTO datastore (tenant_id, name, backend_type, location) VALUES ($1, 'alpha', 'filesystem', 'x')"
    async with database.tenant("schema-a") as connection:
        await connection.execute(insert, "schema-a")
    async with database.tenant("schema-b") as connection:
        assert await connection.fetchval("SELECT count(*) FROM datastore") == 0
        assert await connection.execute("UPDATE datastore SET name = 'beta'") == "UPDATE 0"
        assert await connection.execute("DELETE FROM datastore WHERE tenant_id = 'schema-a'") == "DELETE 0"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.tenant("schema-b") as connection:
            await connection.execute(insert, "schema-a")
