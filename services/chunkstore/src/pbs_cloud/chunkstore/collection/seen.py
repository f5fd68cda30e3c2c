"""Leaves out digests that were told before, so that a hundred like indexes cost little more than one.

Being told twice is harmless, being left out wrongly is not: whatever is left out was compared in full.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Words: TypeAlias = NDArray[np.uint64]
"""Rows of 64-bit words: digests have four, entries of a dynamic index five (the first is where the chunk ends)."""

_DIGEST = 4
_MOST_SLOTS = 1 << 22
_FEWEST_SLOTS = 1 << 10
_LONGEST = 1 << 23
"""Entries of an index that are kept to compare its successor with: at most 320 MiB."""
_ALL_EQUAL = 0x01010101


class SeenDigests:
    """What one run has told: the last index by position, and a table of digests (at most 4 million, 128 MiB).

    Args:
        longest: entries of the longest index; room is made for them.
    """

    def __init__(self, longest: int = _LONGEST) -> None:
        slots = min(max(1 << (2 * longest).bit_length(), _FEWEST_SLOTS), _MOST_SLOTS)
        self._mask = np.uint64(slots - 1)
        self._table: Words = np.zeros((slots, _DIGEST), dtype=np.uint64)
        self._table[0] = 1  # an empty place must not know the digest of zeros: this one belongs elsewhere
        self._room: NDArray[np.uint64] = np.empty(min(longest, _LONGEST) * (_DIGEST + 1), dtype=np.uint64)
        self._known = 0
        self._position = 0

    def start(self, *, related: bool) -> None:
        """Begin an index; ``related``: it is the same archive, of the same kind, as the one before."""
        self._known = max(self._known, self._position) if related else 0
        self._position = 0

    def unseen(self, entries: Words) -> Words:
        """Digests among the index's next entries that were perhaps not told before."""
        width = entries.shape[1]
        kept = self._room[: len(self._room) // width * width].reshape(-1, width)
        start, self._position = self._position, self._position + len(entries)
        before = kept[start : min(self._position, self._known)]
        same, there = entries[: len(before)], entries[len(before) :]
        kept[start + len(before) : self._position] = there[: max(len(kept) - start - len(before), 0)]
        return self._not_in_table(np.concatenate([_replaced(before, same), there[:, width - _DIGEST :]]))

    def _not_in_table(self, digests: Words) -> Words:
        """Each digest has two places; who finds the first one taken goes to the second, whoever was there leaves."""
        first = self._slots(digests, 0)
        there = self._table.take(first, axis=0)
        new = ~_equal(there, digests)
        digests, first, free = digests[new], first[new], there[new, 0] == 0
        second = self._slots(digests, 1)
        new = ~_equal(self._table.take(second, axis=0), digests)
        digests, free = digests[new], free[new]
        self._table[np.where(free, first[new], second[new])] = digests
        return digests

    def _slots(self, digests: Words, word: int) -> NDArray[np.int64]:
        return (digests[:, word] & self._mask).astype(np.int64)


def _replaced(before: Words, entries: Words) -> Words:
    """Digests of the entries that differ from those before; afterwards `before` is what `entries` is."""
    width = entries.shape[1]
    differing = np.flatnonzero((before != entries).ravel())
    if len(differing) > len(entries) // 4:
        rows = np.flatnonzero(~_equal(before[:, width - _DIGEST :], entries[:, width - _DIGEST :]))
        before[:] = entries
    else:
        rows = differing[differing % width >= width - _DIGEST] // width
        rows = rows[np.diff(rows, prepend=-1) > 0]  # several words of one digest
        before.ravel()[differing] = entries.ravel()[differing]
    return entries[rows, width - _DIGEST :]


def _equal(some: Words, others: Words) -> NDArray[np.bool_]:
    """Row by row, whether all four words are the same."""
    same = np.equal(some, others, order="C")
    equal: NDArray[np.bool_] = same.view(np.uint32).ravel() == _ALL_EQUAL
    return equal
