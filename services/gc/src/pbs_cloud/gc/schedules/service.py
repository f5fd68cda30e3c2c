"""Configured jobs: who may see and change which (rest-api C.11, C.12)."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import AlreadyExists, Conflict, InvalidArgument
from pbs_cloud.contracts.jobs import Job, JobFields, JobKind
from pbs_cloud.contracts.rights import Privilege as P
from pbs_cloud.contracts.rights import datastore_path, privileges, require
from pbs_cloud.formats.calendar import CalendarEvent
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.prune import KeepOptions
from pbs_cloud.gc.configuration import rows as configuration
from pbs_cloud.gc.schedules import rows
from pbs_cloud.gc.schedules.rows import JobRow
from pbs_cloud.gc.schedules.runs import JobRuns, no_such_job
from pbs_cloud.runtime.database import Connection, Database

MODIFIED = "detected modified configuration - file changed by other user? Try again."
_MAX_ID = 32
_LIST = {
    JobKind.PRUNE: (P.DATASTORE_AUDIT, P.DATASTORE_MODIFY),
    JobKind.VERIFY: (P.DATASTORE_AUDIT, P.DATASTORE_VERIFY),
}
_READ = {JobKind.PRUNE: (P.DATASTORE_AUDIT,), JobKind.VERIFY: (P.DATASTORE_AUDIT, P.DATASTORE_VERIFY)}
_CHANGE = {JobKind.PRUNE: (P.DATASTORE_MODIFY,), JobKind.VERIFY: (P.DATASTORE_VERIFY,)}
_DELETABLE = {
    JobKind.PRUNE: frozenset({"comment", "disable", "ns", "max-depth"} | {f"keep-{u}" for u in KeepOptions.__slots__}),
    JobKind.VERIFY: frozenset(
        {"comment", "schedule", "ignore-verified", "outdated-after", "ns", "max-depth", "read-threads"}
        | {"verify-threads"}
    ),
}


class ConfiguredJobs:
    """Jobs of one tenant at a time. An unknown id is reported before rights are looked at, as stock does."""

    def __init__(self, database: Database, runs: JobRuns) -> None:
        self._database = database
        self._runs = runs

    async def list(self, ctx: CallContext, kind: JobKind, store: str | None) -> tuple[tuple[Job, ...], str]:
        """Jobs that the caller may see, with their states, and the digest of all."""
        async with self._database.tenant(ctx.tenant_id) as connection:
            found = await rows.all_of(connection, ctx.tenant_id, kind)
        seen = [job for job in found if store in (None, job.store) and _holds(ctx, _LIST[kind], job.store, job.ns)]
        return await self._with_states(ctx, seen), rows.digest_of(ctx.tenant_id, found)

    async def get(self, ctx: CallContext, kind: JobKind, job_id: str) -> tuple[Job, str]:
        """Raises NotFound, Conflict (rights)."""
        async with self._database.tenant(ctx.tenant_id) as connection:
            found = await rows.all_of(connection, ctx.tenant_id, kind)
        job = next((job for job in found if job.id == job_id), None)
        if job is None:
            raise no_such_job(kind, job_id)
        _require(ctx, _READ[kind], job.store, job.ns)
        return (await self._with_states(ctx, [job]))[0], rows.digest_of(ctx.tenant_id, found)

    async def create(self, ctx: CallContext, kind: JobKind, job_id: str, fields: JobFields) -> None:
        """Raises InvalidArgument, Conflict (rights), AlreadyExists."""
        values = _checked(kind, fields.given())
        _require(ctx, _CHANGE[kind], values["store"], values.get("ns", ""))
        await self._insert(ctx, kind, job_id, values)

    async def create_default_prune(self, ctx: CallContext, store: str, fields: JobFields) -> None:
        """Retention that came with a new datastore. Raises PermissionDenied, InvalidArgument."""
        require(ctx.caller, "/datastore", P.DATASTORE_ALLOCATE)
        suffix = f"-{secrets.token_hex(4)}"
        job_id = f"default-{store}"[: _MAX_ID - len(suffix)] + suffix
        await self._insert(ctx, JobKind.PRUNE, job_id, _checked(JobKind.PRUNE, {**fields.given(), "store": store}))

    async def update(
        self,
        ctx: CallContext,
        kind: JobKind,
        job_id: str,
        changes: JobFields,
        delete: Sequence[str],
        digest: str | None,
    ) -> None:
        """Raises NotFound, Conflict (rights at the old and the new place, digest), InvalidArgument."""
        if unknown := set(delete) - _DELETABLE[kind]:
            raise InvalidArgument(f"delete: '{min(unknown)}' cannot be deleted", field="delete")
        async with self._database.tenant(ctx.tenant_id) as connection:
            job = await self._for_change(connection, ctx, kind, job_id, digest)
            kept = {name: value for name, value in job.fields.items() if name not in delete}
            values = _checked(kind, {**kept, **changes.given()})
            _require(ctx, _CHANGE[kind], values["store"], values.get("ns", ""))
            await rows.change(connection, job, values)

    async def delete(self, ctx: CallContext, kind: JobKind, job_id: str, digest: str | None) -> None:
        """Raises NotFound, Conflict (rights, digest)."""
        async with self._database.tenant(ctx.tenant_id) as connection:
            await rows.delete(connection, await self._for_change(connection, ctx, kind, job_id, digest))

    async def delete_of_store(self, ctx: CallContext, store: str) -> None:
        """Raises PermissionDenied."""
        require(ctx.caller, datastore_path(store), P.DATASTORE_ALLOCATE)
        async with self._database.tenant(ctx.tenant_id) as connection:
            await rows.lock_tenant(connection, ctx.tenant_id)
            await rows.delete_of_store(connection, ctx.tenant_id, store)
            await configuration.delete_of_store(connection, ctx.tenant_id, store)

    async def run(self, ctx: CallContext, kind: JobKind, job_id: str) -> str:
        """UPID of the task. Raises NotFound, Conflict (rights), Locked (it runs)."""
        async with self._database.tenant(ctx.tenant_id) as connection:
            job = await rows.find(connection, ctx.tenant_id, kind, job_id)
        if job is None:
            raise no_such_job(kind, job_id)
        _require(ctx, _CHANGE[kind], job.store, job.ns)
        return await self._runs.start(ctx, kind, job_id)

    async def _insert(self, ctx: CallContext, kind: JobKind, job_id: str, values: Mapping[str, Any]) -> None:
        async with self._database.tenant(ctx.tenant_id) as connection:
            await rows.lock_tenant(connection, ctx.tenant_id)
            if not await rows.insert(connection, ctx.tenant_id, kind, job_id, values):
                raise AlreadyExists(f"job '{job_id}' already exists.", field="id")

    async def _for_change(
        self, connection: Connection, ctx: CallContext, kind: JobKind, job_id: str, digest: str | None
    ) -> JobRow:
        """The job, locked; its rights and the digest fit."""
        await rows.lock_tenant(connection, ctx.tenant_id)
        job = await rows.find(connection, ctx.tenant_id, kind, job_id, lock=True)
        if job is None:
            raise no_such_job(kind, job_id)
        _require(ctx, _CHANGE[kind], job.store, job.ns)
        found = await rows.all_of(connection, ctx.tenant_id, kind)
        if digest is not None and digest != rows.digest_of(ctx.tenant_id, found):
            raise Conflict(MODIFIED)
        return job

    async def _with_states(self, ctx: CallContext, found: Sequence[JobRow]) -> tuple[Job, ...]:
        known = [(job, await self._runs.state(job)) for job in found]
        await self._runs.remember_ends(ctx.tenant_id, known)
        return tuple(Job(job.kind, job.id, job.config, state) for job, state in known)


def _checked(kind: JobKind, values: dict[str, Any]) -> dict[str, Any]:
    """What a row may hold: a datastore, for prune a schedule, counts of at least 1; empty texts are left out."""
    values = {name: value for name, value in values.items() if value != ""}
    for name in ("store", "schedule") if kind is JobKind.PRUNE else ("store",):
        if name not in values:
            raise InvalidArgument(f"{name}: is missing", field=name)
    try:
        KeepOptions.parse(values)
        if "schedule" in values:
            CalendarEvent.parse(values["schedule"])
    except FormatError as error:
        raise InvalidArgument(str(error), field="schedule") from error
    return values


def _holds(ctx: CallContext, wanted: tuple[P, ...], store: str, ns: str) -> bool:
    return bool(privileges(ctx.caller, datastore_path(store, ns)) & frozenset(wanted))


def _require(ctx: CallContext, wanted: tuple[P, ...], store: str, ns: str) -> None:
    """Raises Conflict: on stock this lack of rights is a 400 (rest-api A.6)."""
    if not _holds(ctx, wanted, store, ns):
        raise Conflict(f"missing permissions '{'|'.join(wanted)}' on '{datastore_path(store, ns)}'")
