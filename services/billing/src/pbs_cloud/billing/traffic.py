"""Bytes read and written per datastore over time, from what sessions report when they end (rest-api C.9).

A session's bytes are spread evenly over the time that it lasted, so that a long backup is no peak of its last minute.
"""

from __future__ import annotations

from typing import Final

from pbs_cloud.billing.usage import WHOLE_TENANT
from pbs_cloud.contracts.events import Event, EventType
from pbs_cloud.runtime.database import Connection

# $3: steps; $4: the first slot of each that the session touches and that is still kept; $5, $6: bytes; $7, $8: from, to
_SPREAD: Final = """
    INSERT INTO traffic_slot AS t (tenant_id, store, step, slot, read_bytes, write_bytes)
    SELECT $1, $2, k.step, slot, $5::float8 * part, $6::float8 * part
    FROM unnest($3::int[], $4::bigint[]) AS k (step, first)
    CROSS JOIN LATERAL generate_series(k.first, $8::bigint - 1, k.step::bigint) AS slot
    CROSS JOIN LATERAL (
        SELECT (least(slot + k.step, $8::bigint) - greatest(slot, $7::bigint))::float8 / ($8::bigint - $7::bigint)
    ) AS p (part)
    ON CONFLICT (tenant_id, store, step, slot) DO UPDATE SET
        read_bytes = t.read_bytes + excluded.read_bytes, write_bytes = t.write_bytes + excluded.write_bytes
"""


async def spread(connection: Connection, event: Event, kept_seconds: dict[int, int]) -> None:
    """Count a finished backup or restore; in the transaction that counts the event. ``kept_seconds``: by step."""
    store = event.metadata.get("store", WHOLE_TENANT)
    if (
        event.type not in (EventType.BACKUP_CREATED, EventType.DATA_RESTORED)
        or store == WHOLE_TENANT
        or not event.bytes
    ):
        return
    written = event.bytes if event.type is EventType.BACKUP_CREATED else 0
    end = event.occurred_at
    begin = end - max(int(event.metadata.get("seconds", 1)), 1)
    first = [max(begin, end - kept) // step * step for step, kept in kept_seconds.items()]
    await connection.execute(
        _SPREAD, event.tenant_id, store, list(kept_seconds), first, event.bytes - written, written, begin, end
    )


async def forget(connection: Connection, tenant_id: str, store: str | None = None) -> None:
    """Everything of a tenant, or of one of its datastores."""
    await connection.execute(
        "DELETE FROM traffic_slot WHERE tenant_id = $1 AND ($2::text IS NULL OR store = $2)", tenant_id, store
    )


async def forget_old(connection: Connection, step: int, before: int) -> None:
    """Slots of a length that began before a second."""
    await connection.execute("DELETE FROM traffic_slot WHERE step = $1 AND slot < $2", step, before)
