"""Marks of many, of large and of moved indexes; digests that are told once."""

from __future__ import annotations

import hashlib
import os
import uuid
from typing import Any

import numpy as np
import pytest
from testkit.chunk_world import Chunk
from testkit.collection_world import CollectionWorld, dynamic_index

from pbs_cloud.chunkstore.collection.chunk_rows import _CopiedRows
from pbs_cloud.chunkstore.collection.index_list import IndexEntry, added
from pbs_cloud.chunkstore.collection.index_reading import IndexDigests
from pbs_cloud.chunkstore.collection.merge import SortedStream
from pbs_cloud.chunkstore.collection.seen import SeenDigests
from pbs_cloud.contracts.errors import Internal, InvalidArgument
from pbs_cloud.formats.index import FIXED_MAGIC
from pbs_cloud.runtime.sorted_runs import members


def many(count: int) -> list[Chunk]:
    """Chunks that are nothing but names."""
    names = os.urandom(32 * count)
    return [Chunk(names[start : start + 32], 1, b"") for start in range(0, len(names), 32)]


async def marked(world: CollectionWorld) -> tuple[list[bytes], int]:
    """Digests as often as they are told, and the number of indexes."""
    told: list[bytes] = []
    run = await world.begin()
    async for piece in world.marking.mark(world.ctx, uuid.UUID(run.token)):
        told += [piece.digests[start : start + 32] for start in range(0, len(piece.digests), 32)]
        if piece.summary is not None:
            return told, piece.summary.index_file_count
    raise AssertionError("no summary")


async def test_large_indexes_are_streamed_and_told_once(world: CollectionWorld) -> None:
    chunks = many(230_000)
    await world.backup([], inherit=chunks[:-10])
    await world.backup([], inherit=[chunks[-1], *chunks[:-1]])
    told, files = await marked(world)
    assert files == 2
    assert set(told) == {chunk.digest for chunk in chunks}
    assert len(told) < 1.2 * len(chunks)


async def test_many_small_indexes(any_world: CollectionWorld) -> None:
    world = any_world
    pool = many(60)
    for number in range(20):
        backup = await world.open(f"h{number % 3}")
        for name in ("a.pxar.didx", "b.pxar.didx"):
            await world.close_index(backup, pool[number : number + 40 if name < "b" else number + 3], name)
        await world.finish(backup)
    told, files = await marked(world)
    assert files == 40
    assert set(told) == {chunk.digest for chunk in pool[:59]}


