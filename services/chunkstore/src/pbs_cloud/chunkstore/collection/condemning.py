"""Step D: rows that no index names and no session can have claimed become condemned (formats 9.9)."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pbs_cloud.chunkstore.catalogue.parts import Parts
from pbs_cloud.chunkstore.collection import chunk_rows, runs
from pbs_cloud.chunkstore.collection.chunk_rows import Rows, is_state
from pbs_cloud.chunkstore.collection.merge import SortedStream
from pbs_cloud.chunkstore.collection.runs import Run
from pbs_cloud.chunkstore.states import ChunkState
from pbs_cloud.contracts.chunkstore.collection import CondemnResult
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import Conflict
from pbs_cloud.formats.index import DigestArray
from pbs_cloud.runtime.database import Connection
from pbs_cloud.runtime.quiet_threads import quietly
from pbs_cloud.runtime.sorted_runs import members

_BATCH = 1000
_MISSING_TOLD = 100
# 1 uploading, 2 live, 3 corrupt, 4 condemned, 5 deleting. What is locked by others is left to the next run; what could
# be locked was looked at again after the lock.
_LOCK = """
SELECT digest FROM chunk WHERE datastore_id = $1 AND digest = ANY($2) AND state = $4 AND touch_epoch < $3
ORDER BY digest FOR NO KEY UPDATE SKIP LOCKED
"""
_LOCK_UPLOADS = """
SELECT c.digest FROM chunk c LEFT JOIN session s ON s.id = c.owner_session
WHERE c.datastore_id = $1 AND c.digest = ANY($2) AND c.state = $4 AND c.touch_epoch < $3
  AND (s.id IS NULL OR (s.state <> 'active' AND s.ended_at <= clock_timestamp() - make_interval(secs => $5)))
ORDER BY c.digest FOR NO KEY UPDATE OF c SKIP LOCKED
"""
_CONDEMN = """
UPDATE chunk SET state = 4, condemned_run = $4, condemned_at = clock_timestamp()
WHERE datastore_id = $1 AND digest = ANY($2) AND state = 2 AND touch_epoch < $3 RETURNING size
"""
# The bytes of an upload that was never live are in no usage counter.
_DISCARD = """
UPDATE chunk SET state = 5, size = CASE state WHEN 1 THEN 0 ELSE size END, condemned_run = $4, condemned_at = NULL,
  delete_sent_at = NULL, owner_session = NULL, writer = NULL
