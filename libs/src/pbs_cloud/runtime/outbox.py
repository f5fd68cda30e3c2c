"""Facts and their announcement in one transaction: an outbox table, and the relay that publishes it.

`emit` writes an event in the transaction of the fact. The relay numbers committed rows without gaps (commit order is
not id order), publishes them in that order to JetStream, and answers requests to send again, so losing NATS loses no
fact.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from pbs_cloud.contracts.errors import Unavailable
from pbs_cloud.contracts.events import Event
from pbs_cloud.runtime.bus import HEADER_EPOCH, HEADER_SEQUENCE, Bus, Reply, resend_subject
from pbs_cloud.runtime.cancelling import cancel_and_wait
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.database import Connection, Database
from pbs_cloud.runtime.lifecycle import Component
from pbs_cloud.runtime.logging import get_logger
from pbs_cloud.runtime.migrations import tenant_isolation

RETENTION_DAYS = 30
_BATCH = 200
_POLL_SECONDS = 0.25
_PRUNE_SECONDS = 3600.0
_RESEND_BYTES = 512 * 1024
_log = get_logger(__name__)


def outbox_tables() -> str:
    """SQL for a producer's migration: table `outbox` and its counter `outbox_sequence`."""
    tables = """
        CREATE TABLE outbox (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            tenant_id text NOT NULL,
            subject text NOT NULL,
            payload jsonb NOT NULL,
            created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            sequence bigint UNIQUE,
            sent_at timestamptz
        );
        CREATE INDEX outbox_unnumbered ON outbox (id) WHERE sequence IS NULL;
        CREATE INDEX outbox_unsent ON outbox (sequence) WHERE sent_at IS NULL;
        CREATE INDEX outbox_sent ON outbox (sent_at);
        CREATE TABLE outbox_sequence (
            one boolean PRIMARY KEY DEFAULT true CHECK (one),
            last bigint NOT NULL,
            epoch text NOT NULL DEFAULT gen_random_uuid()::text
        );
        INSERT INTO outbox_sequence (last) VALUES (0);
    """
    return tables + tenant_isolation("outbox")


