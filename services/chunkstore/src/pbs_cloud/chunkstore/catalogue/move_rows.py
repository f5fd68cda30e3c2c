"""The first transaction of a group's move: both groups locked, rules checked, a place reserved for each snapshot.

A reservation is a snapshot row in state ``removing`` at the target: nothing else can take the place, and whoever finds
the row after the move has died removes what was copied there.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from pbs_cloud.chunkstore.catalogue.background import PROCESS
from pbs_cloud.chunkstore.catalogue.groups import require_no_backup
from pbs_cloud.chunkstore.catalogue.names import Place
from pbs_cloud.chunkstore.catalogue.removal import require_unpinned
from pbs_cloud.chunkstore.catalogue.rows import Group, Snapshot, Store, find_group, find_namespace, require_group
from pbs_cloud.contracts.errors import Conflict, Locked, NamespaceNotFound
from pbs_cloud.runtime.database import Connection


@dataclass(frozen=True, slots=True)
class Moving:
    """One snapshot of a move and its reserved place."""

    snapshot_id: int
    backup_time: int
    reservation_id: int


@dataclass(frozen=True, slots=True)
class GroupMove:
    """A group that is being moved; ``locks`` are the sessions that hold the source and the target group."""

    store: Store
    source: Group
    target: Group
    new: bool
    locks: tuple[uuid.UUID, uuid.UUID]
    snapshots: tuple[Moving, ...]

    @property
    def tenant_id(self) -> str:
        return self.store.tenant_id

    @property
    def holder(self) -> uuid.UUID:
        """The session that rows in state ``removing`` belong to while the move lives."""
        return self.locks[1]


async def lock_both(
    connection: Connection, store: Store, source: Place, target: Place, *, merge: bool
) -> tuple[Group, Group, bool]:
    """Both group rows, locked and without a backup; the target is made if it is missing (then True).

    Raises NotFound, NamespaceNotFound, Conflict (it exists; another owner), Locked, DeadSession.
    """
    found = await require_group(connection, store, source)
    namespace_id = await find_namespace(connection, store, str(target.ns), lock="FOR KEY SHARE")
    if namespace_id is None:
        raise NamespaceNotFound(f"target namespace '{target.ns}' does not exist")
    names = (namespace_id, target.group.backup_type.value, target.group.backup_id)
    new = await connection.fetchval(
        "INSERT INTO backup_group (tenant_id, datastore_id, namespace_id, backup_type, backup_id, owner, notes)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING RETURNING id",
        store.tenant_id,
        store.id,
        *names,
        found.owner,
        found.notes,
    )
    await connection.fetch(
        "SELECT id FROM backup_group WHERE id = $1 OR (namespace_id = $2 AND backup_type = $3 AND backup_id = $4)"
        " ORDER BY id FOR UPDATE",
        found.id,
        *names,
    )
    here = await require_group(connection, store, source, update=True)
    there = await find_group(connection, store, target, update=True)
    if there is None or (new is not None and (here.owner, here.notes) != (found.owner, found.notes)):
        raise Locked(f"the group '{target.group}' changes at the moment, try again")
    await require_no_backup(connection, here)
    await require_no_backup(connection, there)
    if new is None:
        _require_mergeable(here, there, merge)
    return here, there, new is not None


def _require_mergeable(source: Group, target: Group, merge: bool) -> None:
    if not merge:
        raise exists_already(target.place)
    if source.owner != target.owner:
        raise Conflict(f"cannot merge group '{source.place.group}': owner mismatch ({source.owner} != {target.owner})")


def exists_already(target: Place) -> Conflict:
    """The refusal of a move onto a group without a merge."""
    return Conflict(f"group '{target.group}' exists already in namespace '{target.ns}'")


async def movable_snapshots(connection: Connection, source: Group) -> list[Any]:
    """Committed snapshots, locked, oldest first. Raises Locked while one is used, DeadSession."""
    rows: list[Any] = await connection.fetch(
        "SELECT id, state, protected, manifest_size, size, session_id, backup_time FROM snapshot"
        " WHERE group_id = $1 AND state = 'committed' ORDER BY backup_time FOR UPDATE",
        source.id,
    )
    for row in rows:
        values = dict(row)
        where = source.place.snapshot(values.pop("backup_time"))
        await require_unpinned(connection, Snapshot(**values, manifest=None, where=where))
    if not rows:
        raise Locked(f"the group '{source.place.group}' has no snapshot that could be moved")
    return rows


async def require_newer(connection: Connection, target: Group, oldest: int) -> None:
    """Raises Conflict if a snapshot of the target is not older than ``oldest``, the first that comes."""
    newest = await connection.fetchval(
        "SELECT max(backup_time) FROM snapshot WHERE group_id = $1 AND state <> 'removing'", target.id
    )
    if newest is not None and newest >= oldest:
        raise Conflict(
            f"cannot merge group '{target.place.group}': snapshot time mismatch"
            f" - {target.place.snapshot(newest).ref} in the target is not older than every moved snapshot"
        )


async def reserve(connection: Connection, store: Store, move: tuple[Group, Group], late_seconds: float) -> GroupMove:
    """Reserved places for all committed snapshots of the source. Raises Locked if one is still in use."""
    source, target = move
    holder = uuid.uuid4()
    rows = await connection.fetch(
        "INSERT INTO snapshot (tenant_id, datastore_id, group_id, backup_time, state, session_id, reusable_at)"
        " SELECT tenant_id, datastore_id, $2, backup_time, 'removing', $3,"
        " clock_timestamp() + make_interval(secs => $4) FROM snapshot WHERE group_id = $1 AND state = 'committed'"
        " ON CONFLICT DO NOTHING RETURNING id, backup_time",
        source.id,
        target.id,
        holder,
        late_seconds,
    )
    places = {row["backup_time"]: row["id"] for row in rows}
    wanted = await connection.fetch(
        "SELECT id, backup_time FROM snapshot WHERE group_id = $1 AND state = 'committed' ORDER BY backup_time",
        source.id,
    )
    for row in wanted:
        if row["backup_time"] not in places:
            where = target.place.snapshot(row["backup_time"])
            raise Locked(f"unable to lock snapshot {where.path}: it is being removed")
    moving = tuple(Moving(row["id"], row["backup_time"], places[row["backup_time"]]) for row in wanted)
    return GroupMove(store, source, target, False, (uuid.uuid4(), holder), moving)


async def insert_locks(connection: Connection, move: GroupMove, auth_id: str, lease_seconds: float) -> None:
    """The sessions that hold both groups; their rows are locked."""
    for session_id, group in zip(move.locks, (move.source, move.target), strict=True):
        await connection.execute(
            "INSERT INTO session (id, tenant_id, datastore_id, kind, auth_id, process_id, group_id, start_epoch,"
            " lease_until) VALUES ($1, $2, $3, 'move', $4, $5, $6, $7,"
            " clock_timestamp() + make_interval(secs => $8))",
            session_id,
            move.tenant_id,
            move.store.id,
            auth_id,
            PROCESS,
            group.id,
            move.store.epoch,
            lease_seconds,
        )


async def switch(connection: Connection, move: GroupMove, item: Moving) -> int:
    """Let the snapshot be at the target; id of the row in state ``removing`` that stands for its old place."""
    await connection.execute("DELETE FROM snapshot WHERE id = $1", item.reservation_id)
    await connection.execute("UPDATE snapshot SET group_id = $2 WHERE id = $1", item.snapshot_id, move.target.id)
    left: int = await connection.fetchval(
        "INSERT INTO snapshot (tenant_id, datastore_id, group_id, backup_time, state, session_id, reusable_at)"
        " VALUES ($1, $2, $3, $4, 'removing', $5, clock_timestamp()) RETURNING id",
        move.tenant_id,
        move.store.id,
        move.source.id,
        item.backup_time,
        move.holder,
    )
    return left
