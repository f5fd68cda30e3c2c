"""Archives against the vectors, round trips, cheap access, damaged archives (conformance 33 to 36)."""

import base64
import os
import stat
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from testkit.pxar_tree import summarise_archive, summarise_tree
from testkit.pxar_writer import (
    Node,
    bst_order,
    encode_split,
    encode_v1,
    item,
    tree_from_dict,
    tree_from_directory,
)

from pbs_cloud.formats.catalog_listing import list_archive
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.pxar import EntryKind, ItemType
from pbs_cloud.formats.pxar_reader import TAIL_MARKER, PxarReader
from pbs_cloud.formats.siphash import siphash24


def read_of(data: bytes):
    return lambda offset, length: data[offset : offset + length]


def reader_of(data: bytes, payload: bytes | None = None) -> PxarReader:
    if payload is None:
        return PxarReader(read_of(data), len(data))
    return PxarReader(read_of(data), len(data), read_of(payload), len(payload))


def vector_tree() -> Node:
    """The tree of ``pxar.json``."""
    start = 1_700_000_000

    def node(mode, seconds, **more):
        return Node(mode, 1000, 100, seconds, **more)

    below = {
        b"b.bin": node(stat.S_IFREG | 0o600, -1, mtime_nanos=500_000_000),
        b"c.bin": node(stat.S_IFREG | 0o600, start + 3, content=b"\0\1\2"),
        b"h": Node(stat.S_IFREG, link_to=b"a.txt"),
    }
    return node(
        stat.S_IFDIR | 0o755,
        start,
        children={
            b"a.txt": node(stat.S_IFREG | 0o644, start + 1, mtime_nanos=5, content=b"hello\n"),
            b"d": node(stat.S_IFDIR | 0o700, start + 2, children=below),
            b"s": node(stat.S_IFLNK | 0o777, start + 4, target=b"d/c.bin"),
        },
    )


@pytest.fixture(scope="module")
def archives(vectors):
    data = vectors("pxar")
    unified = bytes.fromhex(data["unified"]["pxar_hex"])
    split = [bytes.fromhex(data["split"][name]) for name in ("mpxar_hex", "ppxar_hex")]
    return data, unified, *split


def test_hashes_and_order(archives):
    for record in archives[0]["siphash24"]:
        assert f"{siphash24(record['name'].encode()):016x}" == record["hash"]
    for count, order in archives[0]["bst_permutation"].items():
        assert bst_order(int(count)) == order
    assert siphash24(bytes(range(15)), 0x0706050403020100, 0x0F0E0D0C0B0A0908) == 0xA129CA6149BE45E5


def test_the_writer_reproduces_the_vectors(archives):
    data, unified, metadata, payload = archives
    assert encode_v1(vector_tree()) == unified
    assert encode_split(vector_tree(), data["split"]["prelude"].encode()) == (metadata, payload)


@pytest.mark.parametrize("kind", ["unified", "split"])
def test_vectors_are_read(archives, kind):
    data, unified, metadata, payload = archives
    reader = reader_of(unified) if kind == "unified" else reader_of(metadata, payload)
    assert reader.version == data[kind]["version"]
    assert reader.prelude == (data["split"]["prelude"].encode() if kind == "split" else None)
    for path, trace in data[kind]["trace"]:
        entry = reader.find(path.encode())
        numbers = dict(part.split("@") for part in trace.split() if "@" in part)
        if "filename" in numbers:
            assert entry.offset == int(numbers["filename"])
            assert entry.size == int(trace.split("size ")[1].split()[0])
        else:
            directory = reader.open(entry) if entry.name else reader.root()
            start = entry.entry_offset if entry.name else 0
            found = (directory.goodbye, start, directory.end)
            assert found == tuple(int(numbers[name]) for name in ("goodbye", "entry", "end"))
    contents = {b"a.txt": b"hello\n", b"d/b.bin": b"", b"d/c.bin": b"\0\1\2", b"/d/h": b"hello\n"}
    for path, wanted in contents.items():
        assert b"".join(reader.content(reader.find(path))) == wanted
    assert reader.find(b"s").target == b"d/c.bin"
    assert [entry.name for entry in reader.children(reader.root())] == [b"a.txt", b"d", b"s"]
    below = reader.open(reader.find(b"d"))
    assert [path for path, _ in reader.walk(below)] == [b"", b"b.bin", b"c.bin", b"h"]
    for missing in (b"x", b"d/x", b"a.txt/x", b"s/x"):
        assert reader.find(missing) is None
    with pytest.raises(FormatError, match="no content"):
        next(reader.content(reader.find(b"s")))
    with pytest.raises(FormatError, match="directory"):
        reader.open(reader.find(b"s"))


