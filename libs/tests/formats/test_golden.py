"""Every file of the golden store and bucket, points 1 to 6 and 8 of its README (conformance 39)."""

import base64
import hashlib
import json

import pytest
from testkit import golden
from testkit.crypto import decode_blob, unwrap_key

from pbs_cloud.formats import blob, layout
from pbs_cloud.formats.catalog import CatalogReader
from pbs_cloud.formats.catalog_listing import list_archive, list_catalog, parse_filepath
from pbs_cloud.formats.gc_status import GcStatus
from pbs_cloud.formats.index import FixedIndex, dynamic_header, fixed_header, parse_index
from pbs_cloud.formats.index_builder import DynamicIndexBuilder, FixedIndexBuilder
from pbs_cloud.formats.manifest import CryptMode, VerifyResult, listed_files
from pbs_cloud.formats.names import ArchiveName, BackupGroup, SnapshotRef, resolve_archive
from pbs_cloud.formats.pxar_reader import PxarReader

KINDS = {
    blob.BlobKind.PLAIN: "plain",
    blob.BlobKind.ZSTD: "plain zstd",
    blob.BlobKind.ENCRYPTED: "encrypted",
    blob.BlobKind.ENCRYPTED_ZSTD: "encrypted zstd",
}


@pytest.fixture(scope="module")
def expected():
    return json.loads((golden.GOLDEN / "expected.json").read_text())


@pytest.fixture(scope="module", params=["directory", "bucket"])
def store(request):
    return getattr(golden, request.param)()


@pytest.fixture(scope="module")
def is_directory(store):
    return ".gc-status" in store.content


def reader_at(data: bytes):
    return lambda offset, length: data[offset : offset + length]


def test_the_same_snapshots_and_files(store, expected):
    ours = {place: sorted(set(files) - {".protected"}) for place, files in store.snapshots().items()}
    assert ours == {(case["ns"], case["snapshot"]): sorted(case["files"]) for case in expected["snapshots"]}
    for case in expected["snapshots"]:
        assert (".protected" in store.snapshots()[case["ns"], case["snapshot"]]) == case["protected"]


def test_manifests_and_signatures(store, expected, is_directory):
    verified = 0
    for case in expected["snapshots"]:
        files = store.snapshots()[case["ns"], case["snapshot"]]
        manifest = golden.manifest_of(files)
        if is_directory:
            assert manifest.to_dict() == case["manifest"]
            assert hashlib.sha256(manifest.signature_input()).hexdigest() == case["canonical_sha256"]
        assert str(manifest.snapshot) == case["snapshot"]
        assert json.loads(manifest.to_json()) == manifest.to_dict()
        assert blob.decode(files["index.json.blob"]) == manifest.to_json()
        if manifest.signature is not None:
            key = store.keys[case["key"]]
            assert manifest.compute_signature(key.id_key) == manifest.signature
            assert manifest.key_fingerprint == key.fingerprint
            verified += 1
    assert verified == 8


def test_verify_states(expected):
    files = golden.directory().snapshots()
    ok = golden.manifest_of(files["", "host/web-1/2026-01-01T00:00:00Z"]).verify_state
    failed = golden.manifest_of(files["", "host/broken/2026-01-01T00:01:40Z"]).verify_state
    assert (ok.state, failed.state) == (VerifyResult.OK, VerifyResult.FAILED)


def test_blobs(store, expected, is_directory):
    for case in expected["snapshots"]:
        files = store.snapshots()[case["ns"], case["snapshot"]]
        key = store.keys.get(case["key"] or "")
        manifest = golden.manifest_of(files)
        for name, wanted in case["files"].items():
            if not name.endswith(".blob"):
                continue
            raw = files[name]
            plain = decode_blob(raw, key)
            kind = blob.check_crc(raw)
            assert KINDS[kind] == wanted["kind"]
            if is_directory:
                assert (len(raw), hashlib.sha256(raw).hexdigest()) == (wanted["raw_size"], wanted["raw_sha256"])
                assert (len(plain), hashlib.sha256(plain).hexdigest()) == (wanted["size"], wanted["sha256"])
            entry = manifest.file(name)
            assert (entry is None) == (name in ("index.json.blob", "client.log.blob"))
            if entry is not None:
                assert (entry.size, entry.csum) == (len(raw), hashlib.sha256(raw).digest())


