"""Configured prune and verification jobs: list, read, change, run, state, history (rest-api C.11, C.12, D.9)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pbs_cloud.contracts.chunkstore.types import TaskFilter
from pbs_cloud.contracts.errors import AlreadyExists, Conflict, NotFound
from pbs_cloud.contracts.jobs import Job, JobFields, JobKind, VerifyOptions, VerifyScope
from pbs_cloud.contracts.rights import Privilege as P
from pbs_cloud.contracts.rights import datastore_path
from pbs_cloud.gateway.errors import EXTRA_STATUS
from pbs_cloud.gateway.rest.access import Anyone, Judged, holds
from pbs_cloud.gateway.rest.calls import Call, Data
from pbs_cloud.gateway.rest.endpoint import Area
from pbs_cloud.gateway.rest.endpoints.prune import KEEP
from pbs_cloud.gateway.rest.endpoints.shared import CONFIG_DIGEST, without_none
from pbs_cloud.gateway.rest.endpoints.store_config import SCHEDULE
from pbs_cloud.gateway.rest.endpoints.tasks import shown_task
from pbs_cloud.gateway.rest.endpoints.verify import DAYS, THREADS
from pbs_cloud.gateway.schema import Array, Enum, Integer, Param, ParameterErrors, String, common, optional, required

AREA = Area("Configured jobs")
_ID: Final = String(pattern=common.SAFE_NAME.pattern, minimum=3, maximum=32)
_SHARED: Final[Mapping[str, Param]] = {
    "comment": optional(common.COMMENT),
    "ns": optional(common.NAMESPACE, "namespace; default the root"),
    "max-depth": optional(common.MAX_DEPTH, "levels below it; default all"),
}
_COUNT: Final = Integer(minimum=0)
_STORE_FILTER: Final = {"store": optional(common.STORE, "only jobs of this one")}


@dataclass(frozen=True)
class _Calls:
    """The calls of one kind of job and what they take."""

    kind: JobKind
    fields: Mapping[str, Param]
    created: Mapping[str, Param]
    deletable: tuple[str, ...]
    read: str
    change: str

    async def listing(self, call: Call) -> Any:
        """Jobs with their state."""
        jobs, digest = await call.clients.gc.list_jobs(call.ctx, self.kind, call.params.get("store"))
        return Data([_shown(job) | _state(job) for job in jobs], {"digest": digest})

    async def configurations(self, call: Call) -> Any:
        """Job configurations."""
        jobs, digest = await call.clients.gc.list_jobs(call.ctx, self.kind)
        return Data([_shown(job) for job in jobs], {"digest": digest})

    async def configuration(self, call: Call) -> Any:
        """Configuration of one job."""
        job, digest = await call.clients.gc.get_job(call.ctx, self.kind, call.text("id"))
        return Data(_shown(job), {"digest": digest})

    async def create(self, call: Call) -> Any:
        """Create a job."""
        try:
            await call.clients.gc.create_job(call.ctx, self.kind, call.text("id"), self._given(call))
        except AlreadyExists as error:
            raise ParameterErrors({"id": error.message}) from None

    async def update(self, call: Call) -> Any:
        """Change a job."""
        delete, digest = call.params.get("delete", ()), call.params.get("digest")
        await call.clients.gc.update_job(call.ctx, self.kind, call.text("id"), self._given(call), delete, digest)

    async def delete(self, call: Call) -> Any:
        """Remove a job."""
        await call.clients.gc.delete_job(call.ctx, self.kind, call.text("id"), call.params.get("digest"))

    async def run(self, call: Call) -> Any:
        """Run a job now; answers a task id."""
        return await call.clients.gc.run_job(call.ctx, self.kind, call.text("id"))

    def _given(self, call: Call) -> JobFields:
        names = ("store", "schedule", *self.fields)
        return JobFields.of({name: call.params[name] for name in names if name in call.params})


_PRUNE: Final = _Calls(
    JobKind.PRUNE,
    {**_SHARED, "disable": optional(common.BOOLEAN), **KEEP},
    {"schedule": required(SCHEDULE, "calendar event")},
    ("comment", "disable", "ns", "max-depth", *KEEP),
    "`Datastore.Audit` on the job's namespace",
    "`Datastore.Modify` on the job's namespace",
)
_VERIFY: Final = _Calls(
    JobKind.VERIFY,
    {
        **_SHARED,
        "ignore-verified": optional(common.BOOLEAN, "skip snapshots that have a result; default true"),
        "outdated-after": optional(DAYS, "days; 0: never again"),
        "read-threads": optional(THREADS),
        "verify-threads": optional(THREADS),
    },
    {"schedule": optional(SCHEDULE, "calendar event")},
    ("comment", "schedule", "ignore-verified", "outdated-after", "ns", "max-depth", "read-threads", "verify-threads"),
    "`Datastore.Audit` or `Datastore.Verify` on the job's namespace",
    "`Datastore.Verify` on the job's namespace",
)


def _shown(job: Job) -> dict[str, Any]:
    """Configuration of a job; ``disable`` only if it is."""
    given = job.fields.given()
    if not given.get("disable"):
        given.pop("disable", None)
    return {"id": job.id, **given}


def _state(job: Job) -> dict[str, Any]:
    state = job.state
    return without_none(
        {
            "next-run": state.next_run,
            "last-run-state": state.last_run_state,
            "last-run-upid": state.last_run_upid,
            "last-run-endtime": state.last_run_endtime,
        }
    )


_NO_RIGHTS: Final = {**EXTRA_STATUS, Conflict: 403}
_ID_PARAM: Final = {"id": required(_ID, "job")}


def _register(calls: _Calls) -> None:
    configured, job = f"config/{calls.kind}", f"config/{calls.kind}/{{id}}"
    seen, change = Anyone("jobs with rights on their namespace"), Judged(calls.change)
    created = {**_ID_PARAM, "store": required(common.STORE), **calls.created, **calls.fields}
    changed = {
        **_ID_PARAM,
        "store": optional(common.STORE),
        "schedule": optional(SCHEDULE, "calendar event"),
        **calls.fields,
        "delete": optional(Array(Enum(calls.deletable)), "fields to unset"),
        "digest": CONFIG_DIGEST,
    }
    AREA.get(f"admin/{calls.kind}", _STORE_FILTER, access=seen)(calls.listing)
    AREA.get(configured, access=seen)(calls.configurations)
    AREA.post(configured, created, access=change)(calls.create)
    AREA.get(job, _ID_PARAM, access=Judged(calls.read))(calls.configuration)
    AREA.put(job, changed, access=change)(calls.update)
    AREA.delete(job, {**_ID_PARAM, "digest": CONFIG_DIGEST}, access=change)(calls.delete)


_register(_PRUNE)
_register(_VERIFY)
AREA.post("admin/prune/{id}/run", _ID_PARAM, access=Judged(_PRUNE.change))(_PRUNE.run)


@AREA.post("admin/verify/{id}/run", _ID_PARAM, access=Judged(_VERIFY.change))
async def run_verification(call: Call) -> Any:
    """Run a job now, or verify the datastore of that name if there is no such job; answers a task id."""
    name = call.text("id")
    try:
        return await _VERIFY.run(call)
    except NotFound as missing:
        if not holds(call.caller, datastore_path(name), P.DATASTORE_VERIFY, P.DATASTORE_BACKUP):
            raise
        try:
            return await call.clients.gc.verify(call.ctx, VerifyScope(name), VerifyOptions())
        except NotFound:
            raise missing from None


@AREA.get("admin/verify/{id}/status", _ID_PARAM, access=Judged(_VERIFY.read), extra=True, statuses=_NO_RIGHTS)
async def verification_status(call: Call) -> Any:
    """Next and last run of a verification job."""
    job, _ = await call.clients.gc.get_job(call.ctx, JobKind.VERIFY, call.text("id"))
    return _state(job)


@AREA.get(
    "admin/verify/{id}/history",
    {**_ID_PARAM, "start": optional(_COUNT, "skip that many", 0), "limit": optional(_COUNT, "0: no limit", 50)},
    access=Judged(_VERIFY.read),
    extra=True,
    statuses=_NO_RIGHTS,
)
async def verification_history(call: Call) -> Any:
    """Runs of a verification job, the latest first."""
    job, _ = await call.clients.gc.get_job(call.ctx, JobKind.VERIFY, call.text("id"))
    wanted = TaskFilter(
        start=call.params["start"],
        limit=call.params["limit"],
        typefilter="verificationjob",
        store=job.fields.store,
        worker_id=f"{job.fields.store}:{job.id}",
    )
    found, total = await call.clients.catalogue.list_tasks(call.ctx, wanted)
    return Data([shown_task(task) for task in found], {"total": total})
