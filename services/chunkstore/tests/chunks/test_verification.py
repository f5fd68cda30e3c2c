"""Chunks checked where they lie: verdicts, marks, what is set aside, and healing (formats 11.1, 11.2)."""

import asyncio
from collections.abc import Callable

import pytest
from testkit.chunk_world import Chunk, World, encrypted_chunk, plain_chunk

from pbs_cloud.chunkstore.chunks.verification import Verification
from pbs_cloud.chunkstore.states import ChunkState
from pbs_cloud.contracts.chunkstore.verifier import BadChunk
from pbs_cloud.contracts.context import CallContext, Caller
from pbs_cloud.contracts.errors import InvalidArgument, SessionLost, Unavailable
from pbs_cloud.formats import blob, layout


async def stored(world: World, *chunks: Chunk) -> str:
    """Uploads chunks that go live; a reader session that may verify them."""
    session = await world.session()
    for chunk in chunks:
        await world.put(session, chunk)
    await world.flush(session)
    return await world.session(kind="reader")


async def verify(world: World, session: str, *chunks: Chunk, encrypted: bool = False) -> tuple[BadChunk, ...]:
    verification = Verification(world.database, world.registry)
    joined = b"".join(chunk.digest for chunk in chunks)
    sizes = [chunk.size for chunk in chunks]
    return (await verification.check(world.ctx, session, joined, sizes, encrypted=encrypted, workers=4)).bad


async def overwrite(world: World, chunk: Chunk, data: bytes) -> None:
    await (await world.store()).backend.write_chunk(chunk.digest, [data], only_new=False)


async def state(world: World, chunk: Chunk) -> ChunkState:
    return ChunkState((await world.row(chunk))["state"])


async def bad_copies(world: World, chunk: Chunk) -> int:
    """Number of `.N.bad` files or objects of a digest."""
    backend = (await world.store()).backend
    if world.location.backend_type == "s3":
        folder = layout.chunk_key(backend.prefix, chunk.digest).rpartition("/")[0] + "/"
        return sum(chunk.digest.hex() in key and key.endswith(".bad") for key in await backend._list_keys(folder))
    folder = world.settings.data_dir / world.location.location
    return sum((folder / layout.bad_chunk_path(chunk.digest, number)).exists() for number in range(10))


def flipped(data: bytes, at: int = -1) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


async def test_sound_chunks_are_sound(any_world: World) -> None:
    plain = [plain_chunk(70_000), plain_chunk(content=b"x" * 50_000, compress=True)]
    secret = [encrypted_chunk(), encrypted_chunk(compressed=True)]
    session = await stored(any_world, *plain, *secret)
    assert await verify(any_world, session, *plain) == ()
    assert await verify(any_world, session, *secret, encrypted=True) == ()


