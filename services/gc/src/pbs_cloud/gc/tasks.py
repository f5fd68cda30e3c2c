"""Work that runs as a task: it has a UPID, a log, a result, keeps its lease and can be stopped (rest-api A.11)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pbs_cloud.contracts.chunkstore.catalogue import CatalogueClient
from pbs_cloud.contracts.chunkstore.types import SnapshotKey
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import Conflict, PbsError, Unavailable
from pbs_cloud.runtime.cancelling import cancel_and_wait
from pbs_cloud.runtime.lifecycle import Component
from pbs_cloud.runtime.logging import get_logger
from pbs_cloud.runtime.telemetry import Counter

ABORTED = "task aborted"
RENEW_SECONDS = 5.0
START_SECONDS = 30.0
"""How long a new task waits until what an earlier process with this id left behind is ended."""
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
        self._sessions: set[str] = set()
        self._cleared = asyncio.Event()
        self._renewal: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to renew; what an earlier process with this id left behind is ended before the first task."""
        self._renewal = asyncio.create_task(self._renew_for_ever())

    async def stop(self) -> None:
        """Abort what runs; each task says so in its log."""
        for running in list(self._running.values()):
            running.work.cancel()
        await asyncio.gather(*(running.work for running in self._running.values()), return_exceptions=True)
        if self._renewal is not None:
            await cancel_and_wait([self._renewal])

    async def begin(
        self, ctx: CallContext, worker_type: str, worker_id: str | None, body: Body, *, auth_id: str | None = None
    ) -> str:
        """Start ``body`` as a task of the caller (or of ``auth_id``) and answer its UPID.

        A ``PbsError`` or a cancellation of the body is the task's result, never the caller's.

        Raises Unavailable (the catalogue is away).
        """
        await self.wait_until_cleared()
        upid = await self._catalogue.create_task(
            ctx, worker_type, worker_id, process_id=self._process_id, auth_id=auth_id
        )
        log = TaskLog(self._catalogue, ctx, upid)
        work = asyncio.create_task(self._run(ctx, worker_type, log, body), name=upid)
        self._running[upid] = _Running(work, log)
        work.add_done_callback(lambda _: self._running.pop(upid, None))
        return upid

    def is_running(self, upid: str) -> bool:
        """Whether this process runs the task."""
        return upid in self._running

    @asynccontextmanager
    async def reading(self, ctx: CallContext, snapshot: SnapshotKey) -> AsyncIterator[str]:
        """Pin a snapshot for as long as the block lasts; its session's id. Raises as ``open_reader``."""
        session = await self._catalogue.open_reader(ctx, snapshot, process_id=self._process_id, with_task=False)
        self._sessions.add(session.session_id)
        try:
            yield session.session_id
        finally:
            self._sessions.discard(session.session_id)
            try:
                await asyncio.shield(self._catalogue.close_session(ctx, session.session_id))
            except PbsError as error:  # its lease runs out
                _log.info("session not closed", error=error.message)

    async def wait(self, upid: str) -> None:
        """Until the task has ended; a caller that goes away does not stop it."""
        running = self._running.get(upid)
        if running is not None:
            await asyncio.shield(asyncio.gather(running.work, return_exceptions=True))

    async def _run(self, ctx: CallContext, worker_type: str, log: TaskLog, body: Body) -> None:
        status = await self._outcome(log, body)
        _TASKS.labels(worker_type, "ok" if status == "OK" else "other").inc()
        await asyncio.shield(self._finish(ctx, log, status))

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
        while True:
            try:
                if not self._cleared.is_set():
                    await self._catalogue.expire_process(self._process_id)
                    self._cleared.set()
                await self._renew()
            except PbsError as error:
                _log.warning("leases not renewed", error=error.message)
            await asyncio.sleep(RENEW_SECONDS)

    async def _renew(self) -> None:
        """Leases before logs: a log that cannot be written must cost no lease."""
        if not self._running and not self._sessions:
            return
        leases = await self._catalogue.renew_leases(self._process_id, tuple(self._sessions), tuple(self._running))
        for upid in leases.stop_requested_upids:
            self._cancel(upid)
        for upid, running in list(self._running.items()):
            try:
                await running.log.flush()
            except Unavailable as error:
                _log.info("task log waits", upid=upid, error=error.message)
            except Conflict:  # its lease ran out: for everybody else it has ended
                self._cancel(upid)

    def _cancel(self, upid: str) -> None:
        running = self._running.get(upid)
        if running is not None and not running.stopped:
            running.stopped = True
            running.work.cancel()

    async def wait_until_cleared(self) -> None:
        """Until what an earlier process with this id left behind is ended. Raises Unavailable."""
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._cleared.wait()
        except TimeoutError as error:
            raise Unavailable("the catalogue is not available") from error
