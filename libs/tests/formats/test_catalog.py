"""Catalogs against the vectors and damaged ones (conformance 30, 31)."""

import base64
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from testkit import golden
from testkit.pxar_writer import encode_catalog, tree_from_dict

from pbs_cloud.formats import catalog
from pbs_cloud.formats.catalog import CatalogReader
from pbs_cloud.formats.catalog_listing import list_catalog, parse_filepath, split_archive_path
from pbs_cloud.formats.catalog_writer import CatalogWriter
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.pxar import EntryKind


def reader_of(data: bytes) -> CatalogReader:
    return CatalogReader(lambda offset, length: data[offset : offset + length], len(data))


def walk_all(data: bytes):
    return list(reader_of(data).walk())


def test_own_record(vectors):
    data = vectors("catalog")
    raw = bytes.fromhex(data["file_hex"])
    reader = reader_of(raw)
    offsets = data["table_offsets"]
    assert reader.root_table == offsets["/"]
    assert reader.find_table(b"root.pxar.didx") == offsets["root.pxar.didx"]
    assert reader.find_table(b"root.pxar.didx/d") == offsets["d"]
    assert reader.find_table(b"/root.pxar.didx/empty") == offsets["empty"]
    assert reader.find_table(b"root.pxar.didx/a.txt") is None
    for listing in data["listings"]:
        requests = [base64.b64encode(listing["filepath"].encode()).decode()]
        if listing["filepath"] == "/":
            requests += ["/", "root"]
        if "request_filepath_b64" in listing:
            requests.append(listing["request_filepath_b64"])
        for request in requests:
            assert list_catalog(reader, parse_filepath(request)) == listing["entries"]
    assert list_catalog(reader, b"/nothing") is None


def test_real_record(vectors):
    for record in vectors("catalog")["real_records"]:
        reader = reader_of(bytes.fromhex(record["file_hex"]))
        assert golden.catalog_tree(reader, reader.root_table) == record["tree"]


def test_numbers(vectors):
    data = vectors("catalog")
    for value, encoded in data["varint_u64"]:
        assert catalog.encode_unsigned(value).hex() == encoded
        assert catalog.decode_unsigned(bytes.fromhex(encoded), 0) == (value, len(encoded) // 2)
    for value, encoded in data["varint_i64"]:
        assert catalog.encode_signed(value).hex() == encoded
        assert catalog.decode_signed(bytes.fromhex(encoded), 0) == (value, len(encoded) // 2)
    for decode, length in ((catalog.decode_unsigned, 10), (catalog.decode_signed, 11)):
        for bad in (b"", b"\x80", b"\xff" * length, b"\xff" * (length - 1) + b"\x7f"):
            with pytest.raises(FormatError):
                decode(bad, 0)
    for value in (-1, 2**64):
        with pytest.raises(FormatError):
            catalog.encode_unsigned(value)
    with pytest.raises(FormatError):
        catalog.encode_signed(-(2**63) - 1)


@given(st.integers(0, 2**64 - 1), st.integers(-(2**63), 2**63 - 1))
def test_numbers_round_trip(unsigned, signed):
    assert catalog.decode_unsigned(catalog.encode_unsigned(unsigned) + b"x", 0)[0] == unsigned
    assert catalog.decode_signed(catalog.encode_signed(signed) + b"x", 0)[0] == signed


names = st.binary(min_size=1, max_size=20).filter(lambda name: b"/" not in name and b"\0" not in name)
files = st.tuples(st.integers(0, 2**64 - 1), st.integers(-(2**63), 2**63 - 1))
trees = st.recursive(
    files | st.sampled_from([kind for kind in EntryKind if kind not in "df"]),
    lambda children: st.dictionaries(names, children, max_size=4),
    max_leaves=20,
)


def write(writer: CatalogWriter, tree: dict) -> bytes:
    encoded = b""
    for name, value in tree.items():
        if isinstance(value, dict):
            writer.start_directory(name)
            encoded += write(writer, value) + writer.end_directory()
        elif isinstance(value, tuple):
            writer.add_file(name, *value)
        else:
            writer.add(value, name)
    return encoded


def read(reader: CatalogReader, table: int) -> dict:
    found = {}
    for entry in reader.entries(table):
        if entry.table is not None:
            found[entry.name] = read(reader, entry.table)
        else:
            found[entry.name] = (entry.size, entry.mtime) if entry.kind is EntryKind.FILE else entry.kind
    return found


@given(st.dictionaries(names, trees, max_size=4))
def test_round_trip(tree):
    writer = CatalogWriter()
    raw = writer.begin() + write(writer, tree) + writer.finish()
    reader = reader_of(raw)
    assert read(reader, reader.root_table) == tree
    list(reader.walk())


def file_of(*tables: bytes, root: int | None = None) -> bytes:
    raw, last = catalog.MAGIC, 0
    for table in tables:
        last = len(raw)
        raw += catalog.encode_unsigned(len(table)) + table
    return raw + (last if root is None else root).to_bytes(8, "little")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        file_of(b"\0")[:-1],
        b"x" + file_of(b"\0")[1:],
        file_of(b"\0", root=7),
        file_of(b"\0", root=10),
        file_of(b"\0", root=2**63),
        file_of(b""),
        file_of(b"\0x"),
        file_of(b"\x01"),
        file_of(b"\x01xfa"),
        file_of(b"\x01h\x02a"),
        file_of(b"\x01h\0"),
        file_of(b"\x01h\x01/"),
        file_of(b"\x01h\x01\0"),
        file_of(b"\x01h\x80\x20" + b"a" * 4096),
        file_of(b"\x01d\x01a\0"),
        file_of(b"\0", b"\x01d\x01a\x03"),
        file_of(b"\0", b"\x02d\x01a\x02d\x01b\x02"),
        file_of(b"\x01f\x01a\x05"),
        file_of(b"\xff" * 9 + b"\x01"),
        catalog.MAGIC + b"\xff\xff\x03" + b"\0" * 40 + (8).to_bytes(8, "little"),
    ],
)
def test_damaged_catalogs(raw):
    with pytest.raises(FormatError, match="catalog"):
        walk_all(raw)


