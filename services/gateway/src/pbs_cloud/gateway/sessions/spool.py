"""Index files on their way through the gateway: small ones in memory, large ones in an unlinked file."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import IO, Final, cast

from pbs_cloud.contracts.errors import NoSpace
from pbs_cloud.formats.index import DynamicIndex, FixedIndex

MEMORY_LIMIT: Final = 4 * 1024 * 1024


class SpooledIndex:
    """A loaded index file; ``close`` frees memory or mapping."""

    def __init__(self, data: memoryview, index: FixedIndex | DynamicIndex, mapping: mmap.mmap | None) -> None:
        self._data: memoryview | None = data
        self._index: FixedIndex | DynamicIndex | None = index
        self._mapping = mapping

    @property
    def data(self) -> memoryview:
        """The whole file."""
        if self._data is None:
            raise ValueError("the index was closed")
        return self._data

    @property
    def index(self) -> FixedIndex | DynamicIndex:
        """The reader over the bytes."""
        if self._index is None:
            raise ValueError("the index was closed")
        return self._index

    def close(self) -> None:
        """Drop the references; the mapping goes when the last view of it is gone."""
        self._data = self._index = self._mapping = None


def _temporary(folder: Path | None) -> IO[bytes]:
    return cast(IO[bytes], os.fdopen(os.open(folder or tempfile.gettempdir(), os.O_TMPFILE | os.O_RDWR, 0o600), "w+b"))


def file_mapping(folder: Path | None) -> Callable[[int], mmap.mmap]:
    """Makes zero-filled mappings of unlinked files: pages that are not in use can leave the memory. Raises NoSpace."""

    def allocate(size: int) -> mmap.mmap:
        with _temporary(folder) as file:
            try:
                os.posix_fallocate(file.fileno(), 0, size)  # a page without a block would kill the process
                return mmap.mmap(file.fileno(), size)
            except OSError as error:
                raise NoSpace("no room for the index under construction") from error

    return allocate


async def load_index(name: str, pieces: AsyncIterator[bytes], folder: Path | None) -> SpooledIndex:
    """Collect a file and open it as the kind its name says. Raises FormatError when it is damaged."""
    collected = bytearray()
    spooled: IO[bytes] | None = None
    try:
        async for piece in pieces:
            if spooled is None and len(collected) + len(piece) > MEMORY_LIMIT:
                spooled = _temporary(folder)
                spooled.write(collected)
                collected = bytearray()
            if spooled is None:
                collected += piece
            else:
                spooled.write(piece)
        mapping = None
        data = memoryview(collected)
        if spooled is not None:
            spooled.flush()
            mapping = mmap.mmap(spooled.fileno(), 0, prot=mmap.PROT_READ)
            data = memoryview(mapping)
    finally:
        if spooled is not None:
            spooled.close()
    index = DynamicIndex(data) if name.endswith(".didx") else FixedIndex(data)
    return SpooledIndex(data, index, mapping)
