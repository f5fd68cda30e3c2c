"""Opening a backup session: all checks from the privilege on; group lock, base, pin and task in one transaction."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from pbs_cloud.chunkstore.backends.local import LocalBackend
from pbs_cloud.chunkstore.backends.small_files import read_owner
from pbs_cloud.chunkstore.catalogue.closing import Closing
from pbs_cloud.chunkstore.catalogue.groups import require_no_backup
from pbs_cloud.chunkstore.catalogue.names import BENCHMARK, Place, SnapshotPlace, parse_time
from pbs_cloud.chunkstore.catalogue.parts import Parts
from pbs_cloud.chunkstore.catalogue.rows import Group, Store, find_namespace, find_store
from pbs_cloud.chunkstore.catalogue.task_rows import NewTask, insert_task
from pbs_cloud.chunkstore.catalogue.usage import require_room
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import CallContext, Caller
from pbs_cloud.contracts.errors import (
    AlreadyExists,
    Conflict,
    DataCorrupt,
    InvalidArgument,
    Locked,
    NamespaceNotFound,
    NotOwner,
    PbsError,
    PermissionDenied,
    Unavailable,
)
from pbs_cloud.contracts.rights import Privilege, datastore_path, privileges, require_owner
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.manifest import BackupManifest, VerifyResult
from pbs_cloud.runtime.database import Connection

EXISTS = "backup directory already exists."
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a client asked for, with checked names."""

    place: Place
    backup_time: int
    benchmark: bool
    process_id: str
    store: str

    @property
    def where(self) -> SnapshotPlace:
        return self.place.snapshot(self.backup_time)


@dataclass(frozen=True, slots=True)
class _Opened:
    session: t.BackupSession
    store: Store
    new_group: int | None
    """Id of the group if it holds no backup yet."""


class BackupOpening:
    """Opens backup and benchmark sessions (wire-protocol 4.1, rest-api C.10)."""

    def __init__(self, parts: Parts, closing: Closing) -> None:
        self._parts = parts
        self._closing = closing

    async def open(
        self, ctx: CallContext, group: t.GroupRef, backup_time: int, *, benchmark: bool, process_id: str
    ) -> t.BackupSession:
        """Raises in the order of the checks: InvalidArgument, PermissionDenied, NotFound, Conflict (maintenance),
        NamespaceNotFound, InvalidArgument (benchmark), Locked, NotOwner, DataCorrupt, Conflict (time, exists),
        QuotaExceeded.
        """
        wanted = _Wanted(Place.parse(group), parse_time(backup_time), benchmark, process_id, group.store)
        _require_backup(ctx.caller, group.store, group.ns)
        for _ in range(_ATTEMPTS):
            opened = await self._closing.past_the_dead(ctx.tenant_id, lambda: self._attempt(ctx, wanted))
            if opened is not None:
                await self._write_owner(ctx, wanted, opened)
                return opened.session
        raise Locked(f"the group '{wanted.place.group}' changes all the time, try again")

    async def _attempt(self, ctx: CallContext, wanted: _Wanted) -> _Opened | None:
        """One transaction; None if the group went away in between."""
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            store = await find_store(connection, ctx.tenant_id, wanted.store, share=True)
            store.require_usable(ctx.caller, writing=True)
            namespace_id = await find_namespace(connection, store, str(wanted.place.ns))
            if namespace_id is None:
                raise NamespaceNotFound("namespace not found")
            if wanted.benchmark != (wanted.place.group == BENCHMARK):
                raise InvalidArgument("the benchmark flag belongs to the group host/benchmark", field="benchmark")
            row, new = await _lock_group(connection, ctx, store, namespace_id, wanted.place)
            if row is None:
                return None
            await require_no_backup(connection, Group(row["id"], row["owner"], "", wanted.place))
            if not wanted.benchmark:
                require_owner(ctx.caller, row["owner"])
            session = await self._insert(connection, ctx, store, row["id"], wanted)
            return _Opened(session, store, row["id"] if new else None)

    async def _require_no_folder(self, store: Store, wanted: _Wanted) -> None:
        """Raises Conflict: a directory has files of that time that the catalogue does not know (somebody else's).

        In a bucket nobody looks: it would be a list for each backup.
        """
        backend = self._parts.backends.of(store)
        if isinstance(backend, LocalBackend) and [key async for key, _ in backend.list_files(wanted.where.prefix)]:
            raise Conflict(EXISTS, field="backup-time")

    async def _insert(
        self, connection: Connection, ctx: CallContext, store: Store, group_id: int, wanted: _Wanted
    ) -> t.BackupSession:
        """The last checks, then session, snapshot, pin and task."""
        base = await _choose_base(connection, group_id)
        if base is not None and wanted.backup_time <= base["backup_time"]:
            raise Conflict("backup timestamp is older than last backup.", field="backup-time")
        await _require_new(connection, group_id, wanted.backup_time)
        await self._require_no_folder(store, wanted)
        await require_room(connection, ctx.tenant_id, ctx.caller.quota_bytes)
        kind = "benchmark" if wanted.benchmark else "backup"
        worker_id = f"{store.name}:{wanted.place.group}"
        task = NewTask(ctx.tenant_id, kind, worker_id, ctx.caller.auth_id, wanted.process_id)
        upid = await insert_task(connection, task, self._parts.lease_seconds)
        session_id = uuid.uuid4()
        snapshot_id = await connection.fetchval(
            "INSERT INTO snapshot (tenant_id, datastore_id, group_id, backup_time, state, session_id)"
            " VALUES ($1, $2, $3, $4, 'open', $5) RETURNING id",
            ctx.tenant_id,
            store.id,
            group_id,
            wanted.backup_time,
            session_id,
        )
        await connection.execute(
            "INSERT INTO session (id, tenant_id, datastore_id, kind, auth_id, process_id, group_id, snapshot_id,"
            " base_snapshot_id, upid, start_epoch, quota_bytes, lease_until)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,"
            " clock_timestamp() + make_interval(secs => $13))",
            session_id,
            ctx.tenant_id,
            store.id,
            kind,
            ctx.caller.auth_id,
            wanted.process_id,
            group_id,
            snapshot_id,
            None if base is None else base["id"],
            upid,
            store.epoch,
            ctx.caller.quota_bytes,
            self._parts.lease_seconds,
        )
        found = None if base is None else await _pin_base(connection, ctx.tenant_id, session_id, base)
        return t.BackupSession(str(session_id), upid, int(self._parts.lease_seconds), found)

    async def _write_owner(self, ctx: CallContext, wanted: _Wanted, opened: _Opened) -> None:
        """The owner file of a group that is new; without it the session cannot go on."""
        if wanted.benchmark or opened.new_group is None:
            return
        key, backend = wanted.place.owner_key, self._parts.backends.of(opened.store)
        try:
            try:
                await backend.put_file(key, f"{ctx.caller.auth_id}\n".encode(), only_new=True)
            except AlreadyExists:
                await self._take_owner(ctx, opened.new_group, await read_owner(backend, key))
        except PbsError as error:
            await self._closing.close(ctx, opened.session.session_id, error=error.message, bytes_sent=0)
            if isinstance(error, NotOwner):
                raise
            raise Unavailable("the owner of the group could not be stored") from error

    async def _take_owner(self, ctx: CallContext, group_id: int, owner: str | None) -> None:
        """The group is there although the catalogue knows no backup of it: it is whose its file says (mixed mode).

        Raises NotOwner, DataCorrupt.
        """
        if owner is None:
            raise DataCorrupt("the owner of the group cannot be read")
        require_owner(ctx.caller, owner)
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            await connection.execute("UPDATE backup_group SET owner = $2 WHERE id = $1", group_id, owner)


