"""What every backend must do: the same tests on a directory and on a bucket."""

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from pbs_cloud.chunkstore.backends.port import READ_PIECE, ChunkBackend
from pbs_cloud.contracts.errors import AlreadyExists, Conflict, InvalidArgument, NotFound

SNAPSHOT = "vm/100/2026-01-31T12:00:00Z"


def new_digest() -> bytes:
    return os.urandom(32)


async def whole(backend: ChunkBackend, key: str) -> bytes:
    return b"".join([piece async for piece in backend.read_file(key)])


async def listed(backend: ChunkBackend, prefix: str = "") -> dict[str, int]:
    return {key: size async for key, size in backend.list_files(prefix)}


async def in_pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def test_a_chunk_reads_back_as_its_parts_joined(backend: ChunkBackend) -> None:
    digest = new_digest()
    assert await backend.write_chunk(digest, [b"head", memoryview(b"body")], only_new=True)
    assert await backend.read_chunk(digest) == b"headbody"
    assert await backend.chunk_size(digest) == 8
    target = memoryview(bytearray(10))
    assert await backend.read_chunk_into(digest, None, target) == 8
    assert bytes(target) == b"headbody\0\0"


async def test_only_new_leaves_what_is_there(backend: ChunkBackend) -> None:
    digest = new_digest()
    assert await backend.write_chunk(digest, [b"old"], only_new=True)
    assert not await backend.write_chunk(digest, [b"newer"], only_new=True, durable=True)
    assert await backend.read_chunk(digest) == b"old"
    assert await backend.write_chunk(digest, [b"newer"], only_new=False, durable=True)
    assert await backend.read_chunk(digest) == b"newer"


async def test_one_of_many_concurrent_creators_wins(backend: ChunkBackend) -> None:
    digest = new_digest()
    won = await asyncio.gather(
        *(backend.write_chunk(digest, [b"%d" % n], only_new=True) for n in range(8)),
    )
    assert won.count(True) == 1
    assert await backend.read_chunk(digest) == b"%d" % won.index(True)


async def test_a_missing_chunk_is_not_found(backend: ChunkBackend) -> None:
    digest = new_digest()
    for call in (
        backend.read_chunk(digest),
        backend.chunk_size(digest),
        backend.read_chunk_into(digest, None, memoryview(bytearray(1))),
        backend.set_aside_chunk(digest),
    ):
        with pytest.raises(NotFound):
            await call


async def test_a_buffer_that_is_too_small_is_refused(backend: ChunkBackend) -> None:
    digest = new_digest()
    await backend.write_chunk(digest, [b"12345"], only_new=True)
    with pytest.raises(InvalidArgument, match="5 bytes"):
        await backend.read_chunk_into(digest, None, memoryview(bytearray(4)))


async def test_the_largest_chunk_fits(backend: ChunkBackend) -> None:
    digest, body = new_digest(), os.urandom(16 * 1024 * 1024)
    await backend.write_chunk(digest, [b"x" * 44, body], only_new=True)
    await backend.sync()
    assert await backend.read_chunk(digest) == b"x" * 44 + body


async def test_deleting_chunks_is_repeatable_and_confirms(backend: ChunkBackend) -> None:
    digests = [new_digest() for _ in range(3)]
    for digest in digests[:2]:
        await backend.write_chunk(digest, [b"x"], only_new=True)
    assert await backend.delete_chunks(digests) == []
    with pytest.raises(NotFound):
        await backend.read_chunk(digests[0])


async def test_a_file_is_replaced_or_refused(backend: ChunkBackend) -> None:
    key = f"{SNAPSHOT}/a.conf.blob"
    assert await backend.put_file(key, b"one") == 3
    assert await backend.put_file(key, in_pieces(b"t", b"wo!")) == 4
    with pytest.raises(AlreadyExists):
        await backend.put_file(key, b"three", only_new=True)
    with pytest.raises(AlreadyExists):
        await backend.put_file(key, in_pieces(b"three"), only_new=True)
    assert await whole(backend, key) == b"two!"
    assert await backend.file_size(key) == 4


async def test_large_files_go_through_in_pieces(backend: ChunkBackend) -> None:
    key, pieces = f"{SNAPSHOT}/disk.img.fidx", [os.urandom(3 * 1024 * 1024 + 7) for _ in range(6)]
    assert await backend.put_file(key, in_pieces(*pieces)) == sum(map(len, pieces))
    read = [piece async for piece in backend.read_file(key)]
    assert max(map(len, read)) <= READ_PIECE
    assert b"".join(read) == b"".join(pieces)


