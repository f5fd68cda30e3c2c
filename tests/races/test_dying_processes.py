"""Processes that sleep, die, or lose the database or their power: R6, R7, R8, R17, R25 of formats 9.10."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from testkit.chunk_world import Chunk, attempt, plain_chunk
from testkit.collection_fixtures import NewWorld
from testkit.collection_world import PROCESS, CollectionWorld, some_chunks, soon
from testkit.cut_connections import CutConnections
from testkit.late_requests import LateRequests, putting
from testkit.races import (
    DELETING,
    LIVE,
    UPLOADING,
    Gate,
    complete,
    condemned_chunk,
    in_phase_delete,
    is_state,
    sound,
)

from pbs_cloud.chunkstore.chunks.stores import StoreRegistry
from pbs_cloud.contracts.errors import DataCorrupt, SessionLost, Unavailable
from pbs_cloud.formats import layout
from pbs_cloud.runtime.database import Database

pytestmark = pytest.mark.xdist_group("races")


async def finished(world: CollectionWorld) -> set[int]:
    """Times of committed snapshots."""
    async with world.database.tenant(world.tenant) as db:
        rows = await db.fetch("SELECT backup_time FROM snapshot WHERE state = 'committed'")
    return {row["backup_time"] for row in rows}


# ------------------------------------------------------------------------------------------------ R6, R7, R8


async def test_r06_a_gateway_that_was_paused_longer_than_its_lease(any_world: CollectionWorld) -> None:
    """A collection expires its session; nothing that it does afterwards has an effect."""
    world = any_world
    first, second, third = some_chunks(3)
    backup = await world.open()
    await world.put(backup, first, second)
    await world.close_index(backup, [first])
    await world.end_lease(backup, 0.3)
    await asyncio.sleep(0.5)
    run = await world.begin()
    digests, summary, _ = await world.mark(run)
    assert (digests, summary.cutoff) == (set(), run.run_epoch)
    assert (await world.condemn(run, digests)).condemned == 2
    for chunk in (first, second, third):
        with pytest.raises(SessionLost):
            await world.put(backup, chunk)
    with pytest.raises(SessionLost):
        await world.close_index(backup, [second], "b.pxar.didx")
    with pytest.raises(SessionLost):
        await world.finish(backup)
    leases = await world.services.leases.renew(PROCESS, [backup.id], [])
    assert leases.lost_session_ids == (backup.id,)
    assert await finished(world) == set()
    while (await world.sweep(run)).more:
        pass
    await world.end(run)
    assert [await world.state(chunk) for chunk in (first, second, third)] == [None] * 3
    counted, stored = await world.usage()
    assert counted == stored == 0


async def test_r06_a_lease_that_ran_out_unnoticed_is_lost_too(world: CollectionWorld) -> None:
    """Nobody has expired the session yet: the database's clock decides, not who came first."""
    chunk, another = some_chunks(2)
    backup = await world.open()
    await world.put(backup, chunk)
    await world.close_index(backup, [chunk])
    await world.end_lease(backup, 0.3)
    await asyncio.sleep(0.5)
    with pytest.raises(SessionLost):
        await world.put(backup, another)
    with pytest.raises(SessionLost):
        await world.finish(backup)
    assert await finished(world) == set()


@pytest.mark.parametrize("taken_over", [True, False])
async def test_r07_a_crash_between_put_and_live(
    any_world: CollectionWorld, monkeypatch: pytest.MonkeyPatch, taken_over: bool
) -> None:
    """The object may be there in part; another session takes the row over, or a collection removes both."""
    world = any_world
    (chunk,) = some_chunks(1)
    dead = await world.open("dead")
    store = await world.registry.get(world.datastore, world.tenant, world.location)
    await store._claims.claim(uuid.UUID(dead.id), chunk.digest, attempt(dead.id, chunk).info, patient=True)
    await store.backend.write_chunk(chunk.digest, [b"unfinished"], only_new=True)
    await world.execute("UPDATE chunk SET writer = gen_random_uuid() WHERE digest = $1", chunk.digest)
    assert await world.state(chunk) == UPLOADING
    await world.end_lease(dead)
    if taken_over:
        await world.backup([chunk])
        assert await sound(world, chunk)
        return
    assert (await world.collect())["removed-chunks"] == 0, "what never was a chunk is not counted as one"
    assert await world.state(chunk) is None
    with pytest.raises(Exception, match="does not exist"):
        await store.backend.read_chunk(chunk.digest)
    counted, stored = await world.usage()
    assert counted == stored == 0


