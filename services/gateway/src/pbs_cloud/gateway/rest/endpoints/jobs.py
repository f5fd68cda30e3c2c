"""Garbage collection state and the listings of jobs (rest-api C.7, C.11, C.12)."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from pbs_cloud.contracts.errors import Conflict
from pbs_cloud.contracts.rights import Privilege as P
from pbs_cloud.contracts.rights import datastore_path
from pbs_cloud.gateway.rest.access import Anyone, Needs
from pbs_cloud.gateway.rest.calls import Call, Data
from pbs_cloud.gateway.rest.endpoint import Area
from pbs_cloud.gateway.rest.endpoints.shared import digest_of, without_none
from pbs_cloud.gateway.rest.endpoints.stores import find_store, gc_status_of, next_run, visibility, visible_stores
from pbs_cloud.gateway.schema import Enum, common, optional, required

AREA = Area("Jobs")
_DIRECTION = Enum(("all", "push", "pull"))


async def _gc_object(call: Call, name: str, schedule: str | None) -> dict[str, Any]:
    status = await call.clients.catalogue.datastore_status(call.ctx, name)
    return without_none({"schedule": schedule, "next-run": next_run(schedule, int(time.time()))}) | {
        "store": name,
        **gc_status_of(status),
    }


@AREA.get("admin/datastore/{store}/gc", access=Needs("/datastore/{store}", (P.DATASTORE_AUDIT,)))
async def gc_state(call: Call) -> Any:
    """State of the last garbage collection."""
    store, _ = await find_store(call, call.text("store"))
    return await _gc_object(call, store.name, store.config.get("gc-schedule"))


@AREA.get(
    "admin/gc",
    {"store": optional(common.STORE, "only this one")},
    access=Anyone("datastores that `admin/datastore` lists"),
)
async def gc_list(call: Call) -> Any:
    """State of the last garbage collection of each datastore."""
    if "store" in call.params:
        return await _gc_of_store(call)
    shown = []
    for seen in await visible_stores(call):
        if seen.full:
            with contextlib.suppress(Conflict):  # one that is offline has no state to show
                shown.append(await _gc_object(call, seen.store.name, seen.store.config.get("gc-schedule")))
    return shown


@AREA.get(
    "admin/gc/{store}",
    {"store": required(common.STORE)},
    access=Needs("/datastore/{store}", (P.DATASTORE_AUDIT, P.DATASTORE_BACKUP)),
)
async def gc_of_store(call: Call) -> Any:
    """The same for one datastore, as a list."""
    return await _gc_of_store(call)


async def _gc_of_store(call: Call) -> list[dict[str, Any]]:
    Needs(datastore_path(call.text("store")), (P.DATASTORE_AUDIT, P.DATASTORE_BACKUP)).before(call.caller, {})
    store, _ = await find_store(call, call.text("store"))
    seen = visibility(call.caller, store)
    return [await _gc_object(call, store.name, store.config.get("gc-schedule"))] if seen else []


def _no_jobs(call: Call) -> Data:
    """There is nothing that could make a job of this kind: the list is truly empty."""
    return Data([], {"digest": digest_of([call.caller.tenant_id])})


@AREA.get(
    "admin/sync",
    {"store": optional(common.STORE), "sync-direction": optional(_DIRECTION, default="pull")},
    access=Anyone("jobs with rights on both sides"),
)
async def sync_jobs(call: Call) -> Any:
    """Sync jobs with their state."""
    return _no_jobs(call)


@AREA.get(
    "config/sync",
    {"sync-direction": optional(_DIRECTION, default="pull")},
    access=Anyone("jobs with rights on both sides"),
)
async def sync_configurations(call: Call) -> Any:
    """Sync job configurations."""
    return _no_jobs(call)


@AREA.get("config/remote", access=Anyone("remotes with `Remote.Audit`"))
async def remotes(call: Call) -> Any:
    """Remotes."""
    return _no_jobs(call)


@AREA.get("admin/prune", {"store": optional(common.STORE)}, access=Anyone("jobs with rights on their namespace"))
async def prune_jobs(call: Call) -> Any:
    """Prune jobs with their state."""
    return _no_jobs(call)


@AREA.get("config/prune", access=Anyone("jobs with rights on their namespace"))
async def prune_configurations(call: Call) -> Any:
    """Prune job configurations."""
    return _no_jobs(call)


@AREA.get("admin/verify", {"store": optional(common.STORE)}, access=Anyone("jobs with rights on their namespace"))
async def verify_jobs(call: Call) -> Any:
    """Verification jobs with their state."""
    return _no_jobs(call)


@AREA.get("config/verify", access=Anyone("jobs with rights on their namespace"))
async def verify_configurations(call: Call) -> Any:
    """Verification job configurations."""
    return _no_jobs(call)


@AREA.get("admin/metrics", access=Needs("/", (P.SYS_AUDIT,)))
async def metric_servers(call: Call) -> Any:
    """Metric servers."""
    return _no_jobs(call)


@AREA.get("admin/traffic-control", access=Needs("/", (P.SYS_AUDIT,)))
async def traffic_rules(call: Call) -> Any:
    """Traffic rules."""
    return _no_jobs(call)
