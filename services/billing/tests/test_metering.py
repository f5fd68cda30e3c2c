"""Events into usage, each exactly once, whatever happens on the way."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from testkit.servers import NatsServer

from pbs_cloud.billing import db
from pbs_cloud.billing.metering import count_event
from pbs_cloud.billing.usage import UsageChange, changes_of
from pbs_cloud.contracts.events import Event, EventType
from pbs_cloud.runtime.bus import HEADER_EPOCH, HEADER_SEQUENCE

CREATED, RESTORED, STORAGE = EventType.BACKUP_CREATED, EventType.DATA_RESTORED, EventType.STORAGE_UPDATED


def event(kind: EventType, size: int = 7, **metadata: str) -> Event:
    return Event(kind, "acme", 1_700_000_000, size, metadata)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (event(CREATED, store="a"), [UsageChange("a", upload_bytes=7, backup_count=1)]),
        (event(EventType.BACKUP_DELETED, store="a"), [UsageChange("a", deleted_count=1)]),
        (event(RESTORED, store="a"), [UsageChange("a", download_bytes=7)]),
        (event(STORAGE, store="a"), [UsageChange("", storage_bytes=7)]),
        (
            event(STORAGE, store="a", store_bytes="3"),
            [UsageChange("a", storage_bytes=3), UsageChange("", storage_bytes=7)],
        ),
        (event(EventType.DATASTORE_REMOVED, store="a"), [UsageChange("a", storage_bytes=0)]),
        (event(EventType.TASK_STOP_REQUESTED, upid="x"), []),
        (event(EventType.CREDENTIALS_CHANGED), []),
    ],
)
def test_what_an_event_adds(found: Event, expected: list[UsageChange]) -> None:
    assert list(changes_of(found)) == expected


async def test_from_the_outbox_to_the_answer(producer: Any, billing: Any) -> None:
    assert await billing.usage() is None
    async with producer.relaying():
        await producer.emit(CREATED, 100)
        await producer.emit(CREATED, 50, store="other")
        await producer.emit(RESTORED, 30)
        await producer.emit(STORAGE, 1000, store="tank", store_bytes="900")
        await producer.emit(EventType.BACKUP_DELETED, 100)
        await producer.emit(CREATED, 9, tenant_id="globex", at=1_700_009_999)
        usage = await billing.wait_for("globex", backup_count=1)
    assert (usage.upload_bytes, usage.updated_at) == (9, 1_700_009_999)
    acme = await billing.usage()
    assert (acme.storage_bytes, acme.upload_bytes, acme.download_bytes, acme.backup_count) == (1000, 150, 30, 2)
    tank = await billing.usage(store="tank")
    assert (tank.storage_bytes, tank.upload_bytes, tank.download_bytes, tank.backup_count) == (900, 100, 30, 1)
    assert await billing.usage(store="nosuch") is None
    assert await billing.usage("nobody") is None


async def test_hours_add_up_to_the_totals(producer: Any, billing: Any) -> None:
    async with producer.relaying():
        for hour in range(3):
            for minute in (0, 59):
                await producer.emit(CREATED, 10 + hour, at=1_699_999_200 + hour * 3600 + minute * 60)
        await billing.wait_for(backup_count=6)
    async with billing.database.tenant("acme") as connection:
        rows = await connection.fetch("SELECT hour, upload_bytes, backup_count FROM usage_hour ORDER BY hour")
    assert [tuple(row) for row in rows] == [(1_699_999_200 + h * 3600, 2 * (10 + h), 2) for h in range(3)]


async def test_duplicates_count_once(producer: Any, billing: Any) -> None:
    """The same message again, and the same event under another number."""
    async with producer.relaying() as bus:
        made = await producer.emit(CREATED, 100)
        await billing.wait_for(backup_count=1)
        async with producer.database.system() as connection:
            epoch = await connection.fetchval("SELECT epoch FROM outbox_sequence")
            await connection.execute(
                "INSERT INTO outbox (tenant_id, subject, payload) SELECT tenant_id, subject, payload FROM outbox"
            )
        for number in range(5):
            headers = {HEADER_EPOCH: epoch, HEADER_SEQUENCE: "1"}
            await bus.publish(
                "pbs.chunkstore.backup_created", made.to_json(), message_id=f"again{number}", headers=headers
            )
        await producer.emit(RESTORED, 1)
        usage = await billing.wait_for(download_bytes=1)
    assert (usage.backup_count, usage.upload_bytes) == (1, 100)


async def test_reordered_messages_count_once_each(producer: Any, billing: Any) -> None:
    """Messages that arrive in a wrong order, some never: the gap is asked for."""
    for size in range(20):
        await producer.emit(CREATED, 2**size)
    async with producer.database.system() as connection:
        await connection.execute("UPDATE outbox SET sequence = id, sent_at = clock_timestamp()")
        await connection.execute("UPDATE outbox_sequence SET last = 20")
        epoch = await connection.fetchval("SELECT epoch FROM outbox_sequence")
        rows = await connection.fetch("SELECT sequence, subject, payload FROM outbox")
    random.Random(5).shuffle(rows)
    async with producer.relaying() as bus:
        await bus.wait_connected(10)
        for row in rows[:15]:
            headers = {HEADER_EPOCH: epoch, HEADER_SEQUENCE: str(row["sequence"])}
            await bus.publish(row["subject"], row["payload"], message_id=f"m{row['sequence']}", headers=headers)
        usage = await billing.wait_for(backup_count=20)
    assert usage.upload_bytes == 2**20 - 1


async def test_a_restart_between_counting_and_acknowledging_counts_once(
    producer: Any, billing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction is committed, the acknowledgement lost: the message comes again."""
    from pbs_cloud.runtime.bus import Delivery

    async def die(_self: Delivery) -> None:
        raise asyncio.CancelledError

    async with producer.relaying():
        with monkeypatch.context() as patched:
            patched.setattr(Delivery, "ack", die)
            await producer.emit(CREATED, 100)
            await billing.wait_for(backup_count=1)
            await billing.stop()
        await billing.start()
        await producer.emit(RESTORED, 5)
        usage = await billing.wait_for(download_bytes=5)
    assert (usage.backup_count, usage.upload_bytes) == (1, 100)


