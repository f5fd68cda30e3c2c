"""The file with the keys for stored secrets: 64 hexadecimal digits a line; blank lines and those with `#` are none."""

import hashlib
import os
import secrets
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pbs_cloud.contracts.errors import Unavailable
from pbs_cloud.runtime.logging import get_logger

KEY_BYTES = 32
ID_BYTES = 8
_UNUSABLE = "the key for stored secrets cannot be used (PBS_SECRET_KEY_FILE)"
_log = get_logger(__name__)


class NoSecretKey(Unavailable):
    """The file of keys cannot be used, or holds no key for a stored secret; its text names the setting."""


@dataclass(frozen=True)
class SecretKey:
    """One key, 32 bytes."""

    key: bytes = field(repr=False)

    @cached_property
    def id(self) -> bytes:
        """Eight bytes that tell it from others and nothing about it."""
        return hashlib.sha256(b"pbs-cloud secret box" + self.key).digest()[:ID_BYTES]


class KeyFile:
    """The keys as they are in the file right now; a change counts at the next use, without a restart.

    A file that went bad while the process runs (half written, gone) is told in the log; what was read before still
    counts, so that a slip of the operator ends no login.
    """

    def __init__(self, path: Path, *, may_create: bool) -> None:
        self._path = path
        self._may_create = may_create
        self._keys: tuple[SecretKey, ...] = ()
        self._seen: tuple[int, ...] | None = None

    def read(self) -> tuple[SecretKey, ...]:
        """At least one; the first seals. Raises NoSecretKey."""
        seen = self._state()
        if self._keys and seen == self._seen:
            return self._keys
        try:
            if self._may_create and seen is None and not self._keys:
                _create(self._path)
                seen = self._state()
            self._keys = parse_keys(self._path.read_text(encoding="ascii"))
        except (OSError, ValueError) as error:
            _log.error("no key for stored secrets", file=str(self._path), reason=str(error), kept=len(self._keys))
            if not self._keys:
                raise NoSecretKey(_UNUSABLE) from error
        self._seen = seen
        return self._keys

    def _state(self) -> tuple[int, ...] | None:
        """What differs when the file was changed or replaced; None without a file."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


def parse_keys(text: str) -> tuple[SecretKey, ...]:
    """The keys of a file in their order. Raises ValueError, which names the line and shows nothing of it."""
    keys = []
    for number, line in enumerate(text.splitlines(), 1):
        digits = line.strip()
        if not digits or digits.startswith("#"):
            continue
        try:
            key = bytes.fromhex(digits)
        except ValueError:
            key = b""
        if len(key) != KEY_BYTES:
            raise ValueError(f"line {number} is not {2 * KEY_BYTES} hexadecimal digits")
        keys.append(SecretKey(key))
    if not keys:
        raise ValueError("there is no key in it")
    return tuple(keys)


def put_new_key_first(path: Path) -> None:
    """Make a key that seals from now on; those that are there still open, and whoever could read the file still can.

    Raises OSError, ValueError (bad file).
    """
    path = path.resolve()
    old, rights = path.read_text(encoding="ascii"), path.stat()
    parse_keys(old)
    fresh = _written_beside(path, f"{secrets.token_hex(KEY_BYTES)}\n{old}")
    try:
        if (rights.st_uid, rights.st_gid) != (os.geteuid(), os.getegid()):
            os.chown(fresh, rights.st_uid, rights.st_gid)
        fresh.chmod(rights.st_mode & 0o777)
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _create(path: Path) -> None:
    """A new key, complete or not at all; whoever comes second keeps what is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = _written_beside(path, f"{secrets.token_hex(KEY_BYTES)}\n")
    try:
        os.link(fresh, path)
    except FileExistsError:
        return
    finally:
        fresh.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _written_beside(path: Path, text: str) -> Path:
    """A file of the same folder that nobody else can read, on the disk."""
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    return fresh


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
