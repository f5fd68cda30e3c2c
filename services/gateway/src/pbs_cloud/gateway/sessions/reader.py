"""A reader session: the end of its connection is always a good end."""

from __future__ import annotations

from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.gateway.protocol.reader import ReaderSessionMachine
from pbs_cloud.gateway.sessions.calls import Surroundings
from pbs_cloud.gateway.sessions.metrics import RESTORE_BYTES
from pbs_cloud.gateway.sessions.session import Session


class ReaderSession(Session):
    """One open reader."""

    kind = "reader"

    def __init__(self, around: Surroundings, ctx: CallContext, store: str, opened: t.ReaderSession) -> None:
        super().__init__(around, ctx, opened.session_id, opened.upid)
        self._machine = ReaderSessionMachine(self.task_log.line)
        self._bytes_sent = 0
        self._calls.read_ahead()
        self.task_log.line(f"starting new backup reader datastore '{store}'")

    @property
    def machine(self) -> ReaderSessionMachine:
        return self._machine

    def sent(self, count: int) -> None:
        self._bytes_sent += count
        RESTORE_BYTES.inc(count)

    async def close(self) -> None:
        await self.around.catalogue.close_session(
            self.ctx, self.session_id, error=self.error, bytes_sent=self._bytes_sent
        )
