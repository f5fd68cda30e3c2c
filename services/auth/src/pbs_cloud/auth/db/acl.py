"""Rows of ``acl_entry``."""

from __future__ import annotations

from collections.abc import Iterable

from pbs_cloud.auth.db.rows import pick_all
from pbs_cloud.contracts.context import AclEntry
from pbs_cloud.runtime.database import Connection


async def all_entries(connection: Connection, tenant_id: str) -> tuple[AclEntry, ...]:
    """The whole ACL, in a stable order."""
    statement = "SELECT * FROM acl_entry WHERE tenant_id = $1 ORDER BY path, auth_id, role"
    return tuple(pick_all(AclEntry, await connection.fetch(statement, tenant_id)))


async def entries_of(connection: Connection, tenant_id: str, auth_id: str) -> tuple[AclEntry, ...]:
    """Entries of exactly this auth id."""
    statement = "SELECT * FROM acl_entry WHERE tenant_id = $1 AND auth_id = $2 ORDER BY path, role"
    return tuple(pick_all(AclEntry, await connection.fetch(statement, tenant_id, auth_id)))


async def put(connection: Connection, tenant_id: str, entries: Iterable[AclEntry]) -> None:
    """Add entries; one that is there gets the new propagate flag."""
    await connection.executemany(
        "INSERT INTO acl_entry (tenant_id, path, auth_id, role, propagate) VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT (tenant_id, auth_id, path, role) DO UPDATE SET propagate = excluded.propagate",
        [(tenant_id, entry.path, entry.auth_id, entry.role, entry.propagate) for entry in entries],
    )


async def remove(connection: Connection, tenant_id: str, entries: Iterable[AclEntry]) -> None:
    """Remove entries, whatever their propagate flag."""
    await connection.executemany(
        "DELETE FROM acl_entry WHERE tenant_id = $1 AND auth_id = $2 AND path = $3 AND role = $4",
        [(tenant_id, entry.auth_id, entry.path, entry.role) for entry in entries],
    )


async def remove_all_of(connection: Connection, tenant_id: str, auth_ids: list[str]) -> int:
    """Remove every entry of these auth ids: how many."""
    status = await connection.execute(
        "DELETE FROM acl_entry WHERE tenant_id = $1 AND auth_id = ANY($2::text[])", tenant_id, auth_ids
    )
    return int(status.rpartition(" ")[2])
