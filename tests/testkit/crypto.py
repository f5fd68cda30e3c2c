"""The client side of encryption: blobs, key files, signatures, master key (formats 1.4 and 2)."""

import base64
import hashlib
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from pbs_cloud.formats import blob
from pbs_cloud.formats.blob import BlobKind
from pbs_cloud.formats.digest import encrypted_digest, format_fingerprint, parse_fingerprint
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.manifest import BackupManifest

FINGERPRINT_INPUT = hashlib.sha256(b"Proxmox Backup Encryption Key Fingerprint").digest()
SCRYPT_MEMORY = 1025 * 1024 * 1024


class CryptoError(ValueError):
    """Wrong key, wrong passphrase or damaged ciphertext."""


@dataclass(frozen=True)
class EncryptionKey:
    """A data key with what follows from it."""

    key: bytes

    @classmethod
    def generate(cls) -> "EncryptionKey":
        """A random key."""
        return cls(os.urandom(32))

    @cached_property
    def id_key(self) -> bytes:
        """Key of digests and signatures."""
        return hashlib.pbkdf2_hmac("sha256", self.key, b"_id_key", 10, 32)

    @property
    def fingerprint(self) -> bytes:
        """32 bytes that identify the key."""
        return encrypted_digest(FINGERPRINT_INPUT, self.id_key)

    def digest(self, plain: bytes) -> bytes:
        """Digest of an encrypted chunk."""
        return encrypted_digest(plain, self.id_key)

    def encrypt_blob(self, data: bytes, compress: bool = True, iv: bytes | None = None) -> bytes:
        """Encrypted blob of ``data``; compressed before if that is not larger."""
        plain = blob.encode(data, compress)
        kind = BlobKind.ENCRYPTED_ZSTD if blob.parse_header(plain)[0] is BlobKind.ZSTD else BlobKind.ENCRYPTED
        iv = os.urandom(16) if iv is None else iv
        sealed = AESGCM(self.key).encrypt(iv, plain[blob.PLAIN_HEADER_SIZE :], None)
        return blob.assemble(kind, sealed[:-16], iv, sealed[-16:])

    def decrypt_blob(self, raw: bytes, max_size: int = blob.MAX_BLOB_SIZE) -> bytes:
        """Plaintext of an encrypted blob."""
        kind = blob.check_crc(raw)
        if not kind.encrypted:
            raise FormatError("blob: not encrypted")
        try:
            plain = AESGCM(self.key).decrypt(raw[12:28], raw[44:] + raw[28:44], None)
        except InvalidTag:
            raise CryptoError("blob: cannot be decrypted with this key") from None
        return blob.decompress(plain, max_size) if kind.compressed else plain

    def sign(self, manifest: BackupManifest) -> None:
        """Sign a manifest and write the fingerprint of the key into it."""
        manifest.signature = manifest.compute_signature(self.id_key)
        manifest.unprotected["key-fingerprint"] = format_fingerprint(self.fingerprint)


def decode_blob(raw: bytes, key: EncryptionKey | None = None, max_size: int = blob.MAX_BLOB_SIZE) -> bytes:
    """Plaintext of any blob."""
    if blob.parse_header(raw)[0].encrypted:
        if key is None:
            raise CryptoError("blob: encrypted, and no key given")
        return key.decrypt_blob(raw, max_size)
    return blob.decode(raw, max_size)


@dataclass(frozen=True)
class KeyFile:
    """A key file; ``kdf`` is None, ``{"Scrypt": …}`` or ``{"PBKDF2": …}``."""

    kdf: dict[str, Any] | None
    created: str
    modified: str
    data: bytes
    fingerprint: bytes | None = None
    hint: str | None = None

    @classmethod
    def parse(cls, text: str | bytes) -> "KeyFile":
        """From JSON."""
        members = json.loads(text)
        fingerprint = members.get("fingerprint")
        return cls(
            kdf=members["kdf"],
            created=members["created"],
            modified=members["modified"],
            data=base64.b64decode(members["data"], validate=True),
            fingerprint=parse_fingerprint(fingerprint) if fingerprint is not None else None,
            hint=members.get("hint"),
        )

    @classmethod
    def create(
        cls, key: EncryptionKey, passphrase: bytes | None = None, kdf: str = "Scrypt", n: int = 65536
    ) -> "KeyFile":
        """A new key file, protected by a passphrase if one is given."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        if passphrase is None:
            return cls(None, now, now, key.key, key.fingerprint)
        salt = base64.b64encode(os.urandom(32)).decode()
        options = {"n": n, "r": 8, "p": 1, "salt": salt} if kdf == "Scrypt" else {"iter": 65535, "salt": salt}
        iv = os.urandom(16)
        sealed = AESGCM(_derive({kdf: options}, passphrase)).encrypt(iv, key.key, None)
        return cls({kdf: options}, now, now, iv + sealed[-16:] + sealed[:-16], key.fingerprint)

    def to_json(self) -> str:
        """Compact JSON, fields in the order of the stock client."""
        members: dict[str, Any] = {
            "kdf": self.kdf,
            "created": self.created,
            "modified": self.modified,
            "data": base64.b64encode(self.data).decode(),
        }
        if self.fingerprint is not None:
            members["fingerprint"] = format_fingerprint(self.fingerprint)
        if self.hint is not None:
            members["hint"] = self.hint
        return json.dumps(members, separators=(",", ":"), ensure_ascii=False)

    def unlock(self, passphrase: bytes | None = None) -> EncryptionKey:
        """The key, compared with the fingerprint."""
        if self.kdf is None:
            key = EncryptionKey(self.data)
        else:
            if passphrase is None or len(passphrase) < 5:
                raise CryptoError("key file: passphrase too short")
            try:
                cipher = AESGCM(_derive(self.kdf, passphrase))
                key = EncryptionKey(cipher.decrypt(self.data[:16], self.data[32:] + self.data[16:32], None))
            except InvalidTag:
                raise CryptoError("key file: wrong passphrase") from None
        if self.fingerprint not in (None, key.fingerprint):
            raise CryptoError("key file: fingerprint does not match")
        return key


def _derive(kdf: dict[str, Any], passphrase: bytes) -> bytes:
    (name, options), *_ = kdf.items()
    salt = base64.b64decode(options["salt"])
    if name == "Scrypt":
        n, r, p = options["n"], options["r"], options["p"]
        return hashlib.scrypt(passphrase, salt=salt, n=n, r=r, p=p, maxmem=SCRYPT_MEMORY, dklen=32)
    return hashlib.pbkdf2_hmac("sha256", passphrase, salt, options["iter"], 32)


def wrap_key(public_pem: bytes, key: EncryptionKey) -> bytes:
    """Content of ``rsa-encrypted.key.blob``: a plain blob around the RSA-encrypted key file."""
    public = load_pem_public_key(public_pem)
    assert isinstance(public, rsa.RSAPublicKey)
    return blob.encode(public.encrypt(KeyFile.create(key).to_json().encode(), PKCS1v15()), compress=False)


def unwrap_key(private_pem: bytes, passphrase: bytes | None, raw: bytes) -> EncryptionKey:
    """The data key inside ``rsa-encrypted.key.blob``."""
    private = load_pem_private_key(private_pem, passphrase)
    assert isinstance(private, rsa.RSAPrivateKey)
    return KeyFile.parse(private.decrypt(blob.decode(raw), PKCS1v15())).unlock()
