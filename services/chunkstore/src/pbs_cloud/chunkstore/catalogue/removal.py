"""Removing snapshots: the row is marked in a transaction, then the files go, then the row, then a group left empty.

Each step may be repeated, so whoever finds a marked row finishes the work (formats 9.9 "Snapshot removal").
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, TypeAlias

from pbs_cloud.chunkstore.backends import late_writes
from pbs_cloud.chunkstore.backends.late_writes import LateWrites
from pbs_cloud.chunkstore.catalogue.announce import announce
from pbs_cloud.chunkstore.catalogue.names import Place, SnapshotPlace
from pbs_cloud.chunkstore.catalogue.parts import Parts
from pbs_cloud.chunkstore.catalogue.rows import Snapshot, Store
from pbs_cloud.chunkstore.catalogue.session_rows import DeadSession, place_of_snapshot
from pbs_cloud.chunkstore.catalogue.usage import add_bytes
from pbs_cloud.contracts.errors import Conflict, Locked, PbsError, SessionLost, Unavailable
from pbs_cloud.contracts.events import EventType
from pbs_cloud.runtime.database import Connection
from pbs_cloud.runtime.logging import get_logger

_log = get_logger(__name__)
_Rest: TypeAlias = tuple[datetime, datetime]


class _Late(Unavailable):
    """A deletion got no answer and may still strike; the place is left alone until that is over."""


async def require_unpinned(connection: Connection, snapshot: Snapshot) -> None:
    """Raises Locked while a session reads the snapshot or has it as base, DeadSession if that session is dead.

    The transaction holds the row's lock FOR UPDATE, so that no pin can come in between.
    """
    pins = await connection.fetch(
        "SELECT s.id, s.kind, s.state = 'active' AND s.lease_until > clock_timestamp() AS alive"
        " FROM pin p JOIN session s ON s.id = p.session_id WHERE p.snapshot_id = $1",
        snapshot.id,
    )
    for pin in pins:
        if pin["alive"]:
            use = "is being read" if pin["kind"] == "reader" else "is the base of a running backup"
            raise Locked(f"unable to lock snapshot {snapshot.where.path}: it {use}")
    if pins:
        raise DeadSession(pins[0]["id"])


async def mark_committed(connection: Connection, store: Store, snapshot: Snapshot) -> None:
    """Take a committed, locked, unpinned snapshot out of sight, with its usage and its event.

    ``announce_usage`` follows, once in each transaction.
    """
    await mark_removing(connection, store, snapshot.id)
    await announce(
        connection,
        EventType.BACKUP_DELETED,
        store.tenant_id,
        snapshot.size or 0,
        store=store.name,
        ns=str(snapshot.where.place.ns),
        snapshot=str(snapshot.where.ref),
    )


async def mark_removing(
    connection: Connection, store: Store, snapshot_id: int, *, late_write_seconds: float = 0.0
) -> bool:
    """Mark a snapshot and give its bytes back to the quota; False if it was marked before.

    ``late_write_seconds``: its path is used again only after that time.
    """
    marked = await connection.fetchval(
        "UPDATE snapshot SET state = 'removing',"
        " reusable_at = greatest(reusable_at, clock_timestamp() + make_interval(secs => $2))"
        " WHERE id = $1 AND state <> 'removing' RETURNING id",
        snapshot_id,
        late_write_seconds,
    )
    if marked is None:
        return False
    freed = await connection.fetchval(
        "SELECT coalesce(sum(stored_size), 0)::bigint FROM snapshot_file WHERE snapshot_id = $1", snapshot_id
    )
    await add_bytes(connection, store.tenant_id, store.id, -freed)
    return True


@asynccontextmanager
async def holding_place(parts: Parts, tenant_id: str, snapshot_id: int) -> AsyncIterator[LateWrites]:
    """Writes into a snapshot: if one of them may arrive late, the path is not used again before it has (R24)."""
    with late_writes.watch() as late:
        try:
            yield late
        finally:
            if late.possible:
                async with parts.database.tenant(tenant_id) as connection:
                    await connection.execute(
                        "UPDATE snapshot SET reusable_at = clock_timestamp() + make_interval(secs => $2) WHERE id = $1",
                        snapshot_id,
                        parts.late_write_seconds,
                    )


async def hold_places(connection: Connection, session_id: uuid.UUID, seconds: float) -> list[int]:
    """Marked snapshots of a session that moves a group: their places are used again only after ``seconds``."""
    rows = await connection.fetch(
        "UPDATE snapshot SET reusable_at = clock_timestamp() + make_interval(secs => $2)"
        " WHERE session_id = $1 AND state = 'removing' RETURNING id",
        session_id,
        seconds,
    )
    return sorted(row["id"] for row in rows)


class Removal:
    """Takes away what is marked."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def remove(
        self, tenant_id: str, snapshot_id: int, *, holder: uuid.UUID | None = None, again: bool = False
    ) -> None:
        """Delete the files and the row of a marked snapshot, and its group if nothing else is in it.

        ``holder``: the session that is being closed and whose group lock does not keep an empty group. ``again``: an
        earlier attempt was not brought to its end.
        """
        await self._parts.writes.settled(snapshot_id)
        found = await self._find(tenant_id, snapshot_id)
        if found is None:
            return
        store, where = found
        rest = await self._let_rest(store, snapshot_id)
        if await self._parts.backends.of(store).delete_tree(where.prefix):
            return
        with contextlib.suppress(_Late):
            await self._remove_rows(store, where, snapshot_id, rest, holder, again)

    async def _remove_rows(
        self,
        store: Store,
        where: SnapshotPlace,
        snapshot_id: int,
        rest: _Rest | None,
        holder: uuid.UUID | None,
        again: bool,
    ) -> None:
        """The files are gone for certain. Raises _Late: those of the group are not, and everything stays as it is."""
        async with self._parts.database.tenant(store.tenant_id) as connection:
            group_id = await connection.fetchval("SELECT group_id FROM snapshot WHERE id = $1", snapshot_id)
            if group_id is None:
                return
            await connection.fetchval("SELECT 1 FROM backup_group WHERE id = $1 FOR UPDATE", group_id)
            if rest is not None:
                await connection.execute(
                    "UPDATE snapshot SET reusable_at = $3 WHERE id = $1 AND reusable_at = $2", snapshot_id, *rest
                )
            await connection.execute(
                "DELETE FROM snapshot WHERE id = $1 AND state = 'removing' AND reusable_at <= clock_timestamp()",
                snapshot_id,
            )
            gone = await self._remove_group_if_empty(connection, store, where.place, group_id, holder)
            if again and not gone and store.backend_type != "filesystem":
                await self._put_group_files(connection, store, where.place, group_id)

    async def _put_group_files(self, connection: Connection, store: Store, place: Place, group_id: int) -> None:
        """A deletion that arrived late may have taken them from a group that was used again; no other can come now."""
        row = await connection.fetchrow("SELECT owner, notes FROM backup_group WHERE id = $1", group_id)
        backend = self._parts.backends.of(store)
        await backend.put_file(place.owner_key, f"{row['owner']}\n".encode())
        if row["notes"]:
            await backend.put_file(place.notes_key, row["notes"].encode())

    async def _let_rest(self, store: Store, snapshot_id: int) -> _Rest | None:
        """Before deletions are sent to a bucket: nobody uses the path while one of them may arrive late.

        When each was answered, the time that was there before counts again. Answers the new and the former time.
        """
        if store.backend_type == "filesystem":
            return None
        async with self._parts.database.tenant(store.tenant_id) as connection:
            former = await connection.fetchval("SELECT reusable_at FROM snapshot WHERE id = $1 FOR UPDATE", snapshot_id)
            if former is None:
                return None
            now = await connection.fetchval(
                "UPDATE snapshot SET reusable_at = clock_timestamp() + make_interval(secs => $2) WHERE id = $1"
                " RETURNING reusable_at",
                snapshot_id,
                self._parts.late_write_seconds,
            )
        return now, former

    async def remove_group(self, tenant_id: str, store: Store, place: Place, group_id: int) -> bool:
        """Remove a group without snapshots and without a backup; whether it is gone now."""
        async with self._parts.database.tenant(tenant_id) as connection:
            if await connection.fetchval("SELECT id FROM backup_group WHERE id = $1 FOR UPDATE", group_id) is None:
                return True
            return await self._remove_group_if_empty(connection, store, place, group_id, None)

    async def resume(self) -> int:
        """Finish removals that a process which died has left, of all tenants; how many were done.

        A datastore whose backend fails is left alone until the next time; the others go on.
        """
        done, last = 0, 0
        failed: set[int] = set()
        while rows := await self._left_over(last):
            for row in rows:
                last = row["id"]
                if row["datastore_id"] in failed:
                    continue
                try:
                    await self.remove(row["tenant_id"], row["id"], again=True)
                    done += 1
                except PbsError as error:
                    failed.add(row["datastore_id"])
                    _log.warning("removal waits", datastore=row["datastore_id"], reason=error.message)
        return done

    async def _left_over(self, after: int) -> list[Any]:
        """Marked snapshots that nobody is removing right now, a page by id.

        A session without a lease has to be expired first: only that waits for what it does at this moment.
        """
        async with self._parts.database.system() as connection:
            rows: list[Any] = await connection.fetch(
                "SELECT s.id, s.tenant_id, s.datastore_id FROM snapshot s JOIN datastore d ON d.id = s.datastore_id"
                " WHERE s.state = 'removing' AND d.state = 'active' AND s.reusable_at <= clock_timestamp()"
                " AND NOT EXISTS (SELECT 1 FROM session e WHERE e.id = s.session_id AND e.state = 'active')"
                " AND s.id > $1 ORDER BY s.id LIMIT 500",
                after,
            )
        return rows

    async def _find(self, tenant_id: str, snapshot_id: int) -> tuple[Store, SnapshotPlace] | None:
        async with self._parts.database.tenant(tenant_id) as connection:
            state = await connection.fetchval("SELECT state FROM snapshot WHERE id = $1", snapshot_id)
            if state != "removing":
                return None
            try:
                return await place_of_snapshot(connection, snapshot_id)
            except SessionLost:
                return None

    async def _remove_group_if_empty(
        self, connection: Connection, store: Store, place: Place, group_id: int, holder: uuid.UUID | None
    ) -> bool:
        """The group's row is locked: whoever wants to use it waits, and finds it gone."""
        used = await connection.fetchval(
            "SELECT EXISTS (SELECT 1 FROM snapshot WHERE group_id = $1) OR EXISTS (SELECT 1 FROM session"
            " WHERE group_id = $1 AND state = 'active' AND kind <> 'reader' AND id IS DISTINCT FROM $2)",
            group_id,
            holder,
        )
        if used:
            return False
        try:
            if await self._parts.backends.of(store).delete_tree(place.prefix):
                raise _Late("a deletion was not answered by the storage")
        except Conflict as error:
            _log.warning("only the row of a group goes", datastore=store.id, reason=error.message)
        await connection.execute("DELETE FROM backup_group WHERE id = $1", group_id)
        return True
