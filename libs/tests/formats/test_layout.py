"""Paths and keys against the vectors (conformance 43 as far as pure)."""

import pytest

from pbs_cloud.formats import layout
from pbs_cloud.formats.digest import ZERO_CHUNK_DIGEST
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.names import BackupGroup, BackupNamespace, SnapshotRef

NS = BackupNamespace.parse("a/b")
GROUP = BackupGroup.parse("vm/100")
SNAPSHOT = SnapshotRef.parse("vm/100/2023-11-14T22:13:20Z")


def test_key_vectors(vectors):
    ours = {
        "chunk": layout.chunk_key("store1", ZERO_CHUNK_DIGEST),
        "corrupt chunk": layout.bad_chunk_key("store1", ZERO_CHUNK_DIGEST, 0),
        "in-use marker": layout.in_use_key("store1"),
        "namespace marker of a/b": layout.content_key("store1", layout.namespace_marker_path(NS)),
        "group owner": layout.content_key("store1", layout.owner_path(NS, GROUP)),
        "group notes": layout.content_key("store1", layout.notes_path(NS, GROUP)),
        "manifest": layout.content_key("store1", layout.manifest_path(NS, SNAPSHOT)),
        "protected marker": layout.content_key("store1", layout.protected_path(BackupNamespace(), SNAPSHOT)),
    }
    for record in vectors("s3-keys")["records"]:
        assert ours.pop(record["what"]) == record["key"]
        if "request_path" in record:
            assert "/" + layout.key_uri_path(record["key"]) == record["request_path"]
    assert not ours


def test_every_key_of_a_real_bucket_is_understood(vectors):
    keys = vectors("s3-keys")["real_keys"]
    assert len(keys) == 131
    for key in keys:
        if key.startswith(layout.chunk_prefix("golden-s3")):
            name = layout.parse_chunk_name(key.rpartition("/")[2])
            assert layout.chunk_key("golden-s3", name.digest) == key
        elif key != layout.in_use_key("golden-s3"):
            path = key.removeprefix(layout.content_prefix("golden-s3"))
            found = layout.parse_content_path(path)
            if found.snapshot is not None:
                again = layout.snapshot_path(found.ns, found.snapshot) + "/" + found.filename
            elif found.group is not None:
                again = layout.group_path(found.ns, found.group) + "/" + found.filename
            else:
                again = layout.namespace_marker_path(found.ns)
            assert layout.content_key("golden-s3", again) == key


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "x",
        ".namespace",
        "vm/100",
        "vm/100/other",
        "vm/100/owner/x",
        "vm/100/2023-11-14T22:13:20Z/x.txt",
        "xx/100/owner",
        "vm/.x/owner",
        "ns/a",
        "ns/.x/.namespace",
        "ns/" * 2 + "x",
        "vm/100/2023-02-30T22:13:20Z/a.blob",
        "ns/a/" * 8 + "vm/1/owner",
    ],
)
def test_other_paths_are_refused(bad):
    with pytest.raises(FormatError):
        layout.parse_content_path(bad)


def test_chunk_names():
    digest = bytes(range(32))
    parse = layout.parse_chunk_name
    assert parse(digest.hex()) == parse(digest.hex().upper()) == layout.ChunkName(digest)
    assert parse(digest.hex() + ".9.bad") == layout.ChunkName(digest, bad_number=9)
    assert parse(digest.hex() + ".using") == layout.ChunkName(digest, using=True)
    for suffix in (".tmp_abcdef", ".x", ".10.bad", ".bad", "\n", "0"):
        assert parse(digest.hex() + suffix) is None
    assert parse("short") is None
    assert layout.chunk_dir(digest) == ".chunks/0001"
    for number in (-1, 10):
        with pytest.raises(FormatError):
            layout.bad_chunk_path(digest, number)


def test_temporary_names():
    assert layout.temporary_index_name("drive-scsi0.img.fidx") == "drive-scsi0.img.tmp_fidx"
    assert layout.temporary_name("index.json.blob", "a1B2c3") == "index.json.tmp_a1B2c3"
    assert layout.temporary_name("00" * 32, "a1B2c3") == "00" * 32 + ".tmp_a1B2c3"
    assert layout.temporary_name(".gc-status", "a1B2c3") == ".gc-status.tmp_a1B2c3"
    for name in ("index.json.blob", "x.didx"):
        assert not layout.is_snapshot_file(layout.temporary_name(name, "abcdef"))
        assert layout.is_temporary(layout.temporary_name(name, "abcdef")) and not layout.is_temporary(name)


def test_file_names_cannot_leave_the_snapshot():
    assert layout.snapshot_file_path(NS, SNAPSHOT, "x.blob").endswith("20Z/x.blob")
    for name in ("../x", "", ".protected", "a/b"):
        with pytest.raises(FormatError):
            layout.snapshot_file_path(NS, SNAPSHOT, name)


def test_prefixes_end_with_a_slash_and_keys_are_bounded():
    assert layout.content_prefix("s", layout.group_path(NS, GROUP)) == "s/.cnt/ns/a/ns/b/vm/100/"
    assert layout.content_prefix("s") == "s/.cnt/"
    with pytest.raises(FormatError, match="1024"):
        layout.content_key("s", "x" * 1020)
