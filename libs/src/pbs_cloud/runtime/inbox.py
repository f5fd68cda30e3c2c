"""Consuming events in order and with effect exactly once: the consumer's position lives beside the effect.

Each event is handled in one transaction that also moves the position, so a crash at any point repeats or skips
nothing. At a gap, and at the start, the producer's outbox is asked for the missing rows.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from pbs_cloud.contracts.errors import Unavailable
from pbs_cloud.contracts.events import Event
from pbs_cloud.runtime.bus import Bus, Delivery, resend_subject
from pbs_cloud.runtime.cancelling import cancel_and_wait
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.database import Connection, Database
from pbs_cloud.runtime.lifecycle import Component
from pbs_cloud.runtime.logging import get_logger

Handler = Callable[[Connection, Event], Awaitable[None]]
_CATCH_UP_SECONDS = 30.0
_log = get_logger(__name__)


def inbox_table() -> str:
    """SQL for a consumer's migration: one row per producer."""
    return """
        CREATE TABLE inbox (producer text PRIMARY KEY, epoch text NOT NULL DEFAULT '', last bigint NOT NULL DEFAULT 0);
    """


class EventConsumer(Component):
    """Handles all events of some producers.

    `handler(connection, event)` runs in a `Database.system()` transaction (set the tenant in its statements). If it
    raises, the event is tried again later, and nothing behind it of the same producer is handled before.
    """

    name = "events"

    def __init__(
        self,
        database: Database,
        bus: Bus,
        *,
        durable: str,
        producers: tuple[str, ...],
        handler: Handler,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._database = database
        self._bus = bus
        self._durable = durable
        self._producers = producers
        self._handler = handler
        self._clock = clock
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        for producer in self._producers:
            self._tasks.append(asyncio.create_task(self._consume(producer)))
            self._tasks.append(asyncio.create_task(self._catch_up_for_ever(producer)))

    async def stop(self) -> None:
        await cancel_and_wait(self._tasks)

    async def catch_up(self, producer: str) -> None:
        """Ask the producer for everything behind the position, until nothing is left.

        Raises:
            Unavailable: the producer does not answer, or the database is away.
        """
        while True:
            epoch, last = await self._position(producer)
            answer = await self._bus.request(resend_subject(producer), {"from": last + 1})
            if answer["epoch"] != epoch:
                await self._adopt_epoch(producer, answer["epoch"])
                continue
            rows: list[dict[str, Any]] = answer["rows"]
            if not rows:
                return
            if rows[0]["sequence"] > last + 1:
                _log.error("events are gone", producer=producer, first=last + 1, missing=rows[0]["sequence"] - last - 1)
                await self._skip_to(producer, epoch, rows[0]["sequence"] - 1)
            for row in rows:
                await self._apply(producer, epoch, row["sequence"], row["payload"])

    async def _consume(self, producer: str) -> None:
        async for delivery in self._bus.deliveries(f"{self._durable}-{producer}", f"pbs.{producer}.*"):
            try:
                await self._handle(producer, delivery)
                await delivery.ack()
            except Exception as error:
                if isinstance(error, Unavailable):
                    _log.info("event waits", producer=producer, reason=str(error))
                else:
                    _log.exception("event handler failed", producer=producer, sequence=delivery.sequence)
                await self._try_again_later(delivery)

    async def _handle(self, producer: str, delivery: Delivery) -> None:
        if await self._apply(producer, delivery.epoch, delivery.sequence, delivery.payload):
            return
        await self.catch_up(producer)

    async def _try_again_later(self, delivery: Delivery) -> None:
        try:
            await delivery.nak()
        except Exception as error:  # the message comes again after its acknowledgement time-out
            _log.debug("nak failed", error=str(error))
        await self._clock.sleep(1.0)

    async def _apply(self, producer: str, epoch: str, sequence: int, payload: dict[str, Any]) -> bool:
        """Handle one event if it is the next one. False: something before it is missing, or the epoch is another."""
        async with self._database.system() as connection:
            row = await connection.fetchrow("SELECT epoch, last FROM inbox WHERE producer = $1 FOR UPDATE", producer)
            if row is None or row["epoch"] != epoch or sequence > row["last"] + 1:
                return False
            if sequence == row["last"] + 1:
                await self._handler(connection, Event.from_json(payload))
                await connection.execute("UPDATE inbox SET last = $2 WHERE producer = $1", producer, sequence)
            return True

    async def _position(self, producer: str) -> tuple[str, int]:
        async with self._database.system() as connection:
            await connection.execute("INSERT INTO inbox (producer) VALUES ($1) ON CONFLICT DO NOTHING", producer)
            row = await connection.fetchrow("SELECT epoch, last FROM inbox WHERE producer = $1", producer)
            return row["epoch"], row["last"]

    async def _adopt_epoch(self, producer: str, epoch: str) -> None:
        async with self._database.system() as connection:
            await connection.execute(
                "UPDATE inbox SET epoch = $2, last = 0 WHERE producer = $1 AND epoch <> $2", producer, epoch
            )

    async def _skip_to(self, producer: str, epoch: str, last: int) -> None:
        async with self._database.system() as connection:
            await connection.execute(
                "UPDATE inbox SET last = $3 WHERE producer = $1 AND epoch = $2 AND last < $3", producer, epoch, last
            )

    async def _catch_up_for_ever(self, producer: str) -> None:
        """At the start, and then regularly: a lost stream or consumer delays events, no more."""
        delay = 0.2
        while True:
            try:
                await self.catch_up(producer)
                delay = _CATCH_UP_SECONDS
            except Unavailable:
                delay = min(delay * 2, _CATCH_UP_SECONDS)
            except Exception:
                _log.exception("catching up failed", producer=producer)
                delay = _CATCH_UP_SECONDS
            await self._clock.sleep(delay)
