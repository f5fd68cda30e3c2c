"""Checking an index file while it streams by, in bounded memory (formats 3.1, 3.2)."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterable, AsyncIterator

import numpy as np

from pbs_cloud.contracts.errors import InvalidArgument
from pbs_cloud.formats import index
from pbs_cloud.formats.names import ArchiveType

PIECE = 1024 * 1024


class IndexCheck:
    """Takes the pieces of an index file and computes csum, entry count and archive size from the entries.

    The csum in the header is not compared: only files that we wrote are sure to have the right one (formats 3.3).
    ``digests`` of the last piece that was fed is what lies between entry boundaries in it.
    """

    def __init__(self, kind: ArchiveType) -> None:
        self._fixed = kind is ArchiveType.FIXED
        self._entry_size = index.FIXED_ENTRY_SIZE if self._fixed else index.DYNAMIC_ENTRY_SIZE
        self._header = b""
        self._rest = b""
        self._hash = hashlib.sha256()
        self._end = 0
        self.count = 0
        self.stored_size = 0

    def feed(self, piece: bytes) -> index.DigestArray:
        """Take the next bytes; answers the digests of the entries that they complete. Raises InvalidArgument."""
        self.stored_size += len(piece)
        if len(self._header) < index.HEADER_SIZE:
            missing = index.HEADER_SIZE - len(self._header)
            self._header, piece = self._header + piece[:missing], piece[missing:]
        data = self._rest + piece
        whole = len(data) - len(data) % self._entry_size
        self._rest = data[whole:]
        entries = memoryview(data)[:whole]
        self._hash.update(entries)
        self.count += whole // self._entry_size
        if self._fixed:
            return index.digest_array(entries)
        return self._dynamic(entries)

    def finish(self) -> tuple[bytes, int]:
        """csum and archive size, after the last piece. Raises InvalidArgument if the file is not whole."""
        if len(self._header) < index.HEADER_SIZE or self._rest:
            raise _wrong("the file ends inside of a header or an entry")
        if self.count == 0:
            raise _wrong("the index has no entries")
        magic = index.FIXED_MAGIC if self._fixed else index.DYNAMIC_MAGIC
        if self._header[:8] != magic:
            raise _wrong("wrong magic number")
        return self._hash.digest(), self._fixed_size() if self._fixed else self._end

    @property
    def header_csum(self) -> bytes:
        """What the header says."""
        return self._header[32:64]

    def _dynamic(self, entries: memoryview) -> index.DigestArray:
        table = np.frombuffer(entries, dtype=index.DYNAMIC_ENTRY)
        if len(table):
            ends = table["end"]
            if int(ends[0]) <= self._end or not bool(np.all(ends[1:] > ends[:-1])) or int(ends[-1]) >= 1 << 63:
                raise _wrong("the chunk ends do not increase")
            self._end = int(ends[-1])
        return np.ascontiguousarray(table["digest"])

    def _fixed_size(self) -> int:
        size = int.from_bytes(self._header[64:72], "little")
        chunk_size = int.from_bytes(self._header[72:80], "little")
        if chunk_size == 0 or chunk_size & (chunk_size - 1):
            raise _wrong(f"the chunk size {chunk_size} is no power of two")
        if -(-size // chunk_size) != self.count:
            raise _wrong("the number of entries does not fit the size")
        return size


def _wrong(what: str) -> InvalidArgument:
    return InvalidArgument(f"archive-name: {what}", field="archive-name")


async def checked(check: IndexCheck, pieces: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The pieces as they come, each fed to ``check``."""
    async for piece in pieces:
        check.feed(piece)
        yield piece