def _require_backup(caller: Caller, store: str, ns: str) -> None:
    path = datastore_path(store, ns)
    if Privilege.DATASTORE_BACKUP not in privileges(caller, path):
        raise PermissionDenied(f"missing permissions 'Datastore.Backup' on '{path}'")


async def _lock_group(
    connection: Connection, ctx: CallContext, store: Store, namespace_id: int, place: Place
) -> tuple[Any, bool]:
    """The group's row, locked, made with the caller as owner if there was none; and whether it holds no backup yet.

    None instead of a row if the group was removed at the same time.
    """
    names = (namespace_id, place.group.backup_type.value, place.group.backup_id)
    await connection.execute(
        "INSERT INTO backup_group (tenant_id, datastore_id, namespace_id, backup_type, backup_id, owner)"
        " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        ctx.tenant_id,
        store.id,
        *names,
        ctx.caller.auth_id,
    )
    row = await connection.fetchrow(
        "SELECT g.id, g.owner FROM backup_group g WHERE namespace_id = $1 AND backup_type = $2 AND backup_id = $3"
        " FOR UPDATE",
        *names,
    )
    if row is None:
        return None, False
    used = await connection.fetchval(
        "SELECT EXISTS (SELECT 1 FROM snapshot WHERE group_id = $1 AND state = 'committed')", row["id"]
    )
    return row, not used


async def _choose_base(connection: Connection, group_id: int) -> Any:
    """Row of the newest committed snapshot, locked against removal; None if there is none or it failed verification.

    Raises DataCorrupt if its manifest cannot be read (formats 12.5).
    """
    newest = (
        "SELECT id, backup_time, manifest FROM snapshot WHERE group_id = $1 AND state = 'committed'"
        " ORDER BY backup_time DESC LIMIT 1 FOR KEY SHARE"
    )
    row = await connection.fetchrow(newest, group_id) or await connection.fetchrow(newest, group_id)
    if row is None:
        return None
    try:
        manifest = BackupManifest.parse(row["manifest"] or "")
    except FormatError as error:
        raise DataCorrupt(f"unable to read the manifest of the last backup: {error}") from error
    failed = manifest.verify_state is not None and manifest.verify_state.state is VerifyResult.FAILED
    return None if failed else row


async def _require_new(connection: Connection, group_id: int, backup_time: int) -> None:
    """Raises Conflict if a snapshot of that time exists, finished or not."""
    exists = await connection.fetchval(
        "SELECT EXISTS (SELECT 1 FROM snapshot WHERE group_id = $1 AND backup_time = $2)", group_id, backup_time
    )
    if exists:
        raise Conflict(EXISTS, field="backup-time")


async def _pin_base(connection: Connection, tenant_id: str, session_id: uuid.UUID, base: Any) -> t.BaseSnapshot:
    await connection.execute(
        "INSERT INTO pin (snapshot_id, session_id, tenant_id) VALUES ($1, $2, $3)", base["id"], session_id, tenant_id
    )
    files = await connection.fetch("SELECT name FROM snapshot_file WHERE snapshot_id = $1 ORDER BY name", base["id"])
    return t.BaseSnapshot(base["backup_time"], tuple(row["name"] for row in files))
