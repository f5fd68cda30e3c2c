"""DataBlob: the container of every chunk and every ``*.blob`` file (formats 1).

All functions take any contiguous buffer of bytes and never copy the body of a blob; those that walk a
body (CRC, SHA-256, zstd) release the GIL, so they may run in worker threads.
"""

import hashlib
import threading
from collections.abc import Iterator
from enum import Enum
from typing import Final

import zstandard
from isal import isal_zlib

from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.zstd_frames import Buffer, check_frames

PLAIN_HEADER_SIZE: Final = 12
ENCRYPTED_HEADER_SIZE: Final = 44
MAX_CHUNK_SIZE: Final = 16 * 1024 * 1024
"""Most plaintext bytes of a chunk."""
MAX_ENCODED_SIZE: Final = MAX_CHUNK_SIZE + ENCRYPTED_HEADER_SIZE
"""Most bytes of an uploaded chunk or blob."""
MIN_ENCODED_CHUNK_SIZE: Final = PLAIN_HEADER_SIZE + 1
MIN_ENCODED_BLOB_SIZE: Final = PLAIN_HEADER_SIZE
MAX_BLOB_SIZE: Final = 128 * 1024 * 1024
"""Most plaintext bytes of any blob."""

_PIECE = 1024 * 1024
_MIN_WINDOW = 8 * 1024 * 1024
_local = threading.local()


class BlobKind(Enum):
    """The four encodings; the value is the magic."""

    PLAIN = bytes.fromhex("42ab3807be8370a1")
    ZSTD = bytes.fromhex("31b958426fb6a37f")
    ENCRYPTED = bytes.fromhex("7b6785be222d4cf0")
    ENCRYPTED_ZSTD = bytes.fromhex("e6591bbf0bbfd80b")

    @property
    def encrypted(self) -> bool:
        """Whether the body can only be read with a key."""
        return self in (BlobKind.ENCRYPTED, BlobKind.ENCRYPTED_ZSTD)

    @property
    def compressed(self) -> bool:
        """Whether the (decrypted) body is zstd."""
        return self in (BlobKind.ZSTD, BlobKind.ENCRYPTED_ZSTD)

    @property
    def header_size(self) -> int:
        """Bytes before the body: 12 or 44."""
        return ENCRYPTED_HEADER_SIZE if self.encrypted else PLAIN_HEADER_SIZE


_HEADERS = {kind.value: (kind, kind.header_size) for kind in BlobKind}


def parse_header(raw: Buffer) -> tuple[BlobKind, int]:
    """Kind and header length of a blob; the first 44 bytes and the true length of ``raw`` decide."""
    found = _HEADERS.get(bytes(raw[:8]))
    if found is None:
        short = len(raw) < PLAIN_HEADER_SIZE
        raise FormatError(f"blob: too small ({len(raw)} bytes)" if short else "blob: unknown magic number")
    if len(raw) < found[1]:
        raise FormatError(f"blob: too small ({len(raw)} bytes)")
    return found


def body_crc(raw: Buffer) -> int:
    """CRC-32 of the body, as it should stand at bytes 8..12."""
    return isal_zlib.crc32(memoryview(raw)[parse_header(raw)[1] :])


def stored_crc(raw: Buffer) -> int:
    """The CRC-32 written in the header."""
    return int.from_bytes(raw[8:12], "little")


def check_crc(raw: Buffer) -> BlobKind:
    """Kind of a blob whose header and CRC are right, else :class:`FormatError`."""
    kind, header_size = parse_header(raw)
    if isal_zlib.crc32(memoryview(raw)[header_size:]) != stored_crc(raw):
        raise FormatError("blob: wrong CRC checksum")
    return kind


def fix_crc_in_place(raw: bytearray | memoryview) -> BlobKind:
    """Overwrite bytes 8..12 with the right CRC; the client's value is not looked at (formats 1.6)."""
    kind, header_size = parse_header(raw)
    raw[8:12] = isal_zlib.crc32(memoryview(raw)[header_size:]).to_bytes(4, "little")
    return kind


def with_crc(raw: Buffer) -> bytearray:
    """A copy of ``raw`` with the right CRC."""
    copy = bytearray(raw)
    fix_crc_in_place(copy)
    return copy


