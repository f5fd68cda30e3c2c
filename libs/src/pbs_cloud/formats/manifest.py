"""The manifest of a snapshot, ``index.json.blob`` (formats 4.3, 2.4)."""

import hashlib
import hmac
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NoReturn

from pbs_cloud.formats import blob
from pbs_cloud.formats.digest import parse_fingerprint
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.names import MANIFEST_NAME, BackupGroup, BackupType, SnapshotRef
from pbs_cloud.formats.upid import Upid
from pbs_cloud.formats.zstd_frames import Buffer

MAX_MANIFEST_SIZE: Final = 8 * 1024 * 1024
"""Most bytes of JSON: some 40,000 files; keeps the memory of a parsed manifest within bounds."""
_CSUM = re.compile(r"[0-9A-Fa-f]{64}")
_MAX_U64 = (1 << 64) - 1
_MAX_I64 = (1 << 63) - 1


class CryptMode(StrEnum):
    """How the chunks or the blob of a file are protected."""

    NONE = "none"
    ENCRYPT = "encrypt"
    SIGN_ONLY = "sign-only"


class VerifyResult(StrEnum):
    """Outcome of a verification."""

    OK = "ok"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class VerifyState:
    """Last verification of a snapshot."""

    upid: Upid
    state: VerifyResult

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {"state": self.state.value, "upid": str(self.upid)}


