"""Names of stored things: namespaces, groups, snapshots, archives (formats 12.1, 4.2; wire-protocol 2).

Identities (users, tokens) are in :mod:`pbs_cloud.formats.identity`.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from pbs_cloud.formats.errors import FormatError

SAFE_ID: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._\-]*")
NODE_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?")
TIME_STRING: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
MAX_NAMESPACE_DEPTH: Final = 7
MAX_NAMESPACE_LENGTH: Final = 256
MAX_NEW_COMPONENT_LENGTH: Final = 32
MAX_FILE_NAME: Final = 255
MAX_BACKUP_TIME: Final = 253_402_300_799
"""9999-12-31T23:59:59Z."""

MANIFEST_NAME: Final = "index.json.blob"
CLIENT_LOG_NAME: Final = "client.log.blob"
MASTER_KEY_NAME: Final = "rsa-encrypted.key.blob"
CATALOG_NAME: Final = "catalog.pcat1.didx"


def parse_safe_id(text: str, field: str, minimum: int = 1, maximum: int = MAX_FILE_NAME) -> str:
    """``text`` itself if it is a safe id of allowed length, else an error that names ``field``."""
    if not isinstance(text, str) or not SAFE_ID.fullmatch(text):
        raise FormatError(f"{field}: not a valid name")
    if not minimum <= len(text) <= maximum:
        raise FormatError(f"{field}: length {len(text)} is not within {minimum} to {maximum}")
    return text


def parse_datastore_name(text: str, field: str = "store") -> str:
    """Datastore name: safe id of 3 to 32 characters. Job, endpoint and key ids follow the same rule."""
    return parse_safe_id(text, field, 3, 32)


def parse_backup_id(text: str, field: str = "backup-id") -> str:
    """Backup id: safe id that fits a file name."""
    return parse_safe_id(text, field)


def parse_backup_time(value: int, field: str = "backup-time") -> int:
    """Unix seconds from 1 to the year 9999."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_BACKUP_TIME:
        raise FormatError(f"{field}: not within 1 to {MAX_BACKUP_TIME}")
    return value


def format_time(value: int) -> str:
    """``YYYY-MM-DDTHH:MM:SSZ`` of Unix seconds."""
    return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%dT%H:%M:%SZ}"


def parse_time(text: str, field: str = "backup-time") -> int:
    """Unix seconds (at least 1) of a time string; impossible dates are refused."""
    try:
        if TIME_STRING.fullmatch(text):
            return parse_backup_time(int(datetime.fromisoformat(text).timestamp()), field)
    except FormatError:
        raise
    except (TypeError, ValueError):
        pass
    raise FormatError(f"{field}: not a time like 2026-01-31T12:00:00Z")


class BackupType(StrEnum):
    """Kind of a backup source."""

    VM = "vm"
    CT = "ct"
    HOST = "host"

    @classmethod
    def parse(cls, text: str, field: str = "backup-type") -> "BackupType":
        """Exactly ``vm``, ``ct`` or ``host``."""
        try:
            return cls(text)
        except ValueError:
            raise FormatError(f"{field}: not vm, ct or host") from None


_TYPE_ORDER = {BackupType.CT: 0, BackupType.HOST: 1, BackupType.VM: 2}


@dataclass(frozen=True, slots=True, order=True)
class BackupNamespace:
    """A namespace; no components is the root."""

    components: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str, field: str = "ns") -> "BackupNamespace":
        """Components joined by ``/``; the empty string is the root."""
        if text == "":
            return cls()
        if not isinstance(text, str) or len(text) > MAX_NAMESPACE_LENGTH:
            raise FormatError(f"{field}: longer than {MAX_NAMESPACE_LENGTH} characters")
        components = tuple(text.split("/"))
        if len(components) > MAX_NAMESPACE_DEPTH:
            raise FormatError(f"{field}: namespace too deep, {len(components)} > max {MAX_NAMESPACE_DEPTH}")
        return cls(tuple(parse_safe_id(component, field) for component in components))

    @property
    def depth(self) -> int:
        """Number of components; 0 is the root."""
        return len(self.components)

    @property
    def is_root(self) -> bool:
        """Whether this is the root namespace."""
        return not self.components

    @property
    def path(self) -> str:
        """``ns/a/ns/b/`` for ``a/b``; empty for the root."""
        return "".join(f"ns/{component}/" for component in self.components)

    @property
    def parent(self) -> "BackupNamespace":
        """One level up; the root has none."""
        if not self.components:
            raise FormatError("ns: the root namespace has no parent")
        return BackupNamespace(self.components[:-1])

    @property
    def name(self) -> str:
        """Last component, empty for the root."""
        return self.components[-1] if self.components else ""

    def child(self, name: str, field: str = "name") -> "BackupNamespace":
        """A new level below this one: 1 to 32 characters, depth and total length within the limits."""
        parse_safe_id(name, field, 1, MAX_NEW_COMPONENT_LENGTH)
        if self.depth >= MAX_NAMESPACE_DEPTH:
            raise FormatError(f"{field}: namespace too deep, {self.depth} >= max {MAX_NAMESPACE_DEPTH}")
        child = BackupNamespace((*self.components, name))
        if len(str(child)) > MAX_NAMESPACE_LENGTH:
            raise FormatError(f"{field}: namespace longer than {MAX_NAMESPACE_LENGTH} characters")
        return child

    def contains(self, other: "BackupNamespace") -> bool:
        """Whether ``other`` is this namespace or below it."""
        return other.components[: self.depth] == self.components

    def acl_path(self, store: str) -> str:
        """``/datastore/<store>/<c1>/<c2>…``."""
        return "/".join(("", "datastore", store, *self.components))

    def __str__(self) -> str:
        return "/".join(self.components)


