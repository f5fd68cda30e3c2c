"""Step E: what was condemned long enough is deleted, then its row (formats 9.9)."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pbs_cloud.chunkstore.backends import store_location
from pbs_cloud.chunkstore.catalogue.parts import LATE_WRITE_SECONDS, to_the_end
from pbs_cloud.chunkstore.chunks import claim_db
from pbs_cloud.chunkstore.chunks.store import ChunkStore
from pbs_cloud.chunkstore.chunks.stores import StoreRegistry
from pbs_cloud.chunkstore.collection import runs
from pbs_cloud.chunkstore.collection.deleting import Doomed, Outcome, boot_time, deleter_for
from pbs_cloud.chunkstore.collection.runs import Run
from pbs_cloud.contracts.chunkstore.collection import SweepResult
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import Conflict
from pbs_cloud.runtime.database import Connection, Database
from pbs_cloud.runtime.settings import Settings

MOST = 1000
# 4 condemned, 5 deleting. The times are looked at before the lock, which can only make them too early, never too late.
# Nothing waits here (SKIP LOCKED), so the order is free: the indexes of both states give it.
_LOCK_CONDEMNED = """
SELECT digest FROM chunk
WHERE datastore_id = $1 AND state = 4 AND condemned_at <= clock_timestamp() - make_interval(secs => $2)
ORDER BY condemned_at LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED
"""
_LOCK_DELETING = """
SELECT digest FROM chunk
WHERE datastore_id = $1 AND state = 5
  AND (delete_sent_at IS NULL OR delete_sent_at <= clock_timestamp() - make_interval(secs => $2))
LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED
"""
_START = """
UPDATE chunk SET state = 5, delete_sent_at = $3 WHERE datastore_id = $1 AND digest = ANY($2) AND state IN (4, 5)
RETURNING digest, size, condemned_at IS NULL AS bad
"""
_STILL_OURS = """
SELECT digest FROM chunk WHERE datastore_id = $1 AND digest = ANY($2) AND state = 5 AND delete_sent_at = $3
"""
_REMOVE = """
DELETE FROM chunk WHERE datastore_id = $1 AND digest = ANY($2) AND state = 5 AND delete_sent_at = $3
RETURNING size, condemned_at IS NULL AS bad
"""
_REFUSED = """
UPDATE chunk SET delete_sent_at = NULL
WHERE datastore_id = $1 AND digest = ANY($2) AND state = 5 AND delete_sent_at = $3
"""
_COUNT = """
UPDATE gc_run SET removed_chunks = removed_chunks + $2, removed_bytes = removed_bytes + $3,
  removed_bad = removed_bad + $4 WHERE id = $1
