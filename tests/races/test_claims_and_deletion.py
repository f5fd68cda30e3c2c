"""Claims against deletion and against each other: R1, R2, R3, R13, R26 of formats 9.10."""

from __future__ import annotations

import asyncio
import random
import uuid
from typing import Any

import pytest
from testkit.chunk_world import attempt
from testkit.collection_fixtures import NewWorld
from testkit.collection_world import PROCESS, CollectionWorld, some_chunks, soon
from testkit.races import (
    CONDEMNED,
    DELETING,
    LIVE,
    Gate,
    complete,
    condemned_chunk,
    in_phase_delete,
    is_state,
    sound,
)

from pbs_cloud.chunkstore.chunks import claim_db
from pbs_cloud.chunkstore.chunks.stores import StoreRegistry
from pbs_cloud.chunkstore.collection import sweeping

pytestmark = pytest.mark.xdist_group("races")


async def test_r01_a_claim_brings_a_condemned_chunk_back(any_world: CollectionWorld) -> None:
    world = any_world
    chunk = await condemned_chunk(world)
    run = await in_phase_delete(world)
    backup = await world.open()
    await world.put(backup, chunk)
    assert await world.state(chunk) == LIVE
    assert (await world.sweep(run)).removed_chunks == 0
    await complete(world, backup, chunk)
    assert await sound(world, chunk)


async def test_r02_claim_and_deletion_at_once(any_world: CollectionWorld) -> None:
    """Whoever is first: a backup that is committed has its object."""
    world = any_world
    for _ in range(4 if world.location.backend_type == "filesystem" else 2):
        chunk = await condemned_chunk(world)
        run = await in_phase_delete(world)
        backup = await world.open()
        swept, _ = await asyncio.gather(world.sweep(run), world.put(backup, chunk))
        await complete(world, backup, chunk)
        assert await sound(world, chunk), swept
        await world.end(run)
        counted, stored = await world.usage()
        assert counted == stored


async def test_r02_rows_that_a_claim_holds_are_skipped(world: CollectionWorld) -> None:
    """The run does not wait for them; the next one finds them."""
    held, free = some_chunks(2)
    await world.forget(await world.backup([held, free], "old"))
    run = await world.begin()
    digests, _, _ = await world.mark(run)
    async with world.database.tenant(world.tenant) as db:
        await claim_db.lock_chunks(db, world.datastore, [held.digest])
        async with asyncio.timeout(5):
            assert (await world.condemn(run, digests)).condemned == 1
    assert [await world.state(chunk) for chunk in (held, free)] == [LIVE, CONDEMNED]


