"""Rows of kept configuration, inside one tenant."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pbs_cloud.contracts.configuration import ConfigEntry, Section
from pbs_cloud.runtime.database import Connection


async def lock(connection: Connection, tenant_id: str, section: Section) -> None:
    """One change of a tenant's section at a time, so that a digest is compared with what is changed."""
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended($1, 2))", f"gc configuration {section} {tenant_id}"
    )


async def all_of(connection: Connection, tenant_id: str, section: Section) -> list[ConfigEntry]:
    """Entries of a section by id."""
    rows = await connection.fetch(
        "SELECT id, fields FROM config_entry WHERE tenant_id = $1 AND section = $2 ORDER BY id", tenant_id, section
    )
    return [ConfigEntry(row["id"], row["fields"]) for row in rows]


async def insert(
    connection: Connection, tenant_id: str, section: Section, entry: ConfigEntry, secret: bytes | None
) -> bool:
    """Whether the id was free."""
    done = await connection.execute(
        "INSERT INTO config_entry (tenant_id, section, id, fields, secret) VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT DO NOTHING",
        tenant_id,
        section,
        entry.id,
        dict(entry.fields),
        secret,
    )
    return bool(done == "INSERT 0 1")


async def change(
    connection: Connection,
    tenant_id: str,
    section: Section,
    entry_id: str,
    fields: Mapping[str, Any],
    secret: bytes | None,
) -> None:
    """New fields; the secret stays without a new one."""
    await connection.execute(
        "UPDATE config_entry SET fields = $4, secret = coalesce($5, secret)"
        " WHERE tenant_id = $1 AND section = $2 AND id = $3",
        tenant_id,
        section,
        entry_id,
        dict(fields),
        secret,
    )


async def delete(connection: Connection, tenant_id: str, section: Section, entry_id: str) -> None:
    """Remove an entry with its secret."""
    await connection.execute(
        "DELETE FROM config_entry WHERE tenant_id = $1 AND section = $2 AND id = $3", tenant_id, section, entry_id
    )


async def delete_of_store(connection: Connection, tenant_id: str, store: str) -> None:
    """Remove the sync jobs of a datastore."""
    await connection.execute(
        "DELETE FROM config_entry WHERE tenant_id = $1 AND section = $2 AND fields->>'store' = $3",
        tenant_id,
        Section.SYNC,
        store,
    )


async def delete_of_tenant(connection: Connection, tenant_id: str) -> None:
    """Remove everything of a tenant that is gone."""
    await connection.execute("DELETE FROM config_entry WHERE tenant_id = $1", tenant_id)


def digest_of(tenant_id: str, entries: list[ConfigEntry]) -> str:
    """SHA-256 over all entries of a section; equal ones differ between tenants (rest-api E.10)."""
    found = [[entry.id, entry.fields] for entry in entries]
    canonical = json.dumps([tenant_id, found], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
