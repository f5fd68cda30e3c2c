"""A backup session: its snapshot stays only if ``finish`` succeeded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.formats.names import BackupNamespace, format_time
from pbs_cloud.gateway.protocol.backup import BackupSessionMachine
from pbs_cloud.gateway.sessions.calls import Surroundings
from pbs_cloud.gateway.sessions.session import Session
from pbs_cloud.gateway.sessions.spool import file_mapping

ENDED_EARLY: Final = "backup ended but finish was not called: connection closed"


@dataclass(frozen=True, slots=True)
class BackupRequest:
    """What the upgrade asked for."""

    group: t.GroupRef
    backup_time: int
    benchmark: bool = False
    debug: bool = False

    @property
    def snapshot_path(self) -> str:
        """``ns/a/ns/b/host/h1/<time>``."""
        namespace = BackupNamespace.parse(self.group.ns).path
        return f"{namespace}{self.group}/{format_time(self.backup_time)}"


class BackupSession(Session):
    """One open backup."""

    kind = "backup"
    slack = 4 * 1024 * 1024

    def __init__(self, around: Surroundings, ctx: CallContext, request: BackupRequest, opened: t.BackupSession) -> None:
        super().__init__(around, ctx, opened.session_id, opened.upid)
        self._request = request
        self._machine = BackupSessionMachine(
            opened.base,
            self.task_log.line,
            debug=request.debug,
            snapshot_path=request.snapshot_path,
            allocate=file_mapping(around.spool_folder),
        )
        what = "benchmark" if request.benchmark else "backup"
        self.task_log.line(
            f"starting new {what} on datastore '{request.group.store}' from {ctx.client_address}: "
            f'"{request.snapshot_path}"'
        )

    @property
    def machine(self) -> BackupSessionMachine:
        return self._machine

    async def close(self) -> None:
        if self._machine.finished or (self._request.benchmark and self.error is None):
            error = None
        else:
            error = self.error or ENDED_EARLY
        await self.around.catalogue.close_session(self.ctx, self.session_id, error=error)