async def emit(connection: Connection, event: Event, *, producer: str) -> None:
    """Announce `event` if and only if the running transaction commits. `producer`: the service's name."""
    await connection.execute(
        "INSERT INTO outbox (tenant_id, subject, payload) VALUES ($1, $2, $3)",
        event.tenant_id,
        event.subject(producer),
        event.to_json(),
    )


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A numbered row."""

    id: int
    sequence: int
    subject: str
    payload: dict[str, Any]


class OutboxRelay(Component):
    """Publishes the outbox of one service. Any number of relays may run; one at a time works."""

    name = "outbox"

    def __init__(self, database: Database, bus: Bus, *, producer: str, clock: Clock = SYSTEM_CLOCK) -> None:
        self._database = database
        self._bus = bus
        self._producer = producer
        self._clock = clock
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await self._bus.answer(resend_subject(self._producer), self._answer_resend)
        self._tasks = [asyncio.create_task(self._publish_for_ever()), asyncio.create_task(self._prune_for_ever())]

    async def stop(self) -> None:
        await cancel_and_wait(self._tasks)

    async def run_once(self) -> int:
        """Number and publish what is there: how many rows were published."""
        if not await self._anything_waits():
            return 0
        await self.number()
        return await self.publish()

    async def _anything_waits(self) -> bool:
        async with self._database.system() as connection:
            return bool(
                await connection.fetchval(
                    "SELECT EXISTS (SELECT FROM outbox WHERE sequence IS NULL)"
                    " OR EXISTS (SELECT FROM outbox WHERE sent_at IS NULL)"
                )
            )

    async def number(self) -> int:
        """Give the next numbers to committed rows, in a transaction of its own: a number once seen is never reused."""
        async with self._database.system() as connection:
            last = await connection.fetchval("SELECT last FROM outbox_sequence FOR UPDATE SKIP LOCKED")
            if last is None:
                return 0
            numbered = await connection.fetchval(
                """
                WITH waiting AS (
                    SELECT id FROM outbox WHERE sequence IS NULL ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED
                ), numbered AS (
                    SELECT id, $1 + row_number() OVER (ORDER BY id) AS sequence FROM waiting
                ), changed AS (
                    UPDATE outbox SET sequence = numbered.sequence FROM numbered WHERE outbox.id = numbered.id
                    RETURNING 1
                )
                SELECT count(*) FROM changed
                """,
                last,
                _BATCH,
            )
            if numbered:
                await connection.execute("UPDATE outbox_sequence SET last = $1", last + numbered)
            return int(numbered)

    async def publish(self) -> int:
        """Publish numbered rows in order; the counter's row lock keeps other relays out meanwhile."""
        async with self._database.system() as connection:
            epoch = await connection.fetchval("SELECT epoch FROM outbox_sequence FOR UPDATE SKIP LOCKED")
            if epoch is None:
                return 0
            rows = await connection.fetch(
                "SELECT id, sequence, subject, payload FROM outbox"
                " WHERE sent_at IS NULL AND sequence IS NOT NULL ORDER BY sequence LIMIT $1",
                _BATCH,
            )
            sent = await self._publish_rows(epoch, [OutboxRow(*row) for row in rows])
            await connection.execute("UPDATE outbox SET sent_at = clock_timestamp() WHERE id = ANY($1::bigint[])", sent)
            return len(sent)

    async def _publish_rows(self, epoch: str, rows: list[OutboxRow]) -> list[int]:
        """Ids of the rows that JetStream acknowledged: those before the first failure."""
        sent: list[int] = []
        for row in rows:
            try:
                await self._bus.publish(
                    row.subject,
                    row.payload,
                    message_id=f"{epoch}:{row.id}",
                    headers={HEADER_EPOCH: epoch, HEADER_SEQUENCE: str(row.sequence)},
                )
            except Unavailable:
                break
            sent.append(row.id)
        return sent

    async def prune(self) -> None:
        """Drop rows sent more than 30 days ago."""
        async with self._database.system() as connection:
            await connection.execute(
                "DELETE FROM outbox WHERE sent_at < clock_timestamp() - make_interval(days => $1)", RETENTION_DAYS
            )

    async def _publish_for_ever(self) -> None:
        while True:
            busy = 0
            try:
                busy = await self.run_once()
            except Unavailable as error:
                _log.info("outbox waits", reason=str(error))
            except Exception:
                _log.exception("outbox relay failed")
                await self._clock.sleep(1.0)
            if busy < _BATCH:
                await self._clock.sleep(_POLL_SECONDS)

    async def _prune_for_ever(self) -> None:
        while True:
            try:
                await self.prune()
            except Unavailable as error:
                _log.info("outbox pruning waits", reason=str(error))
            except Exception:
                _log.exception("outbox pruning failed")
            await self._clock.sleep(_PRUNE_SECONDS)

    async def _answer_resend(self, request: Reply) -> Reply:
        """Rows from number `from` on, as many as fit into one answer; `last` is the newest number."""
        start = int(request["from"])
        async with self._database.system() as connection:
            counter = await connection.fetchrow("SELECT last, epoch FROM outbox_sequence")
            rows = await connection.fetch(
                "SELECT sequence, subject, payload FROM outbox WHERE sequence >= $1 ORDER BY sequence LIMIT $2",
                start,
                _BATCH,
            )
        answer: list[Reply] = []
        size = 0
        for row in rows:
            size += len(str(row["payload"]))
            if answer and size > _RESEND_BYTES:
                break
            answer.append({"sequence": row["sequence"], "subject": row["subject"], "payload": row["payload"]})
        return {"epoch": counter["epoch"], "last": counter["last"], "rows": answer}
