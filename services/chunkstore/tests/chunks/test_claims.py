"""The claim table of formats 9.9 row by row against Postgres; the races of 9.10 are in `tests/races`."""

import asyncio
import time
import uuid

import pytest
from testkit.chunk_world import Chunk, World, attempt, encrypted_chunk, plain_chunk

from pbs_cloud.chunkstore.chunks import claim_db
from pbs_cloud.chunkstore.chunks import store as store_module
from pbs_cloud.chunkstore.states import ChunkState
from pbs_cloud.contracts.chunkstore.types import StoredChunk
from pbs_cloud.contracts.errors import DataCorrupt, NotFound, QuotaExceeded, SessionLost, Unavailable


def path_of(world: World, chunk: Chunk) -> object:
    return world.settings.data_dir / world.location.location / ".chunks" / chunk.digest[:2].hex() / chunk.digest.hex()


async def stored(world: World, chunk: Chunk) -> str:
    session = await world.session()
    await world.put(session, chunk)
    await world.flush(session)
    return session


async def begin_epoch(world: World) -> int:
    await world.execute("UPDATE datastore SET epoch = epoch + 1 WHERE id = $1", world.datastore)
    async with world.database.tenant(world.tenant) as db:
        return int(await db.fetchval("SELECT epoch FROM datastore WHERE id = $1", world.datastore))


def test_sql_and_states_agree() -> None:
    assert (ChunkState.UPLOADING, ChunkState.LIVE, ChunkState.CORRUPT) == (1, 2, 3)


async def test_absent(world: World) -> None:
    await begin_epoch(world)
    session, chunk = await world.session(), plain_chunk()
    assert not (await world.put(session, chunk)).duplicate
    row = await world.row(chunk)
    assert row["state"] == ChunkState.UPLOADING
    assert (str(row["owner_session"]), row["touch_epoch"]) == (session, 1)
    await world.flush(session)
    assert (await world.row(chunk))["state"] == ChunkState.LIVE


async def test_live_is_touched_and_only_forwards(any_world: World) -> None:
    chunk = plain_chunk()
    old = await stored(any_world, chunk)
    epoch = await begin_epoch(any_world)
    new = await any_world.session()
    assert (await any_world.put(new, chunk)).duplicate
    assert (await any_world.row(chunk))["touch_epoch"] == epoch
    assert (await any_world.put(old, chunk)).duplicate
    assert (await any_world.row(chunk))["touch_epoch"] == epoch


async def test_condemned_comes_back_to_life(any_world: World) -> None:
    """A deletion that looks for condemned rows finds nothing."""
    chunk = plain_chunk()
    await stored(any_world, chunk)
    await any_world.execute(
        "UPDATE chunk SET state = $2, condemned_run = 1, condemned_at = clock_timestamp() WHERE datastore_id = $1",
        any_world.datastore, ChunkState.CONDEMNED,
    )  # fmt: skip
    epoch = await begin_epoch(any_world)
    session = await any_world.session()
    assert await any_world.get(session, chunk) == chunk.data
    assert await any_world.put(session, chunk) == StoredChunk(duplicate=True, stored_size=len(chunk.data))
    row = await any_world.row(chunk)
    assert (row["state"], row["touch_epoch"]) == (ChunkState.LIVE, epoch)
    assert row["condemned_at"] is None
    assert row["condemned_run"] is None


async def test_deleting_is_waited_for_and_then_written_anew(any_world: World) -> None:
    chunk = plain_chunk()
    await stored(any_world, chunk)
    await any_world.set_row(chunk, state=int(ChunkState.DELETING))
    session = await any_world.session()
    with pytest.raises(NotFound):
        await any_world.get(session, chunk)
    upload = asyncio.create_task(any_world.put(session, chunk))
    await asyncio.sleep(0.3)
    assert not upload.done()
    await (await any_world.store()).backend.delete_chunks([chunk.digest])
    await any_world.execute("DELETE FROM chunk WHERE digest = $1", chunk.digest)
    assert not (await upload).duplicate
    await any_world.flush(session)
    assert await any_world.get(session, chunk) == chunk.data


async def test_waiting_has_an_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "WAIT_SECONDS", 0.2)
    chunk = plain_chunk()
    await stored(world, chunk)
    await world.set_row(chunk, state=int(ChunkState.DELETING))
    with pytest.raises(Unavailable, match=chunk.digest.hex()):
        await world.put(await world.session(), chunk)


async def test_corrupt_is_overwritten_whatever_its_size(any_world: World) -> None:
    chunk = encrypted_chunk(1000)
    await stored(any_world, chunk)
    await any_world.set_row(chunk, state=int(ChunkState.CORRUPT))
    session, other = await any_world.session(), encrypted_chunk(2000, digest=chunk.digest)
    assert await any_world.put(session, other) == StoredChunk(duplicate=False, stored_size=2044)
    await any_world.flush(session)
    assert await any_world.get(session, chunk) == other.data
    assert await any_world.usage() == 2044


async def test_another_active_sessions_upload_is_waited_for(s3_world: World) -> None:
    """On S3 the writer may be another process: wait until the row is live or its session is dead."""
    first, second, chunk = await s3_world.session(), await s3_world.session(), plain_chunk()
    store = await s3_world.store()
    await store._claims.claim(uuid.UUID(first), chunk.digest, attempt(first, chunk).info, patient=True)
    upload = asyncio.create_task(s3_world.put(second, chunk))
    await asyncio.sleep(0.3)
    assert not upload.done()
    await s3_world.end_session(first)
    assert not (await upload).duplicate
    assert (await s3_world.row(chunk))["state"] == ChunkState.LIVE


