"""Where the entries of an index under construction lie."""

import hashlib

from pbs_cloud.formats.entry_store import MEMORY_LIMIT, EntryStore, anonymous
from pbs_cloud.formats.index import DynamicIndex
from pbs_cloud.formats.index_builder import DynamicIndexBuilder


def test_small_ones_stay_in_memory_and_large_ones_move():
    asked = []

    def allocate(size: int):
        asked.append(size)
        return anonymous(size)

    store, expected = EntryStore(allocate), bytearray()
    while len(expected) <= 4 * MEMORY_LIMIT:
        if len(expected) <= MEMORY_LIMIT:
            assert not asked
        entry = len(expected).to_bytes(8, "little") * 512
        store.append(entry)
        expected += entry
    assert [size > MEMORY_LIMIT for size in asked] == [True] * 3
    store.extend_to(len(expected) + 100)
    store.extend_to(5)
    store.put(3, b"abc")
    expected[3:6] = b"abc"
    assert len(store) == len(expected) + 100
    assert store.view() == expected + bytes(100)


def test_an_index_of_many_chunks_survives_the_moves():
    count = 3 * MEMORY_LIMIT // 40
    builder, hashed = DynamicIndexBuilder(), hashlib.sha256()
    for number in range(count):
        digest = number.to_bytes(32, "big")
        builder.append(digest, builder.size, number + 1)
        hashed.update(builder.size.to_bytes(8, "little") + digest)
    builder.close(count, builder.size, hashed.digest())
    index = DynamicIndex(b"".join(builder.pieces(bytes(16), 0)))
    assert (len(index), index.compute_csum()) == (count, hashed.digest())
    assert index.digest(count - 1) == (count - 1).to_bytes(32, "big")
    assert builder.digests().tobytes() == index.digests.tobytes()
