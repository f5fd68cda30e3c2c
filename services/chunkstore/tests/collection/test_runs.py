"""Whole runs: what is removed, what stays, what the counters say (formats 9.8, 9.9; checklist 47, 49-51, 53, 54)."""

from __future__ import annotations

import asyncio
import json
import os
import uuid

import pytest
from testkit.collection_world import STORE, CollectionWorld, some_chunks

from pbs_cloud.chunkstore.states import ChunkState
from pbs_cloud.contracts.errors import Conflict, DataCorrupt, Locked
from pbs_cloud.formats import layout

LIVE, CONDEMNED = int(ChunkState.LIVE), int(ChunkState.CONDEMNED)


async def test_unreferenced_chunks_go_and_referenced_ones_stay(any_world: CollectionWorld) -> None:
    world = any_world
    shared, old, new = some_chunks(3)
    first = await world.backup([shared, old])
    await world.backup([shared, new])
    await world.forget(first)
    before = (await world.usage())[0]
    status = await world.collect()
    assert [await world.state(chunk) for chunk in (shared, old, new)] == [LIVE, None, LIVE]
    assert [await world.has_object(chunk) for chunk in (shared, old, new)] == [True, False, True]
    counted, stored = await world.usage()
    assert counted == stored == before - len(old.data)
    assert status == {
        "upid": "UPID:x",
        "index-file-count": 1,
        "index-data-bytes": shared.size + new.size,
        "disk-bytes": len(shared.data) + len(new.data),
        "disk-chunks": 2,
        "removed-bytes": len(old.data),
        "removed-chunks": 1,
        "pending-bytes": 0,
        "pending-chunks": 0,
        "removed-bad": 0,
        "still-bad": 0,
    }
    events = await world.value("SELECT count(*) FROM outbox WHERE payload->>'type' = 'storage_updated'")
    assert events >= 3
    if world.location.backend_type == "filesystem":
        written = json.loads((world.settings.data_dir / "stores/one/.gc-status").read_bytes())
        assert written == status, "a real PBS reads it when it takes the directory back"


async def test_only_a_complete_run_writes_its_status(world: CollectionWorld) -> None:
    path = world.settings.data_dir / "stores/one/.gc-status"
    await world.collect()
    written = path.read_bytes()
    run = await world.begin()
    await world.runs.end(world.ctx, uuid.UUID(run.token), "UPID:y", "no luck", complete=False)
    dry = await world.runs.begin(world.ctx, STORE, "test", dry_run=True)
    await world.runs.end(world.ctx, uuid.UUID(dry.token), "UPID:z", "OK", complete=True)
    assert path.read_bytes() == written
    path.unlink()
    path.mkdir()
    try:
        assert (await world.collect())["upid"] == "UPID:x", "what cannot be written is left out"
    finally:
        path.rmdir()
        (path.parent / ".gc-status.tmp").unlink(missing_ok=True)


async def test_chunks_wait_for_their_grace(world: CollectionWorld) -> None:
    world.settings = world.settings.model_copy(update={"gc_grace_seconds": 3600.0})
    kept, gone = some_chunks(2)
    await world.backup([kept])
    await world.forget(await world.backup([gone], "two"))
    status = await world.collect()
    assert await world.state(gone) == CONDEMNED
    assert (status["pending-chunks"], status["pending-bytes"]) == (1, len(gone.data))
    assert (status["disk-chunks"], status["removed-chunks"]) == (1, 0)
    await world.execute("UPDATE chunk SET condemned_at = condemned_at - interval '59 minutes' WHERE state = 4")
    assert (await world.collect())["pending-chunks"] == 1
    await world.execute("UPDATE chunk SET condemned_at = condemned_at - interval '2 minutes' WHERE state = 4")
    status = await world.collect()
    assert (status["pending-chunks"], status["removed-chunks"]) == (0, 1)
    assert (await world.state(gone), await world.state(kept)) == (None, LIVE)


