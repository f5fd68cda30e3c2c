"""Leases of sessions and tasks: renewed every quarter of their length, for a whole process at once (formats 9.9)."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from pbs_cloud.chunkstore.catalogue.parts import Parts
from pbs_cloud.contracts.chunkstore import types as t

# Rows are locked in id order before they are changed, so that two renewals never wait for each other in a circle.
_RENEW_SESSIONS = """
WITH mine AS (
  SELECT id FROM session
  WHERE id = ANY($2::uuid[]) AND process_id = $1 AND state = 'active' ORDER BY id FOR NO KEY UPDATE
)
UPDATE session s SET lease_until = clock_timestamp() + make_interval(secs => $3)
FROM mine WHERE s.id = mine.id AND s.lease_until > clock_timestamp() RETURNING s.id, s.upid
"""
# A committed backup needs no lease, but its task runs on until its connection ends.
_FINISHED = """
SELECT id, upid FROM session
WHERE id = ANY($2::uuid[]) AND process_id = $1 AND state = 'finished' AND kind = 'backup'
"""
_RENEW_TASKS = """
WITH mine AS (
  SELECT id FROM task WHERE upid = ANY($2::text[]) AND process_id = $1 AND endtime IS NULL
  ORDER BY id FOR NO KEY UPDATE
)
UPDATE task t SET lease_until = clock_timestamp() + make_interval(secs => $3)
FROM mine WHERE t.id = mine.id RETURNING t.upid, t.stop_requested
"""


class Leases:
    """Renews, and tells what is lost and what shall stop."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def renew(self, process_id: str, session_ids: Sequence[str], upids: Sequence[str]) -> t.Leases:
        """A lease that ran out is never renewed: its session is lost; a backup that was finished is not."""
        known = {key: text for text in session_ids if (key := _uuid(text)) is not None}
        async with self._parts.database.system() as connection:
            renewed = await connection.fetch(_RENEW_SESSIONS, process_id, list(known), self._parts.lease_seconds)
            if len(renewed) < len(known):
                renewed += await connection.fetch(_FINISHED, process_id, list(known))
            mine = [*upids, *(row["upid"] for row in renewed if row["upid"] is not None)]
            tasks = await connection.fetch(_RENEW_TASKS, process_id, mine, self._parts.lease_seconds)
        alive = {known[row["id"]] for row in renewed}
        return t.Leases(
            lost_session_ids=tuple(text for text in session_ids if text not in alive),
            stop_requested_upids=tuple(row["upid"] for row in tasks if row["stop_requested"]),
        )


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
