"""The table of formats 1.7, row by row, and what an upload reports."""

import hashlib
import os

import pytest
from testkit.chunk_world import Chunk, World, encrypted_chunk, plain_chunk

from pbs_cloud.chunkstore.chunks.duplicates import Decision, decide
from pbs_cloud.chunkstore.chunks.kinds import ChunkKind
from pbs_cloud.chunkstore.states import ChunkState
from pbs_cloud.contracts.chunkstore.types import StoredChunk
from pbs_cloud.contracts.errors import DataCorrupt, InvalidArgument
from pbs_cloud.formats import blob

U, C, E, EC, X = (
    ChunkKind.PLAIN,
    ChunkKind.ZSTD,
    ChunkKind.ENCRYPTED,
    ChunkKind.ENCRYPTED_ZSTD,
    ChunkKind.UNKNOWN,
)


@pytest.mark.parametrize(
    ("old", "old_size", "new", "new_size", "expected"),
    [
        (U, 100, U, 100, Decision.KEEP),
        (C, 100, U, 100, Decision.KEEP),
        (E, 100, E, 100, Decision.KEEP),
        (U, 100, E, 100, Decision.KEEP),
        (X, 100, C, 100, Decision.KEEP),
        (X, 0, U, 100, Decision.REPLACE),
        (X, 0, EC, 100, Decision.REPLACE),
        (U, 100, E, 101, None),
        (C, 100, EC, 99, None),
        (E, 100, E, 101, None),
        (E, 101, E, 100, None),
        (X, 7, EC, 100, None),
        (EC, 100, E, 101, Decision.KEEP),
        (E, 100, EC, 99, Decision.KEEP),
        (EC, 100, EC, 50, Decision.KEEP),
        (X, 100, E, 50, Decision.KEEP),
        (U, 99, U, 100, Decision.KEEP),
        (C, 50, U, 100, Decision.KEEP),
        (X, 50, C, 100, Decision.KEEP),
        (U, 100, C, 50, Decision.REPLACE),
        (X, 100, C, 50, Decision.REPLACE),
        (E, 100, U, 100, Decision.POISONED),
        (E, 50, U, 100, Decision.POISONED),
        (EC, 100, C, 50, Decision.POISONED),
    ],
)
def test_every_row(old: ChunkKind, old_size: int, new: ChunkKind, new_size: int, expected: Decision | None) -> None:
    if expected is None:
        with pytest.raises(InvalidArgument):
            decide(old, old_size, new, new_size)
    else:
        assert decide(old, old_size, new, new_size) is expected


def both_forms() -> tuple[Chunk, Chunk]:
    """The same content uncompressed and compressed."""
    content = os.urandom(500) + bytes(3000)
    return plain_chunk(content=content), plain_chunk(content=content, compress=True)


async def stored(world: World, session: str, chunk: Chunk) -> None:
    await world.put(session, chunk)
    await world.flush(session)


async def test_the_smaller_plain_copy_stays(any_world: World) -> None:
    session = await any_world.session()
    large, small = both_forms()
    await stored(any_world, session, large)
    assert await any_world.put(session, small) == StoredChunk(duplicate=False, stored_size=len(small.data))
    assert await any_world.get(session, small) == small.data
    assert (await any_world.row(small))["kind"] == ChunkKind.ZSTD
    assert await any_world.put(session, large) == StoredChunk(duplicate=True, stored_size=len(small.data))
    assert await any_world.usage() == len(small.data)


async def test_an_encrypted_upload_cannot_push_out_checked_content(world: World) -> None:
    session, chunk = await world.session(), plain_chunk()
    await stored(world, session, chunk)
    with pytest.raises(InvalidArgument, match="unencrypted one has the same digest"):
        await world.put(session, encrypted_chunk(10, digest=chunk.digest))
    assert await world.get(session, chunk) == chunk.data


async def test_two_encryptions_of_one_chunk_have_one_size(world: World) -> None:
    session, chunk = await world.session(), encrypted_chunk(1000)
    await stored(world, session, chunk)
    again = encrypted_chunk(1000, digest=chunk.digest)
    assert await world.put(session, again) == StoredChunk(duplicate=True, stored_size=1044)
    assert await world.get(session, chunk) == chunk.data
    with pytest.raises(InvalidArgument, match="another size"):
        await world.put(session, encrypted_chunk(1001, digest=chunk.digest))


async def test_poison_is_replaced_by_checked_content(any_world: World) -> None:
    honest = plain_chunk(1000)
    for size in (len(honest.data) - blob.ENCRYPTED_HEADER_SIZE, 10):
        attacker, victim = await any_world.session(), await any_world.session()
        honest = plain_chunk(1000)
        await stored(any_world, attacker, encrypted_chunk(size, digest=honest.digest))
        assert await any_world.put(victim, honest) == StoredChunk(duplicate=False, stored_size=len(honest.data))
        assert await any_world.get(victim, honest) == honest.data
        assert (await any_world.row(honest))["kind"] == ChunkKind.PLAIN


async def test_an_adopted_chunk_shows_its_kind_at_the_first_upload(world: World) -> None:
    """An object that a PBS left, with a row that knows nothing of it."""
    session, chunk = await world.session(), plain_chunk()
    await stored(world, session, chunk)
    await world.set_row(chunk, kind=int(ChunkKind.UNKNOWN))
    assert (await world.put(session, chunk)).duplicate
    row = await world.row(chunk)
    assert (row["kind"], row["size"]) == (ChunkKind.PLAIN, len(chunk.data))
    await (await world.store()).backend.write_chunk(chunk.digest, [b""], only_new=False)
    await world.set_row(chunk, kind=int(ChunkKind.UNKNOWN))
    assert await world.put(session, chunk) == StoredChunk(duplicate=False, stored_size=len(chunk.data))
    await world.flush(session)
    assert await world.get(session, chunk) == chunk.data


@pytest.mark.parametrize("damage", ["cut off", "changed", "missing"])
async def test_an_adopted_chunk_that_is_damaged_is_healed_by_its_first_upload(any_world: World, damage: str) -> None:
    """The client has the right bytes at hand: a backup that refers to the damaged object could not be restored."""
    session, chunk = await any_world.session(), plain_chunk()
    await stored(any_world, session, chunk)
    await any_world.set_row(chunk, kind=int(ChunkKind.UNKNOWN))
    backend = (await any_world.store()).backend
    if damage == "missing":
        await backend.delete_chunks([chunk.digest])
    else:
        left = {"cut off": chunk.data[:-1], "changed": chunk.data[:-1] + bytes([chunk.data[-1] ^ 1])}[damage]
        await backend.write_chunk(chunk.digest, [left], only_new=False)
    assert await any_world.put(session, chunk) == StoredChunk(duplicate=False, stored_size=len(chunk.data))
    await any_world.flush(session)
    assert await any_world.get(session, chunk) == chunk.data
    row = await any_world.row(chunk)
    assert (row["state"], row["kind"], row["size"]) == (ChunkState.LIVE, ChunkKind.PLAIN, len(chunk.data))


async def test_a_path_that_is_no_file_is_an_error(world: World) -> None:
    session, content = await world.session(), os.urandom(100)
    digest = hashlib.sha256(content).digest()
    path = world.settings.data_dir / world.location.location / ".chunks" / digest[:2].hex() / digest.hex()
    path.mkdir(parents=True)
    with pytest.raises(DataCorrupt, match="no regular file"):
        await world.put(session, plain_chunk(content=content))
    path.rmdir()
    assert await world.row(Chunk(digest, 100, b"")) is None