async def test_a_failing_source_stores_nothing(backend: ChunkBackend) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"x" * 9_000_000
        raise ConnectionError("sender went away")

    key = f"{SNAPSHOT}/broken.img.fidx"
    with pytest.raises(ConnectionError):
        await backend.put_file(key, failing())
    with pytest.raises(NotFound):
        await whole(backend, key)
    assert key not in await listed(backend)


async def test_a_name_that_looks_temporary_is_listed(backend: ChunkBackend) -> None:
    """An archive may be called so; only a last part of that kind is a file that is not finished."""
    key = f"{SNAPSHOT}/disk.tmp_old.img.fidx"
    await backend.put_file(key, b"index")
    assert (await listed(backend, f"{SNAPSHOT}/"))[key] == 5


async def test_empty_files_exist(backend: ChunkBackend) -> None:
    key = f"{SNAPSHOT}/.protected"
    assert await backend.put_file(key, b"") == 0
    assert await whole(backend, key) == b""
    assert (await listed(backend, f"{SNAPSHOT}/"))[key] == 0


async def test_a_missing_file_is_not_found_before_the_first_piece(backend: ChunkBackend) -> None:
    with pytest.raises(NotFound):
        await anext(backend.read_file("vm/100/missing.blob"))
    with pytest.raises(NotFound):
        await backend.file_size("vm/100/missing.blob")
    await backend.delete_file("vm/100/missing.blob")


async def test_deleting_a_tree_spares_longer_names(backend: ChunkBackend) -> None:
    for group in ("vm/10", "vm/1007"):
        await backend.put_file(f"{group}/owner", b"root@pam\n")
    await backend.delete_tree("vm/10/")
    await backend.delete_tree("vm/10/")
    assert "vm/1007/owner" in await listed(backend)
    assert "vm/10/owner" not in await listed(backend)
    with pytest.raises(InvalidArgument):
        await backend.delete_tree("vm/1007")


@pytest.mark.parametrize("folder", ["vm/77", "ns/far/vm/77", "ns/far"])
async def test_what_somebody_else_put_into_a_folder_keeps_it(backend: ChunkBackend, folder: str) -> None:
    """Only a snapshot's own folder is deleted with snapshot files in it."""
    group = folder if folder.endswith("77") else f"{folder}/vm/77"
    snapshot = f"{group}/2026-01-31T12:00:00Z"
    files = {f"{group}/owner", f"{snapshot}/index.json.blob", f"{snapshot}/a.pxar.didx"}
    for key in files:
        await backend.put_file(key, b"x")
    with pytest.raises(Conflict, match="holds snapshots that are not in the catalogue"):
        await backend.delete_tree(f"{folder}/")
    assert set(await listed(backend, f"{folder}/")) == files
    await backend.delete_tree(f"{snapshot}/")
    await backend.delete_tree(f"{folder}/")
    assert not await listed(backend, f"{folder}/")


async def test_namespaces_come_and_go(backend: ChunkBackend) -> None:
    await backend.make_namespace("ns/a/ns/b/")
    await backend.make_namespace("ns/a/ns/b/")
    await backend.put_file("ns/a/ns/b/host/x/owner", b"root@pam\n")
    await backend.make_namespace("ns/ab/")
    await backend.put_file("ns/ab/host/x/owner", b"root@pam\n")
    await backend.remove_namespace("ns/a/")
    keys = await listed(backend, "ns/")
    assert keys == {"ns/ab/host/x/owner": 9}


async def test_lists_hold_no_chunks(backend: ChunkBackend) -> None:
    await backend.write_chunk(new_digest(), [b"x"], only_new=True)
    assert all(key.split("/")[0] in ("vm", "ct", "host", "ns") for key in await listed(backend))


@pytest.mark.parametrize(
    "key",
    ["../x", "/etc/passwd", "a/../../x", "", "a//b", ".chunks/0000/x", ".lock", "a/./b", "a\0b", "a\\b", "x" * 300],
)
async def test_keys_stay_inside_the_store(backend: ChunkBackend, key: str) -> None:
    for call in (backend.put_file(key, b"x"), backend.delete_file(key), backend.delete_tree(f"{key}/")):
        with pytest.raises(InvalidArgument):
            await call
    with pytest.raises(InvalidArgument):
        await anext(backend.read_file(key))


async def test_a_store_is_not_made_twice_and_passes_its_check(backend: ChunkBackend) -> None:
    await backend.check()
    with pytest.raises(AlreadyExists):
        await backend.create()
    await backend.create(reuse=True)
    await backend.check()
