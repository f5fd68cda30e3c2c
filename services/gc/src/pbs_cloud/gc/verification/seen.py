"""Which chunks a run has found sound, in bounded memory (formats 11.1: each distinct digest once per job)."""

from __future__ import annotations

import tempfile
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

RUN_ENTRIES: Final = 1 << 20
"""Entries of a sorted run that stays in memory; larger ones go to a file (36 bytes an entry)."""
KEY: Final = np.dtype("S36")
KeyArray: TypeAlias = NDArray[np.bytes_]


def chunk_keys(digests: NDArray[np.bytes_], sizes: NDArray[np.uint64]) -> KeyArray:
    """Digest and size of each entry as one key; sizes are below 2**32."""
    joined = np.empty((len(digests), 36), dtype=np.uint8)
    joined[:, :32] = np.ascontiguousarray(digests).view(np.uint8).reshape(-1, 32)
    joined[:, 32:] = sizes.astype(">u4").view(np.uint8).reshape(-1, 4)
    return joined.reshape(-1).view(KEY)


class SeenChunks:
    """A growing set of keys in sorted runs."""

    def __init__(self, run_entries: int = RUN_ENTRIES) -> None:
        self._run_entries = run_entries
        self._runs: list[KeyArray] = []
        self._stored: list[KeyArray] = []

    def __len__(self) -> int:
        return sum(len(run) for run in (*self._runs, *self._stored))

    def unseen(self, keys: KeyArray) -> KeyArray:
        """Those of ``keys`` that are not in the set, each once, in order."""
        keys = np.unique(keys)
        for run in (*self._runs, *self._stored):
            keys = keys[~_contains(run, keys)]
        return keys

    def add(self, keys: KeyArray) -> None:
        """Add keys that `unseen` answered."""
        if not len(keys):
            return
        run = np.sort(keys)
        while self._runs and len(self._runs[-1]) <= 2 * len(run):
            run = np.sort(np.concatenate((self._runs.pop(), run)))
        if len(run) >= self._run_entries:
            self._stored.append(_on_disk(run))
        else:
            self._runs.append(run)


def _contains(run: KeyArray, keys: KeyArray) -> NDArray[np.bool_]:
    positions = np.searchsorted(run, keys)
    positions[positions == len(run)] = 0
    return np.asarray(run[positions] == keys)


def _on_disk(run: KeyArray) -> KeyArray:
    """A copy in a file that is gone with the array."""
    with tempfile.TemporaryFile(prefix="verify-") as file:
        stored = np.memmap(file, dtype=KEY, mode="w+", shape=run.shape)
    stored[:] = run
    return stored
