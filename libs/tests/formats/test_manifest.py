"""Manifests against the vectors (conformance 22 to 28 as far as pure)."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from testkit.crypto import EncryptionKey

from pbs_cloud.formats import blob
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.manifest import (
    BackupManifest,
    ChunkUploadStats,
    CryptMode,
    FileEntry,
    ListedFile,
    VerifyResult,
    VerifyState,
    canonical_json,
    listed_files,
)
from pbs_cloud.formats.names import BackupType
from pbs_cloud.formats.upid import Upid

UPID = "UPID:pbs1:000F3A21:0BCD1234:00000000000004D2:69A4F290:verify:tank:alice@pbs:"


def minimal(**members):
    base = {"backup-type": "vm", "backup-id": "100", "backup-time": 1, "files": []}
    return json.dumps(base | members)


def test_own_records(vectors):
    data = vectors("manifest")
    for record in data["records"]:
        key = EncryptionKey(bytes.fromhex(record.get("key_hex", data["key_hex"])))
        assert key.id_key.hex() == record.get("id_key_hex", data["id_key_hex"])
        source = record.get("json_text") or record["canonical_json"]
        manifest = BackupManifest.parse(source)
        if "json_text" in record:
            assert manifest.to_json().decode() == source
        if "manifest_blob_hex" in record:
            raw = bytes.fromhex(record["manifest_blob_hex"])
            assert BackupManifest.from_blob(raw) == manifest
            assert blob.encode(manifest.to_json(), compress=False) == raw
        if "canonical_json" in record:
            assert manifest.signature_input().decode() == record["canonical_json"]
            assert manifest.compute_signature(key.id_key) == record["signature"]


def test_real_records_survive_a_rewrite_byte_for_byte(vectors):
    for record in vectors("manifest")["real_records"]:
        manifest = BackupManifest.from_blob(bytes.fromhex(record["blob_hex"]))
        assert manifest.to_json().decode() == record["json"]
        assert manifest.signature_input().decode() == record["canonical_json"]
        assert manifest.signature == record["signature"]
        assert (
            str(manifest.snapshot)
            == record["snapshot"].rpartition("ns/")[2].split("/", record["snapshot"].count("ns/") and 1)[-1]
        )
        if record["signature"]:
            key = EncryptionKey(bytes.fromhex(record["key_hex"]))
            assert manifest.compute_signature(key.id_key) == record["signature"]
            assert manifest.key_fingerprint == key.fingerprint
        assert BackupManifest.from_blob(manifest.to_blob()) == manifest


@pytest.mark.parametrize("value", [-(2**63), 2**63 - 1])
def test_the_whole_range_of_times_is_read(value):
    assert BackupManifest.parse(minimal(**{"backup-time": value})).backup_time == value


def test_an_old_manifest_gets_the_defaults():
    entry = {"filename": "a.blob", "size": 12, "csum": "AB" * 32}
    manifest = BackupManifest.parse(minimal(files=[entry], extra=1))
    assert (manifest.signature, manifest.unprotected, manifest.files[0].crypt_mode) == (None, {}, CryptMode.NONE)
    rewritten = json.loads(manifest.to_json())
    assert rewritten["files"][0] == entry | {"csum": "ab" * 32, "crypt-mode": "none"}
    assert "extra" not in rewritten


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "manifest"),
        ("[]", "not an object"),
        ("{", "manifest"),
        ('{"a":NaN}', "NaN"),
        ("[" * 100_000, "manifest"),
        (b"\xff", "manifest"),
        (" " * (8 * 1024 * 1024 + 1), "longer"),
        (minimal(**{"backup-type": "VM"}), "backup-type"),
        (minimal(**{"backup-type": ["vm"]}), "backup-type"),
        (minimal(**{"backup-id": 5}), "backup-id"),
        (minimal(**{"backup-time": True}), "backup-time"),
        (minimal(**{"backup-time": 1.5}), "backup-time"),
        (minimal(**{"backup-time": 2**63}), "backup-time"),
        (minimal(**{"backup-time": -(2**63) - 1}), "backup-time"),
        (minimal(files={}), "files"),
        (minimal(files=[5]), "files"),
        (minimal(files=[{"filename": "a", "size": -1, "csum": "0" * 64}]), "size"),
        (minimal(files=[{"filename": "a", "size": 2**64, "csum": "0" * 64}]), "size"),
        (minimal(files=[{"filename": "a", "size": 1, "csum": "0" * 63}]), "csum"),
        (minimal(files=[{"size": 1, "csum": "0" * 64}]), "filename"),
        (minimal(files=[{"filename": "a", "size": 1, "csum": "0" * 64, "crypt-mode": []}]), "crypt-mode"),
        (minimal(signature=1), "signature"),
        (minimal(unprotected=None), "unprotected"),
        (minimal(unprotected={"a": "\ud800"}), "manifest"),
        (minimal()[:-1] + ',"x":1e999}', "manifest"),
    ],
)
def test_bad_manifests_name_the_member(text, message):
    with pytest.raises(FormatError, match=message):
        BackupManifest.parse(text)


def test_bad_manifest_blobs():
    good = blob.encode(minimal().encode())
    BackupManifest.from_blob(good)
    for raw in (EncryptionKey.generate().encrypt_blob(minimal().encode()), good[:-1], b"", blob.encode(b"no json")):
        with pytest.raises(FormatError):
            BackupManifest.from_blob(raw)


def test_updates_keep_the_rest_and_the_signature(vectors):
    key = EncryptionKey(b"k" * 32)
    manifest = BackupManifest.parse(minimal(unprotected={"future-member": [1, {"a": None}]}))
    key.sign(manifest)
    manifest.notes = "first line\nsecond"
    state = VerifyState(Upid.parse(UPID), VerifyResult.FAILED)
    manifest.verify_state = state
    manifest.set_chunk_upload_stats(ChunkUploadStats(2, 335, 35, 0))
    again = BackupManifest.from_blob(manifest.to_blob())
    assert (again.comment, again.notes, again.verify_state) == ("first line", "first line\nsecond", state)
    assert again.unprotected["future-member"] == [1, {"a": None}]
    assert again.unprotected["chunk_upload_stats"] == {
        "compressed_size": 35,
        "count": 2,
        "duplicates": 0,
        "size": 335,
    }
    assert again.key_fingerprint == key.fingerprint
    assert again.compute_signature(key.id_key) == again.signature


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        {},
        {"upid": "x", "state": "ok"},
        {"upid": UPID, "state": "maybe"},
        {"upid": UPID},
        {"upid": 5, "state": "ok"},
    ],
)
def test_an_unreadable_verify_state_counts_as_none(value):
    assert BackupManifest.parse(minimal(unprotected={"verify_state": value})).verify_state is None


def test_odd_optional_members_are_ignored():
    manifest = BackupManifest.parse(minimal(unprotected={"notes": 5, "key-fingerprint": "zz"}))
    assert (manifest.notes, manifest.key_fingerprint) == ("", None)
    assert BackupManifest.parse(minimal()).key_fingerprint is None


def test_file_list_of_a_snapshot():
    entry = FileEntry("a.img.fidx", 10, bytes(32), CryptMode.ENCRYPT)
    manifest = BackupManifest(BackupType.VM, "100", 1, [entry])
    stored = ["a.img.fidx", "client.log.blob", "index.json.blob"]
    assert listed_files(manifest, 99, stored) == [
        ListedFile("a.img.fidx", 10, CryptMode.ENCRYPT),
        ListedFile("index.json.blob", 99, CryptMode.NONE),
        ListedFile("client.log.blob"),
    ]
    manifest.signature = "00"
    assert listed_files(manifest, 99, [])[1].crypt_mode is CryptMode.SIGN_ONLY
    assert listed_files(None, 0, stored) == [ListedFile(name) for name in stored]
    assert manifest.file("a.img.fidx") is entry
    assert manifest.file("b") is None


@pytest.mark.parametrize("value", [{"a": None}, [1.5], {"a": [{"b": None}]}])
def test_canonical_json_refuses_null_and_floats(value):
    with pytest.raises(FormatError):
        canonical_json(value)


texts = st.text(st.characters(exclude_categories=["Cs"]))
files = st.builds(
    FileEntry, texts, st.integers(0, 2**64 - 1), st.binary(min_size=32, max_size=32), st.sampled_from(CryptMode)
)
manifests = st.builds(
    BackupManifest,
    st.sampled_from(BackupType),
    texts,
    st.integers(-(2**63), 2**63 - 1),
    st.lists(files),
    st.dictionaries(texts, texts | st.integers() | st.none()),
    st.none() | texts,
)


@given(manifests)
def test_round_trip(manifest):
    assert BackupManifest.from_blob(manifest.to_blob()) == manifest
    assert json.loads(manifest.signature_input()) == {
        name: value for name, value in manifest.to_dict().items() if name not in ("unprotected", "signature")
    }
