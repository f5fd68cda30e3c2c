"""Snapshots: delete, files, notes, protection, client log (rest-api C.5, C.8)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pbs_cloud.chunkstore.catalogue.announce import announce_usage
from pbs_cloud.chunkstore.catalogue.closing import Closing
from pbs_cloud.chunkstore.catalogue.manifests import (
    put_protected,
    readable,
    rewrite_manifest,
    shown_files,
    stored_names,
)
from pbs_cloud.chunkstore.catalogue.names import Place, SnapshotPlace, parse_time
from pbs_cloud.chunkstore.catalogue.parts import Parts
from pbs_cloud.chunkstore.catalogue.removal import Removal, mark_committed, require_unpinned
from pbs_cloud.chunkstore.catalogue.retention import require_unlocked
from pbs_cloud.chunkstore.catalogue.rows import ENOENT, Group, Snapshot, Store, find_group, find_snapshot, usable_store
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import Conflict, InvalidArgument, Locked, NotFound
from pbs_cloud.contracts.rights import Privilege, require_access, require_owner
from pbs_cloud.formats.manifest import BackupManifest, VerifyResult, VerifyState
from pbs_cloud.formats.upid import Upid
from pbs_cloud.runtime.database import Connection

P = Privilege
_DELETE = ((P.DATASTORE_MODIFY,), (P.DATASTORE_PRUNE,))
_SHOW = ((P.DATASTORE_AUDIT,), (P.DATASTORE_BACKUP,))
_CHANGE = ((P.DATASTORE_MODIFY,), (P.DATASTORE_BACKUP,))
_VERIFY = ((P.DATASTORE_VERIFY,), (P.DATASTORE_BACKUP,))
_FILES = ((P.DATASTORE_AUDIT, P.DATASTORE_READ), (P.DATASTORE_BACKUP,))


@dataclass(frozen=True, slots=True)
class Access:
    """A call's way to one group: who may, and whether only owners."""

    ctx: CallContext
    ref: t.GroupRef
    place: Place
    limited: bool

    @classmethod
    def check(
        cls,
        ctx: CallContext,
        ref: t.GroupRef,
        rights: tuple[tuple[Privilege, ...], tuple[Privilege, ...]],
    ) -> Access:
        """Raises InvalidArgument (names) and PermissionDenied."""
        place = Place.parse(ref)
        return cls(ctx, ref, place, require_access(ctx.caller, ref.store, ref.ns, *rights))

    async def store(self, connection: Connection, *, writing: bool) -> Store:
        return await usable_store(connection, self.ctx.caller, self.ref.store, writing=writing)

    async def group(self, connection: Connection, store: Store, *, update: bool = False) -> Group | None:
        """The group; a limited caller must own it. Raises NotOwner."""
        group = await find_group(connection, store, self.place, update=update)
        if group is not None and self.limited:
            require_owner(self.ctx.caller, group.owner)
        return group


