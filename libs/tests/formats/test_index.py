"""Index readers against the vectors (conformance 20, 21)."""

import hashlib
import mmap

import pytest

from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.index import (
    DynamicIndex,
    FixedIndex,
    digest_at,
    dynamic_header,
    fixed_header,
    parse_index,
)

MIB = 1024 * 1024


def file_of(record) -> bytes:
    raw = bytes.fromhex(record["header_prefix_hex"]).ljust(4096, b"\0") + bytes.fromhex(record["entries_hex"])
    assert len(raw) == record["file_size"]
    assert hashlib.sha256(raw).hexdigest() == record["file_sha256"]
    return raw


def check_lookups(index, lookups):
    assert len(lookups) == 5
    for lookup in lookups:
        if lookup["chunk"] is None:
            with pytest.raises(FormatError, match="outside"):
                index.lookup(lookup["offset"])
        else:
            assert index.lookup(lookup["offset"]) == (lookup["chunk"], lookup["in_chunk"])


def test_own_fixed_records(vectors):
    data = vectors("fidx")
    for record in data["records"]:
        index = FixedIndex(file_of(record))
        assert (index.size, index.chunk_size, len(index)) == (data["image_size"], data["chunk_size"], 3)
        assert (index.uuid.hex(), index.ctime) == (data["uuid_hex"], data["ctime"])
        assert index.compute_csum().hex() == index.header_csum.hex() == record["index_csum"]
        assert [entry.digest.hex() for entry in index] == record["chunk_digests"]
        check_lookups(index, data["lookups"])


def test_own_dynamic_records(vectors):
    data = vectors("didx")
    for record in data["records"]:
        index = DynamicIndex(file_of(record))
        assert (index.size, len(index), index.uuid.hex()) == (data["archive_size"], 3, data["uuid_hex"])
        assert index.compute_csum().hex() == index.header_csum.hex() == record["index_csum"]
        assert [entry.end for entry in index] == record["chunk_ends"] == index.ends.tolist()
        assert [entry.digest.hex() for entry in index] == record["chunk_digests"]
        check_lookups(index, data["lookups"])


@pytest.mark.parametrize("name", ["fidx", "didx"])
def test_real_records_decode_and_encode_again(vectors, name):
    for record in vectors(name)["real_records"]:
        raw = file_of(record)
        index = parse_index(raw)
        assert index.size == record["size"]
        assert index.compute_csum().hex() == record["index_csum"]
        assert [[start, end, digest.hex()] for start, end, digest in index] == record["chunks"]
        assert index.sizes().tolist() == [end - start for start, end, _ in record["chunks"]]
        if isinstance(index, FixedIndex):
            header = fixed_header(index.uuid, index.ctime, index.header_csum, index.size, index.chunk_size)
        else:
            header = dynamic_header(index.uuid, index.ctime, index.header_csum)
        assert header + raw[4096:] == raw


def fixed(size=10 * MIB, chunk=4 * MIB, entries=3) -> bytes:
    return fixed_header(bytes(16), 0, bytes(32), size, chunk) + bytes(32 * entries)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "too small"),
        (fixed()[:4095], "too small"),
        (b"\0" * 8 + fixed()[8:], "magic"),
        (dynamic_header(bytes(16), 0, bytes(32)) + bytes(40), "magic"),
        (fixed(chunk=0), "power-of-two"),
        (fixed(chunk=3 * MIB), "power-of-two"),
        (fixed(entries=2), "unexpected file size"),
        (fixed(entries=4), "unexpected file size"),
        (fixed(size=0, entries=0), "no entries"),
        (fixed(size=2**64 - 1), "unexpected file size"),
    ],
)
def test_bad_fixed_files(raw, message):
    with pytest.raises(FormatError, match=message):
        FixedIndex(raw)


def dynamic(*ends: int) -> bytes:
    return dynamic_header(bytes(16), 0, bytes(32)) + b"".join(end.to_bytes(8, "little") + bytes(32) for end in ends)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (dynamic(1)[:4095], "too small"),
        (b"\0" * 8 + dynamic(1)[8:], "magic"),
        (dynamic(1)[:-1], "unexpected file size"),
        (dynamic(), "no entries"),
    ],
)
def test_bad_dynamic_files(raw, message):
    with pytest.raises(FormatError, match=message):
        DynamicIndex(raw)


@pytest.mark.parametrize("ends", [(0,), (5, 5), (5, 3), (2**63,)])
def test_ends_that_do_not_increase_open_but_are_not_used(ends):
    index = DynamicIndex(dynamic(*ends))
    for use in (index.require_monotonic, index.sizes, lambda: index.lookup(0)):
        with pytest.raises(FormatError, match="increase"):
            use()


def test_ranges_hit_exactly_their_chunks():
    index = DynamicIndex(dynamic(10, 20, 35))
    assert [entry.start for entry in index.chunks_of(9, 2)] == [0, 10]
    assert [entry.start for entry in index.chunks_of(10, 10)] == [10]
    assert [entry.start for entry in index.chunks_of(0, 35)] == [0, 10, 20]
    assert list(index.chunks_of(35, 0)) == []
    for offset, length in ((-1, 1), (0, 36), (35, 1)):
        with pytest.raises(FormatError, match="outside"):
            list(index.chunks_of(offset, length))
    for offset in (-1, 35):
        with pytest.raises(FormatError, match="outside"):
            index.lookup(offset)
        with pytest.raises(FormatError, match="outside"):
            FixedIndex(fixed()).lookup(offset if offset < 0 else 10 * MIB)
    for reader in (index, FixedIndex(fixed())):
        for position in (-1, 3):
            with pytest.raises(IndexError):
                reader.chunk_range(position)


def test_digests_with_trailing_zeros_stay_whole():
    digest = b"\x01" + bytes(31)
    index = DynamicIndex(dynamic_header(bytes(16), 0, bytes(32)) + (9).to_bytes(8, "little") + digest)
    assert index.digest(0) == digest
    assert digest_at(index.digests, 0) == digest


def test_reads_a_memory_mapped_file(tmp_path, vectors):
    path = tmp_path / "x.fidx"
    path.write_bytes(file_of(vectors("fidx")["records"][0]))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        index = FixedIndex(memoryview(mapped))
        assert index.compute_csum() == index.header_csum
        del index