async def test_a_failure_inside_the_transaction_leaves_nothing_behind(
    producer: Any, billing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter([True, True, False])
    add = db.add

    async def sometimes(*arguments: Any) -> None:
        await add(*arguments)
        if next(failures, False):
            raise RuntimeError("in the middle")

    monkeypatch.setattr(db, "add", sometimes)
    async with producer.relaying():
        await producer.emit(CREATED, 100)
        usage = await billing.wait_for(backup_count=1)
    assert usage.upload_bytes == 100


async def test_events_of_a_time_without_nats_arrive_later(producer: Any, billing: Any, nats: NatsServer) -> None:
    async with producer.relaying():
        await producer.emit(CREATED, 1)
        await billing.wait_for(backup_count=1)
        nats.kill()
        for _ in range(5):
            await producer.emit(CREATED, 1)
        await asyncio.sleep(0.5)
        assert (await billing.usage()).backup_count == 1, "billing answers while NATS is away"
        nats.start()
        usage = await billing.wait_for(backup_count=6)
    assert usage.upload_bytes == 6


async def test_a_nats_that_lost_everything_loses_no_event(producer: Any, billing: Any, nats: NatsServer) -> None:
    async with producer.relaying():
        await producer.emit(CREATED, 1)
        await billing.wait_for(backup_count=1)
        await billing.stop()
        for _ in range(3):
            await producer.emit(CREATED, 1)
        for _ in range(200):
            async with producer.database.system() as connection:
                if not await connection.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NULL"):
                    break
            await asyncio.sleep(0.05)
        nats.kill(lose_data=True)
        nats.start()
        await billing.start()
        usage = await billing.wait_for(backup_count=4)
    assert usage.upload_bytes == 4


async def test_two_replicas_share_the_work(
    producer: Any, billing: Any, service_database: Callable[[str], Awaitable[str]]
) -> None:
    second = await type(billing)(billing.url, billing.nats_url).start()
    try:
        async with producer.relaying():
            await asyncio.gather(*(producer.emit(CREATED, 1) for _ in range(100)))
            usage = await second.wait_for(backup_count=100)
            assert usage.upload_bytes == 100
            await billing.stop()
            await producer.emit(CREATED, 1)
            await second.wait_for(backup_count=101)
            await billing.start()
    finally:
        await second.stop()


async def test_lost_usage_is_counted_again_from_the_outbox(
    producer: Any, billing: Any, service_database: Callable[[str], Awaitable[str]]
) -> None:
    async with producer.relaying():
        for _ in range(10):
            await producer.emit(CREATED, 3)
        await billing.wait_for(backup_count=10)
        fresh = await type(billing)(await service_database("billing"), billing.nats_url).start()
        try:
            usage = await fresh.wait_for(backup_count=10)
            assert usage.upload_bytes == 30
        finally:
            await fresh.stop()


async def test_tenants_do_not_see_each_others_rows(billing: Any) -> None:
    async with billing.database.system() as connection:
        for tenant in ("acme", "globex"):
            await count_event(connection, Event(CREATED, tenant, 1_700_000_000, 5, {"store": "tank"}))
    async with billing.database.tenant("acme") as connection:
        for table in ("metering_event", "usage_hour", "usage_total"):
            assert {row["tenant_id"] for row in await connection.fetch(f"SELECT tenant_id FROM {table}")} == {"acme"}


async def test_old_events_are_forgotten_and_their_counts_stay(billing: Any) -> None:
    async with billing.database.system() as connection:
        for days in (1, 100):
            made = Event(CREATED, "acme", 1_700_000_000, 5, {"store": "tank"})
            await count_event(connection, made)
            await connection.execute(
                "UPDATE metering_event SET counted_at = now() - make_interval(days => $2) WHERE id = $1::text::uuid",
                made.id,
                days,
            )
        assert await db.forget_events(connection, 45) == 1
    assert (await billing.usage()).backup_count == 2
