"""Garbage collection in all its phases."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from pbs_cloud.chunkstore.states import UsageWriter
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.errors import Locked
from pbs_cloud.formats import layout
from pbs_cloud.gc.collection_schedule import JOB as COLLECTIONS
from pbs_cloud.gc.jobs import JobRunner
from pbs_cloud.gc.service import SWEEP
from testkit.chunk_world import Chunk, plain_chunk
from testkit.faults.acts import Act, act, chunks, group, key_of, reading, snapshot
from testkit.faults.acts_accounts import ROOT
from testkit.faults.world import FaultWorld
from testkit.maintenance import ADMIN, STORE, Archive


async def _garbage(world: FaultWorld) -> tuple[t.SnapshotKey, Chunk]:
    """A snapshot that stays, and a chunk that nothing needs any more."""
    kept, away = await snapshot(world), await snapshot(world, count=1)
    chunk = world.promised.pop(away).archives["a.pxar.didx"][0]
    await world.catalogue.delete_snapshot(ADMIN, away)
    return kept, chunk


def _collecting(world: FaultWorld, kept: t.SnapshotKey, chunk: Chunk) -> Act:
    async def run() -> None:
        upid, _ = await world.gc.start_collection(ADMIN, STORE, wait_seconds=30)
        await world.must(upid)

    async def whole() -> None:
        await world.check_promises(kept.group)

    async def check() -> None:
        await run()
        await whole()
        assert await world.stored(chunk) is None, "garbage stays"

    return Act(run, check, done=(Locked,), between=whole)


@act
async def collection(world: FaultWorld) -> Act:
    return _collecting(world, *await _garbage(world))


@act
async def collection_with_orphans(world: FaultWorld) -> Act:
    """Objects without a row, set-aside copies, indexes that no row knows."""
    kept, chunk = await _garbage(world)
    orphan, needed = plain_chunk(300), world.promised[kept].archives["a.pxar.didx"][0]
    place = world.place()
    paths = (layout.chunk_path(orphan.digest), layout.bad_chunk_path(needed.digest, 0))
    for path in paths:
        await place.write(path, orphan.data)
    stray = world.path(kept, "stray.pxar.didx")
    await place.write(stray, Archive([needed]).index()[0])
    await _orphans_are_due(world)
    found = _collecting(world, kept, chunk)
    once = found.check
    assert once is not None

    async def check() -> None:
        await once()
        await _orphans_are_due(world)
        await place.remove(stray)
        await found.run()
        assert not any([await place.read(path) for path in paths]), "orphans stay"

    found.check = check
    return found


@act
async def collection_beside_an_unknown_snapshot(world: FaultWorld) -> Act:
    """What somebody else has put there is not in the catalogue: nothing is taken for an orphan."""
    kept, chunk = await _garbage(world)
    orphan, strange = plain_chunk(300), world.path(key_of(group()), "index.json.blob")
    await world.place().write(layout.chunk_path(orphan.digest), orphan.data)
    await world.place().write(strange, b"strange")
    await _orphans_are_due(world)
    found = _collecting(world, kept, chunk)
    once = found.check
    assert once is not None

    async def check() -> None:
        await _orphans_are_due(world)
        await once()
        assert await world.stored(orphan) is not None, "no orphan as long as anybody may need it"
        for path in (strange, layout.chunk_path(orphan.digest)):
            await world.place().remove(path)

    found.check = check
    return found


async def _orphans_are_due(world: FaultWorld) -> None:
    async with world.database.system() as connection:
        await connection.execute("UPDATE datastore SET created_at = created_at - interval '30 days'")
        await connection.execute("DELETE FROM gc_run WHERE ended_at IS NOT NULL")


@act
async def collection_beside_a_removal(world: FaultWorld) -> Act:
    """An index vanishes between list and mark: all snapshots are listed again."""
    kept, chunk = await _garbage(world)
    away = await snapshot(world)
    del world.promised[away]

    async def remove() -> None:
        await world.catalogue.delete_snapshot(ADMIN, away)

    world.layer.meanwhile("chunkstore/collection/marking.py", "_snapshot", "execute", remove)
    return _collecting(world, kept, chunk)


@act
async def collection_of_corrupt_and_unfinished_chunks(world: FaultWorld) -> Act:
    """A chunk that is condemned and needed is saved; corrupt and unfinished ones go at once."""
    kept, chunk = await _garbage(world)
    saved = world.promised[kept].archives["a.pxar.didx"][0]
    session = await world.open(group(), key_of(group()).backup_time)
    dead, corrupt = chunks(2)
    await world.upload(session, [dead])
    await world.catalogue.close_session(ADMIN, session.session_id)
    (await world.back_up(key := key_of(group()), {"a.pxar.didx": [corrupt]}))
    del world.promised[key]
    await world.catalogue.delete_snapshot(ADMIN, key)
    async with world.database.system() as connection:
        await connection.execute(
            "UPDATE chunk SET state = 4, condemned_run = 1, condemned_at = clock_timestamp() WHERE digest = $1",
            saved.digest,
        )
        await connection.execute("UPDATE chunk SET state = 3 WHERE digest = $1", corrupt.digest)
        moved = await connection.fetchval(
            "UPDATE chunk SET state = 1, owner_session = $2 WHERE digest = $1 RETURNING size",
            dead.digest, uuid.UUID(session.session_id),
        )  # fmt: skip
        await _uncount(connection, moved)
    return _collecting(world, kept, chunk)


async def _uncount(connection: Any, size: int) -> None:
    """An unfinished chunk does not count."""
    await connection.execute(
        "UPDATE usage_counter SET bytes = bytes - $1 WHERE writer = $2"
        " AND datastore_id = (SELECT id FROM datastore WHERE name = $3 AND state = 'active')",
        size, int(UsageWriter.CHUNKS), STORE,
    )  # fmt: skip


@act
async def collection_of_a_damaged_store(world: FaultWorld) -> Act:
    """An index that cannot be read: the run ends with an error and nothing is condemned."""
    kept, chunk = await _garbage(world)
    place, path = world.place(), world.path(kept, "a.pxar.didx")
    content = await place.read(path)
    assert content is not None

    async def run() -> str:
        await place.write(path, content[:-3])
        try:
            upid, _ = await world.gc.start_collection(ADMIN, STORE, wait_seconds=30)
            status = await world.ended(upid)
        finally:
            await place.write(path, content)
        assert status != "OK" and not status.startswith("WARNINGS"), status
        return "refused"

    async def check() -> None:
        assert await world.stored(chunk) is not None, "condemned without having read all indexes"
        await world.check_promises(kept.group)

    return Act(run, check, reads=True, expected="refused", done=(Locked,))


@act
async def abandoned_collection(world: FaultWorld) -> Act:
    """The schedule takes over what a dead process began."""
    kept, chunk = await _garbage(world)
    async with world.database.system() as connection:
        await connection.execute(
            "INSERT INTO gc_run (tenant_id, datastore_id, run_epoch, process_id, lease_until)"
            " SELECT tenant_id, id, epoch + 1, 'dead', clock_timestamp() FROM datastore WHERE name = $1",
            STORE,
        )
        await connection.execute("UPDATE datastore SET epoch = epoch + 1 WHERE name = $1", STORE)

    async def run() -> None:
        await due(world, COLLECTIONS)
        async with asyncio.timeout(30):
            while any(state.running or state.abandoned for state in await world.gc.collection_status(ADMIN, STORE)):
                await asyncio.sleep(0.05)

    async def check() -> None:
        await world.check_promises(kept.group)
        await _collecting(world, kept, chunk).run()
        assert await world.stored(chunk) is None

    return Act(run, check)


async def due(world: FaultWorld, job: str) -> None:
    """Run a job of the gc service now, as if its time had come."""
    async with world.gc_database.system() as connection:
        await connection.execute("DELETE FROM job_status WHERE job = $1", job)
    await world.part("gc", JobRunner, job).run_once()


@act
async def collection_status(world: FaultWorld) -> Act:
    await _collecting(world, *await _garbage(world)).run()

    async def run() -> Any:
        (state,) = await world.gc.collection_status(ADMIN, STORE, with_chunks=True)
        return state.running, state.last_result, state.gc_status

    return await reading(run)


@act
async def trial_collection(world: FaultWorld) -> Act:
    _, chunk = await _garbage(world)

    async def run() -> None:
        upid, _ = await world.gc.start_collection(ADMIN, STORE, dry_run=True, wait_seconds=30)
        await world.must(upid)

    async def check() -> None:
        assert await world.stored(chunk) is not None

    return Act(run, check, done=(Locked,))


@act
async def service_status(world: FaultWorld) -> Act:
    async def run() -> bool:
        return (await world.gc.get_status(ROOT)).sweeps > 0

    await due(world, SWEEP)
    return await reading(run)


@act
async def sweep_of_dead_leases(world: FaultWorld) -> Act:
    ref = group()
    session = await world.open(ref, key_of(ref).backup_time)
    async with world.database.system() as connection:
        await connection.execute(
            "UPDATE session SET lease_until = clock_timestamp() WHERE id = $1", uuid.UUID(session.session_id)
        )

    async def run() -> None:
        await due(world, SWEEP)

    async def check() -> None:
        assert (await world.catalogue.get_task(ADMIN, session.upid)).endtime is not None

    return Act(run, check)
