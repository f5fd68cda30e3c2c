"""Readers of fixed (``.fidx``) and dynamic (``.didx``) indexes (formats 3.1, 3.2).

A reader is a view over a bytes-like object (an ``mmap`` too) and copies nothing. Header checksum, uuid and
time are informational: compare :meth:`compute_csum` and ``size`` with the manifest.
"""

import hashlib
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.zstd_frames import Buffer

HEADER_SIZE: Final = 4096
FIXED_MAGIC: Final = bytes.fromhex("2f7f41ed91fd0fcd")
DYNAMIC_MAGIC: Final = bytes.fromhex("1c914ea519bab3cd")
FIXED_ENTRY_SIZE: Final = 32
DYNAMIC_ENTRY_SIZE: Final = 40
FIXED_CHUNK_SIZE: Final = 4 * 1024 * 1024

DIGESTS: Final = np.dtype("S32")
"""Digests in numpy arrays. Order and equality are right for all 32 bytes, but *items* lose trailing zero
bytes: convert with ``.tobytes()`` or :func:`digest_at`, never with ``bytes(array[i])``."""
DYNAMIC_ENTRY: Final = np.dtype([("end", "<u8"), ("digest", "S32")])
DigestArray: TypeAlias = NDArray[np.bytes_]
SizeArray: TypeAlias = NDArray[np.uint64]


class ChunkInfo(NamedTuple):
    """One entry of an index: ``[start, end)`` in the archive and its digest."""

    start: int
    end: int
    digest: bytes


def digest_at(digests: DigestArray, position: int) -> bytes:
    """The 32 bytes of one item of a digest array."""
    return digests[position : position + 1].tobytes()


def digest_array(joined: Buffer) -> DigestArray:
    """View of concatenated digests as an array of ``S32``."""
    return np.frombuffer(joined, dtype=DIGESTS)


class _Index:
    """What both kinds share; ``_digests`` and ``size`` are set by the constructors."""

    _entry_size: int
    _view: memoryview
    uuid: bytes
    ctime: int
    header_csum: bytes
    size: int
    _digests: DigestArray

    def _read_header(self, data: Buffer, magic: bytes) -> memoryview:
        view = memoryview(data).cast("B")
        if len(view) < HEADER_SIZE:
            raise FormatError(f"index too small ({len(view)})")
        if view[:8] != magic:
            raise FormatError("got unknown magic number")
        self.uuid = bytes(view[8:24])
        self.ctime = int.from_bytes(view[24:32], "little", signed=True)
        self.header_csum = bytes(view[32:64])
        self._view = view
        return view

    def __len__(self) -> int:
        return len(self._digests)

    @property
    def digests(self) -> DigestArray:
        """All digests in order (``S32``, a view; not contiguous for dynamic indexes)."""
        return self._digests

    def digest(self, position: int) -> bytes:
        """Digest of one entry."""
        if not 0 <= position < len(self._digests):
            raise IndexError(position)
        end = HEADER_SIZE + (position + 1) * self._entry_size
        return bytes(self._view[end - 32 : end])

    def chunk_range(self, position: int) -> tuple[int, int]:
        """Archive range ``[start, end)`` of one entry."""
        raise IndexError(position)

    def chunk(self, position: int) -> ChunkInfo:
        """Range and digest of one entry."""
        return ChunkInfo(*self.chunk_range(position), self.digest(position))

    def __iter__(self) -> Iterator[ChunkInfo]:
        return map(self.chunk, range(len(self)))

    def lookup(self, offset: int) -> tuple[int, int]:
        """Entry that covers an archive offset and the offset inside its chunk."""
        raise IndexError(offset)

    def chunks_of(self, offset: int, length: int) -> Iterator[ChunkInfo]:
        """The entries that overlap ``[offset, offset + length)``, in order."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise FormatError(f"range {offset}+{length} is outside of the archive ({self.size} bytes)")
        if length == 0:
            return
        first, last = self.lookup(offset)[0], self.lookup(offset + length - 1)[0]
        yield from map(self.chunk, range(first, last + 1))


class FixedIndex(_Index):
    """A fixed index over ``data``; raises :class:`FormatError` with the messages of PBS."""

    _entry_size = FIXED_ENTRY_SIZE

    def __init__(self, data: Buffer) -> None:
        view = self._read_header(data, FIXED_MAGIC)
        self.size = int.from_bytes(view[64:72], "little")
        self.chunk_size = int.from_bytes(view[72:80], "little")
        if self.chunk_size == 0 or self.chunk_size & (self.chunk_size - 1):
            raise FormatError(f"got non-power-of-two chunk size: {self.chunk_size}")
        expected = HEADER_SIZE + FIXED_ENTRY_SIZE * -(-self.size // self.chunk_size)
        if len(view) != expected:
            raise FormatError(f"got unexpected file size ({expected} != {len(view)})")
        if expected == HEADER_SIZE:
            raise FormatError("index has no entries")
        self._digests = digest_array(view[HEADER_SIZE:])

    def chunk_range(self, position: int) -> tuple[int, int]:
        """Archive range; only the last may be shorter than the chunk size."""
        if not 0 <= position < len(self._digests):
            raise IndexError(position)
        start = position * self.chunk_size
        return start, min(start + self.chunk_size, self.size)

    def lookup(self, offset: int) -> tuple[int, int]:
        """Entry that covers an archive offset and the offset inside its chunk."""
        if not 0 <= offset < self.size:
            raise FormatError(f"offset {offset} is outside of the archive ({self.size} bytes)")
        return divmod(offset, self.chunk_size)

    def sizes(self) -> SizeArray:
        """Plaintext bytes of each entry's chunk."""
        sizes = np.full(len(self._digests), self.chunk_size, dtype=np.uint64)
        sizes[-1] = self.size - (len(sizes) - 1) * self.chunk_size
        return sizes

    def compute_csum(self) -> bytes:
        """SHA-256 of all digests in order."""
        return hashlib.sha256(self._digests.view(np.uint8).data).digest()