async def test_r02_a_directory_sweep_that_woke_late_spares_a_new_upload(
    world: CollectionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row is looked at again under the digest's lock."""
    chunk = await condemned_chunk(world)
    run = await in_phase_delete(world)
    picked, go_on = asyncio.Event(), asyncio.Event()
    pick = sweeping.Sweeping._pick

    async def slow_pick(self: Any, store: Any, limit: int) -> Any:
        found = await pick(self, store, limit)
        picked.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(sweeping.Sweeping, "_pick", slow_pick)
    sleeper = asyncio.create_task(world.sweep(run))
    await picked.wait()
    monkeypatch.undo()
    assert (await world.sweep(run)).removed_chunks == 1
    backup = await world.open()
    await world.put(backup, chunk)
    await complete(world, backup, chunk)
    go_on.set()
    assert (await sleeper).removed_chunks == 0
    assert await sound(world, chunk)


async def test_r03_a_claim_while_deleting_waits_and_uploads_again(
    any_world: CollectionWorld, gates: list[Gate]
) -> None:
    world = any_world
    chunk = await condemned_chunk(world)
    run = await in_phase_delete(world)
    sweep = asyncio.create_task(world.sweep(run))
    await soon(lambda: is_state(world, chunk, DELETING))
    backup = await world.open()
    upload = asyncio.create_task(world.put(backup, chunk))
    await asyncio.sleep(0.3)
    assert not upload.done()
    gates[0].open.set()
    assert (await sweep).removed_chunks == 1
    await upload
    await complete(world, backup, chunk)
    assert await sound(world, chunk)


async def test_r13_two_sessions_upload_the_same_new_chunk(any_world: CollectionWorld) -> None:
    """One row, one object, both commit; and one of them may go without the other."""
    world = any_world
    chunks = some_chunks(6)
    first, second = await world.open("one"), await world.open("two")
    uploads = [world.put(backup, chunk) for chunk in chunks for backup in (first, second)]
    random.shuffle(uploads)
    await asyncio.gather(*uploads)
    assert await world.value("SELECT count(*) FROM chunk") == len(chunks)
    counted, _ = await world.usage()
    for backup in (first, second):
        await complete(world, backup, *chunks)
    assert await sound(world, *chunks)
    counted, stored = await world.usage()
    assert counted == stored
    await world.forget(first)
    await world.collect()
    assert await sound(world, *chunks)


async def test_r13_two_chunk_processes_on_a_bucket(s3_world: CollectionWorld) -> None:
    """The other session's upload comes through another process: rows alone decide who writes."""
    world = s3_world
    chunks = some_chunks(6)
    other_process = StoreRegistry(world.settings, world.database, io_threads=4, check_threads=2)
    first, second = await world.open("one"), await world.open("two")
    mine = await world.registry.get(world.datastore, world.tenant, world.location)
    theirs = await other_process.get(world.datastore, world.tenant, world.location)
    await asyncio.gather(
        *(
            store.insert(attempt(backup.id, chunk))
            for chunk in chunks
            for store, backup in ((mine, first), (theirs, second))
        )
    )
    for backup in (first, second):
        await complete(world, backup, *chunks)
    await other_process.stop()
    assert await sound(world, *chunks)
    counted, stored = await world.usage()
    assert counted == stored


async def test_r26_two_batches_in_opposite_order_and_renewals(new_world: NewWorld) -> None:
    """No deadlock, and no lease lost under a steady stream of claims: renewals get through."""
    world = await new_world("local", lease_seconds=5.0)
    chunks = some_chunks(60)
    sessions = [await world.open("one"), await world.open("two")]
    ids = [backup.id for backup in sessions]
    stop = asyncio.Event()

    async def renew() -> int:
        renewals = 0
        while not stop.is_set():
            assert (
                await world.services.leases.renew(PROCESS, ids[:: 1 if renewals % 2 else -1], [])
            ).lost_session_ids == ()
            renewals += 1
            await asyncio.sleep(0.005)
        return renewals

    async def upload(number: int) -> None:
        ordered = chunks[::-1] if number else chunks
        for _ in range(3):
            for start in range(0, 60, 20):
                part = ordered[start : start + 20]
                random.shuffle(part)
                await asyncio.gather(*(world.put(sessions[number], chunk) for chunk in part))
            await asyncio.sleep(0.3)

    renewing = asyncio.create_task(renew())
    async with asyncio.timeout(20):
        await asyncio.gather(upload(0), upload(1))
    stop.set()
    assert await renewing > 3
    for backup in sessions:
        await complete(world, backup, *chunks)
    assert await sound(world, *chunks[:3])


async def test_r26_claim_transactions_of_two_processes_do_not_deadlock(s3_world: CollectionWorld) -> None:
    """Overlapping sets, opposite order, straight at the database."""
    world = s3_world
    sessions = [await world.open("one"), await world.open("two")]
    chunks = some_chunks(40)
    queues = []
    for _ in range(2):
        await world.restart_chunks()
        queues.append((await world.registry.get(world.datastore, world.tenant, world.location))._claims)
    async with asyncio.timeout(20):
        await asyncio.gather(
            *(
                queues[n].claim(
                    uuid.UUID(sessions[n].id), chunk.digest, attempt(sessions[n].id, chunk).info, patient=True
                )
                for n in range(2)
                for chunk in (chunks if n else chunks[::-1])
            )
        )
