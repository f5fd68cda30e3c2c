"""One target per decoder: seeds of valid input and a function that may raise nothing but ``FormatError``."""

import json
from collections.abc import Callable
from typing import Any

from fuzz_engine import Target
from testkit.golden import GOLDEN
from testkit.pxar_writer import encode_catalog, encode_split, encode_v1, tree_from_dict

from pbs_cloud.formats import blob, layout, manifest, names
from pbs_cloud.formats.calendar import CalendarEvent
from pbs_cloud.formats.catalog import CatalogReader
from pbs_cloud.formats.catalog_listing import list_archive, list_catalog, parse_filepath
from pbs_cloud.formats.digest import parse_digest, parse_fingerprint
from pbs_cloud.formats.gc_status import GcStatus
from pbs_cloud.formats.identity import AuthId
from pbs_cloud.formats.index import DynamicIndex, FixedIndex, parse_index
from pbs_cloud.formats.known_chunks import KnownChunks
from pbs_cloud.formats.manifest import BackupManifest
from pbs_cloud.formats.pxar import EntryKind
from pbs_cloud.formats.pxar_reader import PxarReader
from pbs_cloud.formats.upid import Upid

VECTORS = GOLDEN.parent / "vectors"
BOUND = 1024 * 1024


def load(name: str) -> Any:
    """A vector file."""
    return json.loads((VECTORS / f"{name}.json").read_text())


def read_of(data: bytes) -> Callable[[int, int], bytes]:
    """Random access to bytes."""
    return lambda offset, length: data[offset : offset + length]


def run_blob(data: bytes) -> None:
    """Decode, with the CRC repaired so that the bytes behind it are reached."""
    fixed = blob.with_crc(data)
    kind = blob.check_crc(fixed)
    if not kind.encrypted:
        blob.decode(fixed, BOUND)


def run_chunk(data: bytes) -> None:
    """Verify against a digest that never fits."""
    blob.verify_plain_chunk(data, bytes(32), 1024)


def run_fixed(data: bytes) -> None:
    """Open, look up, sum and register."""
    use_index(FixedIndex(data))


def run_dynamic(data: bytes) -> None:
    """Open, look up, sum and register."""
    use_index(DynamicIndex(data))
    parse_index(data)


def use_index(index: FixedIndex | DynamicIndex) -> None:
    """What a session does with an index."""
    index.compute_csum()
    list(index)
    KnownChunks().register_index(index)
    list(index.chunks_of(0, min(index.size, BOUND)))


def run_manifest(data: bytes) -> None:
    """Parse, rewrite, list."""
    parsed = BackupManifest.parse(data)
    parsed.to_blob()
    parsed.signature_input()
    _ = parsed.verify_state, parsed.comment, parsed.key_fingerprint
    manifest.listed_files(parsed, len(data), [])


def run_manifest_blob(data: bytes) -> None:
    """Decode a manifest blob with a repaired CRC."""
    BackupManifest.from_blob(blob.with_crc(data))


def run_catalog(data: bytes) -> None:
    """Walk (bounded) and list."""
    reader = CatalogReader(read_of(data), len(data))
    for count, _ in enumerate(reader.walk()):
        if count > 500:
            break
    list_catalog(reader, b"root.pxar.didx/d")


def run_pxar(data: bytes) -> None:
    """Everything a server does with a version 1 archive."""
    use_archive(PxarReader(read_of(data), len(data)))


def run_split(data: bytes) -> None:
    """A split pair: the metadata length, then both halves."""
    length = int.from_bytes(data[:4], "little")
    metadata, payload = data[4 : 4 + length], data[4 + length :]
    use_archive(PxarReader(read_of(metadata), len(metadata), read_of(payload), len(payload)))


def use_archive(reader: PxarReader) -> None:
    """Walk, find, list and read, bounded."""
    root = reader.root()
    for count, (path, entry) in enumerate(reader.walk(root)):
        if entry.kind in (EntryKind.FILE, EntryKind.HARDLINK):
            next(reader.content(entry), None)
        if count < 3:
            reader.find(path)
        if count > 200:
            break
    list_archive(reader, b"d")


