"""Secrets of tenants that must be readable again (passwords of remotes, keys of webhooks), encrypted at rest.

The key lies in a file outside of the database (`PBS_SECRET_KEY_FILE`), so that a copy of the database shows none of
them. Every replica of a service needs the same file.
"""

import hashlib
import os
import secrets
from pathlib import Path
from typing import Any

from pbs_cloud.contracts.errors import Unavailable
from pbs_cloud.runtime.logging import get_logger
from pbs_cloud.runtime.settings import Settings

KEY_BYTES = 32
_ID_BYTES = 8
_NONCE_BYTES = 12
_log = get_logger(__name__)


class SecretBox:
    """AES-256-GCM. A sealed text begins with the id of its key; `owner` names the row it belongs to and is bound.

    The key is read at the first use; where no file is set, the first process makes one in the data folder.
    """

    def __init__(self, settings: Settings) -> None:
        self._path = settings.secret_key_path
        self._may_create = settings.secret_key_file is None
        self._key: bytes | None = None

    def seal(self, text: str, owner: str) -> bytes:
        """The text, unreadable without the key.

        Raises:
            Unavailable: there is no usable key.
        """
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return self._key_id() + nonce + bytes(self._cipher().encrypt(nonce, text.encode(), owner.encode()))

    def open(self, sealed: bytes, owner: str) -> str:
        """The text again.

        Raises:
            Unavailable: there is no usable key, it was sealed with another one, or belongs to another row.
        """
        from cryptography.exceptions import InvalidTag

        if sealed[:_ID_BYTES] != self._key_id():
            raise Unavailable("a stored secret was encrypted with another key (PBS_SECRET_KEY_FILE)")
        nonce, rest = sealed[_ID_BYTES : _ID_BYTES + _NONCE_BYTES], sealed[_ID_BYTES + _NONCE_BYTES :]
        try:
            return str(self._cipher().decrypt(nonce, rest, owner.encode()).decode())
        except InvalidTag as error:
            raise Unavailable("a stored secret is damaged") from error

    def _cipher(self) -> Any:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(self._loaded())

    def _key_id(self) -> bytes:
        return hashlib.sha256(b"pbs-cloud secret box" + self._loaded()).digest()[:_ID_BYTES]

    def _loaded(self) -> bytes:
        if self._key is None:
            try:
                if self._may_create and not self._path.exists():
                    _create(self._path)
                key = bytes.fromhex(self._path.read_text(encoding="ascii").strip())
            except (OSError, ValueError) as error:
                _log.error("no key for stored secrets", file=str(self._path), reason=str(error))
                raise Unavailable("the key for stored secrets cannot be used (PBS_SECRET_KEY_FILE)") from error
            if len(key) != KEY_BYTES:
                _log.error("no key for stored secrets", file=str(self._path), reason=f"is not {KEY_BYTES} bytes")
                raise Unavailable("the key for stored secrets cannot be used (PBS_SECRET_KEY_FILE)")
            self._key = key
        return self._key


def _create(path: Path) -> None:
    """A new key, complete or not at all; whoever comes second keeps what is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(fresh, path)
        except FileExistsError:
            return
    finally:
        fresh.unlink(missing_ok=True)