async def test_many_batches(world: CollectionWorld) -> None:
    kept, gone = some_chunks(23), some_chunks(31)
    await world.backup(kept)
    await world.forget(await world.backup(gone, "two"))
    run = await world.begin()
    digests, summary, _ = await world.mark(run)
    assert (digests, summary.digests_read) == ({chunk.digest for chunk in kept}, 23)
    result = await world.condemn(run, digests, batch_rows=5)
    assert (result.rows, result.referenced, result.unreferenced, result.condemned) == (54, 23, 31, 31)
    sweeps = []
    while (done := await world.sweep(run, 10)).more:
        sweeps.append(done.removed_chunks)
    assert (sweeps, done.removed_chunks) == ([10, 10, 10], 1)
    assert (await world.end(run))["removed-chunks"] == 31
    assert [await world.state(chunk) for chunk in kept] == [LIVE] * 23


async def test_an_index_in_an_unexpected_place_protects_its_chunks(world: CollectionWorld) -> None:
    kept, gone = some_chunks(2)
    backup = await world.backup([kept])
    path = next((world.settings.data_dir / "stores/one/host/one").glob("*/a.pxar.didx"))
    elsewhere = world.settings.data_dir / "stores/one/elsewhere/deep"
    elsewhere.mkdir(parents=True)
    (elsewhere / "copy.didx").write_bytes(path.read_bytes())
    await world.forget(backup)
    await world.forget(await world.backup([gone], "two"))
    run = await world.begin()
    digests, summary, warnings = await world.mark(run)
    assert (digests, summary.index_file_count) == ({kept.digest}, 1)
    assert warnings == ["index file outside of the catalogue: elsewhere/deep/copy.didx"]
    await world.condemn(run, digests)
    assert [await world.state(chunk) for chunk in (kept, gone)] == [LIVE, CONDEMNED]
    (elsewhere / "copy.didx").write_bytes(b"x" * 5000)
    with pytest.raises(DataCorrupt):
        run_again = await world.end(run) and await world.begin()
        await world.mark(run_again)


async def test_the_index_of_an_open_snapshot_protects_its_chunks(world: CollectionWorld) -> None:
    (chunk,) = some_chunks(1)
    backup = await world.open()
    await world.put(backup, chunk)
    await world.close_index(backup, [chunk])
    run = await world.begin()
    digests, summary, warnings = await world.mark(run)
    assert (digests, summary.index_file_count, warnings) == ({chunk.digest}, 1, [])
    await world.finish(backup)


async def test_a_missing_chunk_is_told_and_no_error(world: CollectionWorld) -> None:
    kept, lost = some_chunks(2)
    await world.backup([kept, lost])
    await world.execute("DELETE FROM chunk WHERE digest = $1", lost.digest)
    run = await world.begin()
    digests, _, _ = await world.mark(run)
    result = await world.condemn(run, digests)
    assert (result.missing_count, result.missing, result.condemned) == (1, (lost.digest,), 0)


async def test_damaged_chunks_stay_while_they_are_needed(any_world: CollectionWorld) -> None:
    world = any_world
    needed, needless = some_chunks(2)
    await world.backup([needed])
    old = await world.backup([needless], "two")
    backend = (await world.registry.get(world.datastore, world.tenant, world.location)).backend
    for chunk in (needed, needless):
        await backend.set_aside_chunk(chunk.digest)
        await world.execute("UPDATE chunk SET state = 3 WHERE digest = $1", chunk.digest)
    await world.forget(old)
    status = await world.collect()
    assert (await world.state(needed), await world.state(needless)) == (int(ChunkState.CORRUPT), None)
    assert (status["still-bad"], status["removed-bad"], status["removed-chunks"]) == (1, 1, 0)
    assert (status["disk-bytes"], status["disk-chunks"]) == (len(needed.data), 0)
    counted, stored = await world.usage()
    assert counted == stored
    if backend.kind == "filesystem":
        root = world.settings.data_dir / "stores/one"
        assert (root / layout.bad_chunk_path(needed.digest, 0)).exists()
        assert not (root / layout.bad_chunk_path(needless.digest, 0)).exists()


async def test_a_dead_run_is_taken_over_and_its_holder_is_out(world: CollectionWorld) -> None:
    (gone,) = some_chunks(1)
    await world.forget(await world.backup([gone]))
    dead = await world.begin()
    digests, _, _ = await world.mark(dead)
    await world.end_run_lease()
    run = await world.begin()
    assert (run.resumed, run.run_epoch, run.phase) == (True, dead.run_epoch, "mark")
    with pytest.raises(Conflict, match="held by somebody else"):
        await world.condemn(dead, digests)
    with pytest.raises(Conflict):
        await world.runs.renew(world.ctx, uuid.UUID(dead.token))
    assert await world.state(gone) == LIVE
    digests, _, _ = await world.mark(run)
    await world.condemn(run, digests)
    await world.end_run_lease()
    third = await world.begin()
    assert (third.resumed, third.phase) == (True, "delete")
    await world.sweep(third)
    status = await world.end(third)
    assert (status["removed-chunks"], status["index-file-count"]) == (1, 0)
    assert await world.state(gone) is None


