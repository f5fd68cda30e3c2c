"""Groups: delete, notes, owner (rest-api C.5)."""

from __future__ import annotations

from dataclasses import dataclass

from pbs_cloud.chunkstore.catalogue.announce import announce_usage
from pbs_cloud.chunkstore.catalogue.closing import Closing
from pbs_cloud.chunkstore.catalogue.names import Place, refuse_nul, refusing_bad_names
from pbs_cloud.chunkstore.catalogue.parts import Parts
from pbs_cloud.chunkstore.catalogue.removal import Removal, mark_committed, require_unpinned
from pbs_cloud.chunkstore.catalogue.rows import ENOENT, Group, Snapshot, Store, find_group
from pbs_cloud.chunkstore.catalogue.session_rows import DeadSession
from pbs_cloud.chunkstore.catalogue.snapshots import Access
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import CallContext, Caller
from pbs_cloud.contracts.errors import Conflict, Locked, NotFound, Unauthenticated
from pbs_cloud.contracts.rights import Privilege, require_access
from pbs_cloud.formats.identity import AuthId
from pbs_cloud.runtime.database import Connection

P = Privilege
PARTIALLY = "group only partially deleted due to protected snapshots"
_BATCH = 100


@dataclass(slots=True)
class Deleted:
    """What a deletion did so far."""

    groups: int = 0
    protected: int = 0
    snapshots: int = 0

    @property
    def statistics(self) -> t.DeleteStatistics:
        return t.DeleteStatistics(self.groups, self.protected, self.snapshots)