def test_listing_of_directories_only(archives):
    reader = reader_of(archives[1])
    assert list_archive(reader, b"a.txt") is None
    assert list_archive(reader, b"/missing") is None
    assert [item["text"] for item in list_archive(reader, b"")] == ["a.txt", "d", "s"]
    first, second, third = list_archive(reader, b"d")
    assert base64.b64decode(first["filepath"]) == b"/d/b.bin"
    assert (first["size"], first["mtime"], first["leaf"], first["type"]) == (0, 0, True, "f")
    assert (second["mtime"], third) == (
        1_700_000_003,
        {"filepath": "L2QvaA==", "text": "h", "type": "h", "leaf": True},
    )


def test_a_real_metadata_archive(archives):
    record = archives[0]["real_records"][0]
    raw = bytes.fromhex(record["mpxar_hex"])
    reader = PxarReader(read_of(raw), len(raw), read_of(b""), record["ppxar_size"])
    entries = list(reader.walk(reader.root()))
    assert len(entries) == record["entry_count"]
    assert reader.prelude.decode() == record["prelude"]
    by_name = {entry.name.decode("latin-1"): entry for _, entry in entries}
    for name, excess in record["goodbye_size_excess"]:
        assert by_name[name].size == excess
    for path, entry in entries:
        assert reader.find(path).offset == entry.offset


def rich_tree() -> Node:
    tree = tree_from_dict({"docs": {"a.txt": b"alpha", "b": b"", "deep": {"x": {"y": b"z" * 5000}}}, "empty": {}})
    docs = tree.children[b"docs"]
    docs.children[b"link"] = Node(stat.S_IFREG, link_to=b"docs/a.txt")
    docs.children[b"latin-\xe9\xff"] = Node(stat.S_IFREG | 0o4755, 5, 6, -7, 8, content=b"x", fcaps=b"caps")
    docs.xattrs = [(b"user.a", b"\0\1"), (b"user.b", b"")]
    docs.acl = [(ItemType.ACL_USER, bytes(16)), (ItemType.ACL_DEFAULT, bytes(32))]
    tree.children[b"null"] = Node(stat.S_IFCHR | 0o666, device=(1, 3))
    tree.children[b"sda"] = Node(stat.S_IFBLK | 0o660, device=(8, 0))
    tree.children[b"fifo"] = Node(stat.S_IFIFO | 0o600)
    tree.children[b"sock"] = Node(stat.S_IFSOCK | 0o600)
    tree.children[b"sym"] = Node(stat.S_IFLNK | 0o777, target=b"/nowhere")
    return tree


def test_everything_comes_back():
    tree = rich_tree()
    assert summarise_archive(reader_of(encode_v1(tree))) == summarise_tree(tree)
    assert summarise_archive(reader_of(*encode_split(tree))) == summarise_tree(tree)