def test_a_reader_that_gives_too_little():
    with pytest.raises(FormatError, match="ends at"):
        CatalogReader(lambda offset, length: b"", 100)


def test_a_shared_table_is_no_way_to_blow_up_a_walk():
    raw, position, previous = catalog.MAGIC, len(catalog.MAGIC), None
    for _ in range(60):
        distance = catalog.encode_unsigned(position - previous) if previous else b""
        payload = b"\x02" + b"".join(b"d\x01" + name + distance for name in (b"a", b"b")) if previous else b"\0"
        table = catalog.encode_unsigned(len(payload)) + payload
        raw, previous, position = raw + table, position, position + len(table)
    with pytest.raises(FormatError, match="twice"):
        walk_all(raw + previous.to_bytes(8, "little"))


def test_writer_refuses_misuse():
    writer = CatalogWriter()
    for misuse in (
        writer.end_directory,
        lambda: writer.add(EntryKind.FILE, b"a"),
        lambda: writer.add(EntryKind.FIFO, b""),
        lambda: writer.add_file(b"a/b", 1, 1),
        lambda: writer.start_directory(b"x" * 4096),
    ):
        with pytest.raises(FormatError):
            misuse()
    writer.start_directory(b"a")
    with pytest.raises(FormatError, match="still open"):
        writer.finish()


@pytest.mark.parametrize("bad", ["%%%", "ä", None, 5, "YQ"])
def test_bad_paths(bad):
    with pytest.raises(FormatError, match="filepath"):
        parse_filepath(bad)


def test_archive_paths():
    assert split_archive_path(b"/root.pxar.didx/etc/hosts") == ("root.pxar.didx", b"/etc/hosts")
    assert split_archive_path(b"root.pxar.didx") == ("root.pxar.didx", b"/")


def test_testkit_catalog_has_the_order_of_its_tree():
    root = tree_from_dict({"b": b"1", "a": {"x": b"22"}})
    paths = [path for path, _ in walk_all(encode_catalog({"root.pxar.didx": root}))]
    assert paths == [b"root.pxar.didx", b"root.pxar.didx/b", b"root.pxar.didx/a", b"root.pxar.didx/a/x"]
    assert all(first != second for first, second in pairwise(paths))