class Groups:
    """Calls on one group."""

    def __init__(self, parts: Parts, closing: Closing, removal: Removal) -> None:
        self._parts = parts
        self._closing = closing
        self._removal = removal

    async def delete(self, ctx: CallContext, ref: t.GroupRef, *, error_on_protected: bool) -> t.DeleteStatistics:
        """Delete all snapshots that are not protected, and the group if it is empty then.

        Raises NotFound (with ENOENT), NotOwner, Locked; Conflict if protected snapshots remain (the others are gone).
        """
        access = Access.check(ctx, ref, ((P.DATASTORE_MODIFY,), (P.DATASTORE_PRUNE,)))
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            store = await access.store(connection, writing=True)
            if await access.group(connection, store) is None:
                raise NotFound(f"group '{access.place.group}' not found: {ENOENT}")
        done = Deleted()
        await self.delete_contents(ctx.tenant_id, store, access.place, done)
        if done.protected and error_on_protected:
            raise Conflict(PARTIALLY)
        return done.statistics

    async def delete_contents(self, tenant_id: str, store: Store, place: Place, done: Deleted) -> None:
        """Delete a group as far as protection allows, and count. Raises Locked."""
        while marked := await self._closing.past_the_dead(tenant_id, lambda: self._mark(tenant_id, store, place)):
            for snapshot_id in marked:
                await self._removal.remove(tenant_id, snapshot_id)
            done.snapshots += len(marked)
        kept, gone = await self._remove_if_empty(tenant_id, store, place)
        done.protected += kept
        done.groups += gone

    async def _mark(self, tenant_id: str, store: Store, place: Place) -> list[int]:
        """Mark the oldest snapshots that may go: at most a batch of them."""
        async with self._parts.database.tenant(tenant_id) as connection:
            group = await find_group(connection, store, place, update=True)
            if group is None:
                return []
            await require_no_backup(connection, group)
            rows = await connection.fetch(
                "SELECT id, state, protected, manifest_size, size, session_id, backup_time FROM snapshot"
                " WHERE group_id = $1 AND state = 'committed' AND NOT protected"
                " ORDER BY backup_time LIMIT $2 FOR UPDATE",
                group.id,
                _BATCH,
            )
            for row in rows:
                values = dict(row)
                where = place.snapshot(values.pop("backup_time"))
                snapshot = Snapshot(**values, manifest=None, where=where)
                await require_unpinned(connection, snapshot)
                await mark_committed(connection, store, snapshot)
            if rows:
                await announce_usage(connection, tenant_id, store.name)
            return [row["id"] for row in rows]

    async def _remove_if_empty(self, tenant_id: str, store: Store, place: Place) -> tuple[int, bool]:
        """How many protected snapshots remain, and whether the group is gone."""
        async with self._parts.database.tenant(tenant_id) as connection:
            group = await find_group(connection, store, place)
            if group is None:
                return 0, True
            kept = await connection.fetchval(
                "SELECT count(*) FROM snapshot WHERE group_id = $1 AND state = 'committed' AND protected", group.id
            )
        return kept, await self._removal.remove_group(tenant_id, store, place, group.id)

    async def notes(self, ctx: CallContext, ref: t.GroupRef) -> str:
        """Empty for a missing group if the caller may see all, else NotFound."""
        access = Access.check(ctx, ref, ((P.DATASTORE_AUDIT,), (P.DATASTORE_BACKUP,)))
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            store = await access.store(connection, writing=False)
            group = await access.group(connection, store)
            if group is None and access.limited:
                raise NotFound(ENOENT)
            return "" if group is None else group.notes

    async def set_notes(self, ctx: CallContext, ref: t.GroupRef, notes: str) -> None:
        """Raises NotFound, NotOwner, Locked while a backup runs."""
        access = Access.check(ctx, ref, ((P.DATASTORE_MODIFY,), (P.DATASTORE_BACKUP,)))
        refuse_nul(notes, "notes")

        async def change() -> None:
            async with self._parts.database.tenant(ctx.tenant_id) as connection:
                store = await access.store(connection, writing=True)
                group = await access.group(connection, store, update=True)
                if group is None:
                    raise NotFound(ENOENT)
                await require_no_backup(connection, group)
                await self._parts.backends.of(store).put_file(access.place.notes_key, notes.encode())
                await connection.execute("UPDATE backup_group SET notes = $2 WHERE id = $1", group.id, notes)

        await self._closing.past_the_dead(ctx.tenant_id, change)

    async def change_owner(self, ctx: CallContext, ref: t.GroupRef, new_owner: str) -> None:
        """Raises PermissionDenied, NotFound, Unauthenticated (a move the caller may not make), Locked."""
        place = Place.parse(ref)
        limited = require_access(ctx.caller, ref.store, ref.ns, (P.DATASTORE_MODIFY,), (P.DATASTORE_BACKUP,))
        with refusing_bad_names():
            AuthId.parse(new_owner, "new-owner")
        access = Access(ctx, ref, place, limited=False)

        async def change() -> None:
            async with self._parts.database.tenant(ctx.tenant_id) as connection:
                store = await access.store(connection, writing=True)
                group = await access.group(connection, store, update=True)
                if group is None:
                    raise NotFound(ENOENT)
                if limited and not _may_move(ctx.caller, group.owner, new_owner):
                    raise Unauthenticated(
                        f"{ctx.caller.auth_id} does not have permission to change owner of backup group"
                        f" '{place.group}' to {new_owner}"
                    )
                await require_no_backup(connection, group)
                await self._parts.backends.of(store).put_file(place.owner_key, f"{new_owner}\n".encode())
                await connection.execute("UPDATE backup_group SET owner = $2 WHERE id = $1", group.id, new_owner)

        await self._closing.past_the_dead(ctx.tenant_id, change)


def _may_move(caller: Caller, owner: str, new_owner: str) -> bool:
    """A plain user moves groups between itself and its tokens (rest-api C.5 `change-owner`)."""
    me = caller.auth_id
    if caller.is_token or owner == new_owner:
        return False
    mine = {me, owner.partition("!")[0], new_owner.partition("!")[0]} == {me}
    return mine and (owner != me or new_owner != me)


async def require_no_backup(connection: Connection, group: Group) -> None:
    """Raises Locked while a backup or a move of the group runs, DeadSession if that session is dead.

    The group's row is locked.
    """
    holder = await connection.fetchrow(
        "SELECT id, kind, lease_until > clock_timestamp() AS alive FROM session"
        " WHERE group_id = $1 AND state = 'active' AND kind <> 'reader'",
        group.id,
    )
    if holder is None:
        return
    if not holder["alive"]:
        raise DeadSession(holder["id"])
    use = "it is being moved" if holder["kind"] == "move" else "a backup is running"
    raise Locked(f"unable to acquire lock on the group '{group.place.group}': {use}")
