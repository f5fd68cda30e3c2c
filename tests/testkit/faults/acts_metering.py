"""Events, and what billing counts."""

from __future__ import annotations

import asyncio
from typing import Any

from pbs_cloud.billing.metering import OldEvents
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.inbox import EventConsumer
from pbs_cloud.runtime.outbox import OutboxRelay
from testkit.faults.acts import Act, act, reading, snapshot
from testkit.faults.world import FaultWorld
from testkit.maintenance import ADMIN, STORE, TENANT

_LEFT = 10


async def _usage(world: FaultWorld) -> tuple[int, int]:
    found = await world.billing.get_usage(ADMIN)
    return (0, 0) if found is None else (found.backup_count, found.api_requests)


async def _settled(world: FaultWorld) -> None:
    """Until every event that was announced is counted."""
    async with asyncio.timeout(60):
        for producer, process in (("chunkstore", "catalogue"), ("auth", "auth")):
            for follower in ("billing", "gc"):
                while await _behind(world, process, follower, producer):
                    await asyncio.sleep(0.1)


async def _behind(world: FaultWorld, process: str, follower: str, producer: str) -> bool:
    async with world.part(process, Database).system() as connection:
        waiting = await connection.fetchval("SELECT count(*) FROM outbox WHERE sequence IS NULL")
        last = await connection.fetchval("SELECT last FROM outbox_sequence")
    async with world.part(follower, Database).system() as connection:
        seen = await connection.fetchval("SELECT last FROM inbox WHERE producer = $1", producer)
    return bool(waiting or (seen is not None and seen < last))


@act
async def event(world: FaultWorld) -> Act:
    """A backup is counted exactly once, whatever happens to the message."""
    await _settled(world)
    before, _ = await _usage(world)
    made: list[t.SnapshotKey] = []

    async def run() -> None:
        made.append(await snapshot(world))
        async with asyncio.timeout(45):
            while (await _usage(world))[0] < before + len(made):
                await asyncio.sleep(0.05)
            await _settled(world)  # the change of its usage comes behind it

    async def check() -> None:
        await _settled(world)
        assert (await _usage(world))[0] == before + len(made), "not counted once"

    return Act(run, check)


@act
async def lost_position(world: FaultWorld) -> Act:
    """A consumer that knows nothing asks for everything, and counts nothing twice."""
    await snapshot(world)
    await _settled(world)
    before = await _usage(world)
    async with world.part("billing", Database).system() as connection:
        await connection.execute("UPDATE inbox SET epoch = 'another', last = 0 WHERE producer = 'chunkstore'")

    async def run() -> None:
        await world.part("billing", EventConsumer).catch_up("chunkstore")

    async def check() -> None:
        await world.part("billing", EventConsumer).catch_up("chunkstore")
        await _settled(world)
        assert await _usage(world) == before

    return Act(run, check)


@act
async def events_that_are_gone(world: FaultWorld) -> Act:
    """After 30 days a producer has forgotten; whoever slept so long goes on behind the gap."""
    await _settled(world)
    async with world.part("catalogue", Database).system() as connection:
        last = await connection.fetchval("SELECT last FROM outbox_sequence")
        await connection.execute("DELETE FROM outbox WHERE sequence <= $1", last - _LEFT)
    async with world.part("billing", Database).system() as connection:
        await connection.execute("UPDATE inbox SET last = 0 WHERE producer = 'chunkstore'")

    async def run() -> None:
        await world.part("billing", EventConsumer).catch_up("chunkstore")

    async def check() -> None:
        await run()
        await _settled(world)

    return Act(run, check)


@act
async def old_events(world: FaultWorld) -> Act:
    """Outbox and metering forget what is old."""
    async with world.part("catalogue", Database).system() as connection:
        await connection.execute(
            "UPDATE outbox SET sent_at = sent_at - interval '40 days'"
            " WHERE sequence = (SELECT min(sequence) FROM outbox)"
        )

    async def run() -> None:
        await world.part("catalogue", OutboxRelay).prune()
        old: OldEvents = world.part("billing", OldEvents)
        task = asyncio.create_task(old._forget_for_ever())
        await asyncio.wait({task}, timeout=0.15)
        if not task.done():
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def check() -> None:
        await world.part("catalogue", OutboxRelay).prune()

    return Act(run, check, background=True)


@act
async def api_requests(world: FaultWorld) -> Act:
    """Counters of API calls may be lost, never doubled by one report that succeeds."""

    async def run() -> None:
        await world.billing.report_api_requests({TENANT: 5})

    async def check() -> None:
        _, before = await _usage(world)
        await run()
        assert (await _usage(world))[1] == before + 5

    return Act(run, check)


@act
async def usage(world: FaultWorld) -> Act:
    await world.billing.report_api_requests({TENANT: 1})
    await snapshot(world)
    await _settled(world)

    async def run() -> Any:
        whole, one = await world.billing.get_usage(ADMIN), await world.billing.get_usage(ADMIN, store=STORE)
        assert whole is not None and one is not None
        return whole.backup_count, whole.api_requests, one.backup_count

    return await reading(run)
