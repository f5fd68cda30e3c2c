"""Verification as tasks: a snapshot, a group, a namespace and below; after a backup; in a job (rest-api C.7)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

from pbs_cloud.contracts.chunkstore.catalogue import CatalogueClient
from pbs_cloud.contracts.chunkstore.types import GroupRef, SnapshotKey
from pbs_cloud.contracts.chunkstore.verifier import VerifierClient
from pbs_cloud.contracts.context import CallContext, Caller
from pbs_cloud.contracts.errors import Conflict, DataCorrupt, InvalidArgument, NotFound
from pbs_cloud.contracts.jobs import VerifyOptions, VerifyScope
from pbs_cloud.contracts.rights import Privilege, datastore_path, privileges, require_access, require_owner
from pbs_cloud.gc.tasks import TaskLog, TaskRunner
from pbs_cloud.gc.verification.snapshots import Run, SnapshotCheck, path_of

_NAMED = 3
BENCHMARK = ("host", "benchmark")


@dataclass(slots=True)
class _Failures:
    """How many snapshots failed, and the names of the first ones."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, name: str) -> None:
        self.count += 1
        if len(self.first) < _NAMED:
            self.first.append(name)

    def error(self) -> DataCorrupt:
        more = self.count - len(self.first)
        named = ", ".join(self.first) + (f" and {more} more" if more else "")
        return DataCorrupt(f"verification failed for {named} - see the log")


