"""From a session id to its datastore, known for at most two seconds."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from uuid import UUID

from pbs_cloud.chunkstore.backends import StoreLocation, store_location
from pbs_cloud.contracts.errors import InvalidArgument, PbsError, SessionLost
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.database import Database

KEEP_SECONDS = 2.0
_MOST = 20_000
_FIND = """
SELECT s.kind, s.quota_bytes, s.datastore_id, d.backend_type, d.location, d.config, d.uuid FROM session s
JOIN datastore d ON d.id = s.datastore_id AND d.state = 'active'
WHERE s.id = $1 AND s.state = 'active' AND s.lease_until > clock_timestamp()
"""


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """An active session. `writes`: it is a backup; `quota`: bytes that its tenant may store."""

    id: UUID
    tenant: str
    datastore: int
    writes: bool
    quota: int | None
    location: StoreLocation


class SessionDirectory:
    """Looks up active sessions of one tenant, once for all who ask at a time; another tenant's session is not there."""

    def __init__(self, database: Database, clock: Clock = SYSTEM_CLOCK) -> None:
        self._database = database
        self._clock = clock
        self._known: OrderedDict[tuple[str, UUID], tuple[float, asyncio.Task[SessionInfo]]] = OrderedDict()

    async def get(self, tenant: str, session_id: str, *, fresh: bool = False) -> SessionInfo:
        """The active session `session_id` of `tenant`.

        Raises:
            InvalidArgument: no UUID. SessionLost: no such session, or not active any more.
        """
        try:
            key = (tenant, UUID(session_id))
        except ValueError as error:
            raise InvalidArgument("session_id: is no UUID", field="session_id") from error
        known = self._known.get(key)
        if known is None or fresh or self._clock.monotonic() - known[0] >= KEEP_SECONDS:
            known = self._known[key] = (self._clock.monotonic(), asyncio.create_task(self._read(*key)))
            self._known.move_to_end(key)
            while len(self._known) > _MOST:
                self._known.popitem(last=False)
        try:
            return await asyncio.shield(known[1])
        except PbsError:
            if self._known.get(key) is known:
                del self._known[key]
            raise

    async def _read(self, tenant: str, session: UUID) -> SessionInfo:
        async with self._database.tenant(tenant) as db:
            row = await db.fetchrow(_FIND, session)
        if row is None:
            raise SessionLost("the session is no longer active")
        return SessionInfo(
            session, tenant, row["datastore_id"], row["kind"] == "backup", row["quota_bytes"], store_location(row)
        )