def text_target(parse: Callable[[str], object]) -> Callable[[bytes], object]:
    """A parser of text, fed with anything that UTF-8 can hold."""
    return lambda data: parse(data.decode("utf-8", "surrogateescape"))


def run_event(text: str) -> None:
    """Parse a schedule and ask for the next event."""
    CalendarEvent.parse(text).next_after(1_766_000_000)


def run_names(text: str) -> None:
    """Every grammar of names on the same text."""
    for parse in (
        names.BackupNamespace.parse,
        names.BackupGroup.parse,
        names.SnapshotRef.parse,
        names.ArchiveName.parse,
        names.ArchiveName.parse_server,
        AuthId.parse,
        parse_digest,
        parse_fingerprint,
        layout.parse_content_path,
        parse_filepath,
    ):
        try:
            parse(text)
        except names.FormatError:
            continue
    layout.parse_chunk_name(text)


def run_gc_status(data: bytes) -> None:
    """A status file."""
    try:
        status = json.loads(data)
    except (ValueError, RecursionError):
        return
    GcStatus.parse(status).to_dict()


def split_seed(metadata: bytes, payload: bytes) -> bytes:
    """One input of :func:`run_split`."""
    return len(metadata).to_bytes(4, "little") + metadata + payload


def targets() -> list[Target]:
    """All targets with their seeds."""
    unhex = bytes.fromhex
    blobs = load("blob")
    blob_seeds = [unhex(r["raw_hex"]) for r in blobs["records"] + blobs["real_records"]]
    blob_seeds.append(blob.encode(b"streamed " * 50))
    indexes = {
        name: [
            unhex(r["header_prefix_hex"]).ljust(4096, b"\0") + unhex(r["entries_hex"]) for r in load(name)["records"]
        ]
        for name in ("fidx", "didx")
    }
    manifests = load("manifest")
    texts = [r["json"].encode() for r in manifests["real_records"]] + [manifests["records"][1]["json_text"].encode()]
    catalogs, archives = load("catalog"), load("pxar")
    tree = tree_from_dict({"a": b"1", "d": {"x": b"22", "y": {}}, "e": b""})
    split = archives["split"]
    expressions = sorted({r["expr"] for r in load("calendar")["records"]})
    name_seeds = [b"vm/100/2023-11-14T22:13:20Z", b"a/b/c", b"root.pxar.didx", b"user@pbs!tok", b"ab" * 32, b"L2E="]
    name_seeds += [b"ns/a/ns/b/vm/100/owner", b"ns/a/.namespace", b"ct/9/2023-11-14T22:13:20Z/index.json.blob"]
    status = GcStatus("UPID:x", 1, cache_hits=1, cache_misses=2).to_dict()
    upids = [b"UPID:pbs-0:0000002A:00001234:00000001:6955B900:backup:store1\\x3ahost-h\\x2d1:root@pam:"]
    return [
        Target("blob", blob_seeds, run_blob),
        Target("chunk", blob_seeds, run_chunk),
        Target("fixed-index", indexes["fidx"], run_fixed),
        Target("dynamic-index", indexes["didx"], run_dynamic),
        Target("manifest", texts, run_manifest),
        Target("manifest-blob", [unhex(r["blob_hex"]) for r in manifests["real_records"]], run_manifest_blob),
        Target("catalog", [unhex(catalogs["file_hex"]), encode_catalog({"root.pxar.didx": tree})], run_catalog),
        Target("pxar", [unhex(archives["unified"]["pxar_hex"]), encode_v1(tree)], run_pxar),
        Target(
            "pxar-split",
            [split_seed(unhex(split["mpxar_hex"]), unhex(split["ppxar_hex"])), split_seed(*encode_split(tree, b"{}"))],
            run_split,
        ),
        Target("calendar", [text.encode() for text in expressions], text_target(run_event)),
        Target("names", name_seeds, text_target(run_names)),
        Target("upid", upids, text_target(Upid.parse)),
        Target("gc-status", [json.dumps(status).encode()], run_gc_status),
    ]
