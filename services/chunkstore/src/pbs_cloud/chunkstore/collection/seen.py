"""Leaves out digests that were told before, so that a hundred like indexes cost little more than one.

Being told twice is harmless, being left out wrongly is not: whatever is left out was compared in full.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Words: TypeAlias = NDArray[np.uint64]
"""Digests as rows of four 64-bit words."""

_MOST_SLOTS = 1 << 22
_FEWEST_SLOTS = 1 << 10
_LONGEST = 1 << 22
"""Entries of an index that are kept to compare its successor with: 128 MiB."""


class SeenDigests:
    """What one run has told: the previous index by position, and a table of digests (at most 4 million, 128 MiB).

    Args:
        longest: entries of the longest index; the table is made for them.
    """

    def __init__(self, longest: int = _LONGEST) -> None:
        slots = min(max(1 << (4 * longest).bit_length(), _FEWEST_SLOTS), _MOST_SLOTS)
        self._mask = np.uint64(slots - 1)
        self._table: Words = np.zeros((slots, 4), dtype=np.uint64)
        self._table[0] = 1  # an empty place must not know the digest of zeros: this one belongs elsewhere
        self._previous: Words = np.empty((0, 4), dtype=np.uint64)
        self._parts: list[Words] = []
        self._position = 0

    def start(self, *, related: bool) -> None:
        """Begin an index; ``related``: it is the same archive as the one before."""
        known = np.concatenate(self._parts) if self._parts and related else np.empty((0, 4), dtype=np.uint64)
        self._previous, self._parts, self._position = known, [], 0

    def unseen(self, digests: Words) -> Words:
        """Those of the index's next digests that were perhaps not told before."""
        start, self._position = self._position, self._position + len(digests)
        if self._position <= _LONGEST:
            self._parts.append(digests)
        before = self._previous[start : self._position]
        same = len(before)
        if same and np.array_equal(before, digests[:same]):
            return self._not_in_table(digests[same:])
        differs = np.ones(len(digests), dtype=bool)
        for word in range(4):
            different = before[:, word] != digests[:same, word]
            differs[:same] = different if word == 0 else differs[:same] | different
        return self._not_in_table(digests[differs])

    def _not_in_table(self, digests: Words) -> Words:
        """Each digest has two places; who finds the first one taken goes to the second, whoever was there leaves."""
        new = digests[~self._holds(digests, 0)]
        new = new[~self._holds(new, 1)]
        if not len(new):
            return new
        first = self._slots(new, 0)
        taken = self._table[first].any(axis=1)
        self._table[first[~taken]] = new[~taken]
        self._table[self._slots(new[taken], 1)] = new[taken]
        return new

    def _slots(self, digests: Words, word: int) -> NDArray[np.int64]:
        return (digests[:, word] & self._mask).astype(np.int64)

    def _holds(self, digests: Words, word: int) -> NDArray[np.bool_]:
        """Which digests stand in full at their first (`word` 0) or second place."""
        same: NDArray[np.bool_] = (self._table[self._slots(digests, word)] == digests).all(axis=1)
        return same
