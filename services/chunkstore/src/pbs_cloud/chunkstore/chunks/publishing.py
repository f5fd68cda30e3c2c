"""From written to `live`: one sync for all files of the last two seconds, then their rows in one transaction.

A directory's rows stay `uploading` until the group sync; a bucket's go live in batches as soon as their PUT was
answered (formats 9.9: only the owner sets `live`, and only when the object is durable).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from pbs_cloud.chunkstore.backends.port import ChunkBackend
from pbs_cloud.chunkstore.chunks import claim_db, metrics
from pbs_cloud.chunkstore.chunks.claim_db import Written
from pbs_cloud.chunkstore.chunks.quota import QuotaLedger
from pbs_cloud.contracts.errors import PbsError
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.logging import get_logger

SYNC_SECONDS = 2.0
BATCH_SECONDS = 0.004
_SLICE = 500
_HURRY_BYTES = 1 << 30
_RETRY_SECONDS = 1.0
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StoreIds:
    """Which datastore, whose, and which run of this process."""

    datastore: int
    tenant: str
    writer: UUID


@dataclass(frozen=True, slots=True)
class _Pending:
    written: Written
    reserved: int
    live: asyncio.Future[bool]


class Publisher:
    """Sets the rows of one datastore live. `release` is called with each digest that is done with."""

    def __init__(
        self,
        database: Database,
        backend: ChunkBackend,
        ids: StoreIds,
        quota: QuotaLedger,
        release: Callable[[bytes], None],
    ) -> None:
        self._database = database
        self._backend = backend
        self._ids = ids
        self._quota = quota
        self._release = release
        self._pending: list[_Pending] = []
        self._pending_bytes = 0
        self._unresolved: set[asyncio.Future[bool]] = set()
        self._hurry = asyncio.Event()
        self._rounds: asyncio.Task[None] | None = None
        self._lost: set[bytes] = set()

    def add(self, written: Written, reserved: int) -> asyncio.Future[bool]:
        """Take over a written object and its digest's lock; the future says whether it went live.

        Args:
            reserved: bytes of it that the quota ledger holds as claimed.
        """
        live: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._pending.append(_Pending(written, reserved, live))
        self._pending_bytes += written.info.size
        self._lost.discard(written.digest)
        self._unresolved.add(live)
        live.add_done_callback(self._unresolved.discard)
        if self._pending_bytes >= _HURRY_BYTES:
            self._hurry.set()
        if self._rounds is None:
            self._rounds = asyncio.create_task(self._run())
        return live

    def hurry(self) -> None:
        """Somebody waits: do not wait for the next regular sync."""
        self._hurry.set()

    async def flush(self) -> None:
        """Wait until everything that was added before is live or has failed."""
        self.hurry()
        if waiting := list(self._unresolved):
            await asyncio.wait(waiting)

    def was_lost(self, digest: bytes) -> bool:
        """Whether the storage failed to keep an object of this run; its row was not set live."""
        return digest in self._lost

    async def publish_now(self, items: Sequence[Written]) -> set[bytes]:
        """Sync, then set rows live whose locks the caller holds; the digests that are live."""
        await self._backend.sync()
        return await self._set_live(items)

    async def _run(self) -> None:
        try:
            while self._pending:
                await self._pause()
                batch, self._pending, self._pending_bytes = self._pending, [], 0
                await self._round(batch)
        finally:
            self._rounds = None

    async def _pause(self) -> None:
        if self._backend.immediate:
            await asyncio.sleep(BATCH_SECONDS)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SYNC_SECONDS):
                await self._hurry.wait()
        self._hurry.clear()

    async def _round(self, batch: list[_Pending]) -> None:
        try:
            with metrics.SYNC_SECONDS.time():
                await self._backend.sync()
        except Exception as error:
            await self._storage_failed(batch, error)
            return
        metrics.SYNCS.labels("ok").inc()
        for start in range(0, len(batch), _SLICE):
            part = batch[start : start + _SLICE]
            live = await self._set_live_patiently([entry.written for entry in part])
            for entry in part:
                self._resolve(entry, live=entry.written.digest in live)

    async def _set_live_patiently(self, items: Sequence[Written]) -> set[bytes]:
        """The objects are durable, so this goes on until the database has said yes or no."""
        while True:
            try:
                return await self._set_live(items)
            except Exception as error:
                _log.warning("rows cannot be set live yet", error=str(error), count=len(items))
                await asyncio.sleep(_RETRY_SECONDS)

    async def _set_live(self, items: Sequence[Written]) -> set[bytes]:
        ids = self._ids

        async def transaction() -> set[bytes]:
            async with self._database.tenant(ids.tenant) as db:
                live = await claim_db.publish(db, ids.datastore, ids.tenant, items, ids.writer)
                others = [item.digest for item in items if item.digest not in live]
                # An earlier attempt whose commit was not confirmed, or another session's upload.
                return live | await claim_db.live_among(db, ids.datastore, others) if others else live

        return await self._database.retrying(transaction)

    async def _storage_failed(self, batch: list[_Pending], error: Exception) -> None:
        """After a failed sync nobody knows what is on disk, and the next one would not tell: give the files up."""
        metrics.SYNCS.labels("failed").inc()
        _log.error("group sync failed, uploads of the last seconds are lost", error=str(error), count=len(batch))
        self._lost.update(entry.written.digest for entry in batch)
        with contextlib.suppress(PbsError):
            await self._backend.delete_chunks([entry.written.digest for entry in batch])
        for entry in batch:
            self._resolve(entry, live=False)

    def _resolve(self, entry: _Pending, *, live: bool) -> None:
        self._quota.ended(self._ids.tenant, entry.reserved, entry.written.growth if live else 0)
        self._release(entry.written.digest)
        if not entry.live.done():
            entry.live.set_result(live)
