"""Chunk digests: 32 raw bytes inside, lower-case hex at the edges (formats 2.3, wire-protocol 2)."""

import hashlib
import re
from typing import TypeAlias

from pbs_cloud.formats.errors import FormatError

Digest: TypeAlias = bytes
DIGEST_SIZE = 32
ZERO_DIGEST: Digest = bytes(DIGEST_SIZE)
"""Marks a position of a fixed index that was never written."""
ZERO_CHUNK_DIGEST: Digest = bytes.fromhex("bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821cc0de3d3af8")
"""Plain digest of 4 MiB of zeros."""

DIGEST_PATTERN = re.compile(r"[a-f0-9]{64}")
_FINGERPRINT_HEX = re.compile(r"[A-Fa-f0-9]{64}")


def parse_digest(text: str, field: str = "digest") -> Digest:
    """64 lower-case hex digits to 32 bytes; upper case is refused."""
    if not isinstance(text, str) or not DIGEST_PATTERN.fullmatch(text):
        raise FormatError(f"{field}: not 64 lower-case hex digits")
    return bytes.fromhex(text)


def parse_digest_list(texts: list[str], field: str = "digest-list") -> bytes:
    """Hex digests to one string of 32 bytes each; the error names the position."""
    try:
        joined = "".join(texts)
        if len(joined) == 64 * len(texts) and all(map(DIGEST_PATTERN.fullmatch, texts)):
            return bytes.fromhex(joined)
    except TypeError:
        pass
    for position, text in enumerate(texts):
        parse_digest(text, f"{field}[{position}]")
    raise FormatError(f"{field}: not a list of digests")


def encrypted_digest(plain: bytes | bytearray | memoryview, id_key: bytes) -> Digest:
    """Digest of an encrypted chunk: SHA256(plain || id_key)."""
    digest = hashlib.sha256(plain)
    digest.update(id_key)
    return digest.digest()


def format_fingerprint(value: bytes) -> str:
    """Lower-case hex pairs joined by ``:`` (95 characters for 32 bytes)."""
    return value.hex(":")


def parse_fingerprint(text: str, field: str = "fingerprint") -> bytes:
    """Text fingerprint to 32 bytes: colons are dropped, either case (formats 2.1)."""
    digits = text.replace(":", "") if isinstance(text, str) else ""
    if not _FINGERPRINT_HEX.fullmatch(digits):
        raise FormatError(f"{field}: not a fingerprint of 32 bytes")
    return bytes.fromhex(digits)


def short_fingerprint(value: bytes) -> str:
    """The first 8 bytes, as shown to people."""
    return value[:8].hex(":")
