"""Usage counters and the quota of a tenant (formats 9.9 "Usage", rest-api D.12, E.5).

The catalogue counts the stored bytes of ``snapshot_file`` rows whose snapshot is not being removed, in the transaction
that changes them; the chunks process counts chunks in rows of its own.
"""

from __future__ import annotations

from pbs_cloud.chunkstore.states import UsageWriter
from pbs_cloud.contracts.errors import QuotaExceeded
from pbs_cloud.runtime.database import Connection

UNLIMITED = 1 << 50
"""What a tenant without quota is shown as free: 1 PiB."""


async def tenant_bytes(connection: Connection, tenant_id: str) -> int:
    """Bytes of all datastores of a tenant, removed ones that still hold bytes included."""
    return int(
        await connection.fetchval(
            "SELECT coalesce(sum(bytes), 0)::bigint FROM usage_counter WHERE tenant_id = $1", tenant_id
        )
    )


async def store_bytes(connection: Connection, store_id: int) -> int:
    """Bytes of one datastore."""
    return int(
        await connection.fetchval(
            "SELECT coalesce(sum(bytes), 0)::bigint FROM usage_counter WHERE datastore_id = $1", store_id
        )
    )


async def named_store_bytes(connection: Connection, tenant_id: str, name: str) -> int:
    """Bytes of the active datastore of this name; 0 without one."""
    return int(
        await connection.fetchval(
            "SELECT coalesce(sum(u.bytes), 0)::bigint FROM usage_counter u JOIN datastore d ON d.id = u.datastore_id"
            " WHERE d.tenant_id = $1 AND d.name = $2 AND d.state = 'active'",
            tenant_id,
            name,
        )
    )


async def add_bytes(connection: Connection, tenant_id: str, store_id: int, delta: int) -> None:
    """Change the catalogue's counter; call it late in a transaction, its row is shared by all of a datastore."""
    if delta:
        await connection.execute(
            "INSERT INTO usage_counter (datastore_id, writer, tenant_id, bytes) VALUES ($1, $2, $3, $4)"
            " ON CONFLICT (datastore_id, writer) DO UPDATE SET bytes = usage_counter.bytes + excluded.bytes",
            store_id,
            int(UsageWriter.CATALOGUE),
            tenant_id,
            delta,
        )


async def require_room(connection: Connection, tenant_id: str, quota: int | None, more: int = 0) -> None:
    """Raises QuotaExceeded if the quota is used up, or would be passed by ``more`` bytes."""
    if quota is None:
        return
    used = await tenant_bytes(connection, tenant_id)
    if used + more > quota or used >= quota:
        raise QuotaExceeded(f"Quota exceeded: {used} of {quota} bytes are used")
