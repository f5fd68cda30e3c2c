"""Chunks for uploads, made before the clock starts."""

import hashlib
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.frames import header_block
from benchmarks.load import Request
from pbs_cloud.formats import blob

CHUNK = 4 << 20


@dataclass(frozen=True, slots=True)
class Chunk:
    """An encoded chunk; ``raw_size`` before compression."""

    digest: bytes
    raw_size: int
    encoded: memoryview

    def upload(self, wid: int) -> Request:
        """Request that uploads it to a fixed index."""
        query = f"digest={self.digest.hex()}&encoded-size={len(self.encoded)}&size={self.raw_size}&wid={wid}"
        return Request(header_block("POST", f"/fixed_chunk?{query}"), self.encoded)


def encrypted_chunks(count: int) -> list[Chunk]:
    """Chunks as an encrypting client sends them. A server cannot check them, so one body serves for all digests."""
    body = os.urandom(CHUNK)
    raw = memoryview(blob.assemble(blob.BlobKind.ENCRYPTED, body, os.urandom(16), os.urandom(16)))
    return [Chunk(os.urandom(32), CHUNK, raw) for _ in range(count)]


def compressed_chunks(count: int, seed: int = 1) -> list[Chunk]:
    """Distinct plain chunks that zstd level 1 shrinks to about three quarters, as an average disk image."""
    return [_compressed(random.Random(seed + number)) for number in range(count)]


def _compressed(source: random.Random) -> Chunk:
    plain = b"".join(_blocks(source))[:CHUNK]
    return Chunk(hashlib.sha256(plain).digest(), CHUNK, memoryview(blob.encode(plain)))


def _blocks(source: random.Random) -> Iterator[bytes]:
    words = [source.randbytes(source.randrange(2, 12)).hex().encode() for _ in range(2000)]
    for _ in range(CHUNK >> 17):
        yield source.randbytes(80 << 10)
        yield b" ".join(source.choices(words, k=4000))[: 48 << 10].ljust(48 << 10)
