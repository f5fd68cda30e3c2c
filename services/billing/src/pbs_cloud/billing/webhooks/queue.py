"""The durable queue: events go in with the transaction that counts them, deliveries come out one receiver at a time."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pbs_cloud.contracts.events import Event, EventType
from pbs_cloud.runtime.database import Connection

MOST_PENDING: Final = 10_000
"""Events that wait for one receiver; further ones are dropped and counted."""
MOST_DAYS: Final = 7
LEASE_SECONDS: Final = 90.0
API_REQUEST: Final = "api_request"
ANNOUNCED: Final = frozenset(
    {EventType.BACKUP_CREATED, EventType.BACKUP_DELETED, EventType.DATA_RESTORED, EventType.STORAGE_UPDATED}
)
_NAMESPACE = uuid.UUID("1a0f3c0e-3c0a-5d5b-9a4f-6f1f0d2f7c11")

_ENQUEUE = """
    WITH wanted AS (
        SELECT id, (SELECT count(*) FROM (SELECT 1 FROM webhook_delivery d WHERE d.webhook_id = w.id LIMIT $5) full_)
                   < $5 AS room
        FROM webhook w WHERE tenant_id = $1 AND (event_filter = '{}' OR $3 = ANY (event_filter))
    ), dropped AS (
        UPDATE webhook SET dropped = dropped + 1 WHERE id IN (SELECT id FROM wanted WHERE NOT room)
    )
    INSERT INTO webhook_delivery (tenant_id, webhook_id, event_id, event_type, body)
    SELECT $1, id, $2, $3, $4 FROM wanted WHERE room
    ON CONFLICT (webhook_id, event_id) DO NOTHING
"""
_CLAIM = """
    UPDATE webhook SET lease = $1, lease_until = clock_timestamp() + make_interval(secs => $2)
    WHERE id = ANY (
        SELECT w.id FROM webhook w
        WHERE (lease_until IS NULL OR lease_until < clock_timestamp())
          AND (paused_until IS NULL OR paused_until <= clock_timestamp())
          AND EXISTS (SELECT 1 FROM webhook_delivery d WHERE d.webhook_id = w.id
                                                        AND d.next_attempt <= clock_timestamp())
        ORDER BY last_attempt NULLS FIRST LIMIT $3 FOR UPDATE SKIP LOCKED
    ) RETURNING id, tenant_id
"""
_NEXT = """
    SELECT d.id, d.tenant_id, d.webhook_id, d.event_id::text, d.event_type, d.body, d.attempts,
           w.url, w.secret, w.headers, w.max_retries
    FROM webhook_delivery d JOIN webhook w ON w.id = d.webhook_id
    WHERE w.id = $1 AND w.lease = $2 AND d.next_attempt <= clock_timestamp()
      AND (w.paused_until IS NULL OR w.paused_until <= clock_timestamp())
    ORDER BY d.id LIMIT 1
"""
_FAILED = """
    UPDATE webhook SET failures = failures + 1, last_attempt = clock_timestamp(), last_status = $3,
        dropped = dropped + $4, paused_until = clock_timestamp() + make_interval(secs => $5)
    WHERE id = $1 AND lease = $2
"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A delivery whose time has come, with what is needed to send it; secrets are sealed."""

    id: int
    tenant_id: str
    webhook_id: uuid.UUID
    event_id: str
    event_type: str
    body: str
    attempts: int
    url: str
    secret: bytes | None
    headers: bytes | None
    max_retries: int


def body_of(event_id: str, tenant_id: str, kind: str, moment: int, size: int, metadata: dict[str, str]) -> str:
    """What is sent (rest-api D.8); it stays the same over all attempts, and so does its signature."""
    return json.dumps(
        {
            "id": event_id,
            "tenant_id": tenant_id,
            "event_type": kind,
            "timestamp": f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%SZ}",
            "bytes": size,
            "metadata": metadata,
        }
    )


async def enqueue(connection: Connection, event: Event) -> None:
    """Put an event into the queue of each webhook that wants it; in the transaction that counts the event."""
    if event.type not in ANNOUNCED:
        return
    kind = event.type.value
    body = body_of(event.id, event.tenant_id, kind, event.occurred_at, event.bytes, event.metadata)
    await connection.execute(_ENQUEUE, event.tenant_id, uuid.UUID(event.id), kind, body, MOST_PENDING)


