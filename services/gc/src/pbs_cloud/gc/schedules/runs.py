"""Runs of configured jobs: start one, know whether it runs and how it ended."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from pbs_cloud.contracts.auth import AuthClient
from pbs_cloud.contracts.chunkstore.catalogue import CatalogueClient
from pbs_cloud.contracts.context import CallContext, SystemContext
from pbs_cloud.contracts.errors import Conflict, Locked, NotFound, PbsError, Unavailable
from pbs_cloud.contracts.jobs import JobFields, JobKind, JobState, VerifyOptions, VerifyScope
from pbs_cloud.formats.calendar import CalendarEvent, zone_text
from pbs_cloud.formats.prune import KeepOptions
from pbs_cloud.gc.prune import Prune
from pbs_cloud.gc.schedules import rows
from pbs_cloud.gc.schedules.rows import JobRow
from pbs_cloud.gc.tasks import Body, TaskLog, TaskRunner
from pbs_cloud.gc.verification.verify import Verify
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.logging import get_logger

AT_ONCE = 4
"""Jobs that work at the same time in one process; more wait in their tasks."""
MOST_DUE = 1000
_UNKNOWN = "unknown"
_NO_TENANT = "*"
_NAMES = {JobKind.PRUNE: "prune", JobKind.VERIFY: "verification"}
_log = get_logger(__name__)


class JobRuns:
    """Starts jobs, once each at a time over all replicas: the job's row is locked while its state is looked at."""

    def __init__(
        self,
        database: Database,
        catalogue: CatalogueClient,
        auth: AuthClient,
        tasks: TaskRunner,
        prune: Prune,
        verify: Verify,
    ) -> None:
        self._database = database
        self._catalogue = catalogue
        self._auth = auth
        self._tasks = tasks
        self._prune = prune
        self._verify = verify
        self._places = asyncio.Semaphore(AT_ONCE)

    async def start_due(self) -> int:
        """Start every job whose time has come; how many were. One that still runs is not started again.

        A suspended tenant's runs are left out; the operator's maintenance binds jobs as it binds people.
        """
        async with self._database.system() as connection:
            waiting = await rows.due(connection, MOST_DUE)
        if not waiting:
            return 0
        tenants = {
            tenant.id: tenant for tenant in await self._auth.list_tenants(SystemContext().for_tenant(_NO_TENANT))
        }
        count = 0
        for tenant_id, kind, job_id in waiting:
            tenant = tenants.get(tenant_id)
            if tenant is None or not tenant.active:
                await self._leave_out(tenant_id, kind, job_id)
                continue
            ctx = _system(tenant_id, tenant.maintenance)
            try:
                await self.start(ctx, kind, job_id)
                count += 1
            except (Locked, NotFound):
                continue
            except PbsError as error:
                _log.warning("job not started", tenant=tenant_id, kind=kind, job=job_id, error=error.message)
        return count

    async def _leave_out(self, tenant_id: str, kind: JobKind, job_id: str) -> None:
        async with self._database.tenant(tenant_id) as connection:
            job = await rows.find(connection, tenant_id, kind, job_id, lock=True)
            if job is not None:
                await rows.postpone(connection, job)

    async def start(self, ctx: CallContext, kind: JobKind, job_id: str) -> str:
        """UPID of the task, in the name of ``ctx``. Raises NotFound, Locked (it runs), Unavailable."""
        async with self._database.tenant(ctx.tenant_id) as connection:
            job = await rows.find(connection, ctx.tenant_id, kind, job_id, lock=True)
            if job is None:
                raise no_such_job(kind, job_id)
            if job.last_upid is not None and (await self.state(job)).last_run_endtime is None:
                raise Locked(f"{_NAMES[kind]} job '{job_id}' is already running")
            system = _system(ctx.tenant_id, ctx.caller.maintenance)
            worker_type, worker_id = _task_name(job)
            body = self._body(system, job)
            upid = await self._tasks.begin(system, worker_type, worker_id, body, auth_id=ctx.caller.auth_id)
            await rows.started(connection, job, upid)
        return upid

    async def state(self, job: JobRow) -> JobState:
        """Next and last run; the end of a run is looked up once and then kept with the job."""
        if job.last_upid is None:
            return JobState(next_run=job.next_run)
        state, endtime = job.last_state, job.last_endtime
        if endtime is None:
            state, endtime = await self._outcome(job.tenant_id, job.last_upid)
        return JobState(job.next_run, job.last_upid, state, endtime)

    async def remember_ends(self, tenant_id: str, known: list[tuple[JobRow, JobState]]) -> None:
        """Keep ends that were looked up: tasks are forgotten one day."""
        fresh = [(job, state) for job, state in known if job.last_endtime is None and state.last_run_endtime]
        if not fresh:
            return
        async with self._database.tenant(tenant_id) as connection:
            for job, state in fresh:
                await rows.ended(connection, job, state.last_run_state or _UNKNOWN, state.last_run_endtime or 0)

    async def _outcome(self, tenant_id: str, upid: str) -> tuple[str | None, int | None]:
        """Status and end of a task; a task that nobody knows any more ended somehow."""
        try:
            task = await self._catalogue.get_task(SystemContext().for_tenant(tenant_id), upid)
        except Unavailable:
            raise
        except (Conflict, NotFound):
            return _UNKNOWN, 0
        return (None, None) if task.endtime is None else (task.status or _UNKNOWN, task.endtime)

    def _body(self, ctx: CallContext, job: JobRow) -> Body:
        async def body(log: TaskLog) -> None:
            await log.line(f"starting {_NAMES[job.kind]} job '{job.id}'")
            async with self._places:
                await self._work(ctx, job, log)

        return body

    async def _work(self, ctx: CallContext, job: JobRow, log: TaskLog) -> None:
        if job.kind is JobKind.PRUNE:
            keep = KeepOptions.parse(job.fields)
            zone = CalendarEvent.parse(str(job.fields["schedule"])).zone
            text = None if zone is None else zone_text(zone)
            await self._prune.run(ctx, job.store, job.ns, job.config.max_depth, keep, log, zone=text)
            return
        scope = VerifyScope(job.store, job.ns, max_depth=job.config.max_depth)
        await self._verify.run(ctx, scope, _verify_options(job.config), log)


def _system(tenant_id: str, maintenance: str | None) -> CallContext:
    """``root@pam`` in a tenant, bound by the operator's maintenance of it."""
    ctx = SystemContext().for_tenant(tenant_id)
    return replace(ctx, caller=replace(ctx.caller, maintenance=maintenance))


def no_such_job(kind: JobKind, job_id: str) -> NotFound:
    """The error of rest-api C.12."""
    return NotFound(f"no such {_NAMES[kind]} '{job_id}'")


def _task_name(job: JobRow) -> tuple[str, str]:
    """Worker type and id of rest-api appendix 1."""
    if job.kind is JobKind.PRUNE:
        return "prunejob", f"{job.store}:{job.ns}" if job.ns else job.store
    return "verificationjob", f"{job.store}:{job.id}"


def _verify_options(fields: JobFields) -> VerifyOptions:
    """``outdated-after`` 0 stands for never again (rest-api C.12)."""
    ignore = fields.ignore_verified is None or fields.ignore_verified
    return VerifyOptions(ignore, fields.outdated_after or None, fields.read_threads, fields.verify_threads)