_OTHER = plain_chunk(5000)
DAMAGES: dict[str, Callable[[Chunk], bytes]] = {
    "bit flip": lambda chunk: flipped(chunk.data),
    "wrong crc": lambda chunk: flipped(chunk.data, 8),
    "wrong magic": lambda chunk: flipped(chunk.data, 0),
    "truncated": lambda chunk: chunk.data[:-10],
    "empty": lambda chunk: b"",
    "other content": lambda chunk: _OTHER.data,
    "wrong length": lambda chunk: blob.encode(b"\0" * (chunk.size - 1), False),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damage_is_marked_and_set_aside(any_world: World, damage: str) -> None:
    chunk, sound = plain_chunk(5000), plain_chunk(5000)
    session = await stored(any_world, chunk, sound)
    await overwrite(any_world, chunk, DAMAGES[damage](chunk))
    (bad,) = await verify(any_world, session, sound, chunk)
    assert (bad.digest, bad.corrupt) == (chunk.digest, True)
    assert bad.reason
    assert await state(any_world, chunk) is ChunkState.CORRUPT
    assert await state(any_world, sound) is ChunkState.LIVE
    assert await bad_copies(any_world, chunk) == 1
    (again,) = await verify(any_world, session, chunk)
    assert again.corrupt
    assert await bad_copies(any_world, chunk) == 1, "a known damage is not set aside again"


async def test_an_upload_heals(any_world: World) -> None:
    chunk = plain_chunk(5000)
    session = await stored(any_world, chunk)
    await overwrite(any_world, chunk, flipped(chunk.data))
    assert await verify(any_world, session, chunk)
    session = await stored(any_world, chunk)
    assert await verify(any_world, session, chunk) == ()
    assert await state(any_world, chunk) is ChunkState.LIVE
    assert await bad_copies(any_world, chunk) == 1


async def test_a_missing_object_is_corrupt_without_a_copy(any_world: World) -> None:
    chunk, unknown = plain_chunk(), plain_chunk()
    session = await stored(any_world, chunk)
    assert await (await any_world.store()).backend.delete_chunks([chunk.digest]) == []
    first, second = await verify(any_world, session, chunk, unknown)
    assert (first.digest, first.corrupt, second.digest, second.corrupt) == (chunk.digest, True, unknown.digest, True)
    assert await state(any_world, chunk) is ChunkState.CORRUPT
    assert await bad_copies(any_world, chunk) == 0


async def test_the_wrong_crypt_mode_marks_nothing(world: World) -> None:
    plain, secret = plain_chunk(), encrypted_chunk()
    session = await stored(world, plain, secret)
    for chunk, encrypted in ((plain, True), (secret, False)):
        (bad,) = await verify(world, session, chunk, encrypted=encrypted)
        assert not bad.corrupt
        assert await state(world, chunk) is ChunkState.LIVE
        assert await bad_copies(world, chunk) == 0


async def test_a_plain_object_under_an_encrypted_digest_is_damage(world: World) -> None:
    secret = encrypted_chunk()
    session = await stored(world, secret)
    await overwrite(world, secret, blob.encode(b"plain", False))
    (bad,) = await verify(world, session, secret, encrypted=True)
    assert bad.corrupt
    assert await bad_copies(world, secret) == 1


@pytest.mark.parametrize(("damage", "found"), [("body", True), ("short", True), ("iv", False), ("tag", False)])
async def test_encrypted_objects_are_checked_as_far_as_possible(world: World, damage: str, found: bool) -> None:
    secret = encrypted_chunk()
    session = await stored(world, secret)
    changed = {
        "body": flipped(secret.data),
        "short": secret.data[:40],
        "iv": flipped(secret.data, 12),
        "tag": flipped(secret.data, 30),
    }[damage]
    await overwrite(world, secret, changed)
    assert bool(await verify(world, session, secret, encrypted=True)) is found
    assert await bad_copies(world, secret) == found


async def test_storage_that_is_away_marks_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    chunk = plain_chunk()
    session = await stored(world, chunk)

    async def away(*_: object) -> bytes:
        raise Unavailable("the storage is away")

    monkeypatch.setattr((await world.store()).backend, "read_chunk", away)
    (bad,) = await verify(world, session, chunk)
    assert not bad.corrupt
    assert "the storage is away" in bad.reason
    assert await state(world, chunk) is ChunkState.LIVE
    assert await bad_copies(world, chunk) == 0


async def test_a_chunk_that_is_replaced_meanwhile_is_sound(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second look, under the digest's lock, decides."""
    chunk = plain_chunk()
    session = await stored(world, chunk)
    backend = (await world.store()).backend
    read, looks = backend.read_chunk, 0

    async def first_wrong(digest: bytes, location: str | None = None) -> bytes:
        nonlocal looks
        looks += 1
        return flipped(chunk.data) if looks == 1 else await read(digest, location)

    monkeypatch.setattr(backend, "read_chunk", first_wrong)
    assert await verify(world, session, chunk) == ()
    assert looks == 2
    assert await state(world, chunk) is ChunkState.LIVE


async def test_only_a_live_row_becomes_corrupt(world: World) -> None:
    chunk = plain_chunk()
    session = await stored(world, chunk)
    await overwrite(world, chunk, flipped(chunk.data))
    await world.set_row(chunk, state=int(ChunkState.CONDEMNED))
    (bad,) = await verify(world, session, chunk)
    assert bad.corrupt
    assert await state(world, chunk) is ChunkState.CONDEMNED
    assert await bad_copies(world, chunk) == 0


async def test_a_damage_that_a_reader_found_is_set_aside_too(world: World) -> None:
    chunk = plain_chunk()
    session = await stored(world, chunk)
    await overwrite(world, chunk, flipped(chunk.data))
    await world.set_row(chunk, state=int(ChunkState.CORRUPT))
    assert await verify(world, session, chunk)
    assert await bad_copies(world, chunk) == 1


async def test_who_may_ask_and_how(world: World) -> None:
    chunk = plain_chunk()
    session = await stored(world, chunk)
    verification = Verification(world.database, world.registry)
    with pytest.raises(SessionLost):
        stranger = CallContext(Caller("another", "root@pam"))
        await verification.check(stranger, session, chunk.digest, [chunk.size], encrypted=False, workers=1)
    for digests, sizes in ((chunk.digest, []), (chunk.digest[:31], [1]), (b"", [])):
        with pytest.raises(InvalidArgument):
            await verification.check(world.ctx, session, digests, sizes, encrypted=False, workers=1)


async def test_memory_is_bounded(world: World) -> None:
    """More bytes than the budget holds still get checked, a few at a time."""
    chunks = [plain_chunk(40_000) for _ in range(12)]
    session = await stored(world, *chunks)
    verification = Verification(world.database, world.registry, memory=50_000)
    joined = b"".join(chunk.digest for chunk in chunks)
    async with asyncio.timeout(20):
        found = await verification.check(world.ctx, session, joined, [40_000] * 12, encrypted=False, workers=32)
    assert found.bad == ()
    assert found.bytes >= 480_000
