"""Uploads and reads through the service."""

import asyncio
import uuid

import pytest
from testkit.chunk_world import World, encrypted_chunk, plain_chunk

from pbs_cloud.chunkstore.chunks.kinds import ChunkKind
from pbs_cloud.chunkstore.states import ChunkState
from pbs_cloud.contracts.chunkstore.types import StoredChunk
from pbs_cloud.contracts.errors import DataCorrupt, InvalidArgument, NotFound, QuotaExceeded, SessionLost
from pbs_cloud.formats import blob


async def test_what_was_uploaded_reads_back(any_world: World) -> None:
    session = await any_world.session()
    chunks = [plain_chunk(), plain_chunk(50_000, compress=True, content=b"a" * 50_000), encrypted_chunk()]
    for chunk in chunks:
        stored = await any_world.put(session, chunk)
        assert stored == StoredChunk(duplicate=False, stored_size=len(chunk.data))
    await any_world.flush(session)
    reader = await any_world.session(kind="reader")
    for chunk in chunks:
        assert await any_world.get(reader, chunk) == chunk.data
        row = await any_world.row(chunk)
        assert (row["state"], row["size"], row["raw_size"]) == (ChunkState.LIVE, len(chunk.data), chunk.size)
        assert row["owner_session"] is None
        assert row["writer"] is None
    kinds = [(await any_world.row(chunk))["kind"] for chunk in chunks]
    assert kinds == [ChunkKind.PLAIN, ChunkKind.ZSTD, ChunkKind.ENCRYPTED]
    assert await any_world.usage() == sum(len(chunk.data) for chunk in chunks)


async def test_a_wrong_crc_is_put_right(world: World) -> None:
    chunk = plain_chunk()
    right = chunk.data
    chunk.data = right[:8] + b"\xff\xff\xff\xff" + right[12:]
    session = await world.session()
    await world.put(session, chunk)
    await world.flush(session)
    assert await world.get(session, chunk) == right


async def test_wrong_content_is_refused_and_says_why(world: World) -> None:
    session = await world.session()
    good = plain_chunk()
    cases = [
        (good.digest[::-1], good.size, good.data, "wrong digest"),
        (good.digest, good.size + 1, good.data, "1001"),
        (good.digest, good.size, b"12345678" + good.data[8:], "magic"),
        (good.digest, good.size, good.data[:12], "encoded-size"),
        (good.digest, 0, good.data, "size: must be 1"),
        (good.digest, 2**24 + 1, good.data, "size: must be 1"),
        (good.digest[1:], good.size, good.data, "digest: must have 32 bytes"),
        (good.digest, good.size, encrypted_chunk(10).data[:43], "too small"),
        (good.digest, 100, plain_chunk(100, content=b"a" * 100, compress=True).data[:-2], "zstd"),
    ]
    for digest, size, data, text in cases:
        with pytest.raises(InvalidArgument, match=text):
            await world.service.put(world.ctx, session, digest, size, memoryview(data))
    assert await world.row(good) is None


async def test_a_decompression_bomb_is_stopped_at_the_announced_size(world: World) -> None:
    session = await world.session()
    bomb = plain_chunk(content=bytes(120_000_000), compress=True)
    assert len(bomb.data) < 100_000
    with pytest.raises(InvalidArgument, match="announced 1000 bytes"):
        await world.service.put(world.ctx, session, bomb.digest, 1000, memoryview(bomb.data))


async def test_the_same_digest_from_many_streams_and_sessions_succeeds_for_all(any_world: World) -> None:
    sessions = [await any_world.session() for _ in range(3)]
    chunk = plain_chunk(20_000)
    answers = await asyncio.gather(*(any_world.put(session, chunk) for session in sessions * 4))
    assert [answer.duplicate for answer in answers].count(False) == 1
    assert {answer.stored_size for answer in answers} == {len(chunk.data)}
    for session in sessions:
        await any_world.flush(session)
    assert await any_world.get(sessions[0], chunk) == chunk.data
    assert await any_world.usage() == len(chunk.data)


async def test_a_second_upload_does_not_wait_for_the_regular_sync(world: World) -> None:
    first, second = await world.session(), await world.session()
    chunk = plain_chunk()
    await world.put(first, chunk)
    async with asyncio.timeout(1.5):
        assert (await world.put(second, chunk)).duplicate


