"""Numbers of a datastore and of a tenant (rest-api C.4, E.5)."""

from __future__ import annotations

import json
from typing import Any

from pbs_cloud.chunkstore.catalogue.namespaces import VISIBLE, paths_below, shown_namespaces
from pbs_cloud.chunkstore.catalogue.parts import Parts
from pbs_cloud.chunkstore.catalogue.rows import Store, find_store, usable_store
from pbs_cloud.chunkstore.catalogue.usage import UNLIMITED, store_bytes, tenant_bytes
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import CallContext, Caller
from pbs_cloud.contracts.errors import PermissionDenied
from pbs_cloud.contracts.rights import Privilege, datastore_path, has_any_below, privileges
from pbs_cloud.runtime.database import Connection

_NUMBERS = frozenset({Privilege.DATASTORE_AUDIT, Privilege.DATASTORE_BACKUP})
# formats 9.8, before any run
NO_GC: dict[str, Any] = {
    "upid": None,
    **dict.fromkeys(
        (
            "index-file-count",
            "index-data-bytes",
            "disk-bytes",
            "disk-chunks",
            "removed-bytes",
            "removed-chunks",
            "pending-bytes",
            "pending-chunks",
            "removed-bad",
            "still-bad",
        ),
        0,
    ),
}
_COUNTS = """
SELECT g.backup_type, count(DISTINCT g.id) AS groups, count(*) AS snapshots
FROM backup_group g JOIN namespace n ON n.id = g.namespace_id JOIN snapshot s ON s.group_id = g.id
WHERE g.datastore_id = $1 AND s.state <> 'removing' AND (n.path = ANY($2::text[])
  OR (n.path = ANY($3::text[]) AND (g.owner = $4 OR split_part(g.owner, '!', 1) = $4)))
GROUP BY g.backup_type ORDER BY g.backup_type
"""


class StoreStatus:
    """Answers how much there is."""

    def __init__(self, parts: Parts) -> None:
        self._database = parts.database

    async def status(self, ctx: CallContext, name: str, *, verbose: bool, any_mode: bool = False) -> t.DatastoreStatus:
        """Zeros for callers who may only read, or have rights only below; ``any_mode``: maintenance or not.

        Raises PermissionDenied, NotFound, Conflict.
        """
        path = datastore_path(name)
        held = privileges(ctx.caller, path)
        if not held & VISIBLE and not has_any_below(ctx.caller, path, VISIBLE):
            raise PermissionDenied("permission check failed")
        full = bool(held & _NUMBERS)
        async with self._database.tenant(ctx.tenant_id) as connection:
            if any_mode:
                store = await find_store(connection, ctx.tenant_id, name)
            else:
                store = await usable_store(connection, ctx.caller, name, writing=False)
            total, used, avail = await _numbers(connection, ctx.caller, store) if full else (0, 0, 0)
            counts = await _counts(connection, ctx.caller, store) if verbose else ()
            readers, writers = await _operations(connection, store)
        return t.DatastoreStatus(
            total=total,
            used=used,
            avail=avail,
            counts=counts,
            active_readers=readers,
            active_writers=writers,
            gc_status=json.dumps(store.gc_status or NO_GC) if full else None,
        )

    async def tenant(self, ctx: CallContext) -> t.TenantUsage:
        """What the caller's tenant stores."""
        async with self._database.tenant(ctx.tenant_id) as connection:
            used = await tenant_bytes(connection, ctx.tenant_id)
            snapshots = await connection.fetchval(
                "SELECT count(*) FROM snapshot WHERE tenant_id = $1 AND state = 'committed'", ctx.tenant_id
            )
        return t.TenantUsage(used, snapshots)


async def _numbers(connection: Connection, caller: Caller, store: Store) -> tuple[int, int, int]:
    """Total, used, available: the tenant's quota over all its datastores."""
    used = max(await store_bytes(connection, store.id), 0)
    if caller.quota_bytes is None:
        return used + UNLIMITED, used, UNLIMITED
    free = max(caller.quota_bytes - await tenant_bytes(connection, caller.tenant_id), 0)
    return max(caller.quota_bytes, 1), used, free


async def _counts(connection: Connection, caller: Caller, store: Store) -> tuple[t.TypeCount, ...]:
    """Groups and snapshots by type, as far as the caller may see them."""
    shown = shown_namespaces(await paths_below(connection, store, ""), caller, store.name)
    audited = [ns for ns in shown if Privilege.DATASTORE_AUDIT in privileges(caller, datastore_path(store.name, ns))]
    others = [ns for ns in shown if ns not in set(audited)]
    rows = await connection.fetch(_COUNTS, store.id, audited, others, caller.auth_id)
    return tuple(t.TypeCount(**row) for row in rows)


async def _operations(connection: Connection, store: Store) -> tuple[int, int]:
    row = await connection.fetchrow(
        "SELECT count(*) FILTER (WHERE kind = 'reader') AS readers, count(*) FILTER (WHERE kind <> 'reader') AS writers"
        " FROM session WHERE datastore_id = $1 AND state = 'active' AND lease_until > clock_timestamp()",
        store.id,
    )
    return row["readers"], row["writers"]
