"""Long work of the catalogue itself that runs as a task while its caller has the UPID already."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from pbs_cloud.chunkstore.catalogue.parts import Parts
from pbs_cloud.chunkstore.catalogue.task_rows import OK, NewTask, append_log, end_task, insert_task
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import PbsError
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.lifecycle import Component
from pbs_cloud.runtime.logging import get_logger

PROCESS = "catalogue"
_RENEW_SECONDS = 15.0
_log = get_logger(__name__)

StopRequested: TypeAlias = Callable[[], Awaitable[bool]]
"""Whether work that can end early shall do so now. Raises Unavailable."""


async def nobody_asks() -> bool:
    """For work without a task."""
    return False


class TaskAborted(PbsError):
    """The result of a task that ended early because somebody asked for it (rest-api C.14)."""


class RunningTask:
    """The task that some work runs as."""

    def __init__(self, database: Database, tenant_id: str, upid: str) -> None:
        self._database = database
        self._tenant_id = tenant_id
        self._upid = upid

    async def log(self, line: str) -> None:
        """Append a line to the log. Raises Unavailable."""
        async with self._database.tenant(self._tenant_id) as connection:
            await append_log(connection, self._upid, [line])

    async def stop_requested(self) -> bool:
        """Whether a caller of any replica wants it stopped, or it ended for everybody else. Raises Unavailable."""
        async with self._database.tenant(self._tenant_id) as connection:
            return bool(
                await connection.fetchval(
                    "SELECT stop_requested OR endtime IS NOT NULL FROM task WHERE upid = $1", self._upid
                )
            )


class Background(Component):
    """Runs work to its end or to the end of the process; what was cut off is resumed by ``Upkeep``."""

    name = "background"

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._running: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def as_task(self, ctx: CallContext, kind: str, worker_id: str, work: Callable[[], Awaitable[None]]) -> str:
        """UPID of a task that has begun ``work``; a failure of the work is the task's."""
        return await self.as_running_task(ctx, kind, worker_id, lambda _: work())

    async def as_running_task(
        self, ctx: CallContext, kind: str, worker_id: str, work: Callable[[RunningTask], Awaitable[None]]
    ) -> str:
        """``as_task`` for work that writes lines into the log of its task, or asks whether it shall stop."""
        new = NewTask(ctx.tenant_id, kind, worker_id, ctx.caller.auth_id, PROCESS)
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            upid = await insert_task(connection, new, self._parts.lease_seconds)
            await append_log(connection, upid, [f"{kind} {worker_id}"])

        running = RunningTask(self._parts.database, ctx.tenant_id, upid)
        self.run(self._to_the_end(ctx.tenant_id, upid, work(running)))
        return upid

    def run(self, work: Awaitable[None]) -> None:
        """Run ``work`` without a task."""
        task = asyncio.ensure_future(_logged(work))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _to_the_end(self, tenant_id: str, upid: str, work: Awaitable[None]) -> None:
        renewal = asyncio.create_task(self._renew(tenant_id, upid))
        status = OK
        try:
            await work
        except PbsError as error:
            status = error.message
        except asyncio.CancelledError:
            status = "interrupted by shutdown"
            raise
        except Exception:
            status = "internal error"
            raise
        finally:
            renewal.cancel()
            async with self._parts.database.tenant(tenant_id) as connection:
                await end_task(connection, upid, status)

    async def _renew(self, tenant_id: str, upid: str) -> None:
        """The lease stays valid meanwhile, as long as the database can be reached."""
        while True:
            await asyncio.sleep(min(_RENEW_SECONDS, self._parts.lease_seconds / 4))
            try:
                async with self._parts.database.tenant(tenant_id) as connection:
                    await connection.execute(
                        "UPDATE task SET lease_until = clock_timestamp() + make_interval(secs => $2) WHERE upid = $1",
                        upid,
                        self._parts.lease_seconds,
                    )
            except PbsError as error:
                _log.warning("the lease of a task is not renewed", upid=upid, reason=error.message)


async def _logged(work: Awaitable[None]) -> None:
    try:
        await work
    except PbsError as error:
        _log.warning("background work failed", error=error.message)
    except Exception:
        _log.exception("background work failed")
