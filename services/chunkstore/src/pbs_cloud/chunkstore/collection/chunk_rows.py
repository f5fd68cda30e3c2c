"""Chunk rows of a datastore in digest order as numpy arrays, read with COPY: no Python object for each row (step D)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pbs_cloud.chunkstore.states import ChunkState
from pbs_cloud.contracts.errors import Internal
from pbs_cloud.runtime.database import Connection

BATCH_ROWS = 250_000
_HEADER = 19
_TRAILER = 2
# Each row: number of fields, then for each its length and its value, all big-endian; no field is ever null.
_ROW = np.dtype(
    [
        ("fields", ">i2"),
        ("digest_length", ">i4"),
        ("digest", "S32"),
        ("state_length", ">i4"),
        ("state", ">i2"),
        ("epoch_length", ">i4"),
        ("epoch", ">i8"),
        ("size_length", ">i4"),
        ("size", ">i4"),
    ]
)
_SELECT = """
SELECT digest, state, touch_epoch, size FROM chunk WHERE datastore_id = $1 AND digest > $2 ORDER BY digest LIMIT $3
"""
# Left to itself the planner sorts the whole table for each batch; the primary key has the order already.
_BY_KEY = "SET LOCAL enable_sort = off; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off"
_FIRST = "SELECT digest, state, touch_epoch, size FROM chunk WHERE datastore_id = $1 ORDER BY digest LIMIT $2"

Rows: TypeAlias = NDArray[Any]
"""Structured: `digest` (S32), `state`, `epoch`, `size`."""

Transaction: TypeAlias = Callable[[], AbstractAsyncContextManager[Connection]]


async def batches(transaction: Transaction, datastore_id: int, size: int = BATCH_ROWS) -> AsyncIterator[Rows]:
    """All rows, a batch for each transaction."""
    last: bytes | None = None
    while True:
        gathered: list[bytes] = []

        async def take(data: bytes, into: list[bytes] = gathered) -> None:
            into.append(bytes(data))

        async with transaction() as connection:
            arguments = (datastore_id, size) if last is None else (datastore_id, last, size)
            statement = _FIRST if last is None else _SELECT
            await connection.execute(_BY_KEY)
            await connection.copy_from_query(statement, *arguments, output=take, format="binary")
        rows = parse(b"".join(gathered))
        if len(rows):
            yield rows
        if len(rows) < size:
            return
        last = rows["digest"][-1:].tobytes()


def parse(copied: bytes) -> Rows:
    """Rows of a binary COPY. Raises Internal if it is not what was asked for."""
    body = len(copied) - _HEADER - _TRAILER
    if body < 0 or body % _ROW.itemsize:
        raise Internal("chunk rows cannot be read")
    rows = np.frombuffer(copied, dtype=_ROW, offset=_HEADER, count=body // _ROW.itemsize)
    if len(rows) and not ((rows["fields"] == 4).all() and (rows["digest_length"] == 32).all()):
        raise Internal("chunk rows cannot be read")
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
