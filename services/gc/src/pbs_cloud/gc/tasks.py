"""Work that runs as a task: it has a UPID, a log, a result, keeps its lease and can be stopped (rest-api A.11)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from pbs_cloud.contracts.chunkstore.catalogue import CatalogueClient
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import PbsError
from pbs_cloud.runtime.lifecycle import Component
from pbs_cloud.runtime.logging import get_logger
from pbs_cloud.runtime.telemetry import Counter

ABORTED = "task aborted"
RENEW_SECONDS = 5.0
_FLUSH_LINES = 200
_log = get_logger(__name__)
_TASKS = Counter("pbs_gc_tasks", "Tasks that ended", ["type", "result"])


class TaskLog:
    """Log of one running task. Lines reach the store at the latest with ``flush``."""

    def __init__(self, catalogue: CatalogueClient, ctx: CallContext, upid: str) -> None:
        self.upid = upid
        self.warnings = 0
        self._catalogue = catalogue
        self._ctx = ctx
        self._lines: list[str] = []
        self._sending = asyncio.Lock()

    async def line(self, text: str) -> None:
        """Add a line, without time stamp."""
        self._lines.append(text)
        if len(self._lines) >= _FLUSH_LINES:
            await self.flush()

    async def warn(self, text: str) -> None:
        """Add a line and make the task end with a warning."""
        self.warnings += 1
        await self.line(f"WARN: {text}")

    async def flush(self) -> None:
        """Send what has gathered. Raises a ``PbsError``; the lines are sent again with the next call."""
        async with self._sending:
            lines: Sequence[str] = self._lines
            if not lines:
                return
            self._lines = []
            try:
                await self._catalogue.append_task_log(self._ctx, self.upid, lines)
            except PbsError:
                self._lines = [*lines, *self._lines]
                raise


Body = Callable[[TaskLog], Awaitable[None]]


@dataclass(slots=True)
class _Running:
    work: asyncio.Task[None]
    log: TaskLog
    stopped: bool = False


class TaskRunner(Component):
    """Runs the tasks of this process and keeps their leases."""

    name = "tasks"

    def __init__(self, catalogue: CatalogueClient, process_id: str) -> None:
        self._catalogue = catalogue
        self._process_id = process_id
        self._running: dict[str, _Running] = {}
        self._renewal: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to renew; what an earlier process with this id left behind is ended first."""
        self._renewal = asyncio.create_task(self._renew_for_ever())

    async def stop(self) -> None:
        """Abort what runs; each task says so in its log."""
        for running in list(self._running.values()):
            running.work.cancel()
        await asyncio.gather(*(running.work for running in self._running.values()), return_exceptions=True)
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)

    async def begin(
        self, ctx: CallContext, worker_type: str, worker_id: str | None, body: Body, *, auth_id: str | None = None
    ) -> str:
        """Start ``body`` as a task of the caller (or of ``auth_id``) and answer its UPID.

        A ``PbsError`` or a cancellation of the body is the task's result, never the caller's.
        """
        upid = await self._catalogue.create_task(
            ctx, worker_type, worker_id, process_id=self._process_id, auth_id=auth_id
        )
        log = TaskLog(self._catalogue, ctx, upid)
        work = asyncio.create_task(self._run(ctx, worker_type, log, body), name=upid)
        self._running[upid] = _Running(work, log)
        return upid

    async def wait(self, upid: str) -> None:
        """Until the task has ended; a caller that goes away does not stop it."""
        running = self._running.get(upid)
        if running is not None:
            await asyncio.shield(asyncio.gather(running.work, return_exceptions=True))

    async def _run(self, ctx: CallContext, worker_type: str, log: TaskLog, body: Body) -> None:
        try:
            status = await self._outcome(log, body)
            _TASKS.labels(worker_type, "ok" if status == "OK" else "other").inc()
            await asyncio.shield(self._finish(ctx, log, status))
        finally:
            self._running.pop(log.upid, None)

    async def _outcome(self, log: TaskLog, body: Body) -> str:
        try:
            await body(log)
        except asyncio.CancelledError:
            return ABORTED
        except PbsError as error:
            return error.message
        except Exception:
            _log.exception("task failed", upid=log.upid)
            return "internal error"
        return f"WARNINGS: {log.warnings}" if log.warnings else "OK"

    async def _finish(self, ctx: CallContext, log: TaskLog, status: str) -> None:
        """Without an answer from the catalogue the task ends as ``unknown`` when its lease runs out."""
        try:
            await log.flush()
            await self._catalogue.finish_task(ctx, log.upid, status)
        except PbsError as error:
            _log.warning("end of task not recorded", upid=log.upid, status=status, error=error.message)

    async def _renew_for_ever(self) -> None:
        expired = False
        while True:
            try:
                if not expired:
                    await self._catalogue.expire_process(self._process_id)
                    expired = True
                await self._renew()
            except PbsError as error:
                _log.warning("leases not renewed", error=error.message)
            await asyncio.sleep(RENEW_SECONDS)

    async def _renew(self) -> None:
        if not self._running:
            return
        for running in list(self._running.values()):
            await running.log.flush()
        leases = await self._catalogue.renew_leases(self._process_id, (), tuple(self._running))
        for upid in leases.stop_requested_upids:
            if upid in self._running:
                self._running[upid].work.cancel()
