"""Sorting of more digests than memory holds: sorted runs in nameless files, merged block by block.

A record begins with a digest (32 bytes) and may carry more; its size is a multiple of eight bytes.
Memory: one run while it is gathered and sorted (three times), one block of each run while they are merged.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pbs_cloud.formats.index import DIGESTS, DigestArray
from pbs_cloud.runtime.quiet_threads import quietly

Records: TypeAlias = NDArray[Any]
"""Array of `S32`, or of structures whose first field is `digest` (`S32`)."""

RUN_BYTES = 64 * 1024 * 1024
MERGE_BYTES = 32 * 1024 * 1024
"""What all blocks take together while runs are merged."""
PIECE_BYTES = 2 * 1024 * 1024


class SortedRuns:
    """``add`` records in any order, then read ``pieces`` of sorted ones; ``close`` drops all.

    Args:
        distinct: of records with the same digest one stays.
    """

    def __init__(
        self,
        dtype: np.dtype[Any] = DIGESTS,
        *,
        distinct: bool = False,
        run_bytes: int = RUN_BYTES,
        merge_bytes: int = MERGE_BYTES,
        piece_bytes: int = PIECE_BYTES,
    ) -> None:
        self._dtype = dtype
        self._distinct = distinct
        self._run_bytes = run_bytes
        self._merge_bytes = merge_bytes
        self._piece = max(piece_bytes // dtype.itemsize, 1)
        self._gathered: list[Records] = []
        self._gathered_bytes = 0
        self._files: list[IO[bytes]] = []

    async def add(self, records: Records) -> None:
        """Take records, in any order."""
        self._gathered.append(records)
        self._gathered_bytes += records.nbytes
        if self._gathered_bytes >= self._run_bytes:
            await quietly(self._spill, self._take())

    async def pieces(self) -> AsyncIterator[Records]:
        """All records in order; once."""
        last = self._take()
        if self._files:
            await quietly(self._spill, last)
            sorted_parts = self._merged()
        else:
            sorted_parts = iter([await quietly(self._sort, last)])
        while (part := await quietly(next, sorted_parts, None)) is not None:
            for start in range(0, len(part), self._piece):
                yield part[start : start + self._piece]

    def close(self) -> None:
        """Give memory and disk back."""
        self._gathered.clear()
        for file in self._files:
            file.close()

    def _take(self) -> list[Records]:
        gathered, self._gathered, self._gathered_bytes = self._gathered, [], 0
        return gathered

    def _sort(self, parts: list[Records]) -> Records:
        joined = np.concatenate(parts) if len(parts) > 1 else parts[0] if parts else np.empty(0, dtype=self._dtype)
        parts.clear()
        ordered = joined.take(sorting_order(joined))
        return _each_once(ordered) if self._distinct else ordered

    def _spill(self, parts: list[Records]) -> None:
        if parts:
            file = _nameless_file()
            self._files.append(file)
            file.write(self._sort(parts).view(np.uint8).data)

    def _merged(self) -> Iterator[Records]:
        """Up to the smallest end of all held blocks everything is known: that part is sorted and told."""
        block = max(self._merge_bytes // len(self._files) // self._dtype.itemsize, 1)
        cursors = [_Cursor(file, self._dtype, block) for file in self._files]
        while cursors := [cursor for cursor in cursors if len(cursor.held)]:
            ends = np.concatenate([cursor.held[-1:] for cursor in cursors])
            bound = digests_of(ends[sorting_order(ends)[:1]])
            yield self._sort([cursor.take(bound) for cursor in cursors])


class _Cursor:
    """Reads a sorted run block by block."""

    def __init__(self, file: IO[bytes], dtype: np.dtype[Any], block: int) -> None:
        self._file = file
        self._dtype = dtype
        self._bytes = block * dtype.itemsize
        file.seek(0)
        self.held: Records = self._read()

    def take(self, last: DigestArray) -> Records:
        """What is not beyond `last`; reads on when the block is used up."""
        count = int(np.searchsorted(digests_of(self.held), last, side="right")[0])
        taken, self.held = self.held[:count], self.held[count:]
        if not len(self.held):
            self.held = self._read()
        return taken

    def _read(self) -> Records:
        return np.frombuffer(self._file.read(self._bytes), dtype=self._dtype)


def digests_of(records: Records) -> DigestArray:
    """View of the records' digests."""
    digests: DigestArray = records if records.dtype == DIGESTS else records["digest"]
    return digests


def leading_words(records: Records) -> NDArray[np.uint64]:
    """The first eight bytes of each digest as a number that sorts as they do."""
    step = records.dtype.itemsize // 8
    words: NDArray[np.uint64] = np.ascontiguousarray(records).view(">u8")[::step].astype(np.uint64)
    return words


def sorting_order(records: Records) -> NDArray[np.intp]:
    """Places of the records in the order of their digests: by the first word, in full only where that is not enough."""
    words = leading_words(records)
    order = np.argsort(words)
    words = words.take(order)
    equal = np.flatnonzero(words[1:] == words[:-1])
    if len(equal):
        digests = digests_of(records)
        if bool((digests[order[equal]] > digests[order[equal + 1]]).any()):
            return np.argsort(digests, kind="stable")
    return order


def is_increasing(digests: DigestArray) -> bool:
    """Whether each digest is beyond the one before."""
    words = leading_words(digests)
    if bool((words[1:] > words[:-1]).all()):
        return True
    return bool((digests[1:] > digests[:-1]).all())


def members(wanted: DigestArray, among: DigestArray) -> NDArray[np.bool_]:
    """For each of `wanted` whether it is in `among`; both sorted."""
    if not len(among) or not len(wanted):
        return np.zeros(len(wanted), dtype=bool)
    words = leading_words(among)
    if bool((words[1:] == words[:-1]).any()):
        places = np.searchsorted(among, wanted)
    else:
        places = np.searchsorted(words, leading_words(wanted))
    places[places == len(among)] = len(among) - 1
    found: NDArray[np.bool_] = among.take(places) == wanted
    return found


def _each_once(ordered: Records) -> Records:
    words = leading_words(ordered)
    equal = np.flatnonzero(words[1:] == words[:-1])
    if not len(equal):
        return ordered
    digests = digests_of(ordered)
    keep = np.ones(len(ordered), dtype=bool)
    keep[equal[digests[equal] == digests[equal + 1]] + 1] = False
    return ordered[keep]


def _nameless_file() -> IO[bytes]:
    """A file that is gone with its process, however that ends."""
    with ExitStack() as stack:
        file = stack.enter_context(tempfile.TemporaryFile())
        stack.pop_all()
    return file