def test_a_real_directory(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_bytes(b"content")
    os.link(tmp_path / "d" / "f", tmp_path / "z")
    os.symlink("d/f", tmp_path / "l")
    os.mkfifo(tmp_path / "p")
    tree = tree_from_directory(tmp_path)
    assert tree.children[b"z"].link_to == b"d/f"
    reader = reader_of(*encode_split(tree))
    assert summarise_archive(reader) == summarise_tree(tree)
    assert b"".join(reader.content(reader.find(b"z"))) == b"content"


def test_old_stat_and_quota():
    stat_v1 = item(ItemType.ENTRY_V1, struct.pack("<QQIIQ", 0o040755, 7, 1, 2, 5_000_000_006))
    quota = item(ItemType.QUOTA_PROJID, (9).to_bytes(8, "little"))
    body = stat_v1 + quota
    tail = struct.pack("<QQQ", TAIL_MARKER, len(body), 40)
    entry = reader_of(body + item(ItemType.GOODBYE, tail)).root().entry
    assert (entry.stat.mtime, entry.stat.mtime_nanos, entry.stat.uid, entry.stat.flags) == (5, 6, 1, 7)
    assert entry.attributes.quota_project == 9


names = st.binary(min_size=1, max_size=8).filter(lambda n: b"/" not in n and b"\0" not in n and n not in (b".", b".."))
trees = st.recursive(
    st.binary(max_size=50),
    lambda children: st.dictionaries(names, children, max_size=5),
    max_leaves=20,
).filter(lambda tree: isinstance(tree, dict))


@settings(max_examples=50)
@given(trees)
def test_round_trip(spec):
    tree = tree_from_dict(spec)
    for reader in (reader_of(encode_v1(tree)), reader_of(*encode_split(tree))):
        assert summarise_archive(reader) == summarise_tree(tree)
        for path, entry in reader.walk(reader.root()):
            assert reader.find(path).offset == entry.offset


def test_one_file_of_a_large_archive_needs_few_reads():
    spec = {f"dir{n:03}": {f"file{m:03}": bytes(20_000) for m in range(60)} for n in range(60)}
    spec["dir030"]["file030"] = b"wanted" * 1000
    archive = encode_v1(tree_from_dict(spec))
    read = bytearray()
    chunks = set()

    def recording(offset: int, length: int) -> bytes:
        read.extend(bytes(length))
        chunks.update(range(offset // 65536, (offset + length - 1) // 65536 + 1))
        return archive[offset : offset + length]

    reader = PxarReader(recording, len(archive))
    assert b"".join(reader.content(reader.find(b"dir030/file030"))) == b"wanted" * 1000
    assert len(archive) > 70_000_000
    assert len(read) < 500_000
    assert len(chunks) < 20


def test_ranges_of_a_file():
    data = bytes(range(256)) * 10_000
    reader = reader_of(encode_v1(tree_from_dict({"f": data})))
    entry = reader.find(b"f")
    assert b"".join(reader.content(entry, 1_000_000, 1_200_000)) == data[1_000_000:2_200_000]
    assert b"".join(reader.content(entry, len(data))) == b""
    assert max(map(len, reader.content(entry))) == 1024 * 1024
    for offset, length in ((-1, 1), (0, len(data) + 1), (5, -1)):
        with pytest.raises(FormatError, match="range"):
            list(reader.content(entry, offset, length))


def use(data: bytes, payload: bytes | None = None) -> None:
    """Everything a server does with an archive."""
    reader = reader_of(data, payload)
    root = reader.root()
    for _, entry in reader.walk(root):
        if entry.kind in (EntryKind.FILE, EntryKind.HARDLINK):
            list(reader.content(entry))
    for entry in reader.children(root):
        if entry.kind is EntryKind.DIRECTORY:
            list(reader.children(reader.open(entry)))


def patched(data: bytes, offset: int, value: int) -> bytes:
    return data[:offset] + value.to_bytes(8, "little") + data[offset + 8 :]


def goodbye(start: int, position: int, *children: tuple[int, int, int]) -> bytes:
    records = b"".join(struct.pack("<QQQ", *child) for child in children)
    return item(ItemType.GOODBYE, records + struct.pack("<QQQ", TAIL_MARKER, position - start, 40 + len(records)))


DIRECTORY = item(ItemType.ENTRY, struct.pack("<QQIIqI4x", 0o040755, 0, 0, 0, 0, 0))
FILE = item(ItemType.ENTRY, struct.pack("<QQIIqI4x", 0o100644, 0, 0, 0, 0, 0)) + item(ItemType.PAYLOAD, b"x")


def one_child(body: bytes, name: bytes = b"n\0") -> bytes:
    head = DIRECTORY + item(ItemType.FILENAME, name) + body
    return head + goodbye(0, len(head), (siphash24(name[:-1]), len(head) - 56, len(head) - 56))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        DIRECTORY,
        one_child(FILE, b"a/b\0"),
        one_child(FILE, b"..\0"),
        one_child(FILE, b".\0"),
        one_child(FILE, b"\0"),
        one_child(FILE, b"ab"),
        one_child(FILE, b"a\0b\0"),
        one_child(FILE, b"a" * 4097 + b"\0"),
        one_child(FILE[:-17]),
        one_child(FILE + item(ItemType.SYMLINK, b"x\0")),
        one_child(item(ItemType.HARDLINK, (0).to_bytes(8, "little") + b"n\0")),
        one_child(item(ItemType.HARDLINK, (57).to_bytes(8, "little") + b"n\0")),
        one_child(item(ItemType.HARDLINK, (56).to_bytes(8, "little") + b"n\0")),
        one_child(item(ItemType.ENTRY, bytes(40))),
        one_child(item(ItemType.ENTRY, bytes(41))),
        one_child(item(ItemType.ENTRY, struct.pack("<QQIIqI4x", 0o120777, 0, 0, 0, 0, 0)) + item(ItemType.PAYLOAD)),
        one_child(FILE[:56] + item(ItemType.XATTR, b"novalue") + FILE[56:]),
        one_child(FILE[:56] + item(ItemType.XATTR, b"n\0" + bytes(66_000)) + FILE[56:]),
        one_child(FILE[:56] + item(ItemType.ACL_USER, b"") + FILE[56:]),
        one_child(FILE[:56] + item(ItemType.PAYLOAD_REF, bytes(16))),
        patched(one_child(FILE), 56 + 8, 15),
        patched(one_child(FILE), 56 + 8, 2**64 - 1),
        patched(one_child(FILE), len(one_child(FILE)) - 8, 16),
        patched(one_child(FILE), len(one_child(FILE)) - 8, 41),
        patched(one_child(FILE), len(one_child(FILE)) - 8, 2**63),
        patched(one_child(FILE), len(one_child(FILE)) - 16, 5),
        patched(one_child(FILE), len(one_child(FILE)) - 16, 2**63),
        patched(one_child(FILE), len(one_child(FILE)) - 24, 5),
        patched(one_child(FILE), len(one_child(FILE)) - 40, 2**63),
        patched(one_child(FILE), len(one_child(FILE)) - 40, 0),
        item(ItemType.FORMAT_VERSION, (3).to_bytes(8, "little")) + one_child(FILE),
        item(ItemType.FORMAT_VERSION, (2).to_bytes(4, "little")) + one_child(FILE),
        FILE + goodbye(0, len(FILE)),
    ],
)
def test_damaged_archives(data):
    with pytest.raises(FormatError, match="pxar"):
        use(data)


def test_the_longest_texts_are_read():
    use(one_child(FILE, b"a" * 4096 + b"\0"))
    link = FILE[:16] + (0o120777).to_bytes(8, "little") + FILE[24:56]
    use(one_child(link + item(ItemType.SYMLINK, b"t" * 4096 + b"\0")))
    for target in (b"t" * 4097 + b"\0", b"\0", b"t"):
        with pytest.raises(FormatError, match="pxar"):
            use(one_child(link + item(ItemType.SYMLINK, target)))


def test_a_directory_that_contains_itself_is_refused():
    inner = item(ItemType.FILENAME, b"d\0") + DIRECTORY
    head = DIRECTORY + inner
    head += goodbye(56 + len(inner) - 56, len(head), (siphash24(b"d"), len(head) - 56, 10**6))
    data = head + goodbye(0, len(head), (siphash24(b"d"), len(head) - 56, len(head) - 56))
    reader = reader_of(data)
    child = reader.open(next(reader.children(reader.root())))
    with pytest.raises(FormatError, match="out of its directory"):
        list(reader.children(child))


@pytest.mark.parametrize(("at", "value"), [(16, 5), (24, 15), (24, 100), (24, 10**9)])
def test_a_payload_that_does_not_match_its_reference(at, value):
    metadata, payload = encode_split(tree_from_dict({"f": b"data"}))
    use(metadata, payload)
    with pytest.raises(FormatError, match="pxar"):
        use(metadata, patched(payload, at, value))


def test_a_missing_payload_archive_and_short_reads():
    metadata, payload = encode_split(tree_from_dict({"f": b"data"}))
    reader = reader_of(metadata)
    assert reader.find(b"f").size == 4
    with pytest.raises(FormatError, match="payload archive is missing"):
        list(reader.content(reader.find(b"f")))
    cut = PxarReader(read_of(metadata), len(metadata), read_of(payload[:33]), len(payload))
    with pytest.raises(FormatError):
        list(cut.content(cut.find(b"f")))
    with pytest.raises(FormatError, match="ends at"):
        PxarReader(read_of(b""), 1000)


def test_too_many_attributes_are_refused():
    attributes = item(ItemType.XATTR, b"user.x\0" + bytes(65_000)) * 260
    with pytest.raises(FormatError, match="attributes"):
        use(one_child(FILE[:56] + attributes + FILE[56:]))


def test_equal_hashes_are_told_apart_by_name():
    head = DIRECTORY + item(ItemType.FILENAME, b"a\0") + FILE
    second = len(head)
    head += item(ItemType.FILENAME, b"b\0") + FILE
    wanted = siphash24(b"b")
    table = goodbye(
        0, len(head), (wanted, len(head) - 56, second - 56), (wanted, len(head) - second, len(head) - second)
    )
    assert reader_of(head + table).find(b"b").offset == second