WHERE datastore_id = $1 AND digest = ANY($2) AND state IN (1, 3) AND touch_epoch < $3 RETURNING size
"""
_LOCK_CONDEMNED = """
SELECT 1 FROM chunk WHERE datastore_id = $1 AND digest = ANY($2) AND state = 4 ORDER BY digest FOR NO KEY UPDATE
"""
_RESCUE = """
UPDATE chunk SET state = 2, condemned_run = NULL, condemned_at = NULL
WHERE datastore_id = $1 AND digest = ANY($2) AND state = 4 RETURNING size
"""


@dataclass(frozen=True, slots=True)
class _Found:
    """What a range of rows and marks says; rows that may change are those not touched since the cutoff."""

    rows: int
    referenced: int
    unreferenced: int
    live: int
    live_bytes: int
    bad: int
    bad_bytes: int
    missing: DigestArray
    unused_live: DigestArray
    unused_corrupt: DigestArray
    unused_uploading: DigestArray
    rescued: DigestArray


def _compare(rows: Rows, marked: DigestArray) -> _Found:
    """Rows with the marks of their range, both sorted; blocking."""
    digests = np.ascontiguousarray(rows["digest"])
    in_use = members(digests, marked)
    used = int(in_use.sum())
    missing = marked[:0] if used == len(marked) else marked[~members(marked, digests)]
    live, corrupt = is_state(rows, ChunkState.LIVE), is_state(rows, ChunkState.CORRUPT)
    uploading, condemned = is_state(rows, ChunkState.UPLOADING), is_state(rows, ChunkState.CONDEMNED)
    unused = rows["old"] & ~in_use
    return _Found(
        rows=len(rows),
        referenced=used,
        unreferenced=int((~in_use & ~uploading).sum()),
        live=int(live.sum()),
        live_bytes=int(rows["size"][live].sum(dtype=np.int64)),
        bad=int(corrupt.sum()),
        bad_bytes=int(rows["size"][corrupt].sum(dtype=np.int64)),
        missing=missing,
        unused_live=digests[live & unused],
        unused_corrupt=digests[corrupt & unused],
        unused_uploading=digests[uploading & unused],
        rescued=digests[condemned & in_use],
    )


@dataclass(slots=True)
class _Tally:
    rows: int = 0
    referenced: int = 0
    unreferenced: int = 0
    condemned: int = 0
    discarded: int = 0
    missing_count: int = 0
    missing: list[bytes] = field(default_factory=list)
    live: int = 0
    live_bytes: int = 0
    condemned_bytes: int = 0
    bad: int = 0
    bad_bytes: int = 0

    def add(self, found: _Found) -> None:
        """Count a range as it was read."""
        self.rows += found.rows
        self.referenced += found.referenced
        self.unreferenced += found.unreferenced
        self.live += found.live
        self.live_bytes += found.live_bytes
        self.bad += found.bad
        self.bad_bytes += found.bad_bytes
        self.add_missing(found.missing)

    def add_missing(self, digests: DigestArray) -> None:
        """Digests that an index names and no row has."""
        self.missing_count += len(digests)
        room = _MISSING_TOLD - len(self.missing)
        if room > 0 and len(digests):
            self.missing += chunk_rows.split(digests[:room], room)[0]


class Condemning:
    """Merges the rows with the marks, batch by batch."""

    def __init__(self, parts: Parts, *, batch_rows: int = chunk_rows.RUN_ROWS) -> None:
        self._parts = parts
        self._grace = parts.settings.gc_grace_seconds
        self._batch_rows = batch_rows

    async def condemn(self, ctx: CallContext, token: uuid.UUID, digests: AsyncIterable[bytes]) -> CondemnResult:
        """The marks come as sorted, distinct digests. Raises Conflict, InvalidArgument, Unavailable."""
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            run = await runs.require_run(connection, token)
        if run.cutoff is None or run.phase != "condemn":
            raise Conflict("the indexes of this run were not read")
        tally = _Tally()
        marks = SortedStream(digests)

        def transaction() -> AbstractAsyncContextManager[Connection]:
            return self._parts.database.tenant(ctx.tenant_id)

        found = await chunk_rows.read(transaction, run.datastore_id, run.cutoff, self._batch_rows)
        try:
            async for rows in found.pieces():
                marked = await marks.up_to(rows["digest"][-1:])
                await self._judge(ctx.tenant_id, run, await quietly(_compare, rows, marked), tally)
        finally:
            found.close()
        async for beyond in marks.rest():
            tally.add_missing(beyond)
        await self._store(ctx.tenant_id, run, tally)
        return CondemnResult(
            rows=tally.rows,
            referenced=tally.referenced,
            unreferenced=tally.unreferenced,
            condemned=tally.condemned,
            discarded=tally.discarded,
            missing_count=tally.missing_count,
            missing=tuple(tally.missing),
        )

    async def _judge(self, tenant: str, run: Run, found: _Found, tally: _Tally) -> None:
        tally.add(found)
        if run.dry_run:
            return
        done = await self._change(tenant, run, ChunkState.LIVE, found.unused_live)
        tally.condemned += len(done)
        tally.condemned_bytes += sum(done)
        damaged = await self._change(tenant, run, ChunkState.CORRUPT, found.unused_corrupt)
        tally.bad -= len(damaged)
        tally.bad_bytes -= sum(damaged)
        dead = await self._change(tenant, run, ChunkState.UPLOADING, found.unused_uploading)
        tally.discarded += len(damaged) + len(dead)
        await self._rescue(tenant, run, found.rescued, tally)

    async def _rescue(self, tenant: str, run: Run, digests: NDArray[np.bytes_], tally: _Tally) -> None:
        """A condemned chunk that an index names after all is live: that is always safe."""
        for part in chunk_rows.split(digests, _BATCH):
            async with self._parts.database.tenant(tenant) as connection:
                await connection.fetch(_LOCK_CONDEMNED, run.datastore_id, part)
                sizes = [row["size"] for row in await connection.fetch(_RESCUE, run.datastore_id, part)]
            tally.live += len(sizes)
            tally.live_bytes += sum(sizes)

    async def _change(self, tenant: str, run: Run, state: ChunkState, digests: NDArray[np.bytes_]) -> Sequence[int]:
        """Sizes of the rows that left `state`; each batch only while the run is ours."""
        sizes: list[int] = []
        lock, more = (_LOCK_UPLOADS, (self._grace,)) if state is ChunkState.UPLOADING else (_LOCK, ())
        change = _CONDEMN if state is ChunkState.LIVE else _DISCARD
        for part in chunk_rows.split(digests, _BATCH):
            async with self._parts.database.tenant(tenant) as connection:
                await runs.require_run(connection, run.token, lock=True)
                locked = await connection.fetch(lock, run.datastore_id, part, run.cutoff, int(state), *more)
                picked = [row["digest"] for row in locked]
                rows = await connection.fetch(change, run.datastore_id, picked, run.cutoff, run.run_epoch)
            sizes += [row["size"] for row in rows]
        return sizes

    async def _store(self, tenant: str, run: Run, tally: _Tally) -> None:
        async with self._parts.database.tenant(tenant) as connection:
            await runs.require_run(connection, run.token, lock=True)
            await runs.set_phase(
                connection,
                run,
                "delete",
                rows=tally.rows,
                referenced=tally.referenced,
                unreferenced=tally.unreferenced,
                missing=tally.missing_count,
                disk_chunks=tally.live - tally.condemned,
                disk_bytes=tally.live_bytes - tally.condemned_bytes + tally.bad_bytes,
                still_bad=tally.bad,
            )
