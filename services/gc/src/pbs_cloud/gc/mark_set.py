"""The digests in use, sorted: 32 bytes each in sorted runs on disk, whatever their number (formats 9.9, step C).

Memory: one run while it is gathered and sorted (64 MiB, twice), one block of each run while they are merged.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from typing import IO

import numpy as np

from pbs_cloud.formats.index import DIGESTS, DigestArray

RUN_BYTES = 64 * 1024 * 1024
BLOCK_BYTES = 1024 * 1024
_SIZE = 32


class MarkSet:
    """``add`` unsorted digests, then read ``pieces`` of sorted, distinct ones; ``close`` drops all."""

    def __init__(self, run_bytes: int = RUN_BYTES, block_bytes: int = BLOCK_BYTES) -> None:
        self._run_bytes = run_bytes
        self._block_bytes = block_bytes
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        self._runs: list[IO[bytes]] = []

    async def add(self, digests: bytes) -> None:
        """Take concatenated digests, in any order, as often as they come."""
        self._gathered.append(digests)
        self._gathered_bytes += len(digests)
        if self._gathered_bytes >= self._run_bytes:
            await self._spill()

    async def pieces(self) -> AsyncIterator[bytes]:
        """All digests, each once, in order."""
        await self._spill()
        merged = _merge(self._runs, self._block_bytes)
        while (piece := await asyncio.to_thread(next, merged, None)) is not None:
            yield piece

    def close(self) -> None:
        """Give memory and disk back."""
        self._gathered.clear()
        for file in self._runs:
            file.close()

    async def _spill(self) -> None:
        if not self._gathered_bytes:
            return
        gathered, self._gathered, self._gathered_bytes = self._gathered, [], 0
        await asyncio.to_thread(self._write_run, gathered)

    def _write_run(self, gathered: list[bytes]) -> None:
        joined = b"".join(gathered)
        gathered.clear()
        file = _nameless_file()
        self._runs.append(file)
        file.write(distinct(np.frombuffer(joined, dtype=DIGESTS)).tobytes())


def _nameless_file() -> IO[bytes]:
    """A file that is gone with its process, however that ends."""
    with ExitStack() as stack:
        file = stack.enter_context(tempfile.TemporaryFile())
        stack.pop_all()
    return file


def distinct(digests: DigestArray) -> DigestArray:
    """Sorted, each once."""
    found = np.sort(digests)
    if len(found) < 2:
        return found
    keep = np.ones(len(found), dtype=bool)
    np.not_equal(found[1:], found[:-1], out=keep[1:])
    return found[keep]


class _Cursor:
    """Reads a sorted run block by block."""

    def __init__(self, file: IO[bytes], block_bytes: int) -> None:
        self._file = file
        self._offset = 0
        self._block_bytes = max(block_bytes // _SIZE, 1) * _SIZE
        self.held: DigestArray = np.empty(0, dtype=DIGESTS)
        self.fill()

    def fill(self) -> None:
        """Read the next block when the last one is used up."""
        if len(self.held):
            return
        self._file.seek(self._offset)
        block = self._file.read(self._block_bytes)
        self._offset += len(block)
        self.held = np.frombuffer(block, dtype=DIGESTS)

    def take(self, last: DigestArray) -> DigestArray:
        """What is not beyond `last`."""
        count = int(np.searchsorted(self.held, last, side="right")[0])
        taken, self.held = self.held[:count], self.held[count:]
        return taken


def _merge(runs: list[IO[bytes]], block_bytes: int) -> Iterator[bytes]:
    """Up to the smallest end of all held blocks everything is known: that part is sorted and told."""
    cursors = [_Cursor(file, block_bytes) for file in runs]
    while cursors := [cursor for cursor in cursors if len(cursor.held)]:
        bound = np.sort(np.concatenate([cursor.held[-1:] for cursor in cursors]))[:1]
        merged = distinct(np.concatenate([cursor.take(bound) for cursor in cursors]))
        for cursor in cursors:
            cursor.fill()
        step = block_bytes // _SIZE or 1
        for start in range(0, len(merged), step):
            yield merged[start : start + step].tobytes()
