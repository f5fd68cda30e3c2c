"""Garbage collection as a task: drives the steps of formats 9.9 through the chunk store, and tells the log."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from pbs_cloud.contracts.chunkstore.collection import (
    CollectionClient,
    CollectionRun,
    CollectionState,
    CondemnResult,
    MarkSummary,
    SweeperClient,
)
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import Conflict, Locked, PbsError, Unavailable
from pbs_cloud.contracts.gc import CollectionStatistics
from pbs_cloud.contracts.rights import Privilege, datastore_path, require
from pbs_cloud.gc.collection_log import CollectionLog
from pbs_cloud.gc.mark_set import MarkSet
from pbs_cloud.gc.tasks import TaskLog, TaskRunner
from pbs_cloud.runtime.logging import get_logger

T = TypeVar("T")
WORKER_TYPE = "garbage_collection"
ALREADY_RUNNING = "garbage collection already running"
START_WAIT_SECONDS = 10.0
RENEW_SECONDS = 15.0
SWEEP_BATCH = 1000
_RETRIES = 5
_RETRY_SECONDS = 3.0
_MOST_RESULTS = 256
_log = get_logger(__name__)


@dataclass(slots=True)
class _Progress:
    """What a run did, for its log and its statistics."""

    run: CollectionRun
    max_delete: int | None
    condemned: CondemnResult | None = None
    removed_chunks: int = 0
    removed_bytes: int = 0
    errors: list[str] = field(default_factory=list)

    def statistics(self) -> CollectionStatistics:
        """As rest-api D.6 shows them."""
        found = self.condemned
        return CollectionStatistics(
            chunks_scanned=found.rows if found else 0,
            chunks_referenced=found.referenced if found else 0,
            chunks_orphaned=found.unreferenced if found else 0,
            chunks_deleted=self.removed_chunks,
            bytes_freed=self.removed_bytes,
            errors=tuple(self.errors),
        )


class Collection:
    """Starts runs and carries them through; any number of replicas may try, one run at a time is begun."""

    def __init__(
        self,
        collection: CollectionClient,
        sweeper: SweeperClient,
        tasks: TaskRunner,
        process_id: str,
        *,
        start_wait_seconds: float = START_WAIT_SECONDS,
        renew_seconds: float = RENEW_SECONDS,
    ) -> None:
        self._collection = collection
        self._sweeper = sweeper
        self._tasks = tasks
        self._process_id = process_id
        self._start_wait_seconds = start_wait_seconds
        self._renew_seconds = renew_seconds
        self._results: dict[str, CollectionStatistics] = {}
        self._bodies: set[str] = set()

    async def start(
        self,
        ctx: CallContext,
        store: str,
        *,
        dry_run: bool = False,
        max_delete: int | None = None,
        wait_seconds: float = 0.0,
    ) -> tuple[str, CollectionStatistics | None]:
        """UPID of the task; its statistics if it ended within ``wait_seconds``.

        Waits for a run that is under way, but not for long. Raises PermissionDenied, NotFound, Conflict.
        """
        require(ctx.caller, datastore_path(store), Privilege.DATASTORE_MODIFY)
        await self.wait_until_cleared()
        run = await self._begin(ctx, store, dry_run)
        upid = await self._launch(ctx, run, max_delete)
        if wait_seconds > 0:
            try:
                async with asyncio.timeout(wait_seconds):
                    await self._tasks.wait(upid)
            except TimeoutError:
                return upid, None
        return upid, self._results.pop(upid, None) if wait_seconds > 0 else None

    async def start_scheduled(self, ctx: CallContext, store: str) -> str:
        """UPID of the task of a run that nobody asked for. Raises Locked if one is under way."""
        await self.wait_until_cleared()
        return await self._launch(ctx, await self._collection.begin(ctx, store, self._process_id), None)

    async def wait_until_cleared(self) -> None:
        """Until the runs of an earlier process with this id may be taken over. Raises Unavailable."""
        await self._tasks.wait_until_cleared()

    @property
    def running(self) -> int:
        """Runs of this process."""
        return len(self._bodies)

    async def states(self, ctx: CallContext, store: str | None, *, with_chunks: bool) -> tuple[CollectionState, ...]:
        """State of the tenant's datastores, or of one. Raises NotFound."""
        found = self._collection.states(ctx, store, with_chunks=with_chunks)
        return tuple([state async for state in found])

    async def _begin(self, ctx: CallContext, store: str, dry_run: bool) -> CollectionRun:
        deadline = asyncio.get_running_loop().time() + self._start_wait_seconds
        while True:
            try:
                return await self._collection.begin(ctx, store, self._process_id, dry_run=dry_run)
            except Locked as error:
                if asyncio.get_running_loop().time() >= deadline:
                    raise Conflict(ALREADY_RUNNING) from error
            await asyncio.sleep(0.25)

    async def _launch(self, ctx: CallContext, run: CollectionRun, max_delete: int | None) -> str:
        """The task of a run that has begun; without a task the run ends."""

        async def body(log: TaskLog) -> None:
            await self._run_to_its_end(ctx, _Progress(run, max_delete), log)

        try:
            return await self._tasks.begin(ctx, WORKER_TYPE, run.store, body)
        except PbsError as error:
            await self._collection.end(ctx, run.token, "", error.message, complete=False)
            raise

    async def _run_to_its_end(self, ctx: CallContext, progress: _Progress, log: TaskLog) -> None:
        """The steps beside the renewal of the lease; however they end, the run ends too."""
        result, complete = "task aborted", False
        self._bodies.add(log.upid)
        work = asyncio.ensure_future(self._steps(ctx, progress, CollectionLog(log)))
        renewal = asyncio.ensure_future(self._keep(ctx, progress.run.token))
        try:
            await self._until_done_or_lost(work, renewal)
            result, complete = f"WARNINGS: {log.warnings}" if log.warnings else "OK", True
        except PbsError as error:
            result = error.message
            progress.errors.append(error.message)
            raise
        except Exception:
            result = "internal error"
            progress.errors.append(result)
            raise
        finally:
            renewal.cancel()
            self._bodies.discard(log.upid)
            self._remember(log.upid, progress)
            status = await asyncio.shield(self._end(ctx, progress.run.token, log.upid, result, complete))
            if complete:
                await CollectionLog(log).closing(json.loads(status))

    async def _until_done_or_lost(self, work: asyncio.Future[None], renewal: asyncio.Future[None]) -> None:
        """The steps' end. Raises what they raise; Conflict when the run is somebody else's: then they stop."""
        try:
            await asyncio.wait({work, renewal}, return_when=asyncio.FIRST_COMPLETED)
            if renewal.done():
                renewal.result()
            await work
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def _keep(self, ctx: CallContext, token: str) -> None:
        """Renew for ever. Raises Conflict when the run is somebody else's."""
        while True:
            await asyncio.sleep(self._renew_seconds)
            try:
                await self._collection.renew(ctx, token)
            except Conflict:
                raise
            except PbsError as error:
                _log.warning("the lease of a collection was not renewed", error=error.message)

    async def _end(self, ctx: CallContext, token: str, upid: str, result: str, complete: bool) -> str:
        try:
            return await self._patiently(lambda: self._collection.end(ctx, token, upid, result, complete=complete))
        except PbsError as error:
            _log.warning("end of a collection not recorded; it will be taken over", upid=upid, error=error.message)
            if complete:
                raise
            return "{}"

    def _remember(self, upid: str, progress: _Progress) -> None:
        while len(self._results) >= _MOST_RESULTS:
            del self._results[next(iter(self._results))]
        self._results[upid] = progress.statistics()

    # ------------------------------------------------------------------------------------------------ steps

    async def _steps(self, ctx: CallContext, progress: _Progress, log: CollectionLog) -> None:
        run = progress.run
        await log.started(run)
        if run.phase != "delete":
            await self._patiently(lambda: self._mark_and_condemn(ctx, progress, log))
        if run.dry_run:
            return
        await self._sweep(ctx, progress, log)
        missing = progress.condemned is None or progress.condemned.missing_count
        if run.orphans_due and not missing:
            found = await self._patiently(lambda: self._sweeper.find_orphans(ctx, run.token))
            await log.orphans(found)
            await self._sweep(ctx, progress, log)

    async def _patiently(self, step: Callable[[], Awaitable[T]]) -> T:
        """A step that can be repeated, again while a part of the product is away."""
        for _ in range(_RETRIES):
            try:
                return await step()
            except Unavailable as error:
                _log.info("collection waits", reason=error.message)
                await asyncio.sleep(_RETRY_SECONDS)
        return await step()

    async def _mark_and_condemn(self, ctx: CallContext, progress: _Progress, log: CollectionLog) -> None:
        marks = MarkSet()
        try:
            summary = await self._mark(ctx, progress.run, marks, log)
            await log.marked(summary)
            progress.condemned = await self._collection.condemn(ctx, progress.run.token, marks.pieces())
        finally:
            marks.close()
        await log.condemned(progress.condemned)

    async def _mark(self, ctx: CallContext, run: CollectionRun, marks: MarkSet, log: CollectionLog) -> MarkSummary:
        async for piece in self._collection.mark(ctx, run.token):
            if piece.digests:
                await marks.add(piece.digests)
            for warning in piece.warnings:
                await log.warn(warning)
            if piece.summary is not None:
                return piece.summary
            await log.indexes(piece.indexes_done, piece.indexes_total)
        raise Unavailable("the marks ended too early")

    async def _sweep(self, ctx: CallContext, progress: _Progress, log: CollectionLog) -> None:
        failed, more = 0, True
        while more:
            limit = SWEEP_BATCH
            if progress.max_delete is not None:
                limit = min(limit, progress.max_delete - progress.removed_chunks)
            if limit <= 0:
                break
            step = partial(self._sweeper.sweep, ctx, progress.run.token, limit)
            done = await self._patiently(step)
            progress.removed_chunks += done.removed_chunks
            progress.removed_bytes += done.removed_bytes
            failed, more = done.failed, done.more
            await log.swept(progress.removed_chunks)
        if failed:
            progress.errors.append(f"{failed} chunks could not be deleted yet")
            await log.warn(progress.errors[-1])
