"""The claim table of formats 9.9 row by row against Postgres, and the races of 9.10 that concern claims."""

import asyncio
import random
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
    """R1: condemned, then claimed: a deletion that looks for condemned rows finds nothing."""
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
    """R3."""
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


async def test_a_dead_sessions_upload_is_taken_over(any_world: World) -> None:
    """R7: crash between the write and `live`; the row's session is dead."""
    dead, chunk = await any_world.session(), plain_chunk()
    store = await any_world.store()
    await store._claims.claim(uuid.UUID(dead), chunk.digest, attempt(dead, chunk).info, patient=True)
    await store.backend.write_chunk(chunk.digest, [b"unfinished"], only_new=True)
    await any_world.execute("UPDATE chunk SET writer = gen_random_uuid() WHERE digest = $1", chunk.digest)
    await any_world.execute(
        "UPDATE session SET lease_until = clock_timestamp() - interval '1 s' WHERE id = $1", uuid.UUID(dead)
    )
    session = await any_world.session()
    assert not (await any_world.put(session, chunk)).duplicate
    await any_world.flush(session)
    assert await any_world.get(session, chunk) == chunk.data


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


async def test_a_crash_before_the_sync_leaves_no_live_row_and_loses_nothing(world: World) -> None:
    """R25, process killed: the files are there, the rows `uploading`; the session goes on with the next process."""
    session, chunks = await world.session(), [plain_chunk() for _ in range(3)]
    for chunk in chunks:
        await world.put(session, chunk)
    await world.restart(crash=True)
    assert {(await world.row(chunk))["state"] for chunk in chunks} == {ChunkState.UPLOADING}
    assert not (await world.put(session, chunks[0])).duplicate
    await world.flush(session)
    for chunk in chunks:
        assert (await world.row(chunk))["state"] == ChunkState.LIVE
        assert await world.get(session, chunk) == chunk.data
    assert await world.usage() == sum(len(chunk.data) for chunk in chunks)


@pytest.mark.parametrize("damage", ["missing", "empty", "bits", "another"])
async def test_a_power_failure_before_the_sync_fails_the_session(world: World, damage: str) -> None:
    """R25: what was answered but is not on disk must not become live; the next session writes it again."""
    session, lost, kept = await world.session(), plain_chunk(), plain_chunk()
    await world.put(session, lost)
    await world.put(session, kept)
    await world.restart(crash=True)
    path = path_of(world, lost)
    flipped = lost.data[:-1] + bytes([lost.data[-1] ^ 1])
    content = {"missing": None, "empty": b"", "bits": flipped, "another": plain_chunk(10).data}[damage]
    path.unlink() if content is None else path.write_bytes(content)  # type: ignore[attr-defined]
    with pytest.raises(DataCorrupt, match=lost.digest.hex()):
        await world.flush(session)
    assert (await world.row(lost))["state"] == ChunkState.UPLOADING
    assert (await world.row(kept))["state"] == ChunkState.LIVE
    await world.end_session(session, "aborted")
    again = await world.session()
    assert not (await world.put(again, lost)).duplicate
    await world.flush(again)
    assert await world.get(again, lost) == lost.data


async def test_another_session_rescues_what_a_dead_process_wrote(world: World) -> None:
    first, second, chunk = await world.session(), await world.session(), plain_chunk()
    await world.put(first, chunk)
    await world.restart(crash=True)
    assert (await world.put(second, chunk)).duplicate
    assert (await world.row(chunk))["state"] == ChunkState.LIVE
    await world.flush(first)


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


async def test_two_batches_in_opposite_order_and_renewals(world: World) -> None:
    """R26: no deadlock, no lease lost under a steady stream of claims."""
    chunks = [plain_chunk(100) for _ in range(60)]
    sessions = [await world.session() for _ in range(2)]
    orders = [chunks, chunks[::-1]]
    renewals = 0
    stop = asyncio.Event()

    async def renew() -> None:
        nonlocal renewals
        while not stop.is_set():
            await world.execute(
                "UPDATE session SET lease_until = clock_timestamp() + interval '60 s' WHERE id = ANY($1)",
                [uuid.UUID(session) for session in sessions],
            )
            renewals += 1
            await asyncio.sleep(0.005)

    async def upload(number: int) -> None:
        for start in range(0, 60, 20):
            part = orders[number][start : start + 20]
            random.shuffle(part)
            await asyncio.gather(*(world.put(sessions[number], chunk) for chunk in part))

    renewing = asyncio.create_task(renew())
    async with asyncio.timeout(20):
        await asyncio.gather(upload(0), upload(1))
    stop.set()
    await renewing
    assert renewals > 3
    for session in sessions:
        await world.flush(session)


async def test_concurrent_claim_transactions_of_two_processes_do_not_deadlock(s3_world: World) -> None:
    """R26 across processes: overlapping sets, opposite order, straight at the database."""
    sessions = [await s3_world.session() for _ in range(2)]
    chunks = [plain_chunk(10) for _ in range(40)]
    queues = []
    for _ in range(2):
        await s3_world.restart()
        queues.append((await s3_world.store())._claims)
    async with asyncio.timeout(20):
        await asyncio.gather(
            *(
                queues[n].claim(uuid.UUID(sessions[n]), chunk.digest, attempt(sessions[n], chunk).info, patient=True)
                for n in range(2)
                for chunk in (chunks if n else chunks[::-1])
            )
        )


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