"""


@dataclass(frozen=True, slots=True)
class _Picked:
    """Rows in `deleting`; ``sent`` is in each, as long as this attempt is its last."""

    chunks: tuple[Doomed, ...]
    sent: datetime

    @property
    def digests(self) -> list[bytes]:
        return [chunk.digest for chunk in self.chunks]


@dataclass(frozen=True, slots=True)
class SweptStore:
    """What a sweep works with."""

    run: Run
    name: str
    tenant: str
    chunks: ChunkStore
    local: bool


class Sweeping:
    """Deletes in batches, in the process that writes the chunks. `late_seconds`: Q of formats 9.9."""

    def __init__(
        self,
        database: Database,
        stores: StoreRegistry,
        settings: Settings,
        *,
        late_seconds: float = LATE_WRITE_SECONDS,
    ) -> None:
        self._database = database
        self._stores = stores
        self._settings = settings
        self._late_seconds = late_seconds

    async def sweep(self, ctx: CallContext, token: uuid.UUID, limit: int) -> SweepResult:
        """One batch. Raises Conflict (the run is lost), Unavailable."""
        return await to_the_end(self._sweep(ctx.tenant_id, token, max(1, min(limit, MOST))))

    async def store_of(self, tenant: str, token: uuid.UUID) -> SweptStore:
        """The datastore of a run, open. Raises Conflict."""
        async with self._database.tenant(tenant) as connection:
            run = await runs.require_run(connection, token)
            row = await connection.fetchrow(
                "SELECT name, backend_type, location, config, uuid FROM datastore WHERE id = $1 AND state = 'active'",
                run.datastore_id,
            )
        if row is None:
            raise Conflict("the datastore was removed")
        chunks = await self._stores.get(run.datastore_id, tenant, store_location(row))
        return SweptStore(run, row["name"], tenant, chunks, row["backend_type"] == "filesystem")

    async def _sweep(self, tenant: str, token: uuid.UUID, limit: int) -> SweepResult:
        store = await self.store_of(tenant, token)
        if store.run.phase != "delete" or store.run.dry_run:
            raise Conflict("this run has not condemned anything yet")
        began = boot_time()
        picked = await self._pick(store, limit)
        if not picked.chunks:
            return SweepResult(0, 0, 0, 0, False)
        async with self._exclusive(store, picked):
            ours = await self._still_ours(store, picked) if store.local else picked
            deleter = deleter_for(store.chunks.backend, self._settings, self._stores.io)
            outcome = await deleter.delete(ours.chunks, began)
            removed = await self._record(store, ours, outcome)
        good = [row["size"] for row in removed if not row["bad"]]
        bad = [row["size"] for row in removed if row["bad"] and row["size"]]
        more = len(picked.chunks) >= limit and bool(removed)
        return SweepResult(len(good), sum(good) + sum(bad), len(bad), len(ours.chunks) - len(removed), more)

    @asynccontextmanager
    async def _exclusive(self, store: SweptStore, picked: _Picked) -> AsyncIterator[None]:
        """In a directory: the locks of all digests, in their order, as a writer holds one until its row is live."""
        held: list[bytes] = []
        locks = store.chunks.digest_locks
        try:
            if store.local:
                for digest in sorted(picked.digests):
                    await locks.acquire(digest)
                    held.append(digest)
            yield
        finally:
            for digest in held:
                locks.release(digest)

    async def _pick(self, store: SweptStore, limit: int) -> _Picked:
        run, grace = store.run, self._settings.gc_grace_seconds
        late = 0.0 if store.local else self._late_seconds
        async with self._database.tenant(store.tenant) as connection:
            await runs.require_run(connection, run.token, lock=True)
            locked = await connection.fetch(_LOCK_CONDEMNED, run.datastore_id, grace, limit)
            if len(locked) < limit:
                locked += await connection.fetch(_LOCK_DELETING, run.datastore_id, late, limit - len(locked))
            sent: datetime = await connection.fetchval("SELECT clock_timestamp()")
            digests = [row["digest"] for row in locked]
            rows = await connection.fetch(_START, run.datastore_id, digests, sent) if digests else []
        return _Picked(tuple(Doomed(row["digest"], row["bad"]) for row in rows), sent)

    async def _still_ours(self, store: SweptStore, picked: _Picked) -> _Picked:
        """Under the locks: rows that nobody has removed (and then written anew) in the meantime."""
        async with self._database.tenant(store.tenant) as connection:
            rows = await connection.fetch(_STILL_OURS, store.run.datastore_id, picked.digests, picked.sent)
        ours = {row["digest"] for row in rows}
        return _Picked(tuple(chunk for chunk in picked.chunks if chunk.digest in ours), picked.sent)

    async def _record(self, store: SweptStore, picked: _Picked, outcome: Outcome) -> list[Any]:
        """Rows of what is gone, usage and the run's counters in one transaction; the rows that were removed."""
        datastore = store.run.datastore_id

        async def transaction() -> list[Any]:
            async with self._database.tenant(store.tenant) as connection:
                gone = sorted(outcome.deleted)
                removed: list[Any] = await connection.fetch(_REMOVE, datastore, gone, picked.sent) if gone else []
                if outcome.refused:
                    await connection.execute(_REFUSED, datastore, sorted(outcome.refused), picked.sent)
                await _count(connection, store, removed)
            return removed

        return await self._database.retrying(transaction)


async def _count(connection: Connection, store: SweptStore, removed: Sequence[Any]) -> None:
    freed = sum(row["size"] for row in removed)
    bad = sum(1 for row in removed if row["bad"] and row["size"])
    chunks = sum(1 for row in removed if not row["bad"])
    await connection.execute(_COUNT, store.run.id, chunks, freed, bad)
    await claim_db.count(connection, store.run.datastore_id, store.tenant, -freed)
