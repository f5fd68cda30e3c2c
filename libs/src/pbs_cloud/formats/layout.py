"""Relative paths of a datastore directory and keys of a bucket (formats 7.1, 7.2, 7.5, 8.1).

All paths are relative to the datastore root, with ``/``; :func:`content_key` and :func:`chunk_key` make
object keys of them.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.names import (
    MANIFEST_NAME,
    MAX_NAMESPACE_DEPTH,
    BackupGroup,
    BackupNamespace,
    BackupType,
    SnapshotRef,
    parse_backup_id,
    parse_safe_id,
    parse_time,
)

CHUNK_DIR: Final = ".chunks"
CONTENT_DIR: Final = ".cnt"
LOCK_NAME: Final = ".lock"
GC_STATUS_NAME: Final = ".gc-status"
IN_USE_NAME: Final = ".in-use"
OWNER_NAME: Final = "owner"
NOTES_NAME: Final = "notes"
PROTECTED_NAME: Final = ".protected"
NAMESPACE_MARKER_NAME: Final = ".namespace"
MAX_BAD_COPIES: Final = 10
MAX_KEY_LENGTH: Final = 1024
"""Most bytes of an object key, store name excluded."""

_CHUNK_NAME = re.compile(r"([0-9A-Fa-f]{64})(?:\.([0-9])\.bad|\.(using))?")
_FOLDER_OF_SNAPSHOTS = re.compile(r"(?:ns/[^/]+/)*(?:ns|vm|ct|host)/[^/]+")
_SNAPSHOT_FILE = re.compile(r".*\.(?:[fd]idx|blob)", re.DOTALL)


def chunk_dir(digest: bytes) -> str:
    """``.chunks/<first four hex digits>``."""
    return f"{CHUNK_DIR}/{digest[:2].hex()}"


def chunk_path(digest: bytes) -> str:
    """``.chunks/bb9f/bb9f8d…``."""
    return f"{CHUNK_DIR}/{digest[:2].hex()}/{digest.hex()}"


def bad_chunk_path(digest: bytes, number: int) -> str:
    """``.chunks/bb9f/bb9f8d….<0-9>.bad``."""
    if not 0 <= number < MAX_BAD_COPIES:
        raise FormatError(f"bad chunk number {number} is not within 0 to {MAX_BAD_COPIES - 1}")
    return f"{chunk_path(digest)}.{number}.bad"


@dataclass(frozen=True, slots=True)
class ChunkName:
    """A recognised name in a chunk directory."""

    digest: bytes
    bad_number: int | None = None
    using: bool = False


def parse_chunk_name(name: str) -> ChunkName | None:
    """A chunk, a bad copy or a ``.using`` marker (formats 7.2); None for any other name."""
    match = _CHUNK_NAME.fullmatch(name)
    if match is None:
        return None
    return ChunkName(bytes.fromhex(match[1]), int(match[2]) if match[2] else None, match[3] is not None)


def group_path(ns: BackupNamespace, group: BackupGroup) -> str:
    """``ns/a/vm/100``, no slash at the end."""
    return f"{ns.path}{group}"


def owner_path(ns: BackupNamespace, group: BackupGroup) -> str:
    """Owner file of a group."""
    return f"{ns.path}{group}/{OWNER_NAME}"


def notes_path(ns: BackupNamespace, group: BackupGroup) -> str:
    """Notes file of a group."""
    return f"{ns.path}{group}/{NOTES_NAME}"


def snapshot_path(ns: BackupNamespace, snapshot: SnapshotRef) -> str:
    """``ns/a/vm/100/2026-01-31T12:00:00Z``, no slash at the end."""
    return f"{ns.path}{snapshot}"


def snapshot_file_path(ns: BackupNamespace, snapshot: SnapshotRef, filename: str) -> str:
    """A file of a snapshot; the name is checked to be a safe id."""
    return f"{ns.path}{snapshot}/{parse_safe_id(filename, 'file-name')}"


def manifest_path(ns: BackupNamespace, snapshot: SnapshotRef) -> str:
    """The manifest of a snapshot."""
    return f"{ns.path}{snapshot}/{MANIFEST_NAME}"


def protected_path(ns: BackupNamespace, snapshot: SnapshotRef) -> str:
    """The marker of a protected snapshot."""
    return f"{ns.path}{snapshot}/{PROTECTED_NAME}"


def namespace_marker_path(ns: BackupNamespace) -> str:
    """The marker object of a namespace (buckets only)."""
    return f"{ns.path}{NAMESPACE_MARKER_NAME}"


def temporary_index_name(name: str) -> str:
    """``x.fidx`` to ``x.tmp_fidx``: the name of an index under construction."""
    base, _, extension = name.rpartition(".")
    return f"{base}.tmp_{extension}"


def temporary_name(name: str, suffix: str) -> str:
    """Name before the final rename: last extension replaced by ``tmp_<suffix>`` (six random characters).

    ``name`` is the last path component; without an extension (a leading dot does not make one) it is appended.
    """
    base, dot, _ = name.rpartition(".")
    return f"{base if dot and base else name}.tmp_{suffix}"


def is_temporary(name: str) -> bool:
    """Whether a name is one of the two above; ``tmp_`` further in front belongs to the name of an archive."""
    return name.rpartition(".")[2].startswith("tmp_")


def is_snapshot_file(name: str) -> bool:
    """Whether a file in a snapshot directory belongs to it (formats 7.2)."""
    return name == PROTECTED_NAME or _SNAPSHOT_FILE.fullmatch(name) is not None


def is_folder_of_snapshots(path: str) -> bool:
    """Whether a relative directory is that of a namespace or of a group, with snapshots below it."""
    return _FOLDER_OF_SNAPSHOTS.fullmatch(path) is not None


def chunk_key(store: str, digest: bytes) -> str:
    """Object key of a chunk."""
    return f"{store}/{chunk_path(digest)}"


def bad_chunk_key(store: str, digest: bytes, number: int) -> str:
    """Object key of a corrupt copy."""
    return f"{store}/{bad_chunk_path(digest, number)}"


def content_key(store: str, path: str) -> str:
    """Object key of anything but chunks: ``path`` is one of the relative paths above."""
    if len(path) + len(CONTENT_DIR) + 1 > MAX_KEY_LENGTH:
        raise FormatError(f"object key is longer than {MAX_KEY_LENGTH} bytes")
    return f"{store}/{CONTENT_DIR}/{path}"


def in_use_key(store: str) -> str:
    """Object key of the in-use marker."""
    return f"{store}/{IN_USE_NAME}"


def chunk_prefix(store: str) -> str:
    """Prefix of all chunk objects; ends with a slash."""
    return f"{store}/{CHUNK_DIR}/"


def content_prefix(store: str, path: str = "") -> str:
    """Prefix of all content below a relative directory; always ends with a slash."""
    return f"{store}/{CONTENT_DIR}/{path.rstrip('/')}/" if path else f"{store}/{CONTENT_DIR}/"


def key_uri_path(key: str) -> str:
    """A key in a request URI: every byte outside ``A-Za-z0-9-._~/`` as upper-case ``%XX``."""
    return quote(key, safe="/~")


@dataclass(frozen=True, slots=True)
class ContentPath:
    """What a relative content path names; ``filename`` is the last component, None for a directory."""

    ns: BackupNamespace
    group: BackupGroup | None = None
    snapshot: SnapshotRef | None = None
    filename: str | None = None


def parse_content_path(path: str) -> ContentPath:
    """Place of a stored file: namespace marker, group file or snapshot file; anything else is an error."""
    parts = path.split("/")
    components: list[str] = []
    while len(parts) >= 2 and parts[0] == "ns":
        components.append(parse_safe_id(parts[1], "ns"))
        del parts[:2]
    if len(components) > MAX_NAMESPACE_DEPTH:
        raise FormatError("ns: namespace too deep")
    ns = BackupNamespace(tuple(components))
    if parts == [NAMESPACE_MARKER_NAME] and components:
        return ContentPath(ns, filename=NAMESPACE_MARKER_NAME)
    if len(parts) not in (3, 4):
        raise FormatError("path: names no namespace marker, group file or snapshot file")
    group = BackupGroup(BackupType.parse(parts[0]), parse_backup_id(parts[1]))
    if len(parts) == 3:
        if parts[2] not in (OWNER_NAME, NOTES_NAME):
            raise FormatError("path: neither owner nor notes")
        return ContentPath(ns, group, filename=parts[2])
    if not is_snapshot_file(parts[3]):
        raise FormatError("path: no snapshot file")
    return ContentPath(ns, group, SnapshotRef(group, parse_time(parts[2])), parts[3])