async def count_api_requests(connection: Connection, tenant_id: str, requests: int, minute: int) -> None:
    """Add to the minute's sum, if a webhook of the tenant wants to know."""
    await connection.execute(
        "INSERT INTO api_minute AS m (tenant_id, minute, requests)"
        " SELECT $1, $2, $3 WHERE EXISTS (SELECT 1 FROM webhook WHERE tenant_id = $1"
        " AND (event_filter = '{}' OR $4 = ANY (event_filter)))"
        " ON CONFLICT (tenant_id, minute) DO UPDATE SET requests = m.requests + excluded.requests",
        tenant_id,
        minute,
        requests,
        API_REQUEST,
    )


async def close_minutes(connection: Connection, before: int) -> int:
    """Make one event of each minute that began before ``before``: how many. Whoever deletes the row makes it."""
    rows = await connection.fetch(
        "DELETE FROM api_minute WHERE (tenant_id, minute) IN (SELECT tenant_id, minute FROM api_minute"
        " WHERE minute < $1 FOR UPDATE SKIP LOCKED) RETURNING tenant_id, minute, requests",
        before,
    )
    for row in rows:
        # a late report makes a second event of the same minute: its number is part of the name
        name = f"{row['tenant_id']} {row['minute']} {uuid.uuid4()}"
        event_id = str(uuid.uuid5(_NAMESPACE, name))
        metadata = {"requests": str(row["requests"])}
        body = body_of(event_id, row["tenant_id"], API_REQUEST, row["minute"], 0, metadata)
        await connection.execute(_ENQUEUE, row["tenant_id"], uuid.UUID(event_id), API_REQUEST, body, MOST_PENDING)
    return len(rows)


async def claim(connection: Connection, lease: uuid.UUID, most: int) -> list[tuple[uuid.UUID, str]]:
    """Webhooks with something due that nobody serves, for ``LEASE_SECONDS``: (id, tenant)."""
    rows = await connection.fetch(_CLAIM, lease, LEASE_SECONDS, most)
    return [(row["id"], row["tenant_id"]) for row in rows]


async def next_due(connection: Connection, webhook_id: uuid.UUID, lease: uuid.UUID) -> Waiting | None:
    """The oldest delivery whose time has come; None without one, or when the lease is lost."""
    row = await connection.fetchrow(_NEXT, webhook_id, lease)
    return Waiting(**row) if row else None


async def release(connection: Connection, webhook_id: uuid.UUID, lease: uuid.UUID) -> None:
    """Others may serve the webhook."""
    await connection.execute(
        "UPDATE webhook SET lease = NULL, lease_until = NULL WHERE id = $1 AND lease = $2", webhook_id, lease
    )


async def delivered(connection: Connection, item: Waiting, lease: uuid.UUID, status: str) -> None:
    """The receiver has it."""
    await connection.execute("DELETE FROM webhook_delivery WHERE id = $1", item.id)
    await connection.execute(
        "UPDATE webhook SET delivered = delivered + 1, failures = 0, paused_until = NULL,"
        " last_attempt = clock_timestamp(), last_success = clock_timestamp(), last_status = $3"
        " WHERE id = $1 AND lease = $2",
        item.webhook_id,
        lease,
        status,
    )


async def failed(
    connection: Connection, item: Waiting, lease: uuid.UUID, reason: str, again: float | None, pause: float
) -> None:
    """It was not taken: ``again`` in so many seconds, or never (dropped); the receiver rests for ``pause``."""
    if again is None:
        await connection.execute("DELETE FROM webhook_delivery WHERE id = $1", item.id)
    else:
        await connection.execute(
            "UPDATE webhook_delivery SET attempts = attempts + 1, last_error = $2,"
            " next_attempt = clock_timestamp() + make_interval(secs => $3) WHERE id = $1",
            item.id,
            reason,
            again,
        )
    await connection.execute(_FAILED, item.webhook_id, lease, reason, int(again is None), pause)


async def failures_of(connection: Connection, webhook_id: uuid.UUID) -> int:
    """Failures since the last success."""
    return int(await connection.fetchval("SELECT failures FROM webhook WHERE id = $1", webhook_id) or 0)


async def forget_old(connection: Connection) -> int:
    """Drop what waited too long: how many."""
    rows = await connection.fetch(
        "DELETE FROM webhook_delivery WHERE created_at < clock_timestamp() - make_interval(days => $1)"
        " RETURNING webhook_id",
        MOST_DAYS,
    )
    if rows:
        await connection.execute(
            "UPDATE webhook w SET dropped = dropped + lost.n FROM (SELECT id, count(*) AS n FROM unnest($1::uuid[])"
            " AS id GROUP BY id) lost WHERE w.id = lost.id",
            [row["webhook_id"] for row in rows],
        )
    return len(rows)
