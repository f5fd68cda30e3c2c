"""Reads the golden store or bucket with the format library alone (``data/golden/README.md``)."""

import hashlib
import json
import tarfile
from functools import cached_property
from pathlib import Path
from typing import Any

from pbs_cloud.formats import layout
from pbs_cloud.formats.catalog import CatalogReader
from pbs_cloud.formats.index import parse_index
from pbs_cloud.formats.layout import parse_content_path
from pbs_cloud.formats.manifest import BackupManifest
from pbs_cloud.formats.names import BackupNamespace, SnapshotRef
from pbs_cloud.formats.pxar import EntryKind
from pbs_cloud.formats.pxar_reader import PxarReader
from testkit.crypto import EncryptionKey, KeyFile, decode_blob

GOLDEN = Path(__file__).parents[1] / "data" / "golden"


class GoldenStore:
    """All files of one tarball: ``chunks`` by file name, ``content`` by relative path."""

    def __init__(self, archive: str, root: str, chunk_prefix: str, content_prefix: str) -> None:
        self.chunks: dict[str, bytes] = {}
        self.content: dict[str, bytes] = {}
        self.directories: set[str] = set()
        with tarfile.open(GOLDEN / archive) as tar:
            for member in tar:
                path = member.name.removeprefix(root)
                file = tar.extractfile(member) if member.isreg() else None
                if file is None:
                    self.directories.add(path)
                elif path.startswith(chunk_prefix):
                    self.chunks[path.rpartition("/")[2]] = file.read()
                elif path.startswith(content_prefix):
                    self.content[path.removeprefix(content_prefix)] = file.read()

    @cached_property
    def keys(self) -> dict[str, EncryptionKey]:
        """The three keys, unlocked."""
        passwords = json.loads((GOLDEN / "keys" / "passwords.json").read_text())
        return {
            name: KeyFile.parse((GOLDEN / "keys" / name).read_text()).unlock(
                passwords[name].encode() if name in passwords else None
            )
            for name in ("none.key", "scrypt.key", "pbkdf2.key")
        }

    def snapshots(self) -> dict[tuple[str, str], dict[str, bytes]]:
        """Files of each finished snapshot by namespace and text form."""
        found: dict[tuple[str, str], dict[str, bytes]] = {}
        for path, data in self.content.items():
            if path in (layout.LOCK_NAME, layout.GC_STATUS_NAME):
                continue
            place = parse_content_path(path)
            if place.snapshot is not None and place.filename is not None:
                found.setdefault((str(place.ns), str(place.snapshot)), {})[place.filename] = data
        return found

    def owner(self, ns: str, snapshot: SnapshotRef) -> str:
        """Owner of the group of a snapshot."""
        return self.content[layout.owner_path(BackupNamespace.parse(ns), snapshot.group)].decode().rstrip()

    def plaintext(self, raw: bytes, key: EncryptionKey | None, encrypted: bool) -> bytes | None:
        """Content behind an index with each digest checked; None if a chunk is missing."""
        pieces = []
        for start, end, digest in parse_index(raw):
            chunk = self.chunks.get(digest.hex())
            if chunk is None:
                return None
            plain = decode_blob(chunk, key)
            assert len(plain) == end - start
            computed = key.digest(plain) if encrypted and key else hashlib.sha256(plain).digest()
            assert computed == digest
            pieces.append(plain)
        return b"".join(pieces)


def directory() -> GoldenStore:
    """The store of the file system."""
    return GoldenStore("datastore.tar.gz", "golden/", ".chunks/", "")


def bucket() -> GoldenStore:
    """The store of the bucket, by the keys of formats 8.1."""
    return GoldenStore("bucket.tar.gz", "bucket/golden-s3/", ".chunks/", ".cnt/")


def archive_entries(reader: PxarReader) -> list[dict[str, Any]]:
    """Entries in the form of ``expected.json``."""
    return [_archive_entry(reader, path, entry) for path, entry in reader.walk(reader.root())]


def _archive_entry(reader: PxarReader, path: bytes, entry: Any) -> dict[str, Any]:
    shown: dict[str, Any] = {"path": b"/" + path, "type": entry.kind.value}
    if entry.target is not None:
        shown["target"] = entry.target.decode()
    if entry.kind is EntryKind.HARDLINK:
        assert reader.resolve(entry).kind is EntryKind.FILE
        return shown
    stat = entry.stat
    shown |= {"mode": f"{stat.mode:06o}", "uid": stat.uid, "gid": stat.gid, "mtime": stat.mtime}
    shown |= {"nanos": stat.mtime_nanos, "flags": f"{stat.flags:x}"}
    if entry.device is not None:
        shown["device"] = list(entry.device)
    if entry.kind is EntryKind.FILE:
        data = b"".join(reader.content(entry))
        shown |= {"size": entry.size, "sha256": hashlib.sha256(data).hexdigest()}
        assert len(data) == entry.size
    if entry.attributes.xattrs:
        shown["xattr"] = {name.decode(): value.hex() for name, value in entry.attributes.xattrs}
    for kind, content in entry.attributes.acl:
        shown.setdefault(kind.name.lower(), []).append(content.hex())
    if entry.attributes.fcaps is not None:
        shown["fcaps"] = [entry.attributes.fcaps.hex()]
    return shown


def catalog_tree(reader: CatalogReader, table: int) -> list[dict[str, Any]]:
    """A table and what is below it in the form of ``expected.json``."""
    tree = []
    for entry in reader.entries(table):
        node: dict[str, Any] = {"type": entry.kind.value, "name": entry.name.decode("latin-1")}
        if entry.kind is EntryKind.FILE:
            node |= {"size": entry.size, "mtime": entry.mtime}
        if entry.table is not None:
            node["children"] = catalog_tree(reader, entry.table)
        tree.append(node)
    return tree


def manifest_of(files: dict[str, bytes]) -> BackupManifest:
    """Manifest of a snapshot."""
    return BackupManifest.from_blob(files["index.json.blob"])
