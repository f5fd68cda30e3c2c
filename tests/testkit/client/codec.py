"""How a backup turns plain bytes into chunks and blobs: plain, signed or encrypted."""

import hashlib
from typing import Protocol

from pbs_cloud.formats import blob
from pbs_cloud.formats.manifest import BackupManifest, CryptMode
from testkit.crypto import EncryptionKey


class Codec(Protocol):
    """Digest, encoding and signature of one way to back up."""

    crypt_mode: CryptMode

    def digest(self, data: bytes) -> bytes:
        """Digest of a chunk's plain bytes."""

    def encode(self, data: bytes) -> bytes:
        """Blob around plain bytes."""

    def decode(self, raw: bytes) -> bytes:
        """Plain bytes of a blob whose CRC is right."""

    def sign(self, manifest: BackupManifest) -> None:
        """Add signature and key fingerprint, if the mode has them."""


class PlainCodec:
    """No key: zstd level 1 where it helps."""

    crypt_mode = CryptMode.NONE

    def __init__(self, compress: bool = True) -> None:
        self._compress = compress

    def digest(self, data: bytes) -> bytes:
        """SHA-256 of the plain bytes."""
        return hashlib.sha256(data).digest()

    def encode(self, data: bytes) -> bytes:
        """Plain blob, compressed if that is not larger."""
        return blob.encode(data, self._compress)

    def decode(self, raw: bytes) -> bytes:
        """Plain bytes of a plain blob."""
        return blob.decode(raw)

    def sign(self, manifest: BackupManifest) -> None:
        """Plain backups carry no signature."""


class SigningCodec(PlainCodec):
    """Crypt mode ``sign-only``: plain chunks, signed manifest."""

    crypt_mode = CryptMode.SIGN_ONLY

    def __init__(self, key: EncryptionKey) -> None:
        super().__init__()
        self._key = key

    def sign(self, manifest: BackupManifest) -> None:
        """Sign with the id key."""
        self._key.sign(manifest)


class EncryptingCodec:
    """Crypt mode ``encrypt``: chunks, catalog and blobs are encrypted, the manifest is signed."""

    crypt_mode = CryptMode.ENCRYPT

    def __init__(self, key: EncryptionKey) -> None:
        self._key = key

    def digest(self, data: bytes) -> bytes:
        """SHA-256 of the plain bytes and the id key."""
        return self._key.digest(data)

    def encode(self, data: bytes) -> bytes:
        """Encrypted blob."""
        return self._key.encrypt_blob(data)

    def decode(self, raw: bytes) -> bytes:
        """Plain bytes of an encrypted blob."""
        return self._key.decrypt_blob(raw)

    def sign(self, manifest: BackupManifest) -> None:
        """Sign with the id key."""
        self._key.sign(manifest)
