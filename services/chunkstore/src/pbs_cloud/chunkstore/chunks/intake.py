"""Checks that an uploaded chunk must pass before anything is claimed or written (wire-protocol 4.6, formats 1.6)."""

from __future__ import annotations

from dataclasses import dataclass

from pbs_cloud.chunkstore.backends.port import Buffer
from pbs_cloud.chunkstore.chunks.kinds import ChunkKind
from pbs_cloud.contracts.errors import InvalidArgument
from pbs_cloud.formats import blob
from pbs_cloud.formats.digest import DIGEST_SIZE
from pbs_cloud.formats.errors import FormatError

_CRC_START, _CRC_END = 8, 12


@dataclass(frozen=True, slots=True)
class Upload:
    """A checked chunk. `parts`: header with the right CRC and the body as it came; `size`: bytes of both."""

    digest: bytes
    kind: ChunkKind
    raw_size: int
    size: int
    parts: tuple[Buffer, ...]

    def owned(self) -> Upload:
        """The same with bytes of its own, safe from whoever shares the memory."""
        return Upload(self.digest, self.kind, self.raw_size, self.size, (b"".join(self.parts),))


def check_parameters(digest: bytes, size: int, length: int) -> None:
    """Bounds of digest, raw size and encoded length."""
    if len(digest) != DIGEST_SIZE:
        raise InvalidArgument(f"digest: must have {DIGEST_SIZE} bytes, has {len(digest)}", field="digest")
    if not 1 <= size <= blob.MAX_CHUNK_SIZE:
        raise InvalidArgument(f"size: must be 1 to {blob.MAX_CHUNK_SIZE}, is {size}", field="size")
    if not blob.MIN_ENCODED_CHUNK_SIZE <= length <= blob.MAX_ENCODED_SIZE:
        allowed = f"{blob.MIN_ENCODED_CHUNK_SIZE} to {blob.MAX_ENCODED_SIZE}"
        raise InvalidArgument(f"encoded-size: must be {allowed}, is {length}", field="encoded-size")


def check_upload(digest: bytes, size: int, data: memoryview) -> Upload:
    """Header, CRC (computed, the sender's is not looked at) and, unless encrypted, content; for worker threads.

    The right CRC is written into `data` if it may be: what lies in one piece can be stored without a copy.

    Raises:
        InvalidArgument: says what is wrong.
    """
    try:
        kind, header_size = blob.parse_header(data)
        crc = blob.body_crc(data).to_bytes(4, "little")
        if not kind.encrypted:
            blob.verify_plain_chunk(data, digest, size)
    except FormatError as error:
        raise InvalidArgument(str(error), field="chunk") from error
    if data.readonly:
        header = bytes(data[:_CRC_START]) + crc + bytes(data[_CRC_END:header_size])
        return Upload(digest, ChunkKind.of(kind), size, len(data), (header, data[header_size:]))
    data[_CRC_START:_CRC_END] = crc
    return Upload(digest, ChunkKind.of(kind), size, len(data), (data,))
