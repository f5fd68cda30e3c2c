"""Clocks that are wrong, and verification beside uploads: R20, R21 of formats 9.10."""

from __future__ import annotations

import asyncio
import time

import pytest
from testkit.chunk_world import Chunk, attempt
from testkit.collection_fixtures import NewWorld
from testkit.collection_world import PROCESS, Backup, CollectionWorld, some_chunks
from testkit.late_requests import LateRequests
from testkit.races import CONDEMNED, CORRUPT, LIVE, complete, sound

from pbs_cloud.chunkstore.chunks.stores import StoreRegistry
from pbs_cloud.chunkstore.chunks.verification import Verification
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.errors import Conflict, SessionLost

pytestmark = pytest.mark.xdist_group("races")
DAY = 86_400.0


@pytest.mark.parametrize("shift", [DAY, -DAY])
async def test_r20_a_clock_that_is_a_day_off(
    new_world: NewWorld, monkeypatch: pytest.MonkeyPatch, shift: float
) -> None:
    """Leases, cutoff, grace and the age of orphans go by the database's clock, whatever the processes believe."""
    world = await new_world("local")
    kept, gone, orphan, lost = some_chunks(4)
    world.settings = world.settings.model_copy(update={"gc_grace_seconds": 3600.0})
    await world.forget(await world.backup([gone], "old"))
    await world.collect()
    backup, dead = await world.open(), await world.open("dead")
    await world.put(dead, lost)
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + shift)
    monkeypatch.setattr(time, "time_ns", lambda: int((right() + shift) * 1e9))
    await world.put(backup, kept)
    assert (await world.services.leases.renew(PROCESS, [backup.id, dead.id], [])).lost_session_ids == ()
    backend = (await world.registry.get(world.datastore, world.tenant, world.location)).backend
    await backend.write_chunk(orphan.digest, [orphan.data], only_new=True)
    await world.collect()
    if shift > 0:
        assert await world.collect_orphans() == (0, 0), "nothing is an hour old"
    assert await world.state(gone) == CONDEMNED
    await complete(world, backup, kept)
    assert await sound(world, kept)
    assert (await world.open(time=int(time.time()))).session.base is not None
    await world.end_lease(dead)
    with pytest.raises(SessionLost):
        await world.put(dead, lost)
    await world.execute("UPDATE chunk SET condemned_at = condemned_at - interval '1 hour' WHERE state = 4")
    assert (await world.collect())["removed-chunks"] == 1
    assert await sound(world, kept)


# ------------------------------------------------------------------------------------------------ R21


async def verify(world: CollectionWorld, backup: Backup, *chunks: Chunk) -> int:
    """How many of the chunks a verification of the snapshot finds damaged."""
    key = t.SnapshotKey(backup.group, backup.time)
    reader = await world.services.readers.open(world.ctx, key, process_id=PROCESS, with_task=False)
    verification = Verification(world.database, world.registry)
    digests = b"".join(chunk.digest for chunk in chunks)
    sizes = [chunk.size for chunk in chunks]
    found = await verification.check(world.ctx, reader.session_id, digests, sizes, encrypted=False, workers=4)
    await world.services.closing.close(world.ctx, reader.session_id, error=None, bytes_sent=0)
    return len(found.bad)


async def damage(world: CollectionWorld, chunk: Chunk) -> None:
    """Flip a bit of the stored object."""
    broken = chunk.data[:-1] + bytes([chunk.data[-1] ^ 1])
    backend = (await world.registry.get(world.datastore, world.tenant, world.location)).backend
    await backend.write_chunk(chunk.digest, [broken], only_new=False)


async def test_r21_a_claim_of_a_chunk_that_verification_finds_damaged(any_world: CollectionWorld) -> None:
    """Claimed before: the close fails, the next backup uploads it again. Claimed after: the claim uploads it."""
    world = any_world
    early, late = some_chunks(2)
    old = await world.backup([early, late])
    backup = await world.open("two")
    await damage(world, early)
    await damage(world, late)
    await world.put(backup, early)
    assert await verify(world, old, early, late) == 2
    assert [await world.state(chunk) for chunk in (early, late)] == [CORRUPT, CORRUPT]
    await world.put(backup, late)
    await world.chunks.flush(world.ctx, backup.id)
    assert await sound(world, late)
    with pytest.raises(Conflict, match="refers to a chunk that is damaged"):
        await world.close_index(backup, [early, late])
    await world.services.closing.close(world.ctx, backup.id, error="damaged", bytes_sent=0)
    await world.backup([early, late], "two")
    assert await sound(world, early, late)
    assert await verify(world, old, early, late) == 0
    await world.collect()
    assert await sound(world, early, late)


async def test_r21_verification_and_uploads_at_once(any_world: CollectionWorld) -> None:
    """Whoever is first: a backup that could be finished has sound objects."""
    world = any_world
    for _ in range(5 if world.location.backend_type == "filesystem" else 3):
        chunks = some_chunks(4)
        old = await world.backup(chunks)
        for chunk in chunks:
            await damage(world, chunk)
        backup = await world.open("two")
        await asyncio.gather(verify(world, old, *chunks), *(world.put(backup, chunk) for chunk in chunks))
        try:
            await complete(world, backup, *chunks)
        except Conflict:
            await world.services.closing.close(world.ctx, backup.id, error="damaged", bytes_sent=0)
            await world.backup(chunks, "two")
        assert await sound(world, *chunks)


async def test_r21_verification_never_takes_a_new_object_away(new_world: NewWorld, late: LateRequests) -> None:
    """A bucket and two processes: between mark and copy another process uploads; the copy takes nothing away."""
    world = await new_world("s3", endpoint=late.endpoint)
    (chunk,) = some_chunks(1)
    old = await world.backup([chunk])
    await damage(world, chunk)
    copying = late.hold(lambda request: request.method == "PUT" and request.path.endswith(".bad"))
    verifying = asyncio.create_task(verify(world, old, chunk))
    await copying.reached.wait()
    assert await world.state(chunk) == CORRUPT
    other = StoreRegistry(world.settings, world.database, io_threads=2, check_threads=2)
    backup = await world.open("two")
    store = await other.get(world.datastore, world.tenant, world.location)
    await store.insert(attempt(backup.id, chunk))
    assert await world.state(chunk) == LIVE
    copying.go_on.set()
    assert await verifying == 1
    await complete(world, backup, chunk)
    await other.stop()
    assert await sound(world, chunk)


async def test_r21_an_inherited_chunk_turns_out_damaged(any_world: CollectionWorld) -> None:
    """The close fails, the base counts as failed, the next run has no base and heals."""
    world = any_world
    inherited, new = some_chunks(2)
    base = await world.backup([inherited])
    backup = await world.open()
    assert backup.session.base is not None
    await world.put(backup, new)
    await damage(world, inherited)
    assert await verify(world, base, inherited) == 1
    with pytest.raises(Conflict, match="refers to a chunk that is damaged"):
        await world.close_index(backup, [inherited, new])
    await world.services.closing.close(world.ctx, backup.id, error="damaged", bytes_sent=0)
    again = await world.open()
    assert again.session.base is None
    await world.put(again, inherited, new)
    await complete(world, again, inherited, new)
    assert await sound(world, inherited, new)
