"""Chunk rows of a datastore in digest order as numpy arrays: no Python object for each row (step D).

One COPY reads them in whatever order costs Postgres least; they are sorted here, beyond one run on disk. The order
of the primary key would have it look at a page for each row: four to ten times the work.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pbs_cloud.chunkstore.states import ChunkState
from pbs_cloud.contracts.errors import Internal
from pbs_cloud.runtime.database import Connection
from pbs_cloud.runtime.quiet_threads import quietly
from pbs_cloud.runtime.sorted_runs import SortedRuns

RUN_ROWS = 1_000_000
READ_SECONDS = 6 * 3600.0
"""A thousand million rows at some 10 µs each would take half of it."""

_HEADER = 19
_TRAILER = b"\xff\xff"
_PARSE_BYTES = 4 * 1024 * 1024
# Each row: number of fields, then for each its length and its value, all big-endian; no field is ever null.
_COPIED = np.dtype(
    [
        ("fields", ">i2"),
        ("digest_length", ">i4"),
        ("digest", "S32"),
        ("state_length", ">i4"),
        ("state", ">i2"),
        ("size_length", ">i4"),
        ("size", ">i4"),
        ("old_length", ">i4"),
        ("old", "?"),
    ]
)
_LENGTHS = (("fields", 4), ("digest_length", 32), ("state_length", 2), ("size_length", 4), ("old_length", 1))
ROW = np.dtype([("digest", "S32"), ("size", "<i4"), ("state", "<i2"), ("old", "?"), ("unused", "u1")])
_SELECT = "SELECT digest, state, size, touch_epoch < $2::bigint FROM chunk WHERE datastore_id = $1"

Rows: TypeAlias = NDArray[Any]
"""Structured: `digest` (S32), `state`, `size`, `old`: not touched since the cutoff."""

Transaction: TypeAlias = Callable[[], AbstractAsyncContextManager[Connection]]


async def read(transaction: Transaction, datastore_id: int, cutoff: int, run_rows: int = RUN_ROWS) -> SortedRuns:
    """All rows as one statement sees them; whoever reads the pieces also closes. Raises Internal, Unavailable."""
    rows = SortedRuns(ROW, run_bytes=run_rows * ROW.itemsize)
    copied = _CopiedRows()

    async def take(data: bytes) -> None:
        if copied.add(data):
            await rows.add(await quietly(copied.whole_rows))

    try:
        async with transaction() as connection:
            await connection.copy_from_query(
                _SELECT, datastore_id, cutoff, output=take, format="binary", timeout=READ_SECONDS
            )
        await rows.add(copied.end())
    except BaseException:
        rows.close()
        raise
    return rows


class _CopiedRows:
    """Takes the bytes of a binary COPY as they come."""

    def __init__(self) -> None:
        self._gathered: list[bytes] = []
        self._size = 0
        self._begun = False

    def add(self, data: bytes) -> bool:
        """Whether it is worth while to parse."""
        self._gathered.append(bytes(data))
        self._size += len(data)
        return self._size >= _PARSE_BYTES

    def whole_rows(self) -> Rows:
        """What can be read by now. Raises Internal if it is not what was asked for."""
        joined = b"".join(self._gathered)
        if not self._begun and len(joined) < _HEADER:
            return np.empty(0, dtype=ROW)
        start = 0 if self._begun else _HEADER
        self._begun = True
        count = (len(joined) - start) // _COPIED.itemsize
        rest = joined[start + count * _COPIED.itemsize :]
        self._gathered, self._size = [rest], len(rest)
        return _checked(np.frombuffer(joined, dtype=_COPIED, offset=start, count=count))

    def end(self) -> Rows:
        """The last rows. Raises Internal if the copy was cut off."""
        rows = self.whole_rows()
        if self._gathered != [_TRAILER]:
            raise Internal("chunk rows cannot be read")
        return rows


def _checked(copied: Rows) -> Rows:
    if not all((copied[name] == length).all() for name, length in _LENGTHS):
        raise Internal("chunk rows cannot be read")
    rows = np.empty(len(copied), dtype=ROW)
    for name in ("digest", "size", "state", "old"):
        rows[name] = copied[name]
    return rows


def is_state(rows: Rows, state: ChunkState) -> NDArray[np.bool_]:
    """Which rows are in a state."""
    found: NDArray[np.bool_] = rows["state"] == int(state)
    return found


def split(digests: NDArray[np.bytes_], size: int) -> list[list[bytes]]:
    """Digests as lists of at most `size` for SQL; all 32 bytes of each."""
    joined = np.ascontiguousarray(digests).tobytes()
    whole = [joined[start : start + 32] for start in range(0, len(joined), 32)]
    return [whole[start : start + size] for start in range(0, len(whole), size)]
