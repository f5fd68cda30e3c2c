"""Sync jobs: configuration that is kept and shown; they do not run on this server (rest-api C.11, C.12)."""

from __future__ import annotations

from typing import Any, Final

from pbs_cloud.contracts.configuration import Section
from pbs_cloud.gateway.errors import HttpError
from pbs_cloud.gateway.rest.access import Access, Anyone, Judged
from pbs_cloud.gateway.rest.calls import Call, Data
from pbs_cloud.gateway.rest.endpoint import Area
from pbs_cloud.gateway.rest.endpoints.kept_config import ENTRY_ID, KeptConfig
from pbs_cloud.gateway.rest.endpoints.rates import RATE
from pbs_cloud.gateway.rest.endpoints.store_config import SCHEDULE
from pbs_cloud.gateway.schema import Array, Enum, Integer, String, common, optional, required

AREA = Area("Sync jobs")
NOT_RUN: Final = "sync jobs are kept as configuration only, this server does not run them"
_DIRECTION: Final = optional(Enum(("all", "push", "pull")), default="pull")
_FILTER: Final = String(pattern=r"(?:(?:include|exclude):)?(?:type:(?:vm|ct|host)|group:[^\s/]+/[^\s/]+|regex:.+)")
_KEY: Final = optional(ENTRY_ID, "kept, has no effect")
_JOBS: Final = KeptConfig(
    Section.SYNC,
    "id",
    {"store": required(common.STORE), "remote-store": required(common.STORE, "datastore on the other side")},
    {
        "remote": optional(ENTRY_ID, "the other server; none: this one"),
        "ns": optional(common.NAMESPACE),
        "remote-ns": optional(common.NAMESPACE),
        "owner": optional(common.AUTH_ID, "owner of pulled groups"),
        "remove-vanished": optional(common.BOOLEAN, "remove what is gone on the other side"),
        "max-depth": optional(common.MAX_DEPTH),
        "comment": optional(common.COMMENT),
        "schedule": optional(SCHEDULE, "calendar event"),
        "group-filter": optional(Array(_FILTER), "`type:…`, `group:…` or `regex:…`, with `exclude:` before it"),
        **{name: optional(RATE, "bytes per second") for name in ("rate-in", "rate-out")},
        **{name: optional(RATE, "bytes") for name in ("burst-in", "burst-out")},
        "transfer-last": optional(Integer(1), "only so many snapshots of each group"),
        "resync-corrupt": optional(common.BOOLEAN, "fetch snapshots again that are damaged here"),
        "encrypted-only": optional(common.BOOLEAN),
        "verified-only": optional(common.BOOLEAN),
        "run-on-mount": optional(common.BOOLEAN),
        "unmount-on-done": optional(common.BOOLEAN),
        "sync-direction": optional(Enum(("pull", "push")), "default: pull"),
        "worker-threads": optional(Integer(1, 32)),
        "active-encryption-key": _KEY,
        "associated-key": optional(Array(ENTRY_ID), "kept, has no effect"),
    },
    "job '{}' does not exist.",
    "sync job",
)


def _change(one: bool) -> Access:
    return Judged("the rights that a synchronisation by hand needs, on both sides")


async def _wanted(call: Call) -> Data:
    """Jobs of the wanted direction; one that pulls names its direction only if it was given."""
    entries, digest = await _JOBS.entries(call)
    direction, store = call.params["sync-direction"], call.params.get("store")
    wanted = ("pull", "push") if direction == "all" else (direction,)
    shown = [
        {name: value for name, value in job.items() if (name, value) != ("sync-direction", "pull")}
        for job in entries
        if job.get("sync-direction", "pull") in wanted and store in (None, job["store"])
    ]
    return Data(shown, {"digest": digest})


async def _configurations(call: Call) -> Any:
    """Sync job configurations."""
    return await _wanted(call)


_JOBS.register(
    AREA,
    "config/sync",
    see=Judged("`Datastore.Audit` on the job's namespace and `Remote.Audit` on the other side"),
    seen=Anyone("jobs with rights on both sides"),
    change=_change,
    listing=_configurations,
    filters={"sync-direction": _DIRECTION},
)


@AREA.get(
    "admin/sync",
    {"store": optional(common.STORE, "only jobs of this one"), "sync-direction": _DIRECTION},
    access=Anyone("jobs with rights on both sides"),
)
async def sync_jobs(call: Call) -> Any:
    """Sync jobs; as they do not run, they have no state."""
    return await _wanted(call)


@AREA.post("admin/sync/{id}/run", {"id": required(ENTRY_ID)}, access=Judged("rights on both sides"))
async def run_sync(call: Call) -> Any:
    """Refused: sync jobs do not run on this server."""
    await call.clients.configuration.get_entry(call.ctx, Section.SYNC, call.text("id"))
    raise HttpError(400, NOT_RUN)
