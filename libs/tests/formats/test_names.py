"""Names and identities against the vectors (conformance 63, 37)."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbs_cloud.formats import names
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.identity import AuthId, UserId, parse_acl_path, parse_realm, parse_token_name
from pbs_cloud.formats.names import (
    ArchiveName,
    ArchiveType,
    BackupGroup,
    BackupNamespace,
    BackupType,
    SnapshotRef,
    resolve_archive,
)


def refused(parse, *values):
    for value in values:
        with pytest.raises(FormatError):
            parse(value)


def test_vectors(vectors):
    data = vectors("names")
    for backup_id in data["backup_id"]["valid"]:
        assert names.parse_backup_id(backup_id) == backup_id
    refused(names.parse_backup_id, *data["backup_id"]["invalid"])
    for text in data["namespace"]["valid"]:
        assert str(BackupNamespace.parse(text)) == text
    refused(BackupNamespace.parse, *data["namespace"]["invalid"])
    for text, path in data["namespace_path"]:
        assert BackupNamespace.parse(text).path == (path + "/" if path else "")
    for text in data["snapshot_path"]["valid"]:
        assert str(SnapshotRef.parse(text)) == text
    refused(SnapshotRef.parse, *data["snapshot_path"]["invalid"])
    for epoch, text in data["epoch"]:
        assert (names.format_time(epoch), names.parse_time(text)) == (text, epoch)
    for client, server in data["archive_types"]:
        if server is None:
            refused(ArchiveName.parse, client)
        else:
            assert ArchiveName.parse(client).name == server
    groups = [BackupGroup.parse(text) for text in data["group_sort"]]
    assert sorted(groups, key=lambda group: group.sort_key) == groups


def test_real_answers(vectors):
    data = vectors("names")
    root = BackupNamespace()
    for case in data["real_namespace_create"]:
        name = case["name"].removesuffix(" (existing)")
        if case["accepted"]:
            assert root.child(name).name == name
        else:
            refused(root.child, name)
    for case in data["real_snapshot_names"]:
        refused(names.parse_time, case["name"])
    deep = root
    for _ in range(data["real_namespace_depth"]["created"]):
        deep = deep.child("n")
    with pytest.raises(FormatError, match="namespace too deep, 7 >= max 7"):
        deep.child("n")


def test_namespaces():
    ns = BackupNamespace.parse("a/b")
    assert (ns.depth, ns.name, str(ns.parent), ns.is_root) == (2, "b", "a", False)
    assert ns.parent.contains(ns)
    assert BackupNamespace().contains(ns)
    assert not ns.contains(BackupNamespace.parse("a/bc"))
    assert ns.acl_path("tank") == "/datastore/tank/a/b"
    assert BackupNamespace().acl_path("tank") == "/datastore/tank"
    with pytest.raises(FormatError, match="no parent"):
        _ = BackupNamespace().parent
    longest = BackupNamespace(("x" * 250,)).child("abcde")
    assert BackupNamespace.parse(str(longest)) == longest
    assert len(str(longest)) == 256
    with pytest.raises(FormatError, match="256"):
        BackupNamespace((("x" * 250),)).child("abcdefg")
    refused(BackupNamespace.parse, "x" * 257, "a\n", None)


@pytest.mark.parametrize(
    "bad",
    [
        "2023-02-30T00:00:00Z",
        "2023-13-01T00:00:00Z",
        "2023-01-01T24:00:00Z",
        "1970-01-01T00:00:00Z",
        "2023-01-01T00:00:60Z",
        "2023-01-01T00:00:00Z\n",
        "٢023-01-01T00:00:00Z",
        None,
    ],
)
def test_bad_times(bad):
    refused(names.parse_time, bad)


@given(st.integers(1, names.MAX_BACKUP_TIME))
def test_times_round_trip(value):
    assert names.format_time(value) == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(value))
    assert names.parse_time(names.format_time(value)) == value


def test_api_parameters():
    assert str(SnapshotRef.of("ct", "9", 1)) == "ct/9/1970-01-01T00:00:01Z"
    for arguments, field in (
        (("x", "9", 1), "backup-type"),
        (("ct", "", 1), "backup-id"),
        (("ct", "9", 0), "backup-time"),
    ):
        with pytest.raises(FormatError, match=field):
            SnapshotRef.of(*arguments)
    refused(names.parse_backup_time, True, 1.0, 253_402_300_800, "1")
    refused(names.parse_datastore_name, "ab", "x" * 33, ".ab", "a b")
    assert names.parse_datastore_name("abc") == "abc"
    refused(BackupGroup.parse, "vm", "vm/", "/1", "vm/a/b", None)


def test_sort_of_odd_ids():
    order = ["007", "7", "10", "18446744073709551615", "17a", "18446744073709551616", "1a", "a"]
    groups = [BackupGroup(BackupType.VM, text) for text in order]
    assert [group.backup_id for group in sorted(groups, key=lambda group: group.sort_key)] == order


def test_archive_names():
    assert ArchiveName.parse("x.img") == ArchiveName("x.img.fidx", ArchiveType.FIXED)
    assert ArchiveName.parse_server("x.blob").archive_type is ArchiveType.BLOB
    refused(ArchiveName.parse_server, "x.img", "didx", "x.didx/", ".didx", "x.DIDX")
    with pytest.raises(FormatError, match=r"must end in \.fidx"):
        ArchiveName.parse_server("x.didx", expected=ArchiveType.FIXED)
    assert ArchiveName.parse("root.pxar").client_name == "root.pxar"
    refused(ArchiveName.parse, "x" * 251 + ".img", "../x.img", "x.img\n")


@pytest.mark.parametrize("request_name", ["root.pxar", "root.mpxar", "root.ppxar", "root.pxar.didx", "root.ppxar.didx"])
def test_split_pairs_resolve(request_name):
    pair = {"root.mpxar.didx", "root.ppxar.didx"}
    metadata, payload = resolve_archive(ArchiveName.parse(request_name), pair)
    assert {metadata.name, payload.name} == pair
    assert metadata.name == "root.mpxar.didx"


def test_plain_archives_resolve():
    both = {"root.pxar.didx", "catalog.pcat1.didx"}
    assert resolve_archive(ArchiveName.parse("root.pxar"), both) == (ArchiveName.parse("root.pxar"), None)
    assert resolve_archive(ArchiveName.parse("catalog.pcat1"), both)[0].name == "catalog.pcat1.didx"
    for name in ("other.pxar", "root.mpxar", "disk.img"):
        with pytest.raises(FormatError):
            resolve_archive(ArchiveName.parse(name), both)


@pytest.mark.parametrize("text", ["root@pam", "a@b@pbs", "x!y@pbs", "backup@pbs!tok", "a@b@pbs!t.1", "gäste@pbs"])
def test_auth_ids_round_trip(text):
    assert str(AuthId.parse(text)) == text


def test_auth_id_parts():
    auth = AuthId.parse("a@b!c@pbs!tok")
    assert (auth.user.name, auth.user.realm, auth.token_name) == ("a@b!c", "pbs", "tok")
    assert not AuthId.parse("root@pam").is_token
    refused(
        AuthId.parse,
        "root",
        "@pam",
        "root@",
        "root@p",
        "a b@pbs",
        "a:b@pbs",
        "a/b@pbs",
        "a\x00b@pbs",
        "a\u0085@pbs",
        "root@pam!",
        "root@pam!a!b",
        "root@pam!.x",
        "x" * 61 + "@pam",
        "a@",
        None,
        "a\ud800@pbs",
        "root@pam\n",
    )
    refused(UserId.parse, "root@pam!tok", "x@")
    refused(parse_realm, "p", "x" * 33)
    refused(parse_token_name, "", "a!b")
    for path in ("/", "/datastore", "/datastore/a.b/c-1"):
        assert parse_acl_path(path) == path
    refused(parse_acl_path, "", "datastore", "/a/", "//", "/a b", "/" + "x" * 128, None)


def test_limits_of_identities():
    for text in ("a@" + "r" * 32, "a@rr", "u" * 60 + "@pam", "u@p1!" + "t" * 59):
        assert str(AuthId.parse(text)) == text
    refused(AuthId.parse, "a@" + "r" * 33, "a@r", "u" * 61 + "@pam", "u@p1!" + "t" * 60, "a@")
    assert parse_realm("r" * 32) == "r" * 32
    assert parse_realm("rr") == "rr"
    assert parse_token_name("t" * 64) == "t" * 64
    refused(parse_token_name, "t" * 65)
    assert parse_acl_path("/" + "x" * 127)
    assert parse_token_name("t") == "t"


def test_owner_matrix():
    user, token, other_token, other = map(AuthId.parse, ("u@pbs", "u@pbs!a", "u@pbs!b", "v@pbs"))
    expected = {
        (user, user),
        (user, token),
        (user, other_token),
        (token, token),
        (other_token, other_token),
        (other, other),
    }
    everyone = (user, token, other_token, other)
    assert {(caller, owner) for caller in everyone for owner in everyone if caller.owns(owner)} == expected