@dataclass(frozen=True, slots=True)
class ChunkUploadStats:
    """What a session uploaded: chunks, plaintext bytes with blobs, stored chunk bytes, chunks already present."""

    count: int = 0
    size: int = 0
    compressed_size: int = 0
    duplicates: int = 0

    def to_dict(self) -> dict[str, int]:
        """JSON form; note the underscore."""
        return {
            "compressed_size": self.compressed_size,
            "count": self.count,
            "duplicates": self.duplicates,
            "size": self.size,
        }


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file; ``csum`` is 32 bytes, ``size`` of an index is that of the archive (formats 3.6).

    ``filename`` is free text here: parse it (``ArchiveName.parse_server``) before it becomes part of a path.
    """

    filename: str
    size: int
    csum: bytes
    crypt_mode: CryptMode = CryptMode.NONE

    @classmethod
    def parse(cls, value: object) -> "FileEntry":
        """From JSON; a missing ``crypt-mode`` is ``none``, the csum may be upper case."""
        entry = _object(value, "files")
        csum = _string(entry, "csum")
        if not _CSUM.fullmatch(csum):
            raise FormatError("manifest: csum: not 64 hex digits")
        try:
            mode = CryptMode(entry.get("crypt-mode", CryptMode.NONE))
        except ValueError:
            raise FormatError("manifest: crypt-mode: not none, encrypt or sign-only") from None
        return cls(_string(entry, "filename"), _integer(entry, "size", 0, _MAX_U64), bytes.fromhex(csum), mode)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "crypt-mode": self.crypt_mode.value,
            "csum": self.csum.hex(),
            "filename": self.filename,
            "size": self.size,
        }


@dataclass(slots=True)
class BackupManifest:
    """A parsed manifest. Unknown members of ``unprotected`` survive, unknown top-level members do not."""

    backup_type: BackupType
    backup_id: str
    backup_time: int
    files: list[FileEntry] = field(default_factory=list)
    unprotected: dict[str, Any] = field(default_factory=dict)
    signature: str | None = None

    @classmethod
    def parse(cls, text: str | bytes) -> "BackupManifest":
        """Parse JSON as tolerantly as PBS does (formats 4.3)."""
        top = _object(_load_json(text), "manifest")
        files = top.get("files")
        if not isinstance(files, list):
            raise FormatError("manifest: files: not an array")
        signature = top.get("signature")
        if signature is not None and not isinstance(signature, str):
            raise FormatError("manifest: signature: not a string")
        return cls(
            backup_type=BackupType.parse(_string(top, "backup-type"), "manifest: backup-type"),
            backup_id=_string(top, "backup-id"),
            backup_time=_integer(top, "backup-time", -_MAX_I64 - 1, _MAX_I64),
            files=[FileEntry.parse(entry) for entry in files],
            unprotected=_object(top.get("unprotected", {}), "unprotected"),
            signature=signature,
        )

    @classmethod
    def from_blob(cls, raw: Buffer) -> "BackupManifest":
        """Decode ``index.json.blob``; an encrypted one is an error."""
        return cls.parse(blob.decode(raw, MAX_MANIFEST_SIZE))

    def to_dict(self) -> dict[str, Any]:
        """JSON form of the whole manifest."""
        return {
            "backup-id": self.backup_id,
            "backup-time": self.backup_time,
            "backup-type": self.backup_type.value,
            "files": [entry.to_dict() for entry in self.files],
            "signature": self.signature,
            "unprotected": self.unprotected,
        }

    def to_json(self) -> bytes:
        """Pretty JSON, byte for byte as PBS writes it."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()

    def to_blob(self) -> bytes:
        """``index.json.blob``: a zstd blob, or plain where that is smaller."""
        return blob.encode(self.to_json(), compress=True)

    def signature_input(self) -> bytes:
        """Canonical JSON that the signature covers: all but ``unprotected`` and ``signature``."""
        signed = self.to_dict()
        del signed["unprotected"], signed["signature"]
        return canonical_json(signed)

    def compute_signature(self, id_key: bytes) -> str:
        """HMAC-SHA256 of :meth:`signature_input` in hex; only a client has the key."""
        return hmac.new(id_key, self.signature_input(), hashlib.sha256).hexdigest()

    @property
    def snapshot(self) -> SnapshotRef:
        """The snapshot it claims to describe; not compared with its place, and not checked for grammar."""
        return SnapshotRef(BackupGroup(self.backup_type, self.backup_id), self.backup_time)

    def file(self, filename: str) -> FileEntry | None:
        """First entry of that name."""
        return next((entry for entry in self.files if entry.filename == filename), None)

    @property
    def key_fingerprint(self) -> bytes | None:
        """Fingerprint of the key of an encrypted or signed backup; None if absent or unreadable."""
        try:
            return parse_fingerprint(self.unprotected["key-fingerprint"])
        except (KeyError, FormatError):
            return None

    @property
    def notes(self) -> str:
        """Snapshot notes, empty if there are none."""
        notes = self.unprotected.get("notes", "")
        return notes if isinstance(notes, str) else ""

    @notes.setter
    def notes(self, text: str) -> None:
        self.unprotected["notes"] = text

    @property
    def comment(self) -> str:
        """First line of the notes."""
        return self.notes.split("\n", 1)[0]

    @property
    def verify_state(self) -> VerifyState | None:
        """Last verification; None if there was none or the value is unreadable (also for a bad UPID)."""
        value = self.unprotected.get("verify_state")
        if not isinstance(value, dict):
            return None
        try:
            return VerifyState(Upid.parse(value.get("upid", "")), VerifyResult(value.get("state", "")))
        except ValueError:
            return None

    @verify_state.setter
    def verify_state(self, state: VerifyState) -> None:
        self.unprotected["verify_state"] = state.to_dict()

    @property
    def retain_until(self) -> int | None:
        """Until when the server must not delete the snapshot, Unix seconds (rest-api D.8); None without a lock."""
        value = self.unprotected.get("worm_retain_until")
        return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 62 else None

    @retain_until.setter
    def retain_until(self, moment: int | None) -> None:
        self.unprotected.pop("worm_retain_until", None)
        if moment is not None:
            self.unprotected["worm_retain_until"] = moment

    def set_chunk_upload_stats(self, stats: ChunkUploadStats) -> None:
        """What the server adds at finish (formats 4.4)."""
        self.unprotected["chunk_upload_stats"] = stats.to_dict()


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file as the snapshot list shows it; size and mode are None for files the manifest does not know."""

    filename: str
    size: int | None = None
    crypt_mode: CryptMode | None = None


def listed_files(manifest: BackupManifest | None, manifest_size: int, stored: Iterable[str]) -> list[ListedFile]:
    """Files of a snapshot in list order (formats 4.4): the manifest's, the manifest itself, other stored ones."""
    if manifest is None:
        return [ListedFile(name) for name in stored]
    listed = [ListedFile(entry.filename, entry.size, entry.crypt_mode) for entry in manifest.files]
    own_mode = CryptMode.SIGN_ONLY if manifest.signature is not None else CryptMode.NONE
    listed.append(ListedFile(MANIFEST_NAME, manifest_size, own_mode))
    known = {entry.filename for entry in listed}
    return listed + [ListedFile(name) for name in stored if name not in known]


def canonical_json(value: object) -> bytes:
    """Canonical JSON of formats 2.4: sorted, compact, UTF-8; null and floats are errors."""
    _refuse_null(value)
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def _refuse_null(value: object) -> None:
    if value is None or isinstance(value, float):
        raise FormatError("canonical JSON: null and floats have no form")
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _refuse_null(item)


def _load_json(text: str | bytes) -> object:
    def refuse(constant: str) -> NoReturn:
        raise FormatError(f"manifest: {constant} is no JSON")

    if len(text) > MAX_MANIFEST_SIZE:
        raise FormatError(f"manifest: longer than {MAX_MANIFEST_SIZE} bytes")
    try:
        decoded = text if isinstance(text, str) else text.decode()
        value = json.loads(decoded, parse_constant=refuse)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except FormatError:
        raise
    except (ValueError, RecursionError) as error:
        raise FormatError(f"manifest: {error}") from None
    return value


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise FormatError(f"manifest: {name}: not an object")
    return value


def _string(members: dict[str, Any], name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str):
        raise FormatError(f"manifest: {name}: not a string")
    return value


def _integer(members: dict[str, Any], name: str, minimum: int, maximum: int) -> int:
    value = members.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
        raise FormatError(f"manifest: {name}: not an integer in range")
    return value