def test_indexes(store, expected, is_directory):
    count, logical = 0, 0
    for case in expected["snapshots"]:
        files = store.snapshots()[case["ns"], case["snapshot"]]
        key, manifest = store.keys.get(case["key"] or ""), golden.manifest_of(files)
        for name, wanted in case["files"].items():
            if name.endswith(".blob"):
                continue
            raw, entry = files[name], manifest.file(name)
            index = parse_index(raw)
            assert (index.size, index.compute_csum().hex()) == (entry.size, entry.csum.hex())
            assert index.header_csum == entry.csum
            if is_directory:
                assert hashlib.sha256(raw).hexdigest() == wanted["raw_sha256"]
                assert (index.size, entry.csum.hex(), index.ctime) == (wanted["size"], wanted["csum"], wanted["ctime"])
                assert [[end - start, digest.hex()] for start, end, digest in index] == wanted["chunks"]
                missing = [d.hex() for _, _, d in index if d.hex() not in store.chunks]
                assert missing == wanted.get("missing_chunks", [])
            plain = store.plaintext(raw, key, entry.crypt_mode is CryptMode.ENCRYPT)
            if plain is not None and "sha256" in wanted:
                assert hashlib.sha256(plain).hexdigest() == wanted["sha256"]
            count += 1
            logical += index.size
    assert (count, logical) == (expected["api"]["gc"]["index-file-count"], expected["api"]["gc"]["index-data-bytes"])


def test_indexes_are_written_again_byte_for_byte(store):
    for files in store.snapshots().values():
        for name, raw in files.items():
            if not name.endswith("idx"):
                continue
            index = parse_index(raw)
            fixed = isinstance(index, FixedIndex)
            builder = FixedIndexBuilder(index.size) if fixed else DynamicIndexBuilder()
            for start, end, digest in index:
                builder.append(digest, start, end - start)
            builder.close(len(index), index.size, index.compute_csum())
            assert b"".join(builder.pieces(index.uuid, index.ctime)) == raw
            header = (
                fixed_header(index.uuid, index.ctime, index.header_csum, index.size, index.chunk_size)
                if fixed
                else dynamic_header(index.uuid, index.ctime, index.header_csum)
            )
            assert header == raw[:4096]


def content_of(store, expected, name_filter):
    """Plaintexts of all archives with their expected record."""
    for case in expected["snapshots"]:
        files = store.snapshots()[case["ns"], case["snapshot"]]
        key, manifest = store.keys.get(case["key"] or ""), golden.manifest_of(files)
        for name, wanted in case["files"].items():
            if name_filter in wanted:
                encrypted = manifest.file(name).crypt_mode is CryptMode.ENCRYPT
                plain = store.plaintext(files[name], key, encrypted)
                payload_name = name.replace(".mpxar.", ".ppxar.")
                payload = store.plaintext(files[payload_name], key, encrypted) if payload_name != name else None
                yield wanted, plain, payload


def test_archives(store, expected):
    compared = 0
    for wanted, plain, payload in content_of(store, expected, "pxar"):
        split = (reader_at(payload), len(payload)) if payload is not None else ()
        reader = PxarReader(reader_at(plain), len(plain), *split)
        wanted = wanted["pxar"]
        prelude = None if wanted["prelude"] is None else wanted["prelude"].encode()
        assert (reader.version, reader.prelude) == (wanted["version"], prelude)
        entries = golden.archive_entries(reader)
        for entry in wanted["entries"]:
            encoded = entry.pop("path_b64", None)
            if isinstance(entry["path"], str):
                entry["path"] = base64.b64decode(encoded) if encoded else entry["path"].encode()
        assert entries == wanted["entries"]
        for path, entry in reader.walk(reader.root()):
            found = reader.find(path)
            assert (found.offset, found.name, found.kind) == (entry.offset, entry.name, entry.kind)
        compared += len(entries)
    assert compared > 300


def test_catalogs(store, expected):
    from pbs_cloud.formats.catalog_writer import CatalogWriter

    seen = 0
    for wanted, plain, _ in content_of(store, expected, "catalog"):
        reader = CatalogReader(reader_at(plain), len(plain))
        assert golden.catalog_tree(reader, reader.root_table) == wanted["catalog"]
        writer = CatalogWriter()
        encoded = writer.begin() + write_tree(writer, wanted["catalog"]) + writer.finish()
        assert encoded == plain
        seen += 1
    assert seen == 5


def write_tree(writer, tree) -> bytes:
    from pbs_cloud.formats.pxar import EntryKind

    encoded = b""
    for node in tree:
        name = node["name"].encode("latin-1")
        if node["type"] == "d":
            writer.start_directory(name)
            encoded += write_tree(writer, node["children"]) + writer.end_directory()
        elif node["type"] == "f":
            writer.add_file(name, node["size"], node["mtime"])
        else:
            writer.add(EntryKind(node["type"]), name)
    return encoded


