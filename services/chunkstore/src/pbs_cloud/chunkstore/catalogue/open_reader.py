"""Opening a reader session: the snapshot is pinned while it lives (wire-protocol 5.1, rest-api C.8, C.10)."""

from __future__ import annotations

import uuid

from pbs_cloud.chunkstore.catalogue.manifests import files_of
from pbs_cloud.chunkstore.catalogue.names import Place, SnapshotPlace, parse_time
from pbs_cloud.chunkstore.catalogue.parts import Parts
from pbs_cloud.chunkstore.catalogue.rows import Store, find_group, find_snapshot, usable_store
from pbs_cloud.chunkstore.catalogue.task_rows import NewTask, insert_task
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import CallContext, Caller
from pbs_cloud.contracts.errors import Conflict, Locked, NotFound, NotOwner
from pbs_cloud.contracts.rights import Privilege, datastore_path, privileges, require_access, require_owner
from pbs_cloud.runtime.database import Connection


class ReaderOpening:
    """Opens reader sessions of the protocol, and of downloads through REST."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def open(self, ctx: CallContext, key: t.SnapshotKey, *, process_id: str, with_task: bool) -> t.ReaderSession:
        """Raises Conflict (no rights; REST: PermissionDenied), NotFound, Conflict (maintenance), NotOwner, Locked."""
        where = Place.parse(key.group).snapshot(parse_time(key.backup_time))
        limited = _is_limited(ctx.caller, key.group, with_task)
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            store = await usable_store(connection, ctx.caller, key.group.store, writing=False)
            snapshot_id = await _lock_snapshot(connection, ctx, store, where, limited, with_task)
            files = await files_of(connection, snapshot_id)
            upid = await self._task(connection, ctx, store, where, process_id) if with_task else ""
            session_id = await self._insert(connection, ctx, store, snapshot_id, upid, process_id)
        return t.ReaderSession(str(session_id), upid, int(self._parts.lease_seconds), files)

    async def _task(
        self, connection: Connection, ctx: CallContext, store: Store, where: SnapshotPlace, process_id: str
    ) -> str:
        worker_id = f"{store.name}:{where.place.group}/{where.backup_time:08X}"
        new = NewTask(ctx.tenant_id, "reader", worker_id, ctx.caller.auth_id, process_id)
        return await insert_task(connection, new, self._parts.lease_seconds)

    async def _insert(
        self, connection: Connection, ctx: CallContext, store: Store, snapshot_id: int, upid: str, process_id: str
    ) -> uuid.UUID:
        session_id: uuid.UUID = await connection.fetchval(
            "INSERT INTO session (tenant_id, datastore_id, kind, auth_id, process_id, snapshot_id, upid, start_epoch,"
            " lease_until) VALUES ($1, $2, 'reader', $3, $4, $5, $6, $7,"
            " clock_timestamp() + make_interval(secs => $8)) RETURNING id",
            ctx.tenant_id,
            store.id,
            ctx.caller.auth_id,
            process_id,
            snapshot_id,
            upid or None,
            store.epoch,
            self._parts.lease_seconds,
        )
        await connection.execute(
            "INSERT INTO pin (snapshot_id, session_id, tenant_id) VALUES ($1, $2, $3)",
            snapshot_id,
            session_id,
            ctx.tenant_id,
        )
        return session_id


def _is_limited(caller: Caller, group: t.GroupRef, with_task: bool) -> bool:
    """Whether the caller may read only its own groups."""
    if not with_task:
        return require_access(caller, group.store, group.ns, (Privilege.DATASTORE_READ,), (Privilege.DATASTORE_BACKUP,))
    path = datastore_path(group.store, group.ns)
    held = privileges(caller, path)
    if not held & {Privilege.DATASTORE_READ, Privilege.DATASTORE_BACKUP}:
        raise Conflict(f"no permissions on {path}")
    return Privilege.DATASTORE_READ not in held


async def _lock_snapshot(
    connection: Connection, ctx: CallContext, store: Store, where: SnapshotPlace, limited: bool, with_task: bool
) -> int:
    """Id of the committed snapshot, its row locked against removal until the pin stands."""
    missing = NotFound(f"snapshot {where.path} does not exist.")
    group = await find_group(connection, store, where.place)
    if group is None:
        raise missing
    if limited and with_task and not ctx.caller.owns(group.owner):
        raise NotOwner("backup owner check failed!")
    if limited:
        require_owner(ctx.caller, group.owner)
    snapshot = await find_snapshot(connection, group, where.backup_time, lock="FOR KEY SHARE")
    if snapshot is None:
        raise missing
    if snapshot.state != "committed":
        raise Locked(f"unable to lock snapshot {where.path}: it is being written")
    return snapshot.id