@pytest.mark.parametrize("longest", [4, 50, 1000])
@pytest.mark.parametrize("width", [4, 5])
def test_what_was_told_is_left_out_and_nothing_else(width: int, longest: int) -> None:
    """Also digests that agree in their first 24 bytes, and the zero digest; in entries of both kinds of index."""
    seen = SeenDigests(longest)
    generator = np.random.default_rng(7)
    told: set[bytes] = set()
    pool = [generator.bytes(24) + bytes(8) for _ in range(40)] + [bytes(32), b"\0" * 31 + b"\1"]
    pool += [digest[:24] + generator.bytes(8) for digest in pool]
    chosen = list(pool)
    for turn in range(300):
        seen.start(related=turn % 3 > 0)
        for place in generator.integers(0, len(chosen), turn % 7 * 8):
            chosen[place] = pool[generator.integers(0, len(pool))]
        entries = np.empty((len(chosen), width), dtype=np.uint64)
        entries[:, :1] = generator.integers(0, 3)  # where chunks end says nothing about digests
        entries[:, width - 4 :] = np.frombuffer(b"".join(chosen), dtype="<u8").reshape(-1, 4)
        length = generator.integers(1, len(chosen))
        for start, end in ((0, length // 2), (length // 2, length)):
            new = seen.unseen(entries[start:end]).tobytes()
            told |= {new[at : at + 32] for at in range(0, len(new), 32)}
            assert set(chosen[start:end]) <= told


def test_an_index_like_the_last_tells_nothing() -> None:
    seen = SeenDigests(500)
    entries = np.random.default_rng(1).integers(1, 1 << 60, (500, 5), dtype=np.uint64)
    assert len(seen.unseen(entries)) == 500
    changed = entries.copy()
    changed[7, 3] += 1
    for like, count in ((entries, 0), (changed, 1), (changed, 0)):
        seen.start(related=True)
        assert len(seen.unseen(like)) == count


@pytest.mark.parametrize("kind", ["fixed", "dynamic"])
@pytest.mark.parametrize("step", [1, 39, 4096, 5000, 1 << 20])
def test_an_index_is_read_from_pieces_of_any_size(kind: str, step: int) -> None:
    raw, csum, size = dynamic_index(many(300))
    digests = raw[4096:]
    if kind == "fixed":
        digests = b"".join(raw[start + 8 : start + 40] for start in range(4096, len(raw), 40))
        csum = hashlib.sha256(digests).digest()
        raw = FIXED_MAGIC + raw[8:4096] + digests
    reader = IndexDigests(IndexEntry(1, "a", 1, kind, csum, size, len(raw), 300))
    parts = [part.tobytes() for start in range(0, len(raw), step) for part in reader.feed(raw[start : start + step])]
    reader.finish()
    assert b"".join(parts) == digests


def _copied(rows: int) -> bytes:
    def field(value: bytes) -> bytes:
        return len(value).to_bytes(4, "big") + value

    def row(n: int) -> bytes:
        numbers = field(b"\0\2") + field(n.to_bytes(4, "big")) + field(bytes([n % 2]))
        return b"\0\4" + field(bytes([n]) * 32) + numbers

    return b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"".join(map(row, range(rows))) + b"\xff\xff"


@pytest.mark.parametrize("step", [1, 18, 57, 1000])
def test_rows_of_a_copy_in_pieces_of_any_size(step: int) -> None:
    copied, rows = _CopiedRows(), []
    data = _copied(50)
    for start in range(0, len(data), step):
        copied.add(data[start : start + step])
        rows.append(copied.whole_rows())
    joined = np.concatenate([*rows, copied.end()])
    assert joined["size"].tolist() == list(range(50))
    assert joined["digest"].tobytes() == b"".join(bytes([n]) * 32 for n in range(50))
    assert joined["old"].tolist() == [False, True] * 25


def test_a_copy_that_is_cut_off_or_other_is_refused() -> None:
    whole = _copied(3)
    wrong = whole[:19] + b"\0\5" + whole[21:]
    for data in (b"", whole[:-1], whole[:-2], whole[:40], whole + b"\0", wrong):
        copied = _CopiedRows()
        copied.add(data)
        with pytest.raises(Internal):
            copied.end()


def test_members_and_lists() -> None:
    wanted = np.sort(np.frombuffer(b"".join(os.urandom(32) for _ in range(100)), dtype="S32"))
    assert members(wanted, wanted[::2]).tolist() == [True, False] * 50
    assert members(wanted, wanted[:0]).tolist() == [False] * 100
    zero = np.frombuffer(b"a" * 31 + b"\0" + b"a" * 31 + b"\1", dtype="S32")
    assert members(zero, zero[1:]).tolist() == [False, True]

    def entry(*key: Any) -> IndexEntry:
        return IndexEntry(key[0], key[1], key[2], "fixed", None, 1, 2, None, "a/b", "vm", "7", 9)

    old = [entry(1, "a", 1), entry(1, "b", 1), entry(2, "a", 5)]
    new = [entry(1, "a", 1), entry(1, "a", 3), entry(2, "a", 5), entry(2, "a", 6)]
    assert list(added(iter(new), iter(old))) == [new[1], new[3]]
    assert [IndexEntry.from_line(item.to_line()) for item in new] == new
    assert new[0].file_key == "ns/a/ns/b/vm/7/1970-01-01T00:00:09Z/a"


@pytest.mark.parametrize("step", [1, 3, 100])
async def test_a_sorted_stream_is_taken_range_by_range(step: int) -> None:
    digests = sorted(os.urandom(32) for _ in range(50))

    async def pieces() -> Any:
        for part in _parts(digests, step):
            yield b"".join(part)

    stream = SortedStream(pieces())
    first = await stream.up_to(np.frombuffer(digests[19], dtype="S32"))
    none = await stream.up_to(np.frombuffer(digests[19], dtype="S32"))
    rest = b"".join([part.tobytes() async for part in stream.rest()])
    assert (first.tobytes(), len(none), rest) == (b"".join(digests[:20]), 0, b"".join(digests[20:]))


def _parts(digests: list[bytes], step: int) -> list[list[bytes]]:
    return [digests[start : start + step] for start in range(0, len(digests), step)]


@pytest.mark.parametrize(
    "pieces", [[b"b" * 32, b"a" * 32], [b"a" * 64], [b"a" * 32, b"a" * 32], [b"x" * 33], [b""]], ids=str
)
async def test_what_is_not_sorted_is_refused(pieces: list[bytes]) -> None:
    async def source() -> Any:
        for piece in pieces:
            yield piece

    with pytest.raises(InvalidArgument):
        async for _ in SortedStream(source()).rest():
            pass