async def test_a_run_that_only_lost_time_keeps_its_lease(world: CollectionWorld) -> None:
    run = await world.begin()
    await world.end_run_lease()
    await world.runs.renew(world.ctx, uuid.UUID(run.token))
    with pytest.raises(Locked):
        await world.begin()


async def test_leftovers_of_dead_uploads_go(any_world: CollectionWorld) -> None:
    world = any_world
    lost, other = some_chunks(2)
    backup = await world.open()
    await world.execute(
        "INSERT INTO chunk (datastore_id, tenant_id, digest, kind, size, raw_size, state, touch_epoch, owner_session)"
        " VALUES ($1, $2, $3, 1, 212, 200, 1, 0, $4::uuid)",
        world.datastore, world.tenant, lost.digest, uuid.UUID(backup.id),
    )  # fmt: skip
    await world.collect()
    assert await world.state(lost) == int(ChunkState.UPLOADING), "its session lives"
    await world.end_lease(backup)
    await world.collect()
    assert await world.state(lost) is None
    await world.backup([other])
    counted, stored = await world.usage()
    assert counted == stored


async def test_objects_without_a_row_are_collected(any_world: CollectionWorld) -> None:
    world = any_world
    known, unknown = some_chunks(2)
    await world.backup([known])
    backend = (await world.registry.get(world.datastore, world.tenant, world.location)).backend
    if backend.kind == "filesystem":
        for path in (world.settings.data_dir / "stores/one/.chunks").glob("*/*"):
            if path.name != known.digest.hex():
                path.unlink()
    await backend.write_chunk(unknown.digest, [unknown.data], only_new=True)
    await asyncio.sleep(1.1)
    run = await world.begin()
    digests, _, _ = await world.mark(run)
    await world.condemn(run, digests)
    found = await world.orphans.find(world.ctx, uuid.UUID(run.token))
    assert (found.found, found.refused) == (1, None)
    assert (await world.sweep(run)).removed_chunks == 1
    assert [await world.has_object(chunk) for chunk in (known, unknown)] == [True, False]
    counted, stored = await world.usage()
    assert counted == stored


async def test_orphans_are_left_alone_when_somebody_else_used_the_store(any_world: CollectionWorld) -> None:
    world = any_world
    (known,) = some_chunks(1)
    await world.backup([known])
    backend = (await world.registry.get(world.datastore, world.tenant, world.location)).backend
    await backend.put_file("vm/7/2026-01-31T12:00:00Z/index.json.blob", os.urandom(50))
    await backend.write_chunk(some_chunks(1)[0].digest, [b"x" * 50], only_new=True)
    run = await world.begin()
    found = await world.orphans.find(world.ctx, uuid.UUID(run.token))
    assert found.found == 0
    assert found.refused is not None
    assert "vm/7/2026-01-31T12:00:00Z" in found.refused


async def test_the_state_is_told(world: CollectionWorld) -> None:
    (before,) = [state async for state in world.runs.states(world.ctx, STORE, with_chunks=True)]
    assert (before.running, before.last_end, before.last_result, before.chunks) == (False, None, None, 0)
    run = await world.begin()
    (during,) = [state async for state in world.runs.states(world.ctx, None, with_chunks=False)]
    assert (during.running, during.abandoned, during.chunks) == (True, False, None)
    await world.end_run_lease()
    mine = [state async for state in world.runs.all_states() if state.tenant_id == world.tenant]
    assert [(state.running, state.abandoned) for state in mine] == [(False, True)]
    await world.runs.end(world.ctx, uuid.UUID(run.token), "UPID:y", "no luck", complete=False)
    (after,) = [state async for state in world.runs.states(world.ctx, STORE, with_chunks=False)]
    assert (after.last_result, after.running, '"upid": null' in after.gc_status) == ("no luck", False, True)
