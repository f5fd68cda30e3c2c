"""SQL of the billing service; every function runs in the transaction of the connection it gets."""

from __future__ import annotations

import uuid

from pbs_cloud.billing.usage import WHOLE_TENANT, UsageChange, hour_of
from pbs_cloud.contracts.billing import Usage
from pbs_cloud.contracts.events import Event
from pbs_cloud.runtime.database import Connection

_ADD_HOUR = """
    INSERT INTO usage_hour AS u (tenant_id, store, hour, upload_bytes, download_bytes, backup_count, deleted_count,
                                 api_requests, storage_bytes)
    VALUES ($1, $2, $9, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (tenant_id, store, hour) DO UPDATE SET
        upload_bytes = u.upload_bytes + excluded.upload_bytes,
        download_bytes = u.download_bytes + excluded.download_bytes,
        backup_count = u.backup_count + excluded.backup_count,
        deleted_count = u.deleted_count + excluded.deleted_count,
        api_requests = u.api_requests + excluded.api_requests,
        storage_bytes = coalesce(excluded.storage_bytes, u.storage_bytes)
"""
_ADD_TOTAL = """
    INSERT INTO usage_total AS u (tenant_id, store, updated_at, upload_bytes, download_bytes, backup_count,
                                  deleted_count, api_requests, storage_bytes)
    VALUES ($1, $2, $9, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (tenant_id, store) DO UPDATE SET
        upload_bytes = u.upload_bytes + excluded.upload_bytes,
        download_bytes = u.download_bytes + excluded.download_bytes,
        backup_count = u.backup_count + excluded.backup_count,
        deleted_count = u.deleted_count + excluded.deleted_count,
        api_requests = u.api_requests + excluded.api_requests,
        storage_bytes = coalesce(excluded.storage_bytes, u.storage_bytes),
        updated_at = greatest(u.updated_at, excluded.updated_at)
"""


async def remember_event(connection: Connection, event: Event) -> bool:
    """Whether the event is new; an id is new once."""
    statement = """
        INSERT INTO metering_event (id, tenant_id, type, store, bytes, occurred_at, metadata)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING RETURNING true
    """
    store = event.metadata.get("store", WHOLE_TENANT)
    new = await connection.fetchval(
        statement,
        uuid.UUID(event.id),
        event.tenant_id,
        event.type.value,
        store,
        event.bytes,
        event.occurred_at,
        event.metadata,
    )
    return bool(new)


async def add(connection: Connection, tenant_id: str, change: UsageChange, moment: int) -> None:
    """Move the counters of the hour of ``moment`` and the totals."""
    values = (
        tenant_id,
        change.store,
        change.upload_bytes,
        change.download_bytes,
        change.backup_count,
        change.deleted_count,
        change.api_requests,
        change.storage_bytes,
    )
    await connection.execute(_ADD_HOUR, *values, hour_of(moment))
    await connection.execute(_ADD_TOTAL, *values, moment)


async def tenant_usage(connection: Connection, tenant_id: str) -> Usage | None:
    """Sums over all stores; storage is the tenant's own figure. None before anything was counted."""
    statement = """
        SELECT coalesce(max(storage_bytes) FILTER (WHERE store = ''), 0), sum(upload_bytes)::bigint,
               sum(download_bytes)::bigint, sum(backup_count)::bigint, sum(api_requests)::bigint, max(updated_at)
        FROM usage_total WHERE tenant_id = $1 HAVING count(*) > 0
    """
    row = await connection.fetchrow(statement, tenant_id)
    return Usage(*row) if row else None


async def store_usage(connection: Connection, tenant_id: str, store: str) -> Usage | None:
    """Counters of one datastore; None before anything was counted."""
    statement = """
        SELECT coalesce(storage_bytes, 0), upload_bytes, download_bytes, backup_count, api_requests, updated_at
        FROM usage_total WHERE tenant_id = $1 AND store = $2
    """
    row = await connection.fetchrow(statement, tenant_id, store)
    return Usage(*row) if row else None


async def forget_events(connection: Connection, days: int) -> int:
    """Drop events counted more than ``days`` ago: how many. Counters stay."""
    status = await connection.execute(
        "DELETE FROM metering_event WHERE counted_at < clock_timestamp() - make_interval(days => $1)", days
    )
    return int(status.rpartition(" ")[2])
