"""Retention locks (rest-api D.8, D.13): until its time has come nobody can delete a snapshot or lift its protection.

A locked snapshot is a protected one, with the mark that a real PBS respects too, so prune and every deletion leave it
alone. The time stands in the row and, for a rebuild, in the manifest's unprotected part.
"""

from __future__ import annotations

from datetime import UTC, datetime

from pbs_cloud.chunkstore.catalogue.parts import Parts
from pbs_cloud.chunkstore.catalogue.rows import Store
from pbs_cloud.chunkstore.catalogue.session_rows import place_of_snapshot
from pbs_cloud.contracts.errors import Conflict, PbsError
from pbs_cloud.runtime.database import Connection
from pbs_cloud.runtime.logging import get_logger

DAY = 86_400
BATCH = 100
_log = get_logger(__name__)


async def lock_until(connection: Connection, days: int, backup_time: int) -> int | None:
    """When a backup of this time may go, Unix seconds; None when that time is past.

    A backup time in the future counts as now.
    """
    now = int(await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::bigint"))
    until = min(backup_time, now) + days * DAY
    return until if until > now else None


async def is_locked(connection: Connection, snapshot_id: int) -> int | None:
    """Until when the snapshot is locked; None if it is not."""
    until = await connection.fetchval(
        "SELECT retain_until FROM snapshot WHERE id = $1"
        " AND retain_until > extract(epoch FROM clock_timestamp())::bigint",
        snapshot_id,
    )
    return None if until is None else int(until)


async def require_unlocked(connection: Connection, snapshot_id: int) -> None:
    """Raises Conflict while the snapshot is locked."""
    until = await is_locked(connection, snapshot_id)
    if until is not None:
        shown = f"{datetime.fromtimestamp(until, UTC):%Y-%m-%dT%H:%M:%SZ}"
        raise Conflict(f"the snapshot is retained until {shown}, its protection cannot be removed before")


async def require_nothing_locked(connection: Connection, store: Store) -> None:
    """Raises Conflict if the data of a datastore must stay."""
    if await connection.fetchval(
        "SELECT EXISTS (SELECT 1 FROM snapshot WHERE datastore_id = $1"
        " AND retain_until > extract(epoch FROM clock_timestamp())::bigint)",
        store.id,
    ):
        raise Conflict(f"datastore '{store.name}' holds snapshots that must be retained, its data cannot be deleted")


class Retention:
    """Ends locks whose time has come."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def lift(self) -> int:
        """Take the protection off snapshots that were only locked: how many locks ended. Raises a PbsError."""
        async with self._parts.database.system() as connection:
            rows = await connection.fetch(
                "SELECT id, tenant_id FROM snapshot WHERE state = 'committed'"
                " AND retain_until <= extract(epoch FROM clock_timestamp())::bigint ORDER BY retain_until LIMIT $1",
                BATCH,
            )
        count = 0
        for row in rows:
            try:
                count += await self._lift(row["tenant_id"], row["id"])
            except PbsError as error:
                _log.warning("retention lock not lifted", reason=error.message)
        return count

    async def _lift(self, tenant_id: str, snapshot_id: int) -> bool:
        async with self._parts.database.tenant(tenant_id) as connection:
            row = await connection.fetchrow(
                "SELECT kept, retain_until FROM snapshot WHERE id = $1 AND state = 'committed' FOR UPDATE", snapshot_id
            )
            if row is None or row["retain_until"] is None:
                return False
            if not row["kept"]:
                store, where = await place_of_snapshot(connection, snapshot_id)
                await self._parts.backends.of(store).delete_file(where.protected_key)
            await connection.execute(
                "UPDATE snapshot SET retain_until = NULL, protected = $2 WHERE id = $1", snapshot_id, row["kept"]
            )
        return True
