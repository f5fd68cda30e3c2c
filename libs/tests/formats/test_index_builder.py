"""Building indexes (conformance 12 to 19, wire-protocol B.3 and B.4)."""

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.index import DynamicIndex, FixedIndex
from pbs_cloud.formats.index_builder import DynamicIndexBuilder, FixedIndexBuilder, require_reusable

CHUNK = 4 * 1024 * 1024
A, B, C = (bytes([n]) * 32 for n in (1, 2, 3))


def csum(*digests: bytes) -> bytes:
    return hashlib.sha256(b"".join(digests)).digest()


def built(builder, uuid=bytes(16), ctime=0) -> bytes:
    return b"".join(builder.pieces(uuid, ctime))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_fixed_vectors_in_any_order(vectors, order):
    data = vectors("fidx")
    for record in data["records"]:
        digests = [bytes.fromhex(digest) for digest in record["chunk_digests"]]
        builder = FixedIndexBuilder(data["image_size"])
        for slot in order:
            offset = slot * CHUNK
            builder.append(digests[slot], offset, min(CHUNK, data["image_size"] - offset))
        builder.close(3, data["image_size"], bytes.fromhex(record["index_csum"]))
        raw = built(builder, bytes.fromhex(data["uuid_hex"]), data["ctime"])
        assert hashlib.sha256(raw).hexdigest() == record["file_sha256"]
        assert builder.digests().tobytes() == b"".join(digests)


def test_dynamic_vectors(vectors):
    data = vectors("didx")
    for record in data["records"]:
        builder, start = DynamicIndexBuilder(), 0
        for end, digest in zip(record["chunk_ends"], record["chunk_digests"], strict=True):
            builder.append(bytes.fromhex(digest), start, end - start)
            start = end
        builder.close(3, data["archive_size"], bytes.fromhex(record["index_csum"]))
        raw = built(builder, bytes.fromhex(data["uuid_hex"]), data["ctime"])
        assert hashlib.sha256(raw).hexdigest() == record["file_sha256"]
        assert builder.digests().tobytes().hex() == "".join(record["chunk_digests"])


def test_worked_example_dynamic():
    hello, world = hashlib.sha256(b"hello").digest(), hashlib.sha256(b"world!").digest()
    builder = DynamicIndexBuilder()
    for digest, offset, length in ((hello, 0, 5), (world, 5, 6), (hello, 11, 5)):
        builder.append(digest, offset, length)
    builder.close(3, 16, bytes.fromhex("b50baa415eff4db0906acf6205c1ae89ebf44d667f7777db12972526eb2b0f76"))
    raw = built(builder, bytes(range(16)), 1767225600)
    assert len(raw) == 4216
    assert raw[:64].hex() == (
        "1c914ea519bab3cd000102030405060708090a0b0c0d0e0f00b9556900000000"
        "b50baa415eff4db0906acf6205c1ae89ebf44d667f7777db12972526eb2b0f76"
    )


def test_worked_example_fixed_and_incremental():
    chunks = [hashlib.sha256(data).digest() for data in (b"A" * CHUNK, bytes(CHUNK), b"B" * 1000)]
    builder = FixedIndexBuilder(8389608)
    for slot, digest in enumerate(chunks):
        builder.append(digest, slot * CHUNK, CHUNK if slot < 2 else 1000)
    base_csum = bytes.fromhex("ee0e5c97e59f6e6229e734032815738af16da528a12cad033b456ea6cc96e455")
    builder.close(3, 8389608, base_csum)
    base = FixedIndex(built(builder))
    require_reusable(base, base_csum)
    with pytest.raises(FormatError, match="reuse-csum"):
        require_reusable(base, bytes(32))
    changed = FixedIndexBuilder(8389608, base)
    changed.append(chunks[0], CHUNK, CHUNK)
    changed.close(1, CHUNK, bytes.fromhex("fbb3c2a1860071e119688e76e241ee2c5d14d0e03d230d3fc8813b9d85f0a6ea"))
    assert [entry.digest for entry in FixedIndex(built(changed))] == [chunks[0], chunks[0], chunks[2]]
    same = FixedIndexBuilder(8389608, base)
    same.close(0, 0, base_csum)
    assert built(same)[4096:] == built(builder)[4096:]


