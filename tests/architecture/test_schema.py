"""Every table of every service belongs to tenants, and Postgres itself keeps them apart."""

from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from pbs_cloud.runtime.database_urls import SERVICES_WITH_SCHEMA

# Positions and versions, one row each: nothing in them belongs to a tenant.
EXEMPT = {"alembic_version", "outbox_sequence", "inbox"}
# `tenant` is keyed by the tenant itself, the others belong to the system; all have their policies.
OTHER_KEY = {"tenant", "signing_key", "login_failure"}
_TABLES = """
    SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity, c.relispartition,
           EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname IN ('tenant_id', 'tenant')
                   AND a.attnotnull AND NOT a.attisdropped) AS has_tenant,
           (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid) AS policies
    FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
"""


@pytest.mark.parametrize("service", SERVICES_WITH_SCHEMA)
async def test_every_table_has_a_tenant_and_row_level_security(
    service: str, service_database: Callable[[str], Awaitable[str]]
) -> None:
    """`tenant_id NOT NULL`, a policy, enabled and forced for the owner; partitions inherit from their table."""
    connection = await asyncpg.connect(await service_database(service), server_settings={"search_path": service})
    try:
        tables = [dict(row) for row in await connection.fetch(_TABLES) if row["relname"] not in EXEMPT]
        bypasses = await connection.fetchval(
            "SELECT rolbypassrls OR rolsuper FROM pg_roles WHERE rolname = current_user"
        )
    finally:
        await connection.close()
    assert tables, f"{service} has no table"
    assert not bypasses
    without_tenant = [
        table["relname"] for table in tables if not table["has_tenant"] and table["relname"] not in OTHER_KEY
    ]
    unprotected = [
        table["relname"]
        for table in tables
        if not table["relispartition"]
        and not (table["relrowsecurity"] and table["relforcerowsecurity"] and table["policies"])
    ]
    assert (without_tenant, unprotected) == ([], [])


@pytest.mark.parametrize("service", SERVICES_WITH_SCHEMA)
async def test_partitions_cannot_be_read_around_their_table(
    service: str, service_database: Callable[[str], Awaitable[str]]
) -> None:
    """A partition that is addressed by its own name needs a policy of its own, if the service may read it so."""
    connection = await asyncpg.connect(await service_database(service), server_settings={"search_path": service})
    try:
        await connection.execute("SELECT set_config('pbs.tenant', 'nobody', false)")
        for row in await connection.fetch(_TABLES):
            if row["relname"] not in EXEMPT:
                assert await connection.fetch(f'SELECT * FROM "{row["relname"]}" LIMIT 1') == []
    finally:
        await connection.close()