class DynamicIndex(_Index):
    """A dynamic index over ``data``.

    As in PBS, ends that do not increase are accepted here; :meth:`require_monotonic` (also called by
    :meth:`lookup`) refuses them.
    """

    _entry_size = DYNAMIC_ENTRY_SIZE

    def __init__(self, data: Buffer) -> None:
        view = self._read_header(data, DYNAMIC_MAGIC)
        if (len(view) - HEADER_SIZE) % DYNAMIC_ENTRY_SIZE:
            raise FormatError(f"got unexpected file size ({len(view)})")
        if len(view) == HEADER_SIZE:
            raise FormatError("index has no entries")
        self._entries: NDArray[Any] = np.frombuffer(view[HEADER_SIZE:], dtype=DYNAMIC_ENTRY)
        self._digests = self._entries["digest"]
        self._ends: SizeArray = self._entries["end"]
        self._monotonic: bool | None = None
        self.size = int(self._ends[-1])

    @property
    def ends(self) -> SizeArray:
        """Exclusive end offset of each entry (a view)."""
        return self._ends

    @property
    def is_monotonic(self) -> bool:
        """Whether every chunk has at least one byte."""
        if self._monotonic is None:
            self._monotonic = bool(self._ends[0] > 0 and np.all(self._ends[1:] > self._ends[:-1]))
        return self._monotonic

    def require_monotonic(self) -> None:
        """Refuse ends that do not increase strictly, or pass a signed 64-bit size."""
        if not self.is_monotonic or self.size >= 1 << 63:
            raise FormatError("index: chunk ends do not increase")

    def chunk_range(self, position: int) -> tuple[int, int]:
        """Archive range as written; ``start > end`` is possible if not monotonic."""
        if not 0 <= position < len(self._digests):
            raise IndexError(position)
        return int(self._ends[position - 1]) if position else 0, int(self._ends[position])

    def lookup(self, offset: int) -> tuple[int, int]:
        """First entry with ``end > offset`` and the offset inside its chunk."""
        self.require_monotonic()
        if not 0 <= offset < self.size:
            raise FormatError(f"offset {offset} is outside of the archive ({self.size} bytes)")
        position = int(np.searchsorted(self._ends, np.uint64(offset), side="right"))
        return position, offset - self.chunk_range(position)[0]

    def sizes(self) -> SizeArray:
        """Plaintext bytes of each entry's chunk; needs increasing ends."""
        self.require_monotonic()
        return np.diff(self._ends, prepend=np.uint64(0))

    def compute_csum(self) -> bytes:
        """SHA-256 of all entries (end and digest) in order."""
        return hashlib.sha256(self._entries.view(np.uint8).data).digest()


def parse_index(data: Buffer) -> FixedIndex | DynamicIndex:
    """Reader of whichever kind the magic says."""
    return DynamicIndex(data) if memoryview(data)[:8] == DYNAMIC_MAGIC else FixedIndex(data)


def fixed_header(uuid: bytes, ctime: int, csum: bytes, size: int, chunk_size: int) -> bytes:
    """The 4096 header bytes of a fixed index."""
    sizes = size.to_bytes(8, "little") + chunk_size.to_bytes(8, "little")
    return _header(FIXED_MAGIC, uuid, ctime, csum) + sizes + bytes(HEADER_SIZE - 80)


def dynamic_header(uuid: bytes, ctime: int, csum: bytes) -> bytes:
    """The 4096 header bytes of a dynamic index."""
    return _header(DYNAMIC_MAGIC, uuid, ctime, csum) + bytes(HEADER_SIZE - 64)


def _header(magic: bytes, uuid: bytes, ctime: int, csum: bytes) -> bytes:
    if len(uuid) != 16 or len(csum) != 32:
        raise FormatError("index header: uuid needs 16 bytes, csum 32")
    return magic + uuid + ctime.to_bytes(8, "little", signed=True) + csum