async def test_r08_a_chunk_process_that_dies_while_it_deletes(world: CollectionWorld, gates: list[Gate]) -> None:
    """Before and after the file is gone: the next sweep of a directory ends the work at once."""
    for delete_first in (False, True):
        chunk = await condemned_chunk(world)
        run = await in_phase_delete(world)
        sweep = asyncio.create_task(world.sweep(run))
        await soon(lambda chunk=chunk: is_state(world, chunk, DELETING))
        if delete_first:
            backend = (await world.registry.get(world.datastore, world.tenant, world.location)).backend
            await backend.delete_chunks([chunk.digest])
        for task in asyncio.all_tasks():
            if "_sweep" in str(task.get_coro()):
                task.cancel()
        await asyncio.gather(sweep, return_exceptions=True)
        await world.restart_chunks()
        gates.clear()
        again = asyncio.create_task(world.sweep(run))
        await soon(lambda: _opened(gates))
        assert (await again).removed_chunks == 1
        assert (await world.state(chunk), await world.has_object(chunk)) == (None, False)
        await world.end(run)


async def _opened(gates: list[Gate]) -> bool:
    for gate in gates:
        gate.open.set()
    return bool(gates)


# ------------------------------------------------------------------------------------------------ R17


@pytest.fixture
async def cut(database_url: str) -> AsyncIterator[CutConnections]:
    """Connections to the database that can be cut."""
    proxy = await CutConnections(database_url).start()
    yield proxy
    await proxy.stop()


@pytest.fixture
async def cut_database(cut: CutConnections) -> AsyncIterator[Database]:
    """A pool of them."""
    database = Database(cut.url, schema="chunkstore", application_name="tests", max_size=5)
    await database.start()
    yield database
    await database.stop()


@pytest.fixture
async def cut_world(cut_database: Database, new_world: NewWorld) -> CollectionWorld:
    """A store whose processes reach the database that way."""
    return await new_world("local", database=cut_database)


@pytest.mark.parametrize("committed", [True, False])
async def test_r17_a_failover_while_a_backup_is_finished(
    cut: CutConnections, cut_world: CollectionWorld, committed: bool
) -> None:
    """The answer to the commit is lost, whether it happened or not: repeating `finish` is enough."""
    world = cut_world
    chunk, other = some_chunks(2)
    base = await world.backup([other])
    backup = await world.open()
    await world.put(backup, chunk)
    await world.close_index(backup, [other, chunk])
    await world.put_manifest(backup)
    fallen = cut.at_commit_of("DELETE FROM pin WHERE session_id", committed=committed)
    with pytest.raises(Unavailable):
        await world.commit(backup)
    assert fallen.is_set()
    assert (backup.time in await finished(world)) is committed
    await world.commit(backup)
    await world.commit(backup)
    assert await finished(world) == {backup.time, base.time}
    assert await world.value("SELECT count(*) FROM pin") == 0
    assert await world.value("SELECT count(*) FROM outbox WHERE payload->>'type' = 'backup_created'") == 2
    counted, stored = await world.usage()
    assert counted == stored
    await world.forget(base)
    await world.collect()
    assert await sound(world, chunk, other)


