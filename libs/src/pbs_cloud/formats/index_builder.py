"""Building indexes from append calls (formats 3.4 and 3.5, wire-protocol 4.8 and 4.9).

Entries are kept packed (32 or 40 bytes each); ``allocate`` says where large ones lie. The size of an appended
chunk comes from its registration in the session, never from the append call. Every refusal is a
:class:`FormatError` that says what is wrong; a refused append or close leaves the builder as it was, save a close
with a wrong csum, which ends it.
"""

import hashlib
import struct
from collections.abc import Iterator
from typing import Final

import numpy as np

from pbs_cloud.formats.entry_store import Allocate, EntryStore, anonymous
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.index import (
    DYNAMIC_ENTRY,
    DYNAMIC_ENTRY_SIZE,
    FIXED_CHUNK_SIZE,
    FIXED_ENTRY_SIZE,
    DigestArray,
    FixedIndex,
    digest_array,
    dynamic_header,
    fixed_header,
)

MAX_ENTRIES: Final = 1 << 24
"""Default bound of an index under construction: 64 TiB of image, 512 MiB of digests."""

_ENTRY = struct.Struct("<Q32s")
_PIECE = 1024 * 1024


class _Builder:
    """Common state: packed entries, append counter, what a close left behind."""

    def __init__(self, max_entries: int, allocate: Allocate) -> None:
        self._entries = EntryStore(allocate)
        self._max_entries = max_entries
        self.append_count = 0
        self.closed = False
        self.index_csum: bytes | None = None
        """SHA-256 of the entries, known after a successful close."""

    def _require_open(self) -> None:
        if self.closed:
            raise FormatError("index is already closed")

    def _require_count(self, chunk_count: int) -> None:
        self._require_open()
        if chunk_count != self.append_count:
            raise FormatError(f"chunk-count: got {chunk_count}, {self.append_count} chunks were appended")

    def _finish(self, csum: bytes) -> None:
        self.closed = True
        computed = hashlib.sha256(self._entries.view()).digest()
        if computed != csum:
            raise FormatError(f"csum: got {csum.hex()}, the index has {computed.hex()}")
        self.index_csum = computed

    def _pieces(self, header: bytes) -> Iterator[bytes | memoryview]:
        yield header
        view = self._entries.view()
        for start in range(0, len(view), _PIECE):
            yield view[start : start + _PIECE]

    def _closed_csum(self) -> bytes:
        if self.index_csum is None:
            raise FormatError("index is not closed")
        return self.index_csum


class DynamicIndexBuilder(_Builder):
    """Index of a stream: each chunk starts where the previous one ended."""

    def __init__(self, max_entries: int = MAX_ENTRIES, allocate: Allocate = anonymous) -> None:
        super().__init__(max_entries, allocate)
        self.size = 0

    def __len__(self) -> int:
        return len(self._entries) // DYNAMIC_ENTRY_SIZE

    def append(self, digest: bytes, offset: int, length: int) -> None:
        """Add a chunk of ``length`` registered bytes that starts at ``offset``."""
        self._require_open()
        if offset != self.size:
            raise FormatError(f"offset-list: got offset {offset}, expected {self.size}")
        if length < 1:
            raise FormatError(f"offset-list: chunk at {offset} has no bytes")
        if self.append_count >= self._max_entries:
            raise FormatError(f"index has more than {self._max_entries} chunks")
        self.size += length
        self._entries.append(_ENTRY.pack(self.size, digest))
        self.append_count += 1

    def close(self, chunk_count: int, size: int, csum: bytes) -> None:
        """Check count, size and csum of the client; a wrong csum leaves the builder closed for good."""
        self._require_count(chunk_count)
        if chunk_count < 1:
            raise FormatError("chunk-count: an index needs at least one chunk")
        if size != self.size:
            raise FormatError(f"size: got {size}, {self.size} bytes were appended")
        self._finish(csum)

    def digests(self) -> DigestArray:
        """All digests in order; a view, only after close."""
        self._closed_csum()
        digests: DigestArray = np.frombuffer(self._entries.view(), dtype=DYNAMIC_ENTRY)["digest"]
        return digests

    def pieces(self, uuid: bytes, ctime: int) -> Iterator[bytes | memoryview]:
        """The final file, after close."""
        return self._pieces(dynamic_header(uuid, ctime, self._closed_csum()))


