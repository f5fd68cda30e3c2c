"""Usage of all datastores, metrics and the summary (rest-api C.13, D.2)."""

from __future__ import annotations

import time
from typing import Any

from pbs_cloud.contracts.chunkstore.types import TaskFilter
from pbs_cloud.contracts.errors import Conflict, DataCorrupt, Unavailable
from pbs_cloud.contracts.rights import Privilege as P
from pbs_cloud.contracts.rights import datastore_path
from pbs_cloud.gateway.rest.access import Anyone, holds
from pbs_cloud.gateway.rest.calls import Call, Data
from pbs_cloud.gateway.rest.endpoint import Area
from pbs_cloud.gateway.rest.endpoints.node_view import host_metrics
from pbs_cloud.gateway.rest.endpoints.shared import BACKEND_TYPE
from pbs_cloud.gateway.rest.endpoints.stores import MOUNT_STATUS, VisibleStore, gc_status_of, visible_stores
from pbs_cloud.gateway.schema import Integer, common, optional

AREA = Area("Status")
_STEP = 10


@AREA.get("status", access=Anyone())
async def status_index(call: Call) -> Any:
    """Index, and a summary of the tenant's running work."""
    tasks, _ = await call.clients.catalogue.list_tasks(call.ctx, TaskFilter(running=True, limit=0))
    kinds = [task.worker_type for task in tasks]
    summary = {
        "uptime": int(time.time() - call.node.started),
        "tasks": {"running": len(kinds), "scheduled": 0},
        "sessions": {"backup": kinds.count("backup"), "reader": kinds.count("reader")},
    }
    return Data([{"subdir": "datastore-usage"}, {"subdir": "metrics"}], {"summary": summary})


@AREA.get("status/datastore-usage", access=Anyone("datastores with rights on them or below"))
async def datastore_usage(call: Call) -> Any:
    """Usage of each datastore."""
    return [await _usage(call, seen) for seen in await visible_stores(call)]


async def _usage(call: Call, seen: VisibleStore) -> dict[str, Any]:
    shown: dict[str, Any] = {"store": seen.store.name, "mount-status": MOUNT_STATUS}
    if seen.full:
        try:
            found = await call.clients.catalogue.datastore_status(call.ctx, seen.store.name)
        except (Conflict, DataCorrupt, Unavailable) as error:
            shown["error"] = error.message
        else:
            shown |= {"total": found.total, "used": found.used, "avail": found.avail}
            shown["gc-status"] = gc_status_of(found)
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
    """Present values of host and datastores."""
    now = int(time.time()) // _STEP * _STEP
    if call.params["history"] and now <= call.params["start-time"]:
        return {"data": []}
    points: list[dict[str, Any]] = []
    if holds(call.caller, "/system/status", P.SYS_AUDIT):
        points += [_point("host", name, now, value) for name, value in host_metrics().items()]
    for seen in await visible_stores(call):
        if not holds(call.caller, datastore_path(seen.store.name), P.DATASTORE_AUDIT):
            continue
        try:
            found = await call.clients.catalogue.datastore_status(call.ctx, seen.store.name)
        except (Conflict, DataCorrupt):
            continue  # a store in maintenance has no values; its usage entry says why
        values = {"disk_total": found.total, "disk_used": found.used, "disk_available": found.avail}
        points += [_point(f"datastore/{seen.store.name}", name, now, value) for name, value in values.items()]
    return {"data": points}


def _point(source: str, metric: str, moment: int, value: float) -> dict[str, Any]:
    return {"id": source, "metric": metric, "timestamp": moment, "type": "gauge", "value": float(value)}
