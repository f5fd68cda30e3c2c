"""Secrets of tenants that must be readable again (passwords of remotes, keys of webhooks), encrypted at rest.

The keys lie in a file outside of the database (`PBS_SECRET_KEY_FILE`), so that a copy of the database shows none of
them. Every replica of a service needs the same keys. The first key of the file seals, every key opens, so a key is
replaced in steps during which nothing is unreadable (docs/operations/logins.md).
"""

import secrets
from typing import Any

from pbs_cloud.contracts.errors import Unavailable
from pbs_cloud.runtime.secret_keys import ID_BYTES, KeyFile, NoSecretKey, SecretKey
from pbs_cloud.runtime.settings import Settings

_NONCE_BYTES = 12


class SecretBox:
    """AES-256-GCM. A sealed text begins with the id of its key; `owner` names the row it belongs to and is bound.

    The keys are read at the first use and whenever the file has changed; where no file is set, the first process makes
    one in the data folder.
    """

    def __init__(self, settings: Settings) -> None:
        self._file = KeyFile(settings.secret_key_path, may_create=settings.secret_key_file is None)

    @property
    def sealing_id(self) -> bytes:
        """What a text begins with that is sealed now: id of the first key. Raises NoSecretKey."""
        return self._file.read()[0].id

    def seal(self, text: str, owner: str) -> bytes:
        """The text, unreadable without the key.

        Raises:
            NoSecretKey: there is no usable key.
        """
        key, nonce = self._file.read()[0], secrets.token_bytes(_NONCE_BYTES)
        return key.id + nonce + bytes(_cipher(key).encrypt(nonce, text.encode(), owner.encode()))

    def open(self, sealed: bytes, owner: str) -> str:
        """The text again.

        Raises:
            NoSecretKey: there is no usable key, or it was sealed with one that is not in the file.
            Unavailable: it is damaged, or belongs to another row.
        """
        from cryptography.exceptions import InvalidTag

        key = next((key for key in self._file.read() if key.id == sealed[:ID_BYTES]), None)
        if key is None:
            raise NoSecretKey("a stored secret was encrypted with a key that is not in the file (PBS_SECRET_KEY_FILE)")
        nonce, rest = sealed[ID_BYTES : ID_BYTES + _NONCE_BYTES], sealed[ID_BYTES + _NONCE_BYTES :]
        try:
            return str(_cipher(key).decrypt(nonce, rest, owner.encode()).decode())
        except (InvalidTag, ValueError) as error:
            raise Unavailable("a stored secret is damaged") from error


def _cipher(key: SecretKey) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key.key)