class FixedIndexBuilder(_Builder):
    """Index of an image in chunks of 4 MiB, appended in any order."""

    def __init__(
        self,
        size: int | None,
        base: FixedIndex | None = None,
        chunk_size: int = FIXED_CHUNK_SIZE,
        max_entries: int = MAX_ENTRIES,
        allocate: Allocate = anonymous,
    ) -> None:
        """``size`` None: a stream of unknown length that grows until its first short chunk.

        ``base`` makes the index incremental: its digests are copied (compare its recomputed csum with
        ``reuse-csum`` first, :func:`require_reusable`).
        """
        super().__init__(max_entries, allocate)
        if size is not None and size < 1:
            raise FormatError(f"size: got {size}, at least 1 is needed")
        self.chunk_size = chunk_size
        self.announced_size = size
        self.size = size or 0
        self.incremental = base is not None
        self._growable = size is None
        self._short_uploads = 0
        slots = self._slots_of(self.size)
        if slots > max_entries:
            raise FormatError(f"size: more than {max_entries} chunks")
        self._filled = bytearray(-(-slots // 8))
        self._filled_count = 0
        if base is not None:
            self._check_base(base, size, slots)
        self._entries.extend_to(slots * FIXED_ENTRY_SIZE)
        if base is not None:
            self._entries.put(0, memoryview(base.digests.view(np.uint8).data))

    def _check_base(self, base: FixedIndex, size: int | None, slots: int) -> None:
        if size is None:
            raise FormatError("size: needed together with reuse-csum")
        if base.chunk_size != self.chunk_size:
            raise FormatError(f"reuse-csum: previous index has chunk size {base.chunk_size}")
        if len(base) != slots:
            raise FormatError(f"reuse-csum: previous index has {len(base)} chunks, the new one {slots}")

    def _slots_of(self, size: int) -> int:
        return -(-size // self.chunk_size)

    def __len__(self) -> int:
        return self._slots_of(self.size)

    def register_upload(self, length: int) -> None:
        """Count an uploaded chunk of ``length`` bytes: at most one may be shorter than the chunk size."""
        self._require_open()
        if not 1 <= length <= self.chunk_size:
            raise FormatError(f"size: chunk of {length} bytes, at most {self.chunk_size} fit a fixed index")
        if length < self.chunk_size:
            if self._short_uploads:
                raise FormatError("size: a second chunk is shorter than the chunk size")
            self._short_uploads = 1

    def append(self, digest: bytes, offset: int, length: int) -> None:
        """Set the slot at ``offset`` to a chunk of ``length`` registered bytes."""
        self._require_open()
        end = offset + length
        size = end if self._growable and end > self.size else self.size
        if end > size:
            raise FormatError(f"offset-list: chunk {offset}+{length} ends behind the index size {size}")
        if length != self.chunk_size and not (end == size and 1 <= length < self.chunk_size):
            raise FormatError(f"offset-list: chunk at {offset} has unexpected length {length}")
        if offset % self.chunk_size or offset < 0:
            raise FormatError(f"offset-list: offset {offset} is not a multiple of {self.chunk_size}")
        if size != self.size:
            self._grow(size)
        slot = offset // self.chunk_size
        self._entries.put(slot * FIXED_ENTRY_SIZE, digest)
        self._mark(slot)
        self.append_count += 1

    def _grow(self, size: int) -> None:
        slots = self._slots_of(size)
        if slots > self._max_entries:
            raise FormatError(f"offset-list: index grows beyond {self._max_entries} chunks")
        self._entries.extend_to(slots * FIXED_ENTRY_SIZE)
        self._filled += bytes(-(-slots // 8) - len(self._filled))
        self._growable = size % self.chunk_size == 0
        self.size = size

    def _mark(self, slot: int) -> None:
        byte, bit = slot >> 3, 1 << (slot & 7)
        if not self._filled[byte] & bit:
            self._filled[byte] |= bit
            self._filled_count += 1

    def close(self, chunk_count: int, size: int, csum: bytes) -> None:
        """Check count, size (not if incremental) and csum; a wrong csum leaves the builder closed for good."""
        self._require_count(chunk_count)
        if not self.incremental:
            if chunk_count != len(self):
                raise FormatError(f"chunk-count: got {chunk_count}, the index has {len(self)} chunks")
            if chunk_count < 1:
                raise FormatError("chunk-count: an index needs at least one chunk")
            if size != self.size:
                raise FormatError(f"size: got {size}, the index has {self.size}")
            if self._filled_count != len(self):
                raise FormatError(f"chunk-count: {len(self) - self._filled_count} positions were never written")
        self._finish(csum)

    def digests(self) -> DigestArray:
        """All digests in order; a view, only after close."""
        self._closed_csum()
        return digest_array(self._entries.view())

    def pieces(self, uuid: bytes, ctime: int) -> Iterator[bytes | memoryview]:
        """The final file, after close."""
        return self._pieces(fixed_header(uuid, ctime, self._closed_csum(), self.size, self.chunk_size))


def require_reusable(base: FixedIndex, reuse_csum: bytes) -> None:
    """Refuse a base index whose recomputed csum is not ``reuse-csum`` (formats 3.5)."""
    computed = base.compute_csum()
    if computed != reuse_csum:
        raise FormatError(f"reuse-csum: got {reuse_csum.hex()}, the previous index has {computed.hex()}")
