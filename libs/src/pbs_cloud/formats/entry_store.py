"""Packed entries of an index under construction: small ones in memory, large ones where the caller says."""

import mmap
from collections.abc import Callable
from typing import Final, TypeAlias

Allocate: TypeAlias = Callable[[int], mmap.mmap]
"""Makes a zero-filled mapping of at least so many bytes; pages that are never written should cost nothing."""

MEMORY_LIMIT: Final = 1024 * 1024


def anonymous(size: int) -> mmap.mmap:
    """Private memory."""
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


class EntryStore:
    """A growing array of bytes; new bytes are zero."""

    def __init__(self, allocate: Allocate = anonymous) -> None:
        self._allocate = allocate
        self._data: bytearray | mmap.mmap = bytearray()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def extend_to(self, length: int) -> None:
        """Grow; views of earlier content stay valid but belong to it."""
        if length > len(self._data):
            self._move(length)
        self._length = max(self._length, length)

    def append(self, entry: bytes) -> None:
        """Add bytes at the end."""
        start = self._length
        self.extend_to(start + len(entry))
        self._data[start : start + len(entry)] = entry

    def put(self, offset: int, entry: bytes | memoryview) -> None:
        """Replace bytes within the length."""
        self._data[offset : offset + len(entry)] = entry

    def view(self) -> memoryview:
        """The content; only when nothing is added any more."""
        return memoryview(self._data)[: self._length]

    def _move(self, needed: int) -> None:
        """A larger place: twice as large, so that appending costs little."""
        size = max(needed, 2 * len(self._data), 4096)
        larger: bytearray | mmap.mmap = bytearray(size) if size <= MEMORY_LIMIT else self._allocate(size)
        larger[: self._length] = self._data[: self._length]
        self._data = larger
