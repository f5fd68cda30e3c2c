"""Snapshots that go while others build on them: R11, R12 of formats 9.10."""

from __future__ import annotations

import asyncio

import pytest
from testkit.collection_world import CollectionWorld, some_chunks
from testkit.races import complete, sound

from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.errors import Locked, NotFound
from pbs_cloud.formats.prune import KeepOptions

pytestmark = pytest.mark.xdist_group("races")
LAST = KeepOptions(last=1)


async def times(world: CollectionWorld) -> list[int]:
    """Times of the snapshots of the group, oldest first."""
    found = world.services.listings.snapshots(world.ctx, "store", "", "host", "one")
    return sorted([snapshot.backup_time async for snapshot in found])


async def test_r11_the_newest_snapshot_finishes_while_its_base_is_pruned(any_world: CollectionWorld) -> None:
    """Base pinned or claims hold: whoever is first, the new snapshot is complete, also after collections."""
    world = any_world
    inherited, new = some_chunks(2)
    base = await world.backup([inherited])
    for turn in range(4):
        backup = await world.open()
        await world.put(backup, new)
        await world.close_index(backup, [inherited, new])
        pause = turn * 0.01

        async def prune(pause: float = pause) -> tuple[t.PrunedSnapshot, ...]:
            await asyncio.sleep(pause)
            return await world.services.pruning.prune_group(world.ctx, base.group, LAST, dry_run=False)

        await asyncio.gather(world.finish(backup), prune(), world.collect())
        await world.services.pruning.prune_group(world.ctx, base.group, LAST, dry_run=False)
        assert await times(world) == [backup.time]
        await world.collect()
        assert await sound(world, inherited, new), turn


async def test_r12_the_base_of_a_session_stays(any_world: CollectionWorld) -> None:
    """Removal is refused, prune says so and goes on; after the session's end both may."""
    world = any_world
    chunks = some_chunks(3)
    oldest, base = await world.backup(chunks[:1]), await world.backup(chunks[:2])
    backup = await world.open()
    assert backup.session.base is not None
    assert backup.session.base.backup_time == base.time
    with pytest.raises(Locked, match="it is the base of a running backup"):
        await world.forget(base)
    verdicts = await world.services.pruning.prune_group(world.ctx, base.group, LAST, dry_run=False)
    assert [verdict.backup_time for verdict in verdicts if verdict.keep] == [base.time, backup.time]
    assert await times(world) == [base.time, backup.time]
    await world.put(backup, chunks[2])
    await complete(world, backup, *chunks[1:])
    await world.collect()
    assert await sound(world, *chunks[1:])
    await world.services.pruning.prune_group(world.ctx, base.group, LAST, dry_run=False)
    assert await times(world) == [backup.time]
    with pytest.raises(NotFound):
        await world.forget(oldest)
    await world.collect()
    assert await sound(world, *chunks[1:])


async def test_r12_a_dead_session_holds_no_base(world: CollectionWorld) -> None:
    """The pin goes with the lease, whoever meets it first; the base alone decides what stays."""
    (chunk,) = some_chunks(1)
    base = await world.backup([chunk])
    dead = await world.open()
    with pytest.raises(Locked):
        await world.forget(base)
    await world.end_lease(dead, 0.2)
    await asyncio.sleep(0.4)
    await world.forget(base)
    assert await times(world) == []
    assert (await world.collect())["removed-chunks"] == 1
    assert await world.value("SELECT state FROM session WHERE id::text = $1", dead.id) == "expired"