async def test_rows_go_live_by_themselves(world: World) -> None:
    session, chunk = await world.session(), plain_chunk()
    await world.put(session, chunk)
    assert (await world.row(chunk))["state"] == ChunkState.UPLOADING
    async with asyncio.timeout(5):
        while (await world.row(chunk))["state"] != ChunkState.LIVE:
            await asyncio.sleep(0.05)


async def test_sessions_that_may_not(world: World) -> None:
    chunk = plain_chunk()
    with pytest.raises(InvalidArgument, match="session_id"):
        await world.put("no uuid", chunk)
    with pytest.raises(SessionLost):
        await world.put(str(uuid.uuid4()), chunk)
    with pytest.raises(InvalidArgument, match="not a backup session"):
        await world.put(await world.session(kind="reader"), chunk)
    with pytest.raises(SessionLost):
        await world.put(await world.session(lease=-1), chunk)


async def test_a_session_that_ends_meanwhile_claims_nothing_more(world: World) -> None:
    session = await world.session()
    await world.put(session, plain_chunk())
    await world.end_session(session)
    late = plain_chunk()
    with pytest.raises(SessionLost):
        await world.put(session, late)
    assert await world.row(late) is None
    with pytest.raises(SessionLost):
        await world.flush(session)


async def test_another_tenants_session_is_not_there(world: World, data_dir: object, make_world: object) -> None:
    other = await make_world(world.settings, "filesystem", "stores/other")  # type: ignore[operator]
    chunk = plain_chunk()
    with pytest.raises(SessionLost):
        await world.put(await other.session(), chunk)


async def test_unknown_and_unfinished_chunks_are_not_found(world: World) -> None:
    session, chunk = await world.session(), plain_chunk()
    with pytest.raises(NotFound):
        await world.get(session, chunk)
    with pytest.raises(InvalidArgument, match="digest"):
        await world.service.get(world.ctx, session, b"short")
    await world.put(session, chunk)
    with pytest.raises(NotFound):
        await world.get(session, chunk)


async def test_a_damaged_object_is_never_served_and_heals_by_an_upload(any_world: World) -> None:
    world = any_world
    session, chunk = await world.session(), plain_chunk()
    await world.put(session, chunk)
    await world.flush(session)
    damaged = chunk.data[:-1] + bytes([chunk.data[-1] ^ 1])
    await (await world.store()).backend.write_chunk(chunk.digest, [damaged], only_new=False)
    with pytest.raises(DataCorrupt, match=chunk.digest.hex()):
        await world.get(session, chunk)
    assert (await world.row(chunk))["state"] == ChunkState.CORRUPT
    target = memoryview(bytearray(2000))
    with pytest.raises(DataCorrupt):
        await world.service.get_into(world.ctx, session, chunk.digest, target)
    assert await world.put(session, chunk) == StoredChunk(duplicate=False, stored_size=len(chunk.data))
    await world.flush(session)
    assert await world.get(session, chunk) == chunk.data
    assert await world.service.get_into(world.ctx, session, chunk.digest, target) == len(chunk.data)
    assert bytes(target[: len(chunk.data)]) == chunk.data
    assert await world.usage() == len(chunk.data)


async def test_a_missing_object_is_damage_not_absence(world: World) -> None:
    session, chunk = await world.session(), plain_chunk()
    await world.put(session, chunk)
    await world.flush(session)
    await (await world.store()).backend.delete_chunks([chunk.digest])
    with pytest.raises(DataCorrupt):
        await world.get(session, chunk)
    assert (await world.row(chunk))["state"] == ChunkState.CORRUPT


async def test_quota_counts_what_is_stored_and_what_is_on_its_way(world: World) -> None:
    first, second, third = plain_chunk(1000), plain_chunk(1000), plain_chunk(1000)
    session = await world.session(quota=len(first.data) * 2)
    await world.put(session, first)
    await world.put(session, second)
    with pytest.raises(QuotaExceeded, match=r"^Quota exceeded: 2024 of 2024 bytes"):
        await world.put(session, third)
    assert await world.row(third) is None
    await world.flush(session)
    assert (await world.put(session, first)).duplicate
    with pytest.raises(QuotaExceeded):
        await world.put(session, third)
    await world.execute("UPDATE usage_counter SET bytes = 0 WHERE datastore_id = $1", world.datastore)
    await asyncio.sleep(1.1)
    await world.put(session, third)


async def test_the_largest_chunks(world: World) -> None:
    session = await world.session()
    chunk = plain_chunk(blob.MAX_CHUNK_SIZE)
    await world.put(session, chunk)
    await world.flush(session)
    assert await world.get(session, chunk) == chunk.data
