"""Delivery: each receiver is served by one replica at a time, receivers never wait for each other."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Sequence

from pbs_cloud.billing.webhooks import queue
from pbs_cloud.billing.webhooks.sending import DeliveryFailed, Sender
from pbs_cloud.billing.webhooks.service import headers_owner, secret_owner
from pbs_cloud.contracts.errors import PbsError
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.lifecycle import BackgroundTask
from pbs_cloud.runtime.logging import get_logger
from pbs_cloud.runtime.secret_box import SecretBox
from pbs_cloud.runtime.telemetry import DURATION_BUCKETS, Counter, Histogram

AT_ONCE = 16
"""Receivers that one replica serves at the same time."""
BATCH_SECONDS = 30.0
"""How long one receiver is served before the others get their turn; with one more delivery below the lease."""
POLL_SECONDS = 1.0
CLEAN_SECONDS = 3600.0
RETRY_SECONDS = (10.0, 60.0, 600.0, 3600.0, 21_600.0)
"""Waits before the repetitions of one delivery; the last one counts for all further."""
REST_AFTER = 3
"""Failures in a row after which a receiver is left alone for a while."""
MAX_REST_SECONDS = 3600.0
_log = get_logger(__name__)
_DELIVERIES = Counter("pbs_webhook_deliveries", "Attempts to deliver an event", ["result"])
_SECONDS = Histogram("pbs_webhook_seconds", "Time of one delivery", buckets=DURATION_BUCKETS)


class WebhookDelivery(BackgroundTask):
    """Sends what is due for ever; any number of replicas share the work."""

    def __init__(
        self,
        database: Database,
        sender: Sender,
        box: SecretBox,
        *,
        retry_seconds: Sequence[float] = RETRY_SECONDS,
        poll_seconds: float = POLL_SECONDS,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__("webhooks", self._deliver_for_ever)
        self._database = database
        self._sender = sender
        self._box = box
        self._retry_seconds = retry_seconds
        self._poll_seconds = poll_seconds
        self._clock = clock
        self._serving: set[asyncio.Task[None]] = set()

    async def _deliver_for_ever(self) -> None:
        cleaned = float("-inf")
        try:
            while True:
                try:
                    if self._clock.monotonic() - cleaned >= CLEAN_SECONDS:
                        await self._clean()
                        cleaned = self._clock.monotonic()
                    await self._close_minutes()
                    await self._serve_due()
                except PbsError as error:
                    _log.info("webhooks wait", reason=error.message)
                await self._clock.sleep(self._poll_seconds)
        finally:
            for task in self._serving:
                task.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)

    async def _clean(self) -> None:
        async with self._database.system() as connection:
            dropped = await queue.forget_old(connection)
        if dropped:
            _DELIVERIES.labels("dropped").inc(dropped)

    async def _close_minutes(self) -> None:
        async with self._database.system() as connection:
            await queue.close_minutes(connection, int(self._clock.time()) // 60 * 60)

    async def _serve_due(self) -> None:
        """Take receivers with something due, as far as there are places."""
        places = AT_ONCE - len(self._serving)
        if places <= 0:
            return
        lease = uuid.uuid4()
        async with self._database.system() as connection:
            claimed = await queue.claim(connection, lease, places)
        for webhook_id, tenant_id in claimed:
            task = asyncio.create_task(self._serve(webhook_id, tenant_id, lease))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

    async def _serve(self, webhook_id: uuid.UUID, tenant_id: str, lease: uuid.UUID) -> None:
        """Deliver in order until nothing is due, the receiver must rest, or its turn is over."""
        ends = self._clock.monotonic() + BATCH_SECONDS
        try:
            while self._clock.monotonic() < ends:
                async with self._database.tenant(tenant_id) as connection:
                    item = await queue.next_due(connection, webhook_id, lease)
                if item is None:
                    break
                await self._attempt(item, lease)
            async with self._database.tenant(tenant_id) as connection:
                await queue.release(connection, webhook_id, lease)
        except PbsError as error:  # the lease runs out, then it goes on
            _log.info("webhook waits", webhook=str(webhook_id), reason=error.message)
        except Exception:
            _log.exception("webhook waits", webhook=str(webhook_id))

    async def _attempt(self, item: queue.Waiting, lease: uuid.UUID) -> None:
        try:
            with _SECONDS.time():
                status = await self._send(item)
        except DeliveryFailed as error:
            await self._failed(item, lease, str(error))
            return
        async with self._database.tenant(item.tenant_id) as connection:
            await queue.delivered(connection, item, lease, status)
        _DELIVERIES.labels("delivered").inc()

    async def _send(self, item: queue.Waiting) -> str:
        owner = item.tenant_id, str(item.webhook_id)
        secret = None if item.secret is None else self._box.open(item.secret, secret_owner(*owner))
        headers = {} if item.headers is None else json.loads(self._box.open(item.headers, headers_owner(*owner)))
        return await self._sender.post(item.url, item.body.encode(), headers, secret)

    async def _failed(self, item: queue.Waiting, lease: uuid.UUID, reason: str) -> None:
        waits = self._retry_seconds
        again = None if item.attempts >= item.max_retries else waits[min(item.attempts, len(waits) - 1)]
        async with self._database.tenant(item.tenant_id) as connection:
            failures = await queue.failures_of(connection, item.webhook_id) + 1
            rest = 0.0 if failures < REST_AFTER else waits[0] * 2.0 ** min(failures - REST_AFTER, 20)
            await queue.failed(connection, item, lease, reason, again, min(rest, MAX_REST_SECONDS))
        _DELIVERIES.labels("dropped" if again is None else "failed").inc()
