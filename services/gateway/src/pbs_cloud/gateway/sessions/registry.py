"""All sessions of a front process: their leases, stop requests, the end of the process."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from pbs_cloud.contracts.chunkstore.catalogue import CatalogueClient
from pbs_cloud.contracts.errors import PbsError
from pbs_cloud.gateway.sessions.metrics import ACTIVE_SESSIONS
from pbs_cloud.gateway.sessions.session import Session
from pbs_cloud.runtime.lifecycle import Component
from pbs_cloud.runtime.logging import get_logger

log = get_logger(__name__)

RENEW_SECONDS: Final = 15.0
CLOSE_SECONDS: Final = 10.0
TASK_ABORTED: Final = "task aborted"
RETRY_SECONDS: Final = 1.0


class SessionRegistry(Component):
    """Renews the leases of all sessions with one call. ``draining``: no new ones are opened."""

    name = "sessions"

    def __init__(self, catalogue: CatalogueClient, process_id: str, drain_seconds: float = 0.0) -> None:
        self.process_id = process_id
        self.draining = False
        self._catalogue = catalogue
        self._drain_seconds = drain_seconds
        self._sessions: dict[str, Session] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._renewal: asyncio.Task[None] | None = None
        self._clean = False
        self._all_gone = asyncio.Event()

    def __len__(self) -> int:
        return len(self._sessions)

    async def start(self) -> None:
        """Expire the sessions of this process's predecessor; waits for chunkstore."""
        while not self._clean:
            try:
                await self._catalogue.expire_process(self.process_id)
                self._clean = True
            except PbsError as error:
                log.warning("waiting for chunkstore", error=error.message)
                await asyncio.sleep(RETRY_SECONDS)
        self._renewal = asyncio.create_task(self._renew_for_ever())

    async def stop(self) -> None:
        """No new sessions; running ones may finish until the limit, then they are closed."""
        self.draining = True
        self._all_gone.clear()
        if self._sessions:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_gone.wait(), self._drain_seconds)
        for session in list(self._sessions.values()):
            session.stop("server is shutting down")
            self.remove(session)
        if self._closing:
            await asyncio.wait(self._closing, timeout=CLOSE_SECONDS)
        if self._renewal is not None:
            self._renewal.cancel()

    def ready(self) -> bool:
        return self._clean and not self.draining

    def add(self, session: Session) -> None:
        """A session was opened."""
        self._sessions[session.session_id] = session
        ACTIVE_SESSIONS.labels(session.kind).inc()

    def remove(self, session: Session) -> None:
        """The connection of a session is gone: close it."""
        if self._sessions.pop(session.session_id, None) is None:
            return
        ACTIVE_SESSIONS.labels(session.kind).dec()
        if not self._sessions:
            self._all_gone.set()
        task = session.ended()
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _renew_for_ever(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                await self.renew()
            except PbsError as error:
                log.warning("leases not renewed", error=error.message, sessions=len(self._sessions))
            except Exception:
                log.exception("lease renewal failed")

    async def renew(self) -> None:
        """Renew all leases; sessions that are lost or shall stop are closed."""
        if not self._sessions:
            return
        leases = await self._catalogue.renew_leases(self.process_id, list(self._sessions))
        stopped = frozenset(leases.stop_requested_upids)
        for session in list(self._sessions.values()):
            if session.upid in stopped:
                session.stop(TASK_ABORTED)
        for session_id in leases.lost_session_ids:
            lost = self._sessions.get(session_id)
            if lost is not None:
                lost.stop("session lost")
