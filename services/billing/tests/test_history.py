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


async def test_removed_datastores_and_old_slots_go(world: World) -> None:
    await world.used(100)
    await world.minute(0)
    async with world.database.system() as connection:
        await forget_old(connection, START + KEPT_SECONDS[60] + 1)
        kept = await connection.fetch("SELECT step FROM usage_slot ORDER BY step")
    assert [row["step"] for row in kept] == [1800, 21_600, 604_800]
    await world.tell(EventType.DATASTORE_REMOVED, 0, {"store": "tank"})
    await world.minute(1)
    assert await world.read(1800) == {}


async def test_an_answer_is_bounded(world: World) -> None:
    await world.used(100)
    await world.minute(0)
    found = (await world.read(60, since=0))["tank"]
    assert len(found.used) == MOST_SLOTS and found.start == START - (MOST_SLOTS - 1) * 60
