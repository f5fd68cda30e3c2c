"""Session rows: what a call inside a session needs to know, and the conditions under which it may go on (formats 9.9).

Lock order everywhere: datastore, group, session, snapshot, usage counter.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from pbs_cloud.chunkstore.catalogue.names import Place, SnapshotPlace
from pbs_cloud.chunkstore.catalogue.rows import Store, store_by_id
from pbs_cloud.contracts.errors import InvalidArgument, SessionLost
from pbs_cloud.runtime.database import Connection

LOST = "the session has ended"
UNFINISHABLE = "UPDATE session SET unfinishable = true WHERE id = $1"


class DeadSession(Exception):
    """A session whose lease ran out is in the way: expire it, then try again (`Closing.past_the_dead`)."""

    def __init__(self, session_id: uuid.UUID) -> None:
        super().__init__(str(session_id))
        self.session_id = session_id


@dataclass(frozen=True, slots=True)
class Session:
    """A session row with the place of its snapshot; ``snapshot_state`` is None when the row is gone."""

    id: uuid.UUID
    tenant_id: str
    datastore_id: int
    kind: str
    state: str
    group_id: int | None
    snapshot_id: int | None
    base_snapshot_id: int | None
    upid: str | None
    quota_bytes: int | None
    unfinishable: bool
    alive: bool
    snapshot_state: str | None


_SESSION = """
SELECT s.id, s.tenant_id, s.datastore_id, s.kind, s.state, s.group_id, s.snapshot_id, s.base_snapshot_id, s.upid,
  s.quota_bytes, s.unfinishable, s.lease_until > clock_timestamp() AS alive,
  (SELECT state FROM snapshot WHERE id = s.snapshot_id) AS snapshot_state
FROM session s WHERE s.id = $1
"""


async def finish_session(connection: Connection, session_id: uuid.UUID, state: str = "finished") -> int:
    """End an active session; how many seconds it lasted, at least one."""
    row = await connection.fetchrow(
        "UPDATE session SET state = $2, ended_at = clock_timestamp() WHERE id = $1 RETURNING created_at, ended_at",
        session_id,
        state,
    )
    return max(int((row["ended_at"] - row["created_at"]).total_seconds()), 1)


def parse_session_id(text: str) -> uuid.UUID:
    """Raises InvalidArgument."""
    try:
        return uuid.UUID(text)
    except ValueError as error:
        raise InvalidArgument("session_id: not a session id", field="session_id") from error


async def find_session(connection: Connection, session_id: uuid.UUID, *, lock: str = "") -> Session | None:
    """The row, read after it was locked with ``lock`` (``KEY SHARE`` to work in it, ``UPDATE`` to end it)."""
    if lock:
        await connection.fetchval(f"{_LOCK} {lock}", session_id)
    row = await connection.fetchrow(_SESSION, session_id)
    return None if row is None else Session(**row)


_LOCK = "SELECT 1 FROM session WHERE id = $1 FOR"


async def require_active(connection: Connection, session_id: uuid.UUID, *, lock: str = "KEY SHARE") -> Session:
    """The session, if it is active with a valid lease. Raises SessionLost."""
    session = await find_session(connection, session_id, lock=lock)
    if session is None or session.state != "active" or not session.alive:
        raise SessionLost(LOST)
    return session


async def require_writable(connection: Connection, session_id: uuid.UUID, *, lock: str = "KEY SHARE") -> Session:
    """An active backup session whose snapshot is open. Raises SessionLost."""
    session = await require_active(connection, session_id, lock=lock)
    if session.kind == "reader" or session.snapshot_state != "open":
        raise SessionLost(LOST)
    return session


async def place_of_snapshot(connection: Connection, snapshot_id: int) -> tuple[Store, SnapshotPlace]:
    """Datastore and place of a snapshot row, in whatever state."""
    row = await connection.fetchrow(
        "SELECT s.datastore_id, s.backup_time, g.backup_type, g.backup_id, n.path FROM snapshot s"
        " JOIN backup_group g ON g.id = s.group_id JOIN namespace n ON n.id = g.namespace_id WHERE s.id = $1",
        snapshot_id,
    )
    if row is None:
        raise SessionLost(LOST)
    place = Place.of(row["path"], row["backup_type"], row["backup_id"])
    return await store_by_id(connection, row["datastore_id"]), place.snapshot(row["backup_time"])