def assemble(kind: BlobKind, body: Buffer, iv: bytes = b"", tag: bytes = b"") -> bytes:
    """A blob of ``kind`` around a finished body; encrypted kinds need 16 bytes each of IV and tag."""
    if len(kind.value) + 4 + len(iv) + len(tag) != kind.header_size:
        raise FormatError("blob: IV and tag do not fit the kind")
    return b"".join((kind.value, isal_zlib.crc32(body).to_bytes(4, "little"), iv, tag, body))


def encode(data: Buffer, compress: bool = True) -> bytes:
    """Plain blob of ``data``: zstd level 1 if asked for and not larger, else uncompressed."""
    if len(data) > MAX_BLOB_SIZE:
        raise FormatError(f"blob: data too large ({len(data)} bytes)")
    if compress:
        body = zstandard.ZstdCompressor(level=1, write_content_size=True, write_checksum=False).compress(data)
        if len(body) <= len(data):
            return assemble(BlobKind.ZSTD, body)
    return assemble(BlobKind.PLAIN, data)


def decode(raw: Buffer, max_size: int = MAX_BLOB_SIZE) -> bytes:
    """Plaintext of a plain blob with a right CRC and at most ``max_size`` bytes of content."""
    kind = check_crc(raw)
    if kind.encrypted:
        raise FormatError("blob: encrypted, no key")
    body = memoryview(raw)[PLAIN_HEADER_SIZE:]
    if kind is BlobKind.ZSTD:
        return decompress(body, max_size)
    if len(body) > max_size:
        raise FormatError(f"blob: content larger than {max_size} bytes")
    return bytes(body)


def decompress(body: Buffer, max_size: int) -> bytes:
    """Content of all concatenated zstd frames of ``body``, at most ``max_size`` bytes of it."""
    content = bytearray()
    for piece in _pieces(memoryview(body), max_size):
        content += piece
        if len(content) > max_size:
            raise FormatError(f"blob: content larger than {max_size} bytes")
    return bytes(content)


def verify_plain_chunk(raw: Buffer, digest: bytes, size: int) -> BlobKind:
    """Require that a plain blob holds exactly ``size`` bytes with SHA-256 ``digest``; the CRC is not read.

    Works in pieces of 1 MiB (one buffer per thread), so memory does not grow with the content, and stops at
    the first piece beyond ``size``.
    """
    kind, header_size = parse_header(raw)
    if kind.encrypted:
        raise FormatError("chunk: encrypted, cannot be verified")
    body = memoryview(raw)[header_size:]
    if kind is BlobKind.PLAIN and len(body) != size:
        raise FormatError(f"chunk: content has {len(body)} bytes, announced are {size}")
    if (hashlib.sha256(body).digest() if kind is BlobKind.PLAIN else _hash_frames(body, size)) != digest:
        raise FormatError("chunk: wrong digest")
    return kind


def _hash_frames(body: memoryview, size: int) -> bytes:
    """SHA-256 of the content of zstd frames, which must have ``size`` bytes."""
    length, found = 0, hashlib.sha256()
    for piece in _pieces(body, size):
        length += len(piece)
        if length > size:
            raise FormatError(f"chunk: content is longer than the announced {size} bytes")
        found.update(piece)
    if length < size:
        raise FormatError(f"chunk: content has {length} bytes, announced are {size}")
    return found.digest()


def _pieces(body: memoryview, max_size: int) -> Iterator[memoryview]:
    """Decompressed content in views of a buffer that the next step overwrites.

    The reader of the views stops beyond ``max_size``; here it only bounds the window of the decoder.
    """
    check_frames(body)
    buffer = _thread_buffer()
    try:
        decoder = zstandard.ZstdDecompressor(max_window_size=max(_MIN_WINDOW, max_size))
        with decoder.stream_reader(body, read_across_frames=True) as reader:
            while count := reader.readinto(buffer):
                yield buffer[:count]
    except zstandard.ZstdError as error:
        raise FormatError(f"blob: zstd: {error}") from None


def _thread_buffer() -> memoryview:
    """A buffer of one piece, used by one generator at a time in each thread."""
    buffer: memoryview | None = getattr(_local, "buffer", None)
    if buffer is None:
        buffer = _local.buffer = memoryview(bytearray(_PIECE))
    return buffer