async def test_only_the_owner_sets_live(s3_world: World) -> None:
    """A writer that was overtaken finds out, and its upload ends with what the other one stored."""
    first, chunk = await s3_world.session(), plain_chunk()
    store = await s3_world.store()
    upload = attempt(first, chunk)
    claim = await store._claims.claim(upload.session, chunk.digest, upload.info, patient=True)
    await s3_world.set_row(chunk, owner_session=uuid.uuid4())
    assert not await store._is_ours(upload)
    await store._locks.acquire(chunk.digest)
    live = await store._write(claim, upload)
    assert live is not None
    assert not await live
    assert (await s3_world.row(chunk))["state"] == ChunkState.UPLOADING


async def test_another_session_rescues_what_a_dead_process_wrote(world: World) -> None:
    first, second, chunk = await world.session(), await world.session(), plain_chunk()
    await world.put(first, chunk)
    await world.restart(crash=True)
    assert (await world.put(second, chunk)).duplicate
    assert (await world.row(chunk))["state"] == ChunkState.LIVE
    await world.flush(first)


async def test_a_failed_upload_leaves_the_object_of_another_server(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was there without a row: a snapshot that nobody has taken in yet may need it."""
    session, chunk = await world.session(), plain_chunk()
    store = await world.store()
    await store.backend.write_chunk(chunk.digest, [chunk.data], only_new=True)

    async def away(_attempt: object) -> bool:
        raise Unavailable("the database is not available")

    monkeypatch.setattr(type(store), "_is_ours", lambda _store, attempt: away(attempt))
    with pytest.raises(Unavailable):
        await world.put(session, chunk)
    assert await store.backend.read_chunk(chunk.digest) == chunk.data


async def test_a_failed_sync_sets_nothing_live(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    session, chunk = await world.session(), plain_chunk()
    store = await world.store()

    async def failing() -> None:
        raise Unavailable("the datastore: Input/output error")

    monkeypatch.setattr(store.backend, "sync", failing)
    await world.put(session, chunk)
    with pytest.raises(DataCorrupt, match=chunk.digest.hex()):
        await world.flush(session)
    monkeypatch.undo()
    with pytest.raises(DataCorrupt):
        await world.flush(session)
    assert (await world.row(chunk))["state"] == ChunkState.UPLOADING
    assert not (await world.put(session, chunk)).duplicate
    await world.flush(session)
    assert await world.get(session, chunk) == chunk.data


async def test_a_commit_that_was_not_confirmed_counts_once(world: World) -> None:
    """The database answers nothing to the first attempt to set rows live; the second finds them live."""
    session, chunk = await world.session(), plain_chunk()
    store = await world.store()
    await world.put(session, chunk)
    upload = attempt(session, chunk)
    written = claim_db.Written(chunk.digest, upload.session, upload.info, upload.upload.size)
    async with world.database.tenant(world.tenant) as db:
        assert await claim_db.publish(db, world.datastore, world.tenant, [written], store.ids.writer)
    await world.flush(session)
    assert await world.usage() == len(chunk.data)


async def test_claims_come_in_batches(world: World) -> None:
    session = await world.session()
    chunks = [plain_chunk(10) for _ in range(128)]
    began = time.monotonic()
    await asyncio.gather(*(world.put(session, chunk) for chunk in chunks))
    assert time.monotonic() - began < 5
    await world.flush(session)


async def test_over_quota_is_no_reason_to_refuse_what_is_stored(world: World) -> None:
    chunk = plain_chunk()
    await stored(world, chunk)
    session = await world.session(quota=1)
    assert (await world.put(session, chunk)).duplicate
    with pytest.raises(QuotaExceeded):
        await world.put(session, plain_chunk())


async def test_a_cancelled_upload_leaves_nothing_behind(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sender's slot may be used again after it gave up: nothing that was read from it may go live."""
    session, chunk = await world.session(), plain_chunk()
    store = await world.store()
    reached, go_on = asyncio.Event(), asyncio.Event()
    original = store.backend.write_chunk

    async def slow(*args: object, **kwargs: object) -> bool:
        reached.set()
        await go_on.wait()
        return await original(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(store.backend, "write_chunk", slow)
    upload = asyncio.create_task(world.put(session, chunk))
    await reached.wait()
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    go_on.set()
    async with asyncio.timeout(5):
        while await world.row(chunk) is not None:
            await asyncio.sleep(0.01)
    assert not path_of(world, chunk).exists()  # type: ignore[attr-defined]
    monkeypatch.undo()
    assert not (await world.put(session, chunk)).duplicate
    await world.flush(session)


async def test_a_lost_session_does_not_disturb_its_batch(world: World) -> None:
    alive, dead = await world.session(), await world.session()
    good, bad = plain_chunk(), plain_chunk()
    await world.put(dead, plain_chunk())
    await world.end_session(dead)
    answers = await asyncio.gather(world.put(alive, good), world.put(dead, bad), return_exceptions=True)
    assert isinstance(answers[0], StoredChunk)
    assert isinstance(answers[1], SessionLost)
    assert await world.row(bad) is None
