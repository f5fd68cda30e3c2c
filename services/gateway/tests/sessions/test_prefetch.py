"""Reading ahead: only for clients that follow an index, within bounds, and nothing stays behind."""

import asyncio
import hashlib

import pytest

from pbs_cloud.contracts.errors import Unavailable
from pbs_cloud.formats.index import parse_index
from pbs_cloud.formats.index_builder import DynamicIndexBuilder
from pbs_cloud.gateway.arena import Arena
from pbs_cloud.gateway.sessions.prefetch import DEPTH, MAX_BYTES, Prefetcher
from pbs_cloud.gateway.sessions.transfer import ReceivedChunk


def digest(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


def index_of(numbers, size: int = 1000):
    builder, offset, csum = DynamicIndexBuilder(), 0, hashlib.sha256()
    for number in numbers:
        builder.append(digest(number), offset, size)
        offset += size
        csum.update(offset.to_bytes(8, "little") + digest(number))
    builder.close(len(numbers), offset, csum.digest())
    return parse_index(b"".join(builder.pieces(bytes(16), 0)))


class Store:
    def __init__(self, size: int = 1 << 20) -> None:
        self.arena = Arena(memoryview(bytearray(size)))
        self.asked: list[bytes] = []
        self.fail: set[bytes] = set()

    async def fetch(self, wanted: bytes, capacity: int) -> ReceivedChunk:
        self.asked.append(wanted)
        slot = await self.arena.acquire(min(capacity, 1000))
        await asyncio.sleep(0.001)
        if wanted in self.fail:
            self.fail.discard(wanted)
            slot.free()
            raise Unavailable("away")
        slot.view[:32] = wanted
        return ReceivedChunk(slot.view[:32], slot)

    @property
    def idle(self) -> bool:
        return self.arena.free_bytes == len(self.arena.memory)


async def read(ahead: Prefetcher, number: int) -> None:
    chunk = await ahead.get(digest(number), 1000)
    assert bytes(chunk.view) == digest(number)
    chunk.free()


async def test_client_that_follows_the_index():
    store = Store()
    ahead = Prefetcher(store.fetch)
    ahead.opened(index_of(range(50)))
    for number in range(50):
        await read(ahead, number)
        await asyncio.sleep(0)
    assert store.asked == [digest(number) for number in range(50)], "each chunk is read once"
    await asyncio.sleep(0.01)
    assert store.idle


async def test_reading_ahead_is_bounded_and_given_back():
    store = Store()
    ahead = Prefetcher(store.fetch)
    ahead.opened(index_of(range(50)))
    for number in range(3):
        await read(ahead, number)
    assert len(store.asked) <= 3 + DEPTH
    ahead.close()
    await asyncio.sleep(0.02)
    assert store.idle


async def test_large_chunks_are_bounded_by_bytes():
    store = Store()
    ahead = Prefetcher(store.fetch)
    ahead.opened(index_of(range(50), MAX_BYTES // 2))
    for number in range(4):
        await read(ahead, number)
    assert len(store.asked) <= 4 + 2
    ahead.close()
    await asyncio.sleep(0.02)


async def test_client_that_jumps_about():
    store = Store()
    ahead = Prefetcher(store.fetch)
    ahead.opened(index_of(range(200)))
    for number in (100, 7, 150, 60):
        await read(ahead, number)
    assert len(store.asked) == 4


async def test_repeated_chunks_that_the_client_has():
    """Positions 4 to 8 repeat chunk 0, which the client asks for only once."""
    store = Store()
    ahead = Prefetcher(store.fetch)
    ahead.opened(index_of([0, 1, 2, 3, 0, 0, 0, 0, 0, 4, 5]))
    for number in (0, 1, 2, 3, 4, 5):
        await read(ahead, number)
    ahead.close()
    await asyncio.sleep(0.02)
    assert store.idle and len(store.asked) <= 7


async def test_failure_while_reading_ahead_is_tried_again():
    store = Store()
    ahead = Prefetcher(store.fetch)
    ahead.opened(index_of(range(10)))
    store.fail.add(digest(4))
    for number in range(10):
        await read(ahead, number)
    assert store.asked.count(digest(4)) == 2
    store.fail |= {digest(1)}
    with pytest.raises(Unavailable):
        await ahead.get(digest(1), 1000)
