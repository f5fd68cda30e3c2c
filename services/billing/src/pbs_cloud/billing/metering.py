"""Events into usage, each exactly once."""

from __future__ import annotations

from pbs_cloud.billing import db
from pbs_cloud.billing.sampling import follow, forget_tenant
from pbs_cloud.billing.usage import changes_of
from pbs_cloud.billing.webhooks.queue import enqueue
from pbs_cloud.billing.webhooks.rows import delete_of_tenant
from pbs_cloud.contracts.events import Event, EventType
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.database import Connection, Database
from pbs_cloud.runtime.lifecycle import BackgroundTask
from pbs_cloud.runtime.outbox import RETENTION_DAYS
from pbs_cloud.runtime.telemetry import Counter

# Longer than a producer can send an event again.
EVENT_DAYS = RETENTION_DAYS + 15
_FORGET_SECONDS = 3600.0
_EVENTS = Counter("pbs_billing_events", "Events counted", ["type"])


async def count_event(connection: Connection, event: Event) -> None:
    """Handler of the event consumer: runs in the transaction that moves its position."""
    if event.type is EventType.TENANT_REMOVED:
        await delete_of_tenant(connection, event.tenant_id)
        await forget_tenant(connection, event.tenant_id)
    changes = changes_of(event)
    if not changes or not await db.remember_event(connection, event):
        return
    for change in changes:
        await db.add(connection, event.tenant_id, change, event.occurred_at)
    await follow(connection, event)
    await enqueue(connection, event)
    _EVENTS.labels(event.type.value).inc()


class OldEvents(BackgroundTask):
    """Forgets events that cannot come again."""

    def __init__(self, database: Database, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__("old events", self._forget_for_ever)
        self._database = database
        self._clock = clock

    async def _forget_for_ever(self) -> None:
        while True:
            async with self._database.system() as connection:
                await db.forget_events(connection, EVENT_DAYS)
            await self._clock.sleep(_FORGET_SECONDS)