@pytest.mark.parametrize("committed", [True, False])
async def test_r17_a_failover_while_chunks_are_claimed_go_live_and_go(
    cut: CutConnections, cut_world: CollectionWorld, committed: bool
) -> None:
    """Each statement's commit loses its answer once; what is repeated counts once."""
    world = cut_world
    chunk, gone = some_chunks(2)
    await world.forget(await world.backup([gone], "old"))
    backup = await world.open()
    cut.at_commit_of("INSERT INTO chunk", committed=committed)
    with pytest.raises(Unavailable):
        await world.put(backup, chunk)
    await world.put(backup, chunk)
    live = cut.at_commit_of("UPDATE chunk SET state = 2", committed=committed)
    await complete(world, backup, chunk)
    assert live.is_set()
    counted, stored = await world.usage()
    assert counted == stored
    await world.collect(sweeps=False)
    run = await in_phase_delete(world)
    deleted = cut.at_commit_of("DELETE FROM chunk", committed=committed)
    with pytest.raises(Unavailable):
        await world.sweep(run)
    assert deleted.is_set()
    await world.sweep(run)
    assert (await world.end(run))["removed-chunks"] == 1
    assert (await world.state(gone), await world.has_object(gone)) == (None, False)
    assert await sound(world, chunk)
    counted, stored = await world.usage()
    assert counted == stored


async def test_r17_nothing_is_answered_before_its_commit(
    cut_database: Database, new_world: NewWorld, late: LateRequests, cut: CutConnections
) -> None:
    """A bucket: the PUT is answered, the database falls before the row is live; the upload waits until it is."""
    world = await new_world("s3", endpoint=late.endpoint, database=cut_database)
    (chunk,) = some_chunks(1)
    backup = await world.open()
    held = late.hold(putting(chunk.digest.hex()))
    upload = asyncio.create_task(world.put(backup, chunk))
    await held.reached.wait()
    cut.fall()
    held.go_on.set()
    await asyncio.sleep(0.5)
    assert not upload.done()
    cut.rise()
    await upload
    assert await world.state(chunk) == LIVE
    await complete(world, backup, chunk)


# ------------------------------------------------------------------------------------------------ R25


def file_of(world: CollectionWorld, chunk: Chunk) -> Path:
    return world.settings.data_dir / "stores/one" / layout.chunk_path(chunk.digest)


async def crash(world: CollectionWorld) -> None:
    """The chunk process is gone between two syncs; a new one starts."""
    store = await world.registry.get(world.datastore, world.tenant, world.location)
    if store._publisher._rounds is not None:
        store._publisher._rounds.cancel()
    await store.backend.close()
    world.registry = StoreRegistry(world.settings, world.database, io_threads=4, check_threads=2)
    world.chunks = type(world.chunks)(world.database, world.registry)


async def test_r25_a_crash_before_the_sync_leaves_no_live_row_and_loses_nothing(world: CollectionWorld) -> None:
    """Process killed: the files are there, the rows `uploading`; the session goes on with the next process."""
    backup, chunks = await world.open(), some_chunks(3)
    await world.put(backup, *chunks)
    await crash(world)
    assert [await world.state(chunk) for chunk in chunks] == [UPLOADING] * 3
    await world.put(backup, chunks[0])
    await complete(world, backup, *chunks)
    assert await sound(world, *chunks)
    counted, stored = await world.usage()
    assert counted == stored


@pytest.mark.parametrize("damage", ["missing", "empty", "bits", "another"])
async def test_r25_a_power_failure_before_the_sync_fails_the_session(world: CollectionWorld, damage: str) -> None:
    """What was answered but is not on disk must not become live; the next session writes it again."""
    backup, lost, kept = await world.open(), plain_chunk(), plain_chunk()
    await world.put(backup, lost, kept)
    await crash(world)
    flipped = lost.data[:-1] + bytes([lost.data[-1] ^ 1])
    content = {"missing": None, "empty": b"", "bits": flipped, "another": plain_chunk(10).data}[damage]
    path = file_of(world, lost)
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(DataCorrupt, match=lost.digest.hex()):
        await world.close_index(backup, [lost, kept])
    assert [await world.state(chunk) for chunk in (lost, kept)] == [UPLOADING, LIVE]
    await world.services.closing.close(world.ctx, backup.id, error="lost", bytes_sent=0)
    await world.backup([lost])
    assert await sound(world, lost)
