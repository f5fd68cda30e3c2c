"""SQL of webhooks and their deliveries; times come from the database's clock."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pbs_cloud.contracts.webhooks import WaitingDelivery, Webhook
from pbs_cloud.runtime.database import Connection

_SHOWN = """
SELECT id::text, url, event_filter, max_retries, secret IS NOT NULL AS has_secret, header_names,
       extract(epoch FROM created_at)::bigint AS created_at,
       (SELECT count(*) FROM webhook_delivery d WHERE d.webhook_id = w.id) AS pending, delivered, dropped, failures,
       extract(epoch FROM paused_until)::bigint AS paused_until,
       extract(epoch FROM last_attempt)::bigint AS last_attempt, last_status,
       extract(epoch FROM last_success)::bigint AS last_success
FROM webhook w WHERE tenant_id = $1
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """What a tenant set, its secrets sealed."""

    url: str
    secret: bytes | None
    headers: bytes | None
    header_names: tuple[str, ...]
    event_filter: tuple[str, ...]
    max_retries: int


def _shown(row: Mapping[str, Any], waiting: tuple[WaitingDelivery, ...] = ()) -> Webhook:
    lists = {name: tuple(row[name]) for name in ("event_filter", "header_names")}
    return Webhook(**{**row, **lists}, waiting=waiting)


async def all_of(connection: Connection, tenant_id: str) -> tuple[Webhook, ...]:
    """The tenant's webhooks, the oldest first."""
    rows = await connection.fetch(f"{_SHOWN} ORDER BY w.created_at, w.id", tenant_id)
    return tuple(_shown(row) for row in rows)


async def find(connection: Connection, tenant_id: str, webhook_id: uuid.UUID, most: int) -> Webhook | None:
    """One webhook with its first ``most`` waiting deliveries."""
    row = await connection.fetchrow(f"{_SHOWN} AND w.id = $2", tenant_id, webhook_id)
    if row is None:
        return None
    waiting = await connection.fetch(
        "SELECT event_id::text AS id, event_type, extract(epoch FROM created_at)::bigint AS created_at, attempts,"
        " extract(epoch FROM next_attempt)::bigint AS next_attempt, last_error"
        " FROM webhook_delivery WHERE tenant_id = $1 AND webhook_id = $2 ORDER BY webhook_delivery.id LIMIT $3",
        tenant_id,
        webhook_id,
        most,
    )
    return _shown(row, tuple(WaitingDelivery(**entry) for entry in waiting))


async def lock_tenant(connection: Connection, tenant_id: str) -> None:
    """One change of a tenant's webhooks at a time."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 3))", f"webhooks {tenant_id}")


async def count(connection: Connection, tenant_id: str) -> int:
    """How many webhooks the tenant has."""
    return int(await connection.fetchval("SELECT count(*) FROM webhook WHERE tenant_id = $1", tenant_id))


async def stored(connection: Connection, tenant_id: str, webhook_id: uuid.UUID) -> Stored | None:
    """What was set, locked for a change."""
    row = await connection.fetchrow(
        "SELECT url, secret, headers, header_names, event_filter, max_retries FROM webhook"
        " WHERE tenant_id = $1 AND id = $2 FOR UPDATE",
        tenant_id,
        webhook_id,
    )
    if row is None:
        return None
    return Stored(**{**row, "header_names": tuple(row["header_names"]), "event_filter": tuple(row["event_filter"])})


async def insert(connection: Connection, tenant_id: str, webhook_id: uuid.UUID, new: Stored) -> None:
    """A new webhook."""
    await connection.execute(
        "INSERT INTO webhook (id, tenant_id, url, secret, headers, header_names, event_filter, max_retries)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        webhook_id,
        tenant_id,
        *_values(new),
    )


async def change(connection: Connection, tenant_id: str, webhook_id: uuid.UUID, new: Stored) -> None:
    """Other settings; a receiver that was left alone is tried again at once."""
    await connection.execute(
        "UPDATE webhook SET url = $3, secret = $4, headers = $5, header_names = $6, event_filter = $7,"
        " max_retries = $8, failures = 0, paused_until = NULL WHERE id = $1 AND tenant_id = $2",
        webhook_id,
        tenant_id,
        *_values(new),
    )


def _values(new: Stored) -> tuple[Any, ...]:
    names, events = list(new.header_names), list(new.event_filter)
    return new.url, new.secret, new.headers, names, events, new.max_retries


async def delete(connection: Connection, tenant_id: str, webhook_id: uuid.UUID) -> bool:
    """Whether there was one; what waits goes with it."""
    done = await connection.execute("DELETE FROM webhook WHERE tenant_id = $1 AND id = $2", tenant_id, webhook_id)
    return bool(done != "DELETE 0")


async def delete_of_tenant(connection: Connection, tenant_id: str) -> None:
    """Everything of a tenant that is gone."""
    await connection.execute("DELETE FROM webhook WHERE tenant_id = $1", tenant_id)
    await connection.execute("DELETE FROM api_minute WHERE tenant_id = $1", tenant_id)