def test_lists_of_the_real_server(expected):
    store = golden.directory()
    for ns, answers in expected["api"]["by_namespace"].items():
        for answer in answers["snapshots"]:
            snapshot = SnapshotRef.of(answer["backup-type"], answer["backup-id"], answer["backup-time"])
            files = store.snapshots()[ns, str(snapshot)]
            manifest = golden.manifest_of(files)
            listed = listed_files(manifest, len(files["index.json.blob"]), [n for n in files if n != ".protected"])
            shown = [
                {"filename": file.filename}
                | ({} if file.size is None else {"crypt-mode": file.crypt_mode, "size": file.size})
                for file in listed
            ]
            assert shown == answer["files"]
            assert sum(file.size or 0 for file in listed) == answer["size"]
            assert store.owner(ns, snapshot) == answer["owner"]
            assert answer.get("comment", "") == manifest.comment
            fingerprint = manifest.unprotected.get("key-fingerprint")
            assert fingerprint == answer.get("fingerprint")
            state = manifest.verify_state
            assert (state.to_dict() if state else None) == answer.get("verification")
        for answer in answers["groups"]:
            group = BackupGroup.parse(f"{answer['backup-type']}/{answer['backup-id']}")
            times = [place for place in store.snapshots() if place[0] == ns and place[1].startswith(f"{group}/")]
            assert len(times) == answer["backup-count"]


def test_catalog_answers_of_the_real_server(expected, vectors):
    store = golden.directory()
    answered = 0
    for case in [*expected["api"]["catalog"], *vectors("catalog")["real_listings"]]:
        request = case["request"]
        snapshot = SnapshotRef.of(request["backup-type"], request["backup-id"], request["backup-time"])
        files = store.snapshots()["", str(snapshot)]
        path = parse_filepath(request["filepath"])
        if "archive-name" in request:
            archive, payload = resolve_archive(ArchiveName.parse(request["archive-name"]), set(files))
            data = store.plaintext(files[archive.name], None, False)
            extra = store.plaintext(files[payload.name], None, False) if payload else b""
            reader = PxarReader(reader_at(data), len(data), reader_at(extra), len(extra))
            ours = list_archive(reader, path)
        else:
            data = store.plaintext(files["catalog.pcat1.didx"], None, False)
            ours = list_catalog(CatalogReader(reader_at(data), len(data)), path)
        if case["status"] != 200:
            assert ours is None
            continue
        answered += 1
        wanted = case["data"]
        if "archive-name" in request:
            wanted = sorted(wanted, key=lambda item: base64.b64decode(item["filepath"]))
        assert ours == wanted
    assert answered > 20


def test_chunks_are_complete(expected):
    store = golden.directory()
    referenced = {
        digest.hex()
        for files in store.snapshots().values()
        for name, raw in files.items()
        if name.endswith("idx")
        for _, _, digest in parse_index(raw)
    }
    names = {name: layout.parse_chunk_name(name) for name in store.chunks}
    assert None not in names.values()
    good = {name for name, parsed in names.items() if parsed.bad_number is None}
    missing = referenced - good
    assert [f"{digest}.0.bad" for digest in missing] == [name for name in names if name not in good]
    assert len(missing) == 1
    assert len(good) == 49 == expected["api"]["gc"]["disk-chunks"]
    assert sum(map(len, store.chunks.values())) == expected["api"]["gc"]["disk-bytes"]
    for name in good:
        kind = blob.check_crc(store.chunks[name])
        if not kind.encrypted:
            plain = blob.decode(store.chunks[name])
            assert blob.verify_plain_chunk(store.chunks[name], bytes.fromhex(name), len(plain)) is kind
    status = json.loads(store.content[".gc-status"])
    assert GcStatus.parse(status).to_dict() == status


def test_the_bucket_listing(expected):
    lines = (golden.GOLDEN / "bucket.tsv").read_text().splitlines()[1:]
    store = golden.bucket()
    for line in lines:
        key, size, sha256, _etag, _type = line.split("\t")
        if key.startswith("golden-s3/.chunks/"):
            data = store.chunks[key.rpartition("/")[2]]
        elif key.startswith("golden-s3/.cnt/"):
            data = store.content[key.removeprefix("golden-s3/.cnt/")]
        else:
            continue
        assert (len(data), hashlib.sha256(data).hexdigest()) == (int(size), sha256)


def test_the_master_key_unwraps_the_key_of_its_snapshot(store):
    files = store.snapshots()["prod/db", "ct/200/2026-01-01T00:00:20Z"]
    raw = files["rsa-encrypted.key.blob"]
    assert len(blob.decode(raw)) == 512
    assert golden.manifest_of(files).file("rsa-encrypted.key.blob").crypt_mode is CryptMode.ENCRYPT
    pem = (golden.GOLDEN / "keys" / "master-private.pem").read_bytes()
    assert unwrap_key(pem, b"master-pass-1", raw).key == store.keys["scrypt.key"].key
