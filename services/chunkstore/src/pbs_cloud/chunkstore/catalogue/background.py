"""Long work of the catalogue itself that runs as a task while its caller has the UPID already."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from pbs_cloud.chunkstore.catalogue.parts import Parts
from pbs_cloud.chunkstore.catalogue.task_rows import OK, NewTask, append_log, end_task, insert_task
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import PbsError
from pbs_cloud.runtime.lifecycle import Component
from pbs_cloud.runtime.logging import get_logger

PROCESS = "catalogue"
_RENEW_SECONDS = 15.0
_log = get_logger(__name__)

TaskLog: TypeAlias = Callable[[str], Awaitable[None]]
"""Appends a line to the log of a task."""


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
        return await self.as_logged_task(ctx, kind, worker_id, lambda _log: work())

    async def as_logged_task(
        self, ctx: CallContext, kind: str, worker_id: str, work: Callable[[TaskLog], Awaitable[None]]
    ) -> str:
        """``as_task`` for work that writes lines into the log of its task."""
        new = NewTask(ctx.tenant_id, kind, worker_id, ctx.caller.auth_id, PROCESS)
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            upid = await insert_task(connection, new, self._parts.lease_seconds)
            await append_log(connection, upid, [f"{kind} {worker_id}"])

        async def log(line: str) -> None:
            async with self._parts.database.tenant(ctx.tenant_id) as connection:
                await append_log(connection, upid, [line])

        self.run(self._to_the_end(ctx.tenant_id, upid, work(log)))
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
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            async with self._parts.database.tenant(tenant_id) as connection:
                await connection.execute(
                    "UPDATE task SET lease_until = clock_timestamp() + make_interval(secs => $2) WHERE upid = $1",
                    upid,
                    self._parts.lease_seconds,
                )


async def _logged(work: Awaitable[None]) -> None:
    try:
        await work
    except PbsError as error:
        _log.warning("background work failed", error=error.message)
    except Exception:
        _log.exception("background work failed")