class Snapshots:
    """Calls on one snapshot."""

    def __init__(self, parts: Parts, closing: Closing, removal: Removal) -> None:
        self._parts = parts
        self._closing = closing
        self._removal = removal

    async def delete(self, ctx: CallContext, key: t.SnapshotKey) -> None:
        """Raises Conflict (protected), Locked (read, written, base of a running backup), NotFound."""
        access, where = _where(ctx, key, _DELETE)

        async def mark() -> int:
            async with self._parts.database.tenant(ctx.tenant_id) as connection:
                store = await access.store(connection, writing=True)
                snapshot = await _require(connection, access, store, where, lock="FOR UPDATE")
                await _require_deletable(connection, snapshot)
                await mark_committed(connection, store, snapshot)
                await announce_usage(connection, ctx.tenant_id, store.name)
                return snapshot.id

        await self._removal.remove(ctx.tenant_id, await self._closing.past_the_dead(ctx.tenant_id, mark))

    async def files(self, ctx: CallContext, key: t.SnapshotKey) -> tuple[t.File, ...]:
        """Raises NotFound, Conflict for a snapshot without manifest."""
        access, where = _where(ctx, key, _FILES)
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            store = await access.store(connection, writing=False)
            snapshot = await _require(connection, access, store, where)
            manifest = readable(snapshot.manifest)
            if manifest is None:
                raise Conflict(f"manifest not found for snapshot '{where.path}'")
            return shown_files(manifest, snapshot.manifest_size, await stored_names(connection, snapshot.id))

    async def notes(self, ctx: CallContext, key: t.SnapshotKey) -> str:
        """Raises NotFound, Conflict for an unfinished snapshot."""
        access, where = _where(ctx, key, _SHOW)
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            store = await access.store(connection, writing=False)
            snapshot = await _require(connection, access, store, where)
            return _finished_manifest(snapshot).notes

    async def set_notes(self, ctx: CallContext, key: t.SnapshotKey, notes: str) -> None:
        """Raises NotFound, Conflict for an unfinished snapshot."""

        def change(manifest: BackupManifest) -> None:
            manifest.notes = notes

        await self._change_manifest(_where(ctx, key, _CHANGE), change)

    async def set_verify_state(self, ctx: CallContext, key: t.SnapshotKey, found: t.Verification) -> None:
        """Store the result of a verification, in a read-only datastore too (rest-api C, maintenance modes).

        Raises InvalidArgument (no UPID, no state), NotFound, Conflict for an unfinished snapshot.
        """
        try:
            state = VerifyState(Upid.parse(found.upid), VerifyResult(found.state))
        except ValueError as error:
            raise InvalidArgument(f"verification: {error}", field="verification") from error

        def change(manifest: BackupManifest) -> None:
            manifest.verify_state = state

        await self._change_manifest(_where(ctx, key, _VERIFY), change, writing=False)

    async def protected(self, ctx: CallContext, key: t.SnapshotKey) -> bool:
        """False for a snapshot that does not exist, if the caller may see it or owns its group."""
        access, where = _where(ctx, key, _SHOW)
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            store = await access.store(connection, writing=False)
            group = await access.group(connection, store)
            if group is None and access.limited:
                raise NotFound(ENOENT)
            snapshot = None if group is None else await find_snapshot(connection, group, where.backup_time)
            return snapshot is not None and snapshot.protected

    async def set_protected(self, ctx: CallContext, key: t.SnapshotKey, protected: bool) -> None:
        """Raises NotFound, Conflict (unfinished; retained), Locked (being read or the base of a backup)."""
        access, where = _where(ctx, key, _CHANGE)
        await self._closing.past_the_dead(ctx.tenant_id, lambda: self._set_protected(access, where, protected))

    async def _set_protected(self, access: Access, where: SnapshotPlace, protected: bool) -> None:
        async with self._parts.database.tenant(access.ctx.tenant_id) as connection:
            store = await access.store(connection, writing=True)
            snapshot = await _require(connection, access, store, where, lock="FOR UPDATE")
            if snapshot.state != "committed":
                raise Locked(f"unable to lock snapshot {where.path}: it is being written")
            await require_unpinned(connection, snapshot)
            backend = self._parts.backends.of(store)
            if protected:
                await put_protected(backend, where)
            else:
                await require_unlocked(connection, snapshot.id)
                await backend.delete_file(where.protected_key)
            await connection.execute(
                "UPDATE snapshot SET protected = $2, kept = $2 WHERE id = $1", snapshot.id, protected
            )

    async def _change_manifest(
        self,
        target: tuple[Access, SnapshotPlace],
        change: Callable[[BackupManifest], None],
        *,
        writing: bool = True,
    ) -> None:
        access, where = target
        async with self._parts.database.tenant(access.ctx.tenant_id) as connection:
            store = await access.store(connection, writing=writing)
            snapshot = await _require(connection, access, store, where, lock="FOR NO KEY UPDATE")
            _finished_manifest(snapshot)
            await rewrite_manifest(connection, self._parts.backends.of(store), store, snapshot, change)

    @asynccontextmanager
    async def for_log(self, ctx: CallContext, key: t.SnapshotKey) -> AsyncIterator[tuple[Connection, Store, Snapshot]]:
        """A transaction on a snapshot of a group that the caller owns, administrators included (rest-api C.8)."""
        ref = key.group
        where = Place.parse(ref).snapshot(parse_time(key.backup_time))
        require_access(ctx.caller, ref.store, ref.ns, (P.DATASTORE_BACKUP,))
        access = Access(ctx, ref, where.place, limited=True)
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            store = await access.store(connection, writing=True)
            yield connection, store, await _require(connection, access, store, where, lock="FOR NO KEY UPDATE")


def _where(
    ctx: CallContext, key: t.SnapshotKey, rights: tuple[tuple[Privilege, ...], tuple[Privilege, ...]]
) -> tuple[Access, SnapshotPlace]:
    backup_time = parse_time(key.backup_time)
    access = Access.check(ctx, key.group, rights)
    return access, access.place.snapshot(backup_time)


async def _require(
    connection: Connection, access: Access, store: Store, where: SnapshotPlace, *, lock: str = ""
) -> Snapshot:
    group = await access.group(connection, store)
    snapshot = None if group is None else await find_snapshot(connection, group, where.backup_time, lock=lock)
    if snapshot is None:
        raise NotFound(f"snapshot {where.path} does not exist!")
    return snapshot


async def _require_deletable(connection: Connection, snapshot: Snapshot) -> None:
    """Raises Conflict or Locked for what must stay."""
    if snapshot.protected:
        raise Conflict("failed to delete snapshot - cannot remove protected snapshot")
    if snapshot.state != "committed":
        raise Locked(f"unable to lock snapshot {snapshot.where.path}: it is being written")
    await require_unpinned(connection, snapshot)


def _finished_manifest(snapshot: Snapshot) -> BackupManifest:
    """Raises Conflict if there is no readable manifest."""
    manifest = readable(snapshot.manifest)
    if manifest is None:
        raise Conflict(f"manifest not found for snapshot '{snapshot.where.path}'")
    return manifest