class Verify:
    """Starts and carries out verifications."""

    def __init__(self, catalogue: CatalogueClient, verifier: VerifierClient, tasks: TaskRunner) -> None:
        self._catalogue = catalogue
        self._tasks = tasks
        self._snapshots = SnapshotCheck(catalogue, verifier, tasks)

    async def start(self, ctx: CallContext, scope: VerifyScope, options: VerifyOptions) -> str:
        """UPID of the task. That namespace, group or snapshot exist is found out in it, unless the owner counts.

        Raises PermissionDenied, InvalidArgument (mixed parameters), Conflict (offline), NotOwner, and NotFound
        (datastore; for callers that may verify only what is their own the group too).
        """
        limited = require_access(
            ctx.caller, scope.store, scope.ns, (Privilege.DATASTORE_VERIFY,), (Privilege.DATASTORE_BACKUP,)
        )
        worker_type, worker_id = task_name(scope)
        full = for_everything(ctx)
        await self._catalogue.datastore_status(full, scope.store)
        if limited and scope.backup_id is not None:
            await self._require_owner(full, ctx.caller, scope)

        async def body(log: TaskLog) -> None:
            await self.run(ctx, scope, options, log)

        return await self._tasks.begin(ctx, worker_type, worker_id, body)

    async def start_after_backup(self, ctx: CallContext, snapshot: SnapshotKey) -> str:
        """UPID of the task that verifies a snapshot just made (formats 11.4 `verify-new`)."""
        group = snapshot.group

        async def body(log: TaskLog) -> None:
            options = await self._tuned(for_everything(ctx), group.store, VerifyOptions(ignore_verified=False))
            run = Run(for_everything(ctx), options, log)
            if not await self._snapshots.check(run, snapshot):
                raise DataCorrupt(f"verification failed for {path_of(snapshot)} - see the log")

        worker_id = f"{group.store}:{group}/{snapshot.backup_time:08X}"
        return await self._tasks.begin(ctx, "verify", worker_id, body)

    async def run(self, ctx: CallContext, scope: VerifyScope, options: VerifyOptions, log: TaskLog) -> None:
        """The body of a task. Raises DataCorrupt that names what failed, Conflict if the scope is not there."""
        full = for_everything(ctx)
        run = Run(full, await self._tuned(full, scope.store, options), log)
        failures = _Failures()
        try:
            async for ns, only_own in self._namespaces(run.ctx, ctx.caller, scope):
                owner = ctx.caller if only_own else None
                for group in await self._groups(run, scope, ns, owner):
                    await self._group(run, scope, group, failures)
        except NotFound as error:
            raise Conflict(f"verification failed: {error.message}") from error
        if failures.count:
            raise failures.error()

    async def _tuned(self, full: CallContext, store: str, options: VerifyOptions) -> VerifyOptions:
        """What was not said is as the datastore's `tuning` has it (formats 7.8)."""
        stores, _ = await self._catalogue.list_datastores(full)
        text = next((found.config.get("tuning", "") for found in stores if found.name == store), "")
        values = dict(part.partition("=")[::2] for part in text.split(",") if part)

        def default(name: str, said: int | None) -> int | None:
            value = values.get(f"default-verification-{name}", "")
            return said or (int(value) if value.isdecimal() else None)

        readers, workers = default("readers", options.read_threads), default("workers", options.verify_threads)
        return replace(options, read_threads=readers, verify_threads=workers)

    async def _namespaces(
        self, full: CallContext, caller: Caller, scope: VerifyScope
    ) -> AsyncIterator[tuple[str, bool]]:
        """Namespaces of the scope, and whether the caller may verify only its own groups in it."""
        found: tuple[str, ...] = (scope.ns,)
        if scope.backup_id is None:
            found = await self._catalogue.list_namespaces(full, scope.store, scope.ns, scope.max_depth)
        for ns in found:
            held = privileges(caller, datastore_path(scope.store, ns))
            if Privilege.DATASTORE_VERIFY in held:
                yield ns, False
            elif Privilege.DATASTORE_BACKUP in held:
                yield ns, True

    async def _groups(self, run: Run, scope: VerifyScope, ns: str, owner: Caller | None) -> list[GroupRef]:
        """Groups in the order of formats 11.4, without the benchmark's; ``owner``: only what is its own."""
        if scope.backup_type is not None and scope.backup_id is not None:
            return [GroupRef(scope.store, ns, scope.backup_type, scope.backup_id)]
        refs = [
            GroupRef(scope.store, ns, group.backup_type, group.backup_id)
            async for group in self._catalogue.list_groups(run.ctx, scope.store, ns)
            if owner is None or owner.owns(group.owner)
        ]
        refs = [ref for ref in refs if (ref.backup_type, ref.backup_id) != BENCHMARK]
        await run.log.line(f"found {len(refs)} groups in " + (f"namespace '{ns}'" if ns else "the root namespace"))
        return sorted(refs, key=group_order)

    async def _group(self, run: Run, scope: VerifyScope, group: GroupRef, failures: _Failures) -> None:
        """All snapshots of a group, or the one of the scope, newest first."""
        found = [
            snapshot.backup_time
            async for snapshot in self._catalogue.list_snapshots(
                run.ctx, scope.store, group.ns, backup_type=group.backup_type, backup_id=group.backup_id
            )
            if scope.backup_time in (None, snapshot.backup_time)
        ]
        for backup_time in sorted(found, reverse=True):
            key = SnapshotKey(group, backup_time)
            if not await self._snapshots.check(run, key):
                failures.add(path_of(key))

    async def _require_owner(self, full: CallContext, caller: Caller, scope: VerifyScope) -> None:
        """Raises NotOwner, and NotFound for a group that does not exist: nobody owns it."""
        async for group in self._catalogue.list_groups(full, scope.store, scope.ns):
            if (group.backup_type, group.backup_id) == (scope.backup_type, scope.backup_id):
                return require_owner(caller, group.owner)
        raise NotFound("ENOENT: No such file or directory")


def for_everything(ctx: CallContext) -> CallContext:
    """The caller with all rights in its tenant: what it may verify has been decided when this is used."""
    return replace(ctx, caller=replace(ctx.caller, superuser=True))


def group_order(group: GroupRef) -> tuple[str, bool, int, str]:
    """ct, host, vm; numeric ids first and by their number."""
    numeric = group.backup_id.isascii() and group.backup_id.isdigit()
    return group.backup_type, not numeric, int(group.backup_id) if numeric else 0, group.backup_id


def task_name(scope: VerifyScope) -> tuple[str, str]:
    """Worker type and id of rest-api appendix 1. Raises InvalidArgument for a mix that names nothing."""
    path = "/".join(f"ns/{part}" for part in scope.ns.split("/")) if scope.ns else ""
    if scope.backup_type is None and scope.backup_id is None and scope.backup_time is None:
        return "verify", f"{scope.store}:{path}" if path else scope.store
    if scope.backup_type is None or scope.backup_id is None:
        raise InvalidArgument("parameters do not specify a backup group or snapshot", field="backup-id")
    group = f"{scope.store}:{path}/{scope.backup_type}/{scope.backup_id}"
    if scope.backup_time is None:
        return "verify_group", group
    return "verify_snapshot", f"{group}/{scope.backup_time:08X}"
