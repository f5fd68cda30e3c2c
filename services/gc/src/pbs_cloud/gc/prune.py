"""Prune as tasks: one group, or everything of a namespace and below (rest-api C.7, formats 10.3)."""

from __future__ import annotations

import json

from pbs_cloud.contracts.chunkstore.catalogue import CatalogueClient
from pbs_cloud.contracts.chunkstore.types import Datastore, GroupRef, PrunedSnapshot
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import Conflict, NotFound, NotOwner
from pbs_cloud.contracts.rights import Privilege, datastore_path, privileges
from pbs_cloud.formats.names import SnapshotRef
from pbs_cloud.formats.prune import KeepOptions, PruneMark
from pbs_cloud.gc.tasks import TaskLog, TaskRunner

_RIGHTS = (Privilege.DATASTORE_MODIFY, Privilege.DATASTORE_PRUNE)


class Prune:
    """The catalogue decides and removes; this tells the log and goes from group to group."""

    def __init__(self, catalogue: CatalogueClient, tasks: TaskRunner) -> None:
        self._catalogue = catalogue
        self._tasks = tasks

    async def group(
        self, ctx: CallContext, group: GroupRef, keep: KeepOptions, *, dry_run: bool, use_task: bool
    ) -> tuple[tuple[PrunedSnapshot, ...], str | None]:
        """Verdicts, oldest first, and the UPID of the task that removes; only the UPID with ``use_task``.

        What is wrong with the call is found before there is a task. Raises as ``CatalogueClient.prune_group``.
        """
        planned = await self._catalogue.prune_group(ctx, group, keep, dry_run=True)
        if dry_run:
            return planned, None

        async def body(log: TaskLog) -> None:
            await _begin(log, keep, f"starting prune on {_where(group)}")
            await self._prune(ctx, group, keep, log, dry_run=False)

        upid = await self._tasks.begin(ctx, "prune", f"{group.store}:{group.ns}:{group}", body)
        if use_task:
            return (), upid
        await self._tasks.wait(upid)
        return planned, upid

    async def datastore(
        self, ctx: CallContext, store: str, ns: str, max_depth: int | None, keep: KeepOptions, *, dry_run: bool
    ) -> str:
        """UPID of the task. Raises Conflict (no rights on the namespace, maintenance; rest-api A.6), NotFound."""
        path = datastore_path(store, ns)
        if not privileges(ctx.caller, path) & frozenset(_RIGHTS):
            raise Conflict(f"missing permissions '{' | '.join(_RIGHTS)}' on '{path}'")
        stores, _ = await self._catalogue.list_datastores(ctx)
        named = next((found for found in stores if found.name == store), None)
        if named is None:
            raise NotFound(f"no such datastore '{store}'")
        _require_writable(named)

        async def body(log: TaskLog) -> None:
            await self.run(ctx, store, ns, max_depth, keep, log, dry_run=dry_run)

        return await self._tasks.begin(ctx, "prune", f"{store}:{ns}", body)

    async def run(
        self,
        ctx: CallContext,
        store: str,
        ns: str,
        max_depth: int | None,
        keep: KeepOptions,
        log: TaskLog,
        *,
        dry_run: bool = False,
        zone: str | None = None,
    ) -> None:
        """Prune every group that the caller may prune; a job's run as well as `prune-datastore`.

        ``zone``: time zone of the periods as it stands behind a schedule; None is UTC.
        """
        place = f"namespace '{ns}'" if ns else "root namespace"
        await _begin(log, keep, f"starting prune on datastore '{store}', {place}")
        for namespace in await self._catalogue.list_namespaces(ctx, store, ns, max_depth):
            if not privileges(ctx.caller, datastore_path(store, namespace)) & frozenset(_RIGHTS):
                continue
            async for group in self._catalogue.list_groups(ctx, store, namespace):
                ref = GroupRef(store, namespace, group.backup_type, group.backup_id)
                try:
                    await self._prune(ctx, ref, keep, log, dry_run=dry_run, zone=zone)
                except (NotFound, NotOwner):
                    continue

    async def _prune(
        self,
        ctx: CallContext,
        group: GroupRef,
        keep: KeepOptions,
        log: TaskLog,
        *,
        dry_run: bool,
        zone: str | None = None,
    ) -> None:
        await log.line(f"prune group {_where(group)}")
        for snapshot in await self._catalogue.prune_group(ctx, group, keep, dry_run=dry_run, zone=zone):
            mark = PruneMark.KEEP.value if snapshot.keep and snapshot.mark == PruneMark.REMOVE else snapshot.mark
            name = SnapshotRef.of(group.backup_type, group.backup_id, snapshot.backup_time)
            await log.line(f"would {mark} {name}" if dry_run else f"{name} {mark}")
            if snapshot.error is not None:
                await log.warn(f"failed to remove {name}: {snapshot.error}")


def _require_writable(store: Datastore) -> None:
    """Raises Conflict in any maintenance mode, before there is a task."""
    if store.maintenance is None:
        return
    mode, _, message = store.maintenance.partition(",message=")
    text = json.loads(message) if message.startswith('"') else message
    reason = "datastore is being deleted" if mode == "delete" else f"{mode} maintenance mode: {text}"
    raise Conflict(f"datastore '{store.name}' is unavailable: {reason}")


async def _begin(log: TaskLog, keep: KeepOptions, title: str) -> None:
    await log.line(f"retention options: {keep}" if not keep.is_empty else "No prune selection - keeping all files.")
    await log.line(title)


def _where(group: GroupRef) -> str:
    return f"{group.ns}:{group}" if group.ns else str(group)
