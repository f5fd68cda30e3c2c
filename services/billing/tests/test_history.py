"""Usage over time: one sample a minute over all replicas, slots of growing length, what is shown to whom."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest
from testkit.auth_service import AuthWorld, start_auth
from testkit.servers import temporary_folder

from pbs_cloud.billing.history import MOST_SLOTS, UsageHistory
from pbs_cloud.billing.metering import count_event
from pbs_cloud.billing.sampling import KEPT_SECONDS, UNLIMITED, UsageSampler, forget_old
from pbs_cloud.contracts.billing import StoreHistory
from pbs_cloud.contracts.context import AclEntry, CallContext, Caller
from pbs_cloud.contracts.errors import InvalidArgument, PermissionDenied
from pbs_cloud.contracts.events import Event, EventType
from pbs_cloud.runtime.clock import Clock
from pbs_cloud.runtime.database import Database

START = 604_800 * 2930  # begins a slot of every length


class At(Clock):
    """A clock that is set."""

    now = float(START)

    def time(self) -> float:
        return self.now


@dataclass
class World:
    database: Database
    sampler: UsageSampler
    other: UsageSampler
    history: UsageHistory
    clock: At

    async def used(self, size: int, store: str = "tank", *, tenant_total: int | None = None) -> None:
        metadata = {"store": store, "store_bytes": str(size)}
        await self.tell(EventType.STORAGE_UPDATED, size if tenant_total is None else tenant_total, metadata)

    async def tell(self, kind: EventType, size: int, metadata: dict[str, str], tenant: str = "default") -> None:
        async with self.database.system() as connection:
            await count_event(connection, Event(kind, tenant, START, size, metadata))

    async def minute(self, number: int) -> None:
        self.clock.now = START + number * 60
        assert await self.sampler.sample(int(self.clock.now))

    async def read(self, step: int, since: int = START, **more: bool) -> dict[str, StoreHistory]:
        found = await self.history.read(reader("Audit"), (), step, since, maximum=more.get("maximum", False))
        return {history.store: history for history in found}


def reader(role: str, path: str = "/", tenant: str = "default") -> CallContext:
    return CallContext(Caller(tenant, "eve@pbs", (AclEntry(path, "eve@pbs", role),)))


@pytest.fixture
async def world(service_database: Callable[[str], Awaitable[str]]) -> AsyncIterator[World]:
    auth = await start_auth(await service_database("auth"), temporary_folder("history"))
    await AuthWorld.create(auth)
    database = Database(await service_database("billing"), schema="billing", application_name="test")
    await database.start()
    clock = At()
    samplers = [UsageSampler(database, auth.client, clock) for _ in range(2)]
    yield World(database, *samplers, UsageHistory(database, clock), clock)
    await database.stop()
    await auth.stop()


async def test_averages_and_maxima_of_growing_slots(world: World) -> None:
    for number, size in enumerate((100, 200, 600)):
        await world.used(size)
        await world.minute(number)
    found = (await world.read(60))["tank"]
    assert (found.start, found.used) == (START, (100.0, 200.0, 600.0))
    assert found.total == tuple(used + UNLIMITED for used in found.used)
    assert found.available == (float(UNLIMITED),) * 3
    for step in (1800, 21_600, 604_800):
        assert (await world.read(step))["tank"].used == (300.0,)
        assert (await world.read(step, maximum=True))["tank"].used == (600.0,)


async def test_of_several_replicas_one_takes_each_minute(world: World) -> None:
    await world.used(100)
    await world.minute(0)
    assert not await world.other.sample(START + 59)
    assert await world.other.sample(START + 60)
    assert not await world.sampler.sample(START + 60)
    world.clock.now = START + 60
    assert (await world.read(1800, maximum=False))["tank"].used == (100.0,)
    async with world.database.system() as connection:
        assert await connection.fetchval("SELECT samples FROM usage_slot WHERE step = 1800") == 2


async def test_gaps_are_unknown(world: World) -> None:
    await world.used(100)
    await world.minute(0)
    await world.minute(3)
    found = (await world.read(60))["tank"].used
    assert [math.isnan(value) for value in found] == [False, True, True, False]


async def test_who_sees_what(world: World) -> None:
    await world.used(100, "tank")
    await world.used(50, "cold")
    await world.minute(0)
    assert set(await world.read(60)) == {"tank", "cold"}
    limited = reader("DatastoreBackup", "/datastore/cold")
    assert [h.store for h in await world.history.read(limited, (), 60, START, maximum=False)] == ["cold"]
    with pytest.raises(PermissionDenied):
        await world.history.read(limited, ("tank",), 60, START, maximum=False)
    foreign = reader("Admin", tenant="globex")
    assert await world.history.read(foreign, ("tank",), 60, START, maximum=False) == []
    with pytest.raises(InvalidArgument):
        await world.history.read(limited, ("cold",), 61, START, maximum=False)


async def test_bytes_of_sessions_are_spread_over_the_time_that_they_lasted(world: World) -> None:
    """Bytes per second, zero where nothing happened, in slots of every length; a maximum only of minutes."""
    await world.used(100)
    for number in range(4):
        await world.minute(number)
    world.clock.now = START + 3 * 60

    async def ended(kind: EventType, size: int, second: int, **metadata: str) -> None:
        async with world.database.system() as connection:
            await count_event(connection, Event(kind, "default", START + second, size, {"store": "tank", **metadata}))

    await ended(EventType.BACKUP_CREATED, 9000, 150, seconds="90")
    await ended(EventType.DATA_RESTORED, 600, 61, seconds="1")
    await ended(EventType.DATA_RESTORED, 1200, 60)
    found = (await world.read(60))["tank"]
    assert found.write_bytes == (0.0, 100.0, 50.0, 0.0)
    assert found.read_bytes == (20.0, 10.0, 0.0, 0.0)
    await ended(EventType.BACKUP_CREATED, 60, 200, seconds="1", store="new")
    new = (await world.read(60))["new"]
    assert (new.write_bytes[3], math.isnan(new.used[3]), math.isnan(new.write_bytes[2])) == (1.0, True, True)
    assert (await world.read(60, maximum=True))["tank"].write_bytes == found.write_bytes
    for step in (1800, 21_600, 604_800):
        coarse = (await world.read(step))["tank"]
        assert (coarse.write_bytes, coarse.read_bytes) == ((9000 / step,), (1800 / step,))
        greatest = (await world.read(step, maximum=True))["tank"]
        assert math.isnan(greatest.write_bytes[0])


async def test_a_session_longer_than_minutes_are_kept(world: World) -> None:
    """What is too old for its slot is left out; the longer slots have it."""
    await world.used(100)
    await world.minute(0)
    days = 3 * 86_400
    event = Event(EventType.BACKUP_CREATED, "default", START, days, {"store": "tank", "seconds": str(days)})
    async with world.database.system() as connection:
        await count_event(connection, event)
        rows = await connection.fetch(
            "SELECT step, count(*) AS slots, sum(write_bytes) AS bytes FROM traffic_slot GROUP BY step ORDER BY step"
        )
    assert [(row["step"], row["slots"], round(row["bytes"])) for row in rows] == [
        (60, KEPT_SECONDS[60] // 60, KEPT_SECONDS[60]),
        (1800, days // 1800, days),
        (21_600, days // 21_600, days),
        (604_800, 1, days),
    ]


async def test_removed_datastores_and_old_slots_go(world: World) -> None:
    await world.used(100)
    await world.minute(0)
    async with world.database.system() as connection:
        await forget_old(connection, START + KEPT_SECONDS[60] + 1)
        kept = await connection.fetch("SELECT step FROM usage_slot ORDER BY step")
    assert [row["step"] for row in kept] == [1800, 21_600, 604_800]
    await world.tell(EventType.BACKUP_CREATED, 600, {"store": "tank"})
    await world.tell(EventType.BACKUP_CREATED, 600, {"store": "cold"})
    async with world.database.system() as connection:
        await forget_old(connection, START + KEPT_SECONDS[60] + 1)
        left = await connection.fetchval("SELECT count(*) FROM traffic_slot WHERE step = 60")
    assert left == 0
    await world.tell(EventType.DATASTORE_REMOVED, 0, {"store": "tank"})
    await world.minute(1)
    assert await world.read(1800) == {}
    async with world.database.system() as connection:
        rows = await connection.fetch("SELECT DISTINCT store FROM traffic_slot")
    assert [row["store"] for row in rows] == ["cold"]
    await world.tell(EventType.TENANT_REMOVED, 0, {})
    async with world.database.system() as connection:
        assert await connection.fetchval("SELECT count(*) FROM traffic_slot") == 0


async def test_an_answer_is_bounded(world: World) -> None:
    await world.used(100)
    await world.minute(0)
    found = (await world.read(60, since=0))["tank"]
    assert len(found.used) == MOST_SLOTS and found.start == START - (MOST_SLOTS - 1) * 60
