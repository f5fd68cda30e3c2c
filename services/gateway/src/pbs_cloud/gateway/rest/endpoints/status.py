"""Usage of all datastores, metrics and the summary (rest-api C.13, D.2)."""

from __future__ import annotations

import math
import time
from typing import Any

from pbs_cloud.contracts.billing import StoreHistory
from pbs_cloud.contracts.chunkstore.types import TaskFilter
from pbs_cloud.contracts.errors import Conflict, DataCorrupt, Unavailable
from pbs_cloud.contracts.jobs import JobKind
from pbs_cloud.contracts.rights import Privilege as P
from pbs_cloud.contracts.rights import datastore_path
from pbs_cloud.gateway.rest.access import Anyone, holds
from pbs_cloud.gateway.rest.calls import Call, Data
from pbs_cloud.gateway.rest.endpoint import Area
from pbs_cloud.gateway.rest.endpoints.history import MONTH_SLOTS, MONTH_STEP, month, read_history
from pbs_cloud.gateway.rest.endpoints.node_view import SUMS, host_metrics
from pbs_cloud.gateway.rest.endpoints.shared import BACKEND_TYPE
from pbs_cloud.gateway.rest.endpoints.stores import MOUNT_STATUS, VisibleStore, gc_status_of, visible_stores
from pbs_cloud.gateway.schema import Integer, common, optional

AREA = Area("Status")
_STEP = 10
RECENT_SECONDS = 1800


@AREA.get("status", access=Anyone(), index=True)
async def status_index(call: Call) -> Any:
    """Index, and a summary of the tenant's running work."""
    tasks, _ = await call.clients.catalogue.list_tasks(call.ctx, TaskFilter(running=True, limit=0))
    kinds = [task.worker_type for task in tasks]
    summary = {
        "uptime": int(time.time() - call.node.started),
        "tasks": {"running": len(kinds), "scheduled": await _scheduled(call)},
        "sessions": {"backup": kinds.count("backup"), "reader": kinds.count("reader")},
    }
    return Data([{"subdir": "datastore-usage"}, {"subdir": "metrics"}], {"summary": summary})


async def _scheduled(call: Call) -> int:
    """Jobs that the caller may see and that will run by themselves."""
    listed = [await call.clients.gc.list_jobs(call.ctx, kind) for kind in (JobKind.PRUNE, JobKind.VERIFY)]
    return sum(job.state.next_run is not None for jobs, _ in listed for job in jobs)


@AREA.get("status/datastore-usage", access=Anyone("datastores with rights on them or below"))
async def datastore_usage(call: Call) -> Any:
    """Usage of each datastore, with the last month."""
    seen = await visible_stores(call)
    since = int(time.time()) - MONTH_SLOTS * MONTH_STEP
    known = await read_history(call, MONTH_STEP, since) if any(store.full for store in seen) else {}
    return [await _usage(call, store, known.get(store.store.name)) for store in seen]


async def _usage(call: Call, seen: VisibleStore, history: StoreHistory | None) -> dict[str, Any]:
    shown: dict[str, Any] = {"store": seen.store.name, "mount-status": MOUNT_STATUS}
    if seen.full:
        try:
            found = await call.clients.catalogue.datastore_status(call.ctx, seen.store.name)
        except (Conflict, DataCorrupt, Unavailable) as error:
            shown["error"] = error.message
        else:
            shown |= {"total": found.total, "used": found.used, "avail": found.avail}
            shown |= {**month(history), "gc-status": gc_status_of(found)}
    return {**shown, "backend-type": BACKEND_TYPE}


@AREA.get(
    "status/metrics",
    {
        "history": optional(common.BOOLEAN, "only values later than `start-time`", False),
        "start-time": optional(Integer(), "Unix seconds", 0),
    },
    access=Anyone("host values with `Sys.Audit` on `/system/status`, datastores with `Datastore.Audit`"),
)
async def metrics(call: Call) -> Any:
    """Values of host and datastores: the present ones, or those of the last half hour."""
    now, host = int(time.time()), holds(call.caller, "/system/status", P.SYS_AUDIT)
    if call.params["history"]:
        return {"data": await _recent(call, now, call.params["start-time"], host)}
    moment = now // _STEP * _STEP
    found = _host_points(moment) if host else []
    for store in await _audited(call):
        try:
            status = await call.clients.catalogue.datastore_status(call.ctx, store)
        except (Conflict, DataCorrupt):
            continue  # a store in maintenance has no values; its usage entry says why
        found += _store_points(store, moment, status.total, status.used, status.avail)
    return {"data": found}


async def _recent(call: Call, now: int, start: int, host: bool) -> list[dict[str, Any]]:
    """Values later than ``start`` of the last half hour, a sample each minute."""
    first = max(start + 1, now - RECENT_SECONDS)
    if first > now:
        return []
    found: list[dict[str, Any]] = []
    if host:
        for moment in range(-(-first // 60) * 60, now + 1, 60):
            found += _host_points(moment)
    visible = set(await _audited(call))
    history = await read_history(call, 60, first) if visible else {}
    for store, slots in history.items():
        if store not in visible:
            continue
        for number, values in enumerate(zip(slots.total, slots.used, slots.available, strict=True)):
            if not math.isnan(values[1]):
                found += _store_points(store, slots.start + number * 60, *values)
    return found


async def _audited(call: Call) -> list[str]:
    names = [seen.store.name for seen in await visible_stores(call)]
    return [name for name in names if holds(call.caller, datastore_path(name), P.DATASTORE_AUDIT)]


def _host_points(moment: int) -> list[dict[str, Any]]:
    return [_point("host", name, moment, value) for name, value in host_metrics().items()]


def _store_points(store: str, moment: int, total: float, used: float, available: float) -> list[dict[str, Any]]:
    values = {"disk_total": total, "disk_used": used, "disk_available": available}
    return [_point(f"datastore/{store}", name, moment, value) for name, value in values.items()]


def _point(source: str, metric: str, moment: int, value: float) -> dict[str, Any]:
    kind = "derive" if metric in SUMS else "gauge"
    return {"id": source, "metric": metric, "timestamp": moment, "type": kind, "value": float(value)}
