"""The chunks a backup session may append, with their sizes (wire-protocol 4.7).

Millions of inherited digests stay at 36 bytes each in sorted arrays; only the latest uploads are a dict.
"""

from bisect import bisect_left
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pbs_cloud.formats.blob import MAX_CHUNK_SIZE
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.index import DigestArray, DynamicIndex, FixedIndex, digest_array

FOLD_THRESHOLD: Final = 65_536
"""Uploads kept in the dict before they are folded into a sorted run (about 10 MiB)."""


@dataclass(frozen=True, slots=True)
class _Run:
    """Distinct digests in order with their sizes."""

    digests: DigestArray
    sizes: NDArray[np.uint32]

    @staticmethod
    def of(digests: DigestArray, sizes: NDArray[np.uint32]) -> "_Run":
        """Sort; of equal digests the last one counts."""
        digests = np.ascontiguousarray(digests)
        order = _order(digests)
        ordered = digests[order]
        last = np.append(ordered[1:] != ordered[:-1], True)
        return _Run(ordered[last], sizes[order][last])

    def get(self, digest: bytes) -> int | None:
        """Size of one digest."""
        view = memoryview(self.digests.view(np.uint8).data)
        position = bisect_left(range(len(self.sizes)), digest, key=lambda at: bytes(view[32 * at : 32 * at + 32]))
        return int(self.sizes[position]) if view[32 * position : 32 * position + 32] == digest else None

    def sizes_of(self, digests: DigestArray) -> NDArray[np.uint32]:
        """Size of each digest, 0 where it is not in this run."""
        positions = np.searchsorted(self.digests, digests)
        positions[positions == len(self.digests)] = 0
        return np.where(self.digests[positions] == digests, self.sizes[positions], np.uint32(0))


def _order(digests: DigestArray) -> NDArray[np.intp]:
    """Stable order of digests: by the first 8 bytes, which is faster and nearly always enough."""
    prefixes = digests.view(">u8")[::4].astype(np.uint64)
    order = np.argsort(prefixes, kind="stable")
    equal_prefix = np.flatnonzero(np.diff(prefixes[order]) == 0)
    if np.array_equal(digests[order[equal_prefix]], digests[order[equal_prefix + 1]]):
        return order
    return np.argsort(digests, kind="stable")


class KnownChunks:
    """Map of digest to raw size for one session; an upload counts before an inherited entry."""

    def __init__(self, fold_threshold: int = FOLD_THRESHOLD) -> None:
        self._fold_threshold = fold_threshold
        self._recent: dict[bytes, int] = {}
        self._uploaded: list[_Run] = []
        self._inherited: list[_Run] = []

    def add(self, digest: bytes, size: int) -> None:
        """Register an uploaded chunk of ``size`` plaintext bytes."""
        self._recent[digest] = size
        if len(self._recent) >= self._fold_threshold:
            self._fold()

    def _fold(self) -> None:
        run = _Run.of(
            digest_array(b"".join(self._recent)), np.fromiter(self._recent.values(), np.uint32, len(self._recent))
        )
        self._recent = {}
        while self._uploaded and len(self._uploaded[-1].digests) <= 2 * len(run.digests):
            older = self._uploaded.pop()
            run = _Run.of(np.concatenate((older.digests, run.digests)), np.concatenate((older.sizes, run.sizes)))
        self._uploaded.append(run)

    def register_index(self, index: FixedIndex | DynamicIndex) -> None:
        """Register all chunks of an index of the base snapshot; sorts, so call it off the event loop.

        Raises :class:`FormatError` for entries that no chunk can have (empty, or beyond 16 MiB).
        """
        sizes = index.sizes()
        if int(sizes.min()) < 1 or int(sizes.max()) > MAX_CHUNK_SIZE:
            raise FormatError("index: a chunk is empty or larger than 16 MiB")
        self._inherited.append(_Run.of(index.digests, sizes.astype(np.uint32)))

    def get(self, digest: bytes) -> int | None:
        """Raw size of a registered chunk, or None."""
        size = self._recent.get(digest)
        if size is not None:
            return size
        for run in (*reversed(self._uploaded), *reversed(self._inherited)):
            size = run.get(digest)
            if size is not None:
                return size
        return None

    def __contains__(self, digest: bytes) -> bool:
        return self.get(digest) is not None

    def inherits(self, digest: bytes) -> bool:
        """Whether a registered index (not an upload) names the digest."""
        return any(run.get(digest) is not None for run in self._inherited)

    def sizes_of(self, digests: DigestArray) -> NDArray[np.uint32]:
        """Raw size of each digest of an ``S32`` array, 0 for an unknown one."""
        sizes = self._in_runs(digests)
        if self._recent:
            joined = digests.tobytes()
            for position in range(len(digests)):
                size = self._recent.get(joined[32 * position : 32 * position + 32])
                if size is not None:
                    sizes[position] = size
        return sizes

    def _in_runs(self, digests: DigestArray) -> NDArray[np.uint32]:
        sizes = np.zeros(len(digests), dtype=np.uint32)
        for run in (*reversed(self._uploaded), *reversed(self._inherited)):
            sizes = np.where(sizes == 0, run.sizes_of(digests), sizes)
            if sizes.all():
                break
        return sizes
