"""The end of sessions: closed by their gateway, or expired because their lease ran out (wire-protocol 4.14)."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pbs_cloud.chunkstore.catalogue.announce import announce
from pbs_cloud.chunkstore.catalogue.parts import Parts
from pbs_cloud.chunkstore.catalogue.removal import Removal, hold_places, mark_removing
from pbs_cloud.chunkstore.catalogue.rows import store_by_id
from pbs_cloud.chunkstore.catalogue.session_rows import (
    DeadSession,
    Session,
    find_session,
    finish_session,
    parse_session_id,
)
from pbs_cloud.chunkstore.catalogue.task_rows import OK, UNKNOWN, end_task
from pbs_cloud.chunkstore.collection.runs import abandon
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import PbsError
from pbs_cloud.contracts.events import EventType
from pbs_cloud.runtime.database import Connection
from pbs_cloud.runtime.logging import get_logger
from pbs_cloud.runtime.telemetry import Counter

T = TypeVar("T")
_ATTEMPTS = 5
_log = get_logger(__name__)
NOT_FINISHED = "backup ended without finish: the unfinished snapshot was removed"
_ENDED = Counter("pbs_catalogue_sessions_ended", "Sessions that ended", ["kind", "state"])


class Closing:
    """Ends sessions; everything here may be repeated, at any step."""

    def __init__(self, parts: Parts, removal: Removal) -> None:
        self._parts = parts
        self._removal = removal

    async def close(self, ctx: CallContext, session_id: str, *, error: str | None, bytes_sent: int) -> None:
        """End a session of the caller's tenant: what was not committed goes before the group lock is given up."""
        key = parse_session_id(session_id)
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            session = await find_session(connection, key, lock="UPDATE")
            if session is None:
                return
            if session.state != "active":
                await _end_finished_task(connection, session)
                return
            if session.kind == "reader":
                await _end_reader(connection, session, error, bytes_sent)
                return
            store = await store_by_id(connection, session.datastore_id)
            if session.snapshot_id is not None and session.snapshot_state is not None:
                await mark_removing(connection, store, session.snapshot_id)
        if session.snapshot_id is not None:
            await self._removal.remove(ctx.tenant_id, session.snapshot_id, holder=key)
        status = OK if session.kind == "benchmark" else error or NOT_FINISHED
        await self._end(ctx.tenant_id, session, "aborted", status)

    async def past_the_dead(self, tenant_id: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """``attempt``, which runs a transaction, again each time that a session with a dead lease was in its way."""
        for _ in range(_ATTEMPTS):
            try:
                return await attempt()
            except DeadSession as dead:
                await self.expire(tenant_id, dead.session_id)
        return await attempt()

    async def expire(self, tenant_id: str, session_id: uuid.UUID, *, process_id: str | None = None) -> bool:
        """End a session whose lease ran out, or that belongs to an earlier process ``process_id``; whether it did.

        Group lock and pins are free at once; the snapshot's path only when no late write can reach it any more. Files
        that cannot be deleted now are deleted by ``Removal.resume``.
        """
        async with self._parts.database.tenant(tenant_id) as connection:
            session = await find_session(connection, session_id, lock="UPDATE")
            if session is None or session.state != "active" or (session.alive and process_id is None):
                return False
            store = await store_by_id(connection, session.datastore_id)
            if session.kind != "reader" and session.snapshot_id is not None:
                late = 0.0 if store.backend_type == "filesystem" else self._parts.late_write_seconds
                await mark_removing(connection, store, session.snapshot_id, late_write_seconds=late)
            if session.kind == "move" and store.backend_type != "filesystem":
                await hold_places(connection, session.id, self._parts.late_write_seconds)
            await _set_state(connection, session, "expired", UNKNOWN)
        if session.kind != "reader" and session.snapshot_id is not None:
            try:
                await self._removal.remove(tenant_id, session.snapshot_id)
            except PbsError as error:
                _log.warning("removal waits", session=str(session_id), reason=error.message)
        return True

    async def expire_process(self, process_id: str) -> None:
        """End all sessions and tasks of an earlier process with this id, and the leases of its collections."""
        for row in await self._sessions("process_id = $1", process_id):
            await self.expire(row[1], row[0], process_id=process_id)
        await self._end_tasks("process_id = $1", process_id)
        async with self._parts.database.system() as connection:
            await abandon(connection, process_id)

    async def expire_dead(self) -> int:
        """End all sessions and tasks whose lease ran out; how many."""
        count = 0
        for session_id, tenant_id in await self._sessions("lease_until <= clock_timestamp()"):
            count += await self.expire(tenant_id, session_id)
        return count + await self._end_tasks("lease_until <= clock_timestamp()")

    async def _sessions(self, condition: str, *values: str) -> list[tuple[uuid.UUID, str]]:
        async with self._parts.database.system() as connection:
            rows = await connection.fetch(f"{_ACTIVE} AND {condition} ORDER BY id", *values)
        return [(row["id"], row["tenant_id"]) for row in rows]

    async def _end_tasks(self, condition: str, *values: str) -> int:
        """Tasks of dead processes: ``unknown``, unless the backup behind it was finished."""
        async with self._parts.database.system() as connection:
            rows = await connection.fetch(f"{_RUNNING} AND {condition} ORDER BY id", *values)
        for row in rows:
            async with self._parts.database.tenant(row["tenant_id"]) as connection:
                await end_task(connection, row["upid"], OK if row["finished"] else UNKNOWN)
        return len(rows)

    async def _end(self, tenant_id: str, session: Session, state: str, status: str) -> None:
        async with self._parts.database.tenant(tenant_id) as connection:
            again = await find_session(connection, session.id, lock="UPDATE")
            if again is not None and again.state == "active":
                await _set_state(connection, session, state, status)


_ACTIVE = "SELECT id, tenant_id FROM session WHERE state = 'active'"
_RUNNING = """
SELECT upid, tenant_id,
  EXISTS (SELECT 1 FROM session s WHERE s.upid = task.upid AND s.state = 'finished') AS finished
FROM task WHERE endtime IS NULL
"""


async def _set_state(connection: Connection, session: Session, state: str, status: str) -> int:
    """End an active session: pins and task with it; how many seconds it lasted."""
    seconds = await finish_session(connection, session.id, state)
    await connection.execute("DELETE FROM pin WHERE session_id = $1", session.id)
    if session.upid is not None:
        await end_task(connection, session.upid, status)
    _ENDED.labels(session.kind, state).inc()
    return seconds


async def _end_reader(connection: Connection, session: Session, error: str | None, bytes_sent: int) -> None:
    """However a reader ends, its task was successful, unless somebody stopped it."""
    seconds = await _set_state(connection, session, "finished", error or OK)
    if bytes_sent > 0:
        store = await store_by_id(connection, session.datastore_id)
        more = {"store": store.name, "seconds": str(seconds)}
        await announce(connection, EventType.DATA_RESTORED, session.tenant_id, bytes_sent, **more)


async def _end_finished_task(connection: Connection, session: Session) -> None:
    """The task of a committed backup runs on until its connection ends."""
    if session.state == "finished" and session.upid is not None:
        await end_task(connection, session.upid, OK)
