"""Outbox, bus and inbox against a real Postgres and NATS: numbering, order, effect exactly once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from testkit.servers import NatsServer, PostgresServer

from pbs_cloud.contracts.errors import Unavailable
from pbs_cloud.contracts.events import Event, EventType
from pbs_cloud.runtime import database_urls
from pbs_cloud.runtime.bus import STREAM, Bus
from pbs_cloud.runtime.database import Connection, Database
from pbs_cloud.runtime.inbox import EventConsumer, inbox_table
from pbs_cloud.runtime.migrations import create_roles_and_schemas
from pbs_cloud.runtime.outbox import OutboxRelay, emit, outbox_tables

SEEN = "CREATE TABLE seen (position bigint GENERATED ALWAYS AS IDENTITY, number int NOT NULL UNIQUE);"


def event(number: int) -> Event:
    return Event(EventType.BACKUP_CREATED, "one", 1_700_000_000, bytes=number)


class World:
    """A producer's and a consumer's database, and the bus between them."""

    def __init__(self, producer: Database, consumer: Database, nats: NatsServer, stack: AsyncExitStack) -> None:
        self.producer, self.consumer, self.nats = producer, consumer, nats
        self._stack = stack

    async def bus(self) -> Bus:
        bus = Bus(self.nats.url, name="test")
        await bus.start()
        self._stack.push_async_callback(bus.stop)
        await bus.wait_connected(5)
        return bus

    async def relay(self, bus: Bus | None = None) -> OutboxRelay:
        relay = OutboxRelay(self.producer, bus or await self.bus(), producer="chunkstore")
        await relay.start()
        self._stack.push_async_callback(relay.stop)
        return relay

    async def consume(self, handler: Callable[[Connection, Event], Awaitable[None]] | None = None) -> EventConsumer:
        made = EventConsumer(
            self.consumer, await self.bus(), durable="test", producers=("chunkstore",), handler=handler or remember
        )
        await made.start()
        self._stack.push_async_callback(made.stop)
        return made

    async def announce(self, *numbers: int) -> None:
        for number in numbers:
            async with self.producer.tenant("one") as connection:
                await emit(connection, event(number), producer="chunkstore")

    async def outbox(self) -> list[Any]:
        async with self.producer.system() as connection:
            return list(await connection.fetch("SELECT * FROM outbox ORDER BY sequence"))

    async def seen(self) -> list[int]:
        async with self.consumer.system() as connection:
            return [row["number"] for row in await connection.fetch("SELECT number FROM seen ORDER BY position")]

    async def wait_seen(self, count: int, seconds: float = 15) -> list[int]:
        async with asyncio.timeout(seconds):
            while len(found := await self.seen()) < count:
                await asyncio.sleep(0.02)
        return found


async def remember(connection: Connection, received: Event) -> None:
    await connection.execute("INSERT INTO seen (number) VALUES ($1)", received.bytes)


@pytest.fixture
async def world(postgres: PostgresServer, nats: NatsServer) -> AsyncIterator[World]:
    admin = await postgres.new_database()
    await create_roles_and_schemas(admin)
    databases = {}
    for service, script in (("chunkstore", outbox_tables()), ("billing", inbox_table() + SEEN)):
        database = Database(database_urls.for_service(admin, service), schema=service, application_name="test")
        database._head = None
        await database.start()
        async with database.system() as connection:
            await connection.execute(script)
        databases[service] = database
    async with AsyncExitStack() as stack:
        for database in databases.values():
            stack.push_async_callback(database.stop)
        yield World(databases["chunkstore"], databases["billing"], nats, stack)


async def test_an_event_of_a_rolled_back_transaction_does_not_exist(world: World) -> None:
    with pytest.raises(RuntimeError):
        async with world.producer.tenant("one") as connection:
            await emit(connection, event(1), producer="chunkstore")
            raise RuntimeError
    assert await world.outbox() == []


async def test_two_relays_number_without_gaps_and_publish_each_row_once(world: World) -> None:
    relays = [await world.relay(), await world.relay()]
    await asyncio.gather(*(world.announce(*range(start, start + 50)) for start in (0, 50, 100, 150)))
    async with asyncio.timeout(15):
        while any(row["sent_at"] is None for row in await world.outbox()):
            await asyncio.sleep(0.05)
    rows = await world.outbox()
    assert [row["sequence"] for row in rows] == list(range(1, 201))
    bus = await world.bus()
    info = await bus._client.jetstream().stream_info(STREAM)
    assert info.state.messages == 200
    assert len(relays) == 2


async def test_a_late_commit_of_an_early_row_gets_the_next_number(world: World) -> None:
    relay = OutboxRelay(world.producer, await world.bus(), producer="chunkstore")
    async with world.producer.tenant("one") as early:
        await emit(early, event(1), producer="chunkstore")
        await world.announce(2)
        assert await relay.run_once() == 1
    assert await relay.run_once() == 1
    assert [(row["payload"]["bytes"], row["sequence"]) for row in await world.outbox()] == [(2, 1), (1, 2)]


async def test_rows_wait_while_nats_is_away(world: World) -> None:
    relay = OutboxRelay(world.producer, await world.bus(), producer="chunkstore")
    world.nats.kill()
    await world.announce(1, 2)
    assert await relay.run_once() == 0
    assert [row["sent_at"] for row in await world.outbox()] == [None, None]
    world.nats.start()
    async with asyncio.timeout(10):
        sent = 0
        while sent < 2:
            sent += await relay.run_once()
            await asyncio.sleep(0.1)


async def test_events_arrive_in_order_with_effect_exactly_once(world: World) -> None:
    failures = {3: 2}

    async def sometimes(connection: Connection, received: Event) -> None:
        await remember(connection, received)
        if failures.get(received.bytes, 0):
            failures[received.bytes] -= 1
            raise RuntimeError("a passing defect")

    await world.relay()
    await world.consume(sometimes)
    await world.announce(*range(10))
    assert await world.wait_seen(10) == list(range(10))


async def test_a_consumer_that_starts_late_gets_everything(world: World) -> None:
    await world.relay()
    await world.announce(*range(5))
    await asyncio.sleep(0.5)
    await world.consume()
    await world.announce(*range(5, 10))
    assert await world.wait_seen(10) == list(range(10))


async def test_losing_the_stream_loses_no_event(world: World) -> None:
    relay = OutboxRelay(world.producer, bus := await world.bus(), producer="chunkstore")
    await world.announce(1, 2, 3)
    await relay.run_once()
    world.nats.kill(lose_data=True)
    world.nats.start()
    async with asyncio.timeout(10):
        while not bus.connected:
            await asyncio.sleep(0.05)
    await relay.start()
    await world.consume()
    await world.announce(4)
    assert await world.wait_seen(4) == [1, 2, 3, 4]
    await relay.stop()


async def test_a_gap_is_filled_from_the_outbox(world: World) -> None:
    bus = await world.bus()
    relay = OutboxRelay(world.producer, bus, producer="chunkstore")
    await relay.start()
    await world.consume()
    await world.announce(1)
    await world.wait_seen(1)
    await relay.stop()
    await world.announce(2, 3)
    await relay.number()
    async with world.producer.system() as connection:
        await connection.execute("UPDATE outbox SET sent_at = clock_timestamp() WHERE payload->>'bytes' = '2'")
    await relay.publish()
    assert await world.wait_seen(3) == [1, 2, 3]


async def test_a_producer_with_a_new_history_is_read_from_its_begin(world: World) -> None:
    await world.relay()
    consumer = await world.consume()
    await world.announce(1, 2)
    await world.wait_seen(2)
    async with world.producer.system() as connection:
        await connection.execute("UPDATE outbox_sequence SET last = 0, epoch = 'another'")
        await connection.execute("DELETE FROM outbox")
    await world.announce(3)
    assert await world.wait_seen(3) == [1, 2, 3]
    assert consumer.ready()


async def test_publishing_without_a_server_is_unavailable(nats: NatsServer) -> None:
    bus = Bus(nats.url, name="test")
    await bus.start()
    await bus.wait_connected(5)
    nats.kill()
    with pytest.raises(Unavailable):
        await bus.publish("pbs.test.thing", {}, message_id="1")
    await bus.hint("pbs-hint.test", {})
    await bus.stop()


async def test_hints_reach_listeners_and_survive_a_restart(nats: NatsServer) -> None:
    got: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def keep(_subject: str, payload: dict[str, Any]) -> None:
        await got.put(payload)

    bus = Bus(nats.url, name="test")
    await bus.listen("pbs-hint.>", keep)
    await bus.start()
    await bus.wait_connected(5)
    nats.kill()
    nats.start()
    async with asyncio.timeout(10):
        while got.empty():
            await bus.hint("pbs-hint.revoked", {"id": 7})
            await asyncio.sleep(0.1)
    assert await got.get() == {"id": 7}
    await bus.stop()
