"""Rows of ``tenant``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from pbs_cloud.auth.db.rows import pick_all, pick_one
from pbs_cloud.contracts.auth import Tenant
from pbs_cloud.contracts.context import SYSTEM_AUTH_ID
from pbs_cloud.runtime.database import Connection

# Realms of the tenant of root@pam, whose slug is the first of them (rest-api E.2).
BUILT_IN_REALMS = ("pbs", "pam")


async def by_id(connection: Connection, tenant_id: str) -> Tenant | None:
    return pick_one(Tenant, await connection.fetchrow("SELECT * FROM tenant WHERE id = $1", tenant_id))


async def lock(connection: Connection, tenant_id: str) -> Tenant | None:
    """As ``by_id``; nobody else changes the tenant until the commit."""
    return pick_one(Tenant, await connection.fetchrow("SELECT * FROM tenant WHERE id = $1 FOR UPDATE", tenant_id))


async def all_tenants(connection: Connection) -> list[Tenant]:
    """In order of their creation."""
    return pick_all(Tenant, await connection.fetch("SELECT * FROM tenant ORDER BY created_at, id"))


async def insert(connection: Connection, tenant: Tenant) -> None:
    """Raises asyncpg's ``UniqueViolationError`` when id or slug is taken."""
    statement = """
        INSERT INTO tenant (id, name, slug, created_at, active, quota_bytes, metadata, maintenance)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    """
    await connection.execute(statement, *dataclasses.astuple(tenant))


async def update(connection: Connection, tenant_id: str, values: Mapping[str, Any]) -> None:
    """Set the given columns, any of name, active, quota_bytes, metadata, maintenance."""
    statement = """
        UPDATE tenant t
        SET (name, active, quota_bytes, metadata, maintenance)
          = (SELECT name, active, quota_bytes, metadata, maintenance FROM jsonb_populate_record(t, $2))
        WHERE t.id = $1
    """
    await connection.execute(statement, tenant_id, dict(values))


async def delete(connection: Connection, tenant_id: str) -> None:
    """Users, tokens and ACL entries go with it; audit log and outbox stay."""
    await connection.execute("DELETE FROM tenant WHERE id = $1", tenant_id)


async def is_slug_taken(connection: Connection, slug: str) -> bool:
    """Whether another tenant has the slug, or a realm has the name; upper and lower case are alike."""
    if slug.lower() in BUILT_IN_REALMS:
        return True
    statement = """
        SELECT EXISTS (SELECT FROM tenant WHERE lower(slug) = lower($1))
            OR EXISTS (SELECT FROM openid_realm WHERE lower(realm) = lower($1))
    """
    return bool(await connection.fetchval(statement, slug))


async def owner_of_realm(connection: Connection, realm: str) -> str | None:
    """The tenant whose users have the realm."""
    if realm in BUILT_IN_REALMS:
        return await root_tenant(connection)
    statement = """
        SELECT id FROM tenant WHERE slug = $1 UNION ALL SELECT tenant_id FROM openid_realm WHERE realm = $1
    """
    found = await connection.fetchval(statement, realm)
    return None if found is None else str(found)


async def root_tenant(connection: Connection) -> str | None:
    """The tenant that ``root@pam`` belongs to: the built-in one."""
    found = await connection.fetchval("SELECT tenant_id FROM tenant_user WHERE userid = $1", SYSTEM_AUTH_ID)
    return None if found is None else str(found)