def test_reuse_is_refused():
    base = FixedIndexBuilder(2 * CHUNK)
    base.append(A, 0, CHUNK)
    base.append(B, CHUNK, CHUNK)
    base.close(2, 2 * CHUNK, csum(A, B))
    index = FixedIndex(built(base))
    with pytest.raises(FormatError, match="size: needed"):
        FixedIndexBuilder(None, index)
    for size in (CHUNK, 2 * CHUNK + 1):
        with pytest.raises(FormatError, match="reuse-csum"):
            FixedIndexBuilder(size, index)
    shorter = FixedIndexBuilder(2 * CHUNK - 5, index)
    assert len(shorter) == 2
    with pytest.raises(FormatError, match="reuse-csum: previous index has chunk size"):
        FixedIndexBuilder(2 * CHUNK, index, chunk_size=CHUNK // 2)


@pytest.mark.parametrize(
    ("offset", "length", "message"),
    [
        (1, CHUNK, "multiple"),
        (0, CHUNK - 1, "unexpected length"),
        (CHUNK, CHUNK, "behind the index size"),
        (CHUNK, 101, "behind the index size"),
        (CHUNK, 99, "unexpected length"),
        (CHUNK + 100, 0, "unexpected length"),
        (-CHUNK, CHUNK, "multiple"),
        (0, CHUNK + 1, "unexpected length"),
        (0, CHUNK + 100, "unexpected length"),
    ],
)
def test_bad_fixed_appends_change_nothing(offset, length, message):
    builder = FixedIndexBuilder(CHUNK + 100)
    with pytest.raises(FormatError, match=message):
        builder.append(A, offset, length)
    assert builder.append_count == 0
    builder.append(A, 0, CHUNK)
    builder.append(B, CHUNK, 100)
    builder.close(2, CHUNK + 100, csum(A, B))


def test_only_one_short_upload():
    builder = FixedIndexBuilder(CHUNK + 100)
    builder.register_upload(CHUNK)
    builder.register_upload(1)
    builder.register_upload(CHUNK)
    with pytest.raises(FormatError, match="chunk of 0 bytes"):
        builder.register_upload(0)
    with pytest.raises(FormatError, match="second"):
        builder.register_upload(100)
    with pytest.raises(FormatError, match="at most"):
        builder.register_upload(CHUNK + 1)


def test_unknown_size_grows_until_the_first_short_chunk():
    builder = FixedIndexBuilder(None)
    builder.append(B, CHUNK, CHUNK)
    builder.append(A, 0, CHUNK)
    with pytest.raises(FormatError, match="multiple"):
        builder.append(C, 2 * CHUNK + 8, 100)
    builder.append(C, 2 * CHUNK, 100)
    assert builder.size == 2 * CHUNK + 100
    for offset, length in ((3 * CHUNK, CHUNK), (2 * CHUNK, CHUNK), (2 * CHUNK, 101)):
        with pytest.raises(FormatError, match="behind"):
            builder.append(A, offset, length)
    builder.close(3, 2 * CHUNK + 100, csum(A, B, C))
    assert FixedIndex(built(builder)).size == 2 * CHUNK + 100


def test_growth_is_bounded():
    builder = FixedIndexBuilder(None, max_entries=10)
    with pytest.raises(FormatError, match="beyond 10"):
        builder.append(A, 10 * CHUNK, CHUNK)
    builder.append(A, 9 * CHUNK, CHUNK)
    with pytest.raises(FormatError, match="more than 10"):
        FixedIndexBuilder(10 * CHUNK + 1, max_entries=10)
    stream = DynamicIndexBuilder(max_entries=1)
    stream.append(A, 0, 1)
    with pytest.raises(FormatError, match="more than 1"):
        stream.append(A, 1, 1)


@pytest.mark.parametrize("offset", [0, 4, 6, 100])
def test_dynamic_gaps_and_overlaps_are_refused(offset):
    builder = DynamicIndexBuilder()
    builder.append(A, 0, 5)
    with pytest.raises(FormatError, match="expected 5"):
        builder.append(B, offset, 5)
    assert (builder.size, len(builder)) == (5, 1)


def test_a_refused_close_can_be_repeated_a_wrong_csum_cannot():
    builder = DynamicIndexBuilder()
    with pytest.raises(FormatError, match="chunk-count"):
        builder.close(0, 0, csum())
    builder.append(A, 0, 5)
    for count, size, field in ((2, 5, "chunk-count"), (1, 6, "size")):
        with pytest.raises(FormatError, match=field):
            builder.close(count, size, csum((5).to_bytes(8, "little"), A))
    with pytest.raises(FormatError, match="not closed"):
        builder.pieces(bytes(16), 0)
    with pytest.raises(FormatError, match="csum"):
        builder.close(1, 5, bytes(32))
    with pytest.raises(FormatError, match="already closed"):
        builder.close(1, 5, csum((5).to_bytes(8, "little"), A))
    with pytest.raises(FormatError, match="already closed"):
        builder.append(A, 5, 5)
    with pytest.raises(FormatError, match="not closed"):
        builder.digests()


def test_fixed_close_checks():
    builder = FixedIndexBuilder(CHUNK + 1)
    builder.append(A, 0, CHUNK)
    with pytest.raises(FormatError, match="chunk-count: got 2"):
        builder.close(2, CHUNK + 1, csum(A, B))
    with pytest.raises(FormatError, match="chunk-count: got 1"):
        builder.close(1, CHUNK + 1, csum(A, B))
    builder.append(B, CHUNK, 1)
    with pytest.raises(FormatError, match="size"):
        builder.close(2, CHUNK, csum(A, B))
    builder.close(2, CHUNK + 1, csum(A, B))
    hole = FixedIndexBuilder(2 * CHUNK)
    hole.append(A, 0, CHUNK)
    hole.append(A, 0, CHUNK)
    with pytest.raises(FormatError, match="1 positions were never written"):
        hole.close(2, 2 * CHUNK, csum(A, bytes(32)))
    with pytest.raises(FormatError, match="at least one"):
        FixedIndexBuilder(None).close(0, 0, csum())
    with pytest.raises(FormatError, match="at least 1"):
        FixedIndexBuilder(0)


@given(st.integers(1, 40), st.integers(0, 2**32), st.booleans(), st.integers(1, 4096))
def test_fixed_round_trip(chunks, seed, sized, tail):
    rng = random.Random(seed)
    digests = [rng.randbytes(32) for _ in range(chunks)]
    size = (chunks - 1) * 4096 + tail
    builder = FixedIndexBuilder(size if sized else None, chunk_size=4096)
    order = list(range(chunks - 1))
    rng.shuffle(order)
    for slot in [*order, chunks - 1]:
        builder.append(digests[slot], slot * 4096, 4096 if slot < chunks - 1 else tail)
    builder.close(chunks, size, csum(*digests))
    index = FixedIndex(built(builder))
    assert [entry.digest for entry in index] == digests
    assert index.size == size
    assert index.compute_csum() == index.header_csum


@given(st.lists(st.tuples(st.binary(min_size=32, max_size=32), st.integers(1, 2**24)), min_size=1))
def test_dynamic_round_trip(chunks):
    builder, hashed = DynamicIndexBuilder(), hashlib.sha256()
    for digest, length in chunks:
        builder.append(digest, builder.size, length)
        hashed.update(builder.size.to_bytes(8, "little") + digest)
    builder.close(len(chunks), sum(length for _, length in chunks), hashed.digest())
    index = DynamicIndex(built(builder))
    assert [(entry.digest, entry.end - entry.start) for entry in index] == chunks


def test_a_large_disk_stays_compact():
    builder = FixedIndexBuilder(16 * 1024**4)
    assert len(builder) == 4 * 1024 * 1024
    assert len(builder._entries) == 128 * 1024 * 1024
