"""Moving a namespace with everything below it: its groups one after the other (rest-api C.6)."""

from __future__ import annotations

from dataclasses import dataclass

from pbs_cloud.chunkstore.catalogue.background import Background, RunningTask, TaskAborted
from pbs_cloud.chunkstore.catalogue.moves import Moves
from pbs_cloud.chunkstore.catalogue.names import Place, parse_namespace
from pbs_cloud.chunkstore.catalogue.namespaces import Namespaces, groups_in, paths_below
from pbs_cloud.chunkstore.catalogue.parts import Parts
from pbs_cloud.chunkstore.catalogue.rows import Store, find_namespace, usable_store
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import Conflict, InvalidArgument, NamespaceNotFound, PbsError
from pbs_cloud.contracts.rights import Privilege, require_access
from pbs_cloud.formats.names import MAX_NAMESPACE_DEPTH, BackupNamespace
from pbs_cloud.runtime.database import Connection


@dataclass(frozen=True, slots=True)
class NamespaceMove:
    """What a caller asked for; ``max_depth`` levels below ``source``, None: all."""

    store: str
    source: BackupNamespace
    target: BackupNamespace
    max_depth: int | None
    delete_source: bool
    merge: bool

    def includes(self, path: BackupNamespace) -> bool:
        """Whether a namespace below the source is moved."""
        return self.max_depth is None or path.depth - self.source.depth <= self.max_depth

    def goal(self, path: BackupNamespace) -> BackupNamespace:
        """Where a namespace below the source goes."""
        return BackupNamespace((*self.target.components, *path.components[self.source.depth :]))


class NamespaceMoves:
    """Moves namespaces inside their datastore."""

    def __init__(self, parts: Parts, moves: Moves, namespaces: Namespaces, background: Background) -> None:
        self._parts = parts
        self._moves = moves
        self._namespaces = namespaces
        self._background = background

    async def move_namespace(
        self,
        ctx: CallContext,
        store: str,
        ns: str,
        target_ns: str,
        *,
        max_depth: int | None,
        delete_source: bool,
        merge: bool,
    ) -> str:
        """UPID of the task that moves.

        Raises PermissionDenied, InvalidArgument (root, same, own subtree, too deep), NamespaceNotFound (source or
        parent of the target), Conflict (maintenance).
        """
        source, target = parse_namespace(ns), parse_namespace(target_ns, "target-ns")
        for given in (ns, target_ns):
            require_access(ctx.caller, store, given.rpartition("/")[0], (Privilege.DATASTORE_MODIFY,))
        move = NamespaceMove(store, source, target, max_depth, delete_source, merge)
        _require_sensible(move)
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            found = await usable_store(connection, ctx.caller, store, writing=True)
            await self._paths(connection, found, move)
            if await find_namespace(connection, found, str(target.parent)) is None:
                raise NamespaceNotFound(f"parent namespace '{target.parent}' of the target does not exist")

        async def work(task: RunningTask) -> None:
            await self._move(ctx, move, task)

        return await self._background.as_running_task(ctx, "move-namespace", f"{store}:{ns}:{target_ns}", work)

    async def _paths(self, connection: Connection, store: Store, move: NamespaceMove) -> list[BackupNamespace]:
        """What is moved, parents before children. Raises NamespaceNotFound, InvalidArgument (too deep)."""
        paths = [path for path in await paths_below(connection, store, str(move.source)) if move.includes(path)]
        if not paths:
            raise NamespaceNotFound(f"namespace '{move.source}' does not exist")
        deepest = max(move.goal(path).depth for path in paths)
        if deepest > MAX_NAMESPACE_DEPTH:
            raise InvalidArgument(
                f"target-ns: namespace too deep, {deepest} > max {MAX_NAMESPACE_DEPTH}", field="target-ns"
            )
        return paths

    async def _move(self, ctx: CallContext, move: NamespaceMove, task: RunningTask) -> None:
        """Everything that can be moved, until it is asked to stop. Raises Conflict if groups are left, TaskAborted."""
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            store = await usable_store(connection, ctx.caller, move.store, writing=True)
            paths = await self._paths(connection, store, move)
        failed = 0
        for path in paths:
            await _require_wanted(task)
            await self._namespaces.make(ctx, move.store, move.goal(path))
            async with self._parts.database.tenant(ctx.tenant_id) as connection:
                places = await groups_in(connection, store, path)
            for place in places:
                await _require_wanted(task)
                failed += not await self._move_group(ctx, move, place, task)
        if move.delete_source:
            await self._delete_source(ctx.tenant_id, store, paths, task)
        if failed:
            raise Conflict(f"{failed} groups could not be moved, see the log of the task")

    async def _move_group(self, ctx: CallContext, move: NamespaceMove, place: Place, task: RunningTask) -> bool:
        target = Place(move.goal(place.ns), place.group)
        try:
            moved = await self._moves.move(
                ctx, move.store, place, target, merge=move.merge, stop_requested=task.stop_requested
            )
        except PbsError as error:
            await task.log(f"{place.ns}: group '{place.group}' was not moved: {error.message}")
            return False
        await task.log(f"{place.ns}: group '{place.group}' to {target.ns}: {moved}")
        if moved.left:
            raise TaskAborted("task aborted")
        return True

    async def _delete_source(
        self, tenant_id: str, store: Store, paths: list[BackupNamespace], task: RunningTask
    ) -> None:
        """Delete the namespaces that are empty now, deepest first."""
        for path in sorted(paths, key=lambda p: p.depth, reverse=True):
            if not await self._namespaces.delete_empty(tenant_id, store, path):
                await task.log(f"namespace '{path}' is not empty and stays")


async def _require_wanted(task: RunningTask) -> None:
    """Raises TaskAborted, Unavailable."""
    if await task.stop_requested():
        raise TaskAborted("task aborted")


def _require_sensible(move: NamespaceMove) -> None:
    """Raises InvalidArgument."""
    if move.source.is_root or move.target.is_root:
        field = "ns" if move.source.is_root else "target-ns"
        raise InvalidArgument(f"{field}: the root namespace cannot be moved or replaced", field=field)
    if move.source == move.target:
        raise InvalidArgument("target-ns: source and target namespace must be different", field="target-ns")
    if move.target.components[: move.source.depth] == move.source.components:
        raise InvalidArgument("target-ns: cannot move a namespace into its own subtree", field="target-ns")