@dataclass(frozen=True, slots=True)
class BackupGroup:
    """A group inside a namespace."""

    backup_type: BackupType
    backup_id: str

    @classmethod
    def parse(cls, text: str, field: str = "group") -> "BackupGroup":
        """``<type>/<id>``."""
        kind, slash, backup_id = text.partition("/") if isinstance(text, str) else ("", "", "")
        if not slash:
            raise FormatError(f"{field}: not <type>/<id>")
        return cls(BackupType.parse(kind, field), parse_backup_id(backup_id, field))

    @property
    def sort_key(self) -> tuple[int, int, int, str]:
        """Order of lists: type ct, host, vm; then numeric ids by value; then the others by bytes."""
        digits = self.backup_id.isascii() and self.backup_id.isdigit() and len(self.backup_id) <= 20
        number = int(self.backup_id) if digits else 0
        numeric = digits and number < 1 << 64
        return _TYPE_ORDER[self.backup_type], 0 if numeric else 1, number if numeric else 0, self.backup_id

    def __str__(self) -> str:
        return f"{self.backup_type}/{self.backup_id}"


@dataclass(frozen=True, slots=True)
class SnapshotRef:
    """A snapshot of a group; ``backup_time`` in Unix seconds."""

    group: BackupGroup
    backup_time: int

    @classmethod
    def parse(cls, text: str, field: str = "snapshot") -> "SnapshotRef":
        """``<type>/<id>/<time string>``."""
        group, _, stamp = text.rpartition("/") if isinstance(text, str) else ("", "", "")
        return cls(BackupGroup.parse(group, field), parse_time(stamp, field))

    @classmethod
    def of(cls, backup_type: str, backup_id: str, backup_time: int) -> "SnapshotRef":
        """From the three API parameters, each checked."""
        group = BackupGroup(BackupType.parse(backup_type), parse_backup_id(backup_id))
        return cls(group, parse_backup_time(backup_time))

    @property
    def time_string(self) -> str:
        """``YYYY-MM-DDTHH:MM:SSZ``."""
        return format_time(self.backup_time)

    def __str__(self) -> str:
        return f"{self.group}/{self.time_string}"


class ArchiveType(StrEnum):
    """Kind of a stored file; the value is its extension."""

    DYNAMIC = "didx"
    FIXED = "fidx"
    BLOB = "blob"


_COMPLETION = {
    **dict.fromkeys(("pxar", "mpxar", "ppxar", "pcat1"), ArchiveType.DYNAMIC),
    "img": ArchiveType.FIXED,
    **dict.fromkeys(("conf", "json", "key", "log"), ArchiveType.BLOB),
}
_SERVER_TYPES = {kind.value: kind for kind in ArchiveType}


@dataclass(frozen=True, slots=True)
class ArchiveName:
    """Server-side name of a snapshot file, with its index or blob extension."""

    name: str
    archive_type: ArchiveType

    @classmethod
    def parse(cls, text: str, field: str = "archive-name") -> "ArchiveName":
        """A client-side or server-side name; a missing server extension is added."""
        parse_safe_id(text, field)
        extension = text.rpartition(".")[2] if "." in text else ""
        if extension in _SERVER_TYPES:
            return cls(text, _SERVER_TYPES[extension])
        completed = _COMPLETION.get(extension)
        if completed is None:
            raise FormatError(f"{field}: unknown archive type")
        return cls(parse_safe_id(f"{text}.{completed}", field), completed)

    @classmethod
    def parse_server(cls, text: str, field: str = "archive-name", expected: ArchiveType | None = None) -> "ArchiveName":
        """A name that already ends in ``.didx``, ``.fidx`` or ``.blob`` (or in ``expected`` only)."""
        parse_safe_id(text, field)
        extension = text.rpartition(".")[2] if "." in text else ""
        if extension not in _SERVER_TYPES or (expected is not None and extension != expected):
            wanted = f".{expected}" if expected else ".didx, .fidx or .blob"
            raise FormatError(f"{field}: must end in {wanted}")
        return cls(text, _SERVER_TYPES[extension])

    @property
    def client_name(self) -> str:
        """The name without the server extension."""
        return self.name.rpartition(".")[0]

    def split_pair(self) -> "tuple[ArchiveName, ArchiveName] | None":
        """Metadata and payload archive that this name may stand for; None if it is no pxar."""
        base, _, extension = self.client_name.rpartition(".")
        if extension not in ("pxar", "mpxar", "ppxar"):
            return None
        dynamic = ArchiveType.DYNAMIC
        return ArchiveName(f"{base}.mpxar.didx", dynamic), ArchiveName(f"{base}.ppxar.didx", dynamic)

    def __str__(self) -> str:
        return self.name


def resolve_archive(
    requested: ArchiveName, present: frozenset[str] | set[str]
) -> tuple[ArchiveName, ArchiveName | None]:
    """The archive to read and its payload archive (None for a v1 archive) among the ``present`` names.

    ``x.pxar.didx`` that is missing falls back to its split pair; either part of a pair stands for both.
    """
    pair = requested.split_pair()
    legacy = requested.client_name.endswith(".pxar")
    if pair is not None and not (legacy and requested.name in present) and pair[0].name in present:
        return pair
    if requested.name in present and (pair is None or legacy):
        return requested, None
    raise FormatError(f"archive-name: {requested} is not in the snapshot")
