"""Reading an index for the marks: its digests, segment by segment, and whether the file is what the row says."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterable, AsyncIterator

import numpy as np

from pbs_cloud.chunkstore.collection.index_list import IndexEntry
from pbs_cloud.chunkstore.collection.seen import Words
from pbs_cloud.contracts.errors import DataCorrupt
from pbs_cloud.formats import index

SEGMENT = 8 * 1024 * 1024
"""What is worth a thread's time: each turn costs the event loop some 0.2 ms."""


class IndexDigests:
    """Takes the bytes of an index file in order; blocking work, without the GIL for its greater part."""

    def __init__(self, entry: IndexEntry) -> None:
        self._entry = entry
        self._fixed = entry.kind == "fixed"
        self._step = index.FIXED_ENTRY_SIZE if self._fixed else index.DYNAMIC_ENTRY_SIZE
        self._magic = index.FIXED_MAGIC if self._fixed else index.DYNAMIC_MAGIC
        self._hash = hashlib.sha256()
        self._rest = b""
        self._header = False
        self._size = 0
        self.count = 0

    def feed(self, data: bytes) -> list[Words]:
        """Entries that `data` completes, one array or two. Raises DataCorrupt."""
        self._size += len(data)
        view = memoryview(data)
        if not self._header:
            view = memoryview(self._rest + data)
            if len(view) < index.HEADER_SIZE:
                self._rest = bytes(view)
                return []
            if view[:8] != self._magic:
                raise self._wrong("wrong magic number")
            self._header, self._rest, view = True, b"", view[index.HEADER_SIZE :]
        parts = []
        if self._rest:  # one entry lies in two pieces
            missing = self._step - len(self._rest)
            self._rest, view = self._rest + view[:missing], view[missing:]
            if len(self._rest) < self._step:
                return []
            parts.append(self._entries(memoryview(self._rest)))
        whole = len(view) - len(view) % self._step
        self._rest = bytes(view[whole:])
        if whole:
            parts.append(self._entries(view[:whole]))
        return parts

    def _entries(self, whole: memoryview) -> Words:
        self._hash.update(whole)
        self.count += len(whole) // self._step
        return np.frombuffer(whole, dtype="<u8").reshape(-1, self._step // 8)

    def finish(self) -> None:
        """Raises DataCorrupt if the file is not the one that was closed."""
        entry = self._entry
        if not self._header or self._rest or not self.count:
            raise self._wrong("it ends too early")
        if entry.stored_size and self._size != entry.stored_size:
            raise self._wrong(f"it has {self._size} bytes instead of {entry.stored_size}")
        if entry.chunk_count is not None and self.count != entry.chunk_count:
            raise self._wrong(f"it has {self.count} entries instead of {entry.chunk_count}")
        if entry.csum is not None and self._hash.digest() != entry.csum:
            raise self._wrong("wrong checksum")

    def _wrong(self, what: str) -> DataCorrupt:
        return DataCorrupt(f"unable to read index '{self._entry.name}': {what}")


async def segments(pieces: AsyncIterable[bytes]) -> AsyncIterator[list[bytes]]:
    """The same pieces, `SEGMENT` bytes and more at a time."""
    gathered: list[bytes] = []
    size = 0
    async for piece in pieces:
        gathered.append(piece)
        size += len(piece)
        if size >= SEGMENT:
            yield gathered
            gathered, size = [], 0
    if gathered:
        yield gathered
