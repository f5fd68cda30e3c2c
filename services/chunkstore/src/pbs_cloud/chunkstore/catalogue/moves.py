"""Moving a group to another namespace of its datastore (rest-api C.6, formats 12.2, 12.6).

Snapshot by snapshot: its files are copied to the reserved place, one transaction lets row and reservation change
places, then the row that is left behind is removed like any other, with the old files. So at each moment the row says
which files are the snapshot, and all others belong to a row in state ``removing``, which `Removal.resume` finishes.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pbs_cloud.chunkstore.catalogue import move_rows as rows
from pbs_cloud.chunkstore.catalogue.background import (
    PROCESS,
    Background,
    RunningTask,
    StopRequested,
    TaskAborted,
    nobody_asks,
)
from pbs_cloud.chunkstore.catalogue.closing import Closing
from pbs_cloud.chunkstore.catalogue.leases import Leases
from pbs_cloud.chunkstore.catalogue.manifests import stored_names
from pbs_cloud.chunkstore.catalogue.move_rows import GroupMove, Moving
from pbs_cloud.chunkstore.catalogue.names import Place, SnapshotPlace
from pbs_cloud.chunkstore.catalogue.parts import Parts
from pbs_cloud.chunkstore.catalogue.removal import Removal, hold_places, require_unpinned
from pbs_cloud.chunkstore.catalogue.rows import Store, find_group, find_namespace, find_snapshot, find_store
from pbs_cloud.chunkstore.catalogue.session_rows import require_active
from pbs_cloud.chunkstore.catalogue.snapshots import Access
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import (
    AlreadyExists,
    DataCorrupt,
    InvalidArgument,
    NamespaceNotFound,
    NotFound,
    PbsError,
    Unavailable,
)
from pbs_cloud.contracts.rights import Privilege, require_owner
from pbs_cloud.runtime.database import Connection
from pbs_cloud.runtime.logging import get_logger

P = Privilege
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Moved:
    """How many snapshots went, and how many stay where they were because the move was to stop."""

    count: int
    left: int

    def __str__(self) -> str:
        return f"moved {self.count} snapshots" + (f", {self.left} stay where they are" if self.left else "")


class Moves:
    """Moves groups. Both groups are locked by sessions meanwhile, so a backup, a removal or another move is refused."""

    def __init__(self, parts: Parts, closing: Closing, removal: Removal, background: Background) -> None:
        self._parts = parts
        self._closing = closing
        self._removal = removal
        self._background = background
        self._leases = Leases(parts)

    async def move_group(self, ctx: CallContext, ref: t.GroupRef, target_ns: str, *, merge: bool) -> str:
        """UPID of the task that moves.

        Raises PermissionDenied, InvalidArgument (same namespace), NotFound, NotOwner, Conflict (it exists and shall
        not be merged; maintenance).
        """
        here = Access.check(ctx, ref, ((P.DATASTORE_MODIFY,), (P.DATASTORE_PRUNE,)))
        goal = dataclasses.replace(ref, ns=target_ns)
        there = Access.check(ctx, goal, ((P.DATASTORE_MODIFY,), (P.DATASTORE_BACKUP,)))
        owned = here.limited or there.limited
        if here.place.ns == there.place.ns:
            raise InvalidArgument("target-ns: source and target namespace must be different", field="target-ns")
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            store = await here.store(connection, writing=True)
            group = await find_group(connection, store, here.place)
            if group is None:
                raise NotFound(f"group '{here.place.group}' not found")
            if owned:
                require_owner(ctx.caller, group.owner)
            if await find_namespace(connection, store, target_ns) is None:
                raise NamespaceNotFound(f"target namespace '{target_ns}' does not exist")
            if not merge and await find_group(connection, store, there.place) is not None:
                raise rows.exists_already(there.place)

        async def work(task: RunningTask) -> None:
            places = (here.place, there.place)
            moved = await self.move(
                ctx, ref.store, *places, merge=merge, owned=owned, stop_requested=task.stop_requested
            )
            await task.log(str(moved))
            if moved.left:
                raise TaskAborted("task aborted")

        worker_id = f"{ref.store}:{ref.ns}/{here.place.group}:{target_ns}"
        return await self._background.as_running_task(ctx, "move-group", worker_id, work)

    async def move(
        self,
        ctx: CallContext,
        store: str,
        source: Place,
        target: Place,
        *,
        merge: bool,
        owned: bool = False,
        stop_requested: StopRequested = nobody_asks,
    ) -> Moved:
        """Move all snapshots, oldest first, until it is asked to stop; that is looked at before each snapshot.

        What was moved before a stop or a failure stays moved, the others stay where they are, both groups are free.
        Raises NotFound, NotOwner (with ``owned``), Conflict, Locked, Unavailable.
        """
        move = await self._closing.past_the_dead(
            ctx.tenant_id, lambda: self._begin(ctx, store, (source, target), merge, owned)
        )
        try:
            async with self._renewed(move):
                moved = await self._move_each(move, stop_requested)
        except Exception as error:
            known = isinstance(error, PbsError) and not isinstance(error, Unavailable)
            await self._close(move, "aborted", answered=known)
            raise
        await self._close(move, "aborted" if moved.left else "finished", answered=True)
        return moved

    async def _move_each(self, move: GroupMove, stop_requested: StopRequested) -> Moved:
        count = 0
        for done, item in enumerate(move.snapshots):
            if await stop_requested():
                return Moved(count, len(move.snapshots) - done)
            if done == 0:
                await self._write_group_files(move)
            count += await self._move_one(move, item)
        return Moved(count, 0)

    async def _begin(
        self, ctx: CallContext, name: str, places: tuple[Place, Place], merge: bool, owned: bool
    ) -> GroupMove:
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            store = await find_store(connection, ctx.tenant_id, name, share=True)
            store.require_usable(ctx.caller, writing=True)
            source, target, new = await rows.lock_both(connection, store, *places, merge=merge)
            if owned:
                require_owner(ctx.caller, source.owner)
            found = await rows.movable_snapshots(connection, source)
            await rows.require_newer(connection, target, found[0]["backup_time"])
            late = self._late_seconds(store)
            move = dataclasses.replace(await rows.reserve(connection, store, (source, target), late), new=new)
            await self._require_free(move)
            await rows.insert_locks(connection, move, ctx.caller.auth_id, self._parts.lease_seconds)
            return move

    def _late_seconds(self, store: Store) -> float:
        return 0.0 if store.backend_type == "filesystem" else self._parts.late_write_seconds

    async def _require_free(self, move: GroupMove) -> None:
        """Raises AlreadyExists if files that no row knows lie where a snapshot shall go."""
        prefix = move.target.place.prefix
        wanted = {move.target.place.snapshot(item.backup_time).prefix for item in move.snapshots}
        async for key, _ in self._parts.backends.of(move.store).list_files(prefix):
            folder = prefix + key.removeprefix(prefix).partition("/")[0] + "/"
            if folder in wanted:
                raise AlreadyExists(f"{folder[:-1]} exists already and is not in the catalogue")

    async def _write_group_files(self, move: GroupMove) -> None:
        """Owner and notes of a group that is new at the target."""
        if not move.new:
            return
        backend = self._parts.backends.of(move.store)
        await backend.put_file(move.target.place.owner_key, f"{move.source.owner}\n".encode())
        if move.source.notes:
            await backend.put_file(move.target.place.notes_key, move.source.notes.encode())

    async def _move_one(self, move: GroupMove, item: Moving) -> bool:
        """False for a snapshot that was deleted in the meantime."""
        left = await self._closing.past_the_dead(move.tenant_id, lambda: self._copy_and_switch(move, item))
        if left is None:
            return False
        try:
            await self._removal.remove(move.tenant_id, left, holder=move.locks[0])
        except PbsError as error:
            _log.warning("removal waits", snapshot=left, reason=error.message)
        return True

    async def _copy_and_switch(self, move: GroupMove, item: Moving) -> int | None:
        """One transaction, in which nobody opens, changes or removes the snapshot. Raises Locked, SessionLost."""
        async with (
            self._parts.writes.into(item.reservation_id),
            self._parts.database.tenant(move.tenant_id) as connection,
        ):
            await connection.fetch(
                "SELECT 1 FROM backup_group WHERE id = ANY($1) ORDER BY id FOR KEY SHARE",
                [move.source.id, move.target.id],
            )
            for session_id in move.locks:
                await require_active(connection, session_id)
            snapshot = await find_snapshot(connection, move.source, item.backup_time, lock="FOR UPDATE")
            if snapshot is None or snapshot.id != item.snapshot_id:
                return None
            await require_unpinned(connection, snapshot)
            names = await stored_names(connection, snapshot.id)
            await self._copy(move.store, snapshot.where, move.target.place.snapshot(item.backup_time), names)
            return await rows.switch(connection, move, item)

    async def _copy(self, store: Store, source: SnapshotPlace, target: SnapshotPlace, names: list[str]) -> None:
        """Every file of the snapshot's place. Raises DataCorrupt if one of ``names`` is not there."""
        backend = self._parts.backends.of(store)
        missing = set(names)
        async for key, _ in backend.list_files(source.prefix):
            name = key.removeprefix(source.prefix)
            await backend.copy_file(key, f"{target.prefix}{name}")
            missing.discard(name)
        if missing:
            raise DataCorrupt(f"snapshot {source.path} lacks the file {min(missing)}")

    async def _close(self, move: GroupMove, state: str, *, answered: bool) -> None:
        """Give up what was reserved and not used, then the locks. ``answered``: no write can still arrive."""
        async with self._parts.database.tenant(move.tenant_id) as connection:
            late = 0.0 if answered else self._late_seconds(move.store)
            left = await hold_places(connection, move.holder, late)
        for snapshot_id in left:
            await self._tidy(move, snapshot_id)
        async with self._parts.database.tenant(move.tenant_id) as connection:
            await _end_locks(connection, move, state)
        for group in (move.source, move.target):
            await self._removal.remove_group(move.tenant_id, move.store, group.place, group.id)

    async def _tidy(self, move: GroupMove, snapshot_id: int) -> None:
        """Remove now what `Removal.resume` would remove later."""
        try:
            await self._removal.remove(move.tenant_id, snapshot_id, holder=move.holder)
        except PbsError as error:
            _log.warning("removal waits", snapshot=snapshot_id, reason=error.message)

    @asynccontextmanager
    async def _renewed(self, move: GroupMove) -> AsyncIterator[None]:
        """The locks stay valid meanwhile, as long as the database can be reached."""
        renewal = asyncio.create_task(self._renew(move))
        try:
            yield
        finally:
            renewal.cancel()
            await asyncio.gather(renewal, return_exceptions=True)

    async def _renew(self, move: GroupMove) -> None:
        ids = [str(session_id) for session_id in move.locks]
        while True:
            await asyncio.sleep(self._parts.lease_seconds / 4)
            try:
                await self._leases.renew(PROCESS, ids, [])
            except PbsError as error:
                _log.warning("the locks of a move are not renewed", reason=error.message)


async def _end_locks(connection: Connection, move: GroupMove, state: str) -> None:
    await connection.execute(
        "UPDATE session SET state = $2, ended_at = clock_timestamp() WHERE id = ANY($1) AND state = 'active'",
        list(move.locks),
        state,
    )
