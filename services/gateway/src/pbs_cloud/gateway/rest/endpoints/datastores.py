"""Datastores: list, status, configuration (rest-api C.4, C.9, C.12)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pbs_cloud.contracts.chunkstore.types import Datastore
from pbs_cloud.contracts.errors import AlreadyExists, NotFound
from pbs_cloud.contracts.jobs import JobFields
from pbs_cloud.contracts.rights import Privilege as P
from pbs_cloud.contracts.rights import datastore_path, require
from pbs_cloud.gateway.errors import STOCK_STATUS, HttpError
from pbs_cloud.gateway.rest.access import Anyone, Judged, Needs, holds
from pbs_cloud.gateway.rest.calls import Call, Data
from pbs_cloud.gateway.rest.endpoint import Area
from pbs_cloud.gateway.rest.endpoints import store_config as config
from pbs_cloud.gateway.rest.endpoints.history import STEPS, points, read_history, slots_of
from pbs_cloud.gateway.rest.endpoints.shared import BACKEND_TYPE, CONFIG_DIGEST, without_none
from pbs_cloud.gateway.rest.endpoints.stores import (
    MOUNT_STATUS,
    find_store,
    gc_status_of,
    visible_stores,
)
from pbs_cloud.gateway.schema import Array, Enum, ParameterErrors, common, optional, required

AREA = Area("Datastores")
_KINDS: Final = ("ct", "host", "vm")
_RRD: Final = {
    "timeframe": required(Enum(common.TIMEFRAMES)),
    "cf": required(Enum(("AVERAGE", "MAX"))),
}


@AREA.get("admin/datastore", access=Anyone("datastores with rights on them or below"))
async def datastores(call: Call) -> Any:
    """Datastores that the caller may see."""
    return [
        without_none(
            {
                "store": seen.store.name,
                "mount-status": MOUNT_STATUS,
                "backend-type": BACKEND_TYPE,
                "maintenance": seen.store.maintenance or None,
            }
        )
        | {"comment": seen.store.config.get("comment") or None if seen.full else None}
        for seen in await visible_stores(call)
    ]


@AREA.get(
    "admin/datastore/{store}/status",
    {"verbose": optional(common.BOOLEAN, "with counts and the state of garbage collection", False)},
    access=Judged("`Datastore.Audit` or `Datastore.Backup`; zeros with `Datastore.Read` or rights below"),
)
async def datastore_status(call: Call) -> Any:
    """Capacity and usage."""
    store, verbose = call.text("store"), call.params["verbose"]
    found = await call.clients.catalogue.datastore_status(call.ctx, store, verbose)
    shown: dict[str, Any] = {"total": found.total, "used": found.used, "avail": found.avail}
    if verbose:
        counted = {c.backup_type: {"groups": c.groups, "snapshots": c.snapshots} for c in found.counts if c.groups}
        shown["counts"] = {**dict.fromkeys(_KINDS), **counted, "other": None}
        if holds(call.caller, datastore_path(store), P.DATASTORE_AUDIT, P.DATASTORE_BACKUP):
            shown["gc-status"] = gc_status_of(found)
    return {**shown, "backend-type": BACKEND_TYPE}


@AREA.get(
    "admin/datastore/{store}/active-operations",
    access=Needs("/datastore/{store}", (P.DATASTORE_AUDIT,)),
)
async def active_operations(call: Call) -> Any:
    """Numbers of running readers and writers, in every maintenance mode."""
    await find_store(call, call.text("store"))
    found = await call.clients.catalogue.datastore_status(call.ctx, call.text("store"), any_mode=True)
    return {"read": found.active_readers, "write": found.active_writers}


@AREA.get(
    "admin/datastore/{store}/rrd",
    _RRD,
    access=Needs("/datastore/{store}", (P.DATASTORE_AUDIT, P.DATASTORE_BACKUP)),
)
async def datastore_rrd(call: Call) -> Any:
    """Usage over time, the oldest point first."""
    store, timeframe = call.text("store"), call.text("timeframe")
    await call.clients.catalogue.datastore_status(call.ctx, store)  # refuses where the datastore cannot be used
    times, step = slots_of(timeframe), STEPS[timeframe]
    found = await read_history(call, step, times[0], stores=[store], maximum=call.text("cf") == "MAX")
    return points(times, step, found.get(store))


@AREA.get("config/datastore", access=Anyone("datastores with `Datastore.Audit`"))
async def datastore_configurations(call: Call) -> Any:
    """Configurations of datastores."""
    stores, digest = await call.clients.catalogue.list_datastores(call.ctx)
    shown = [
        config.shown(store)
        for store in sorted(stores, key=lambda store: store.name)
        if holds(call.caller, datastore_path(store.name), P.DATASTORE_AUDIT)
    ]
    return Data(shown, {"digest": digest})


@AREA.get("config/datastore/{name}", access=Needs("/datastore/{name}", (P.DATASTORE_AUDIT,)))
async def datastore_configuration(call: Call) -> Any:
    """Configuration of one datastore."""
    store, digest = await find_store(call, call.text("name"))
    return Data(config.shown(store), {"digest": digest})


@AREA.post(
    "config/datastore",
    {
        "name": required(common.STORE),
        "path": required(config.PATH, "a label that is given back unchanged; never a location"),
        **config.FIELDS,
        **config.PRUNE_FIELDS,
        **config.CREATE_ONLY,
        "reuse-datastore": optional(common.BOOLEAN, "take over the data of a removed one of this name", False),
        "overwrite-in-use": optional(common.BOOLEAN, default=False),
    },
    access=Needs("/datastore", (P.DATASTORE_ALLOCATE,)),
)
async def create_datastore(call: Call) -> Any:
    """Create a datastore; answers a task id."""
    name = call.text("name")
    if "prune-schedule" not in call.params and (given := sorted(set(config.KEEP_FIELDS) & call.params.keys())):
        raise ParameterErrors(dict.fromkeys(given, "needs prune-schedule, with which it becomes a prune job"))
    values = config.to_text({"path": call.params["path"], **_given(call, {**config.FIELDS, **config.CREATE_ONLY})})
    try:
        upid = await call.clients.catalogue.create_datastore(
            call.ctx, name, values, reuse=call.params["reuse-datastore"]
        )
    except AlreadyExists:
        raise ParameterErrors({"name": f"datastore '{name}' already exists."}) from None
    if "prune-schedule" in call.params:
        retention = {**_given(call, dict.fromkeys(config.KEEP_FIELDS)), "schedule": call.params["prune-schedule"]}
        await call.clients.gc.create_default_prune_job(call.ctx, name, JobFields.of(retention))
    return upid


@AREA.put(
    "config/datastore/{name}",
    {
        **config.FIELDS,
        **config.REFUSED_PRUNE_FIELDS,
        "delete": optional(Array(Enum(config.DELETABLE)), "fields to unset"),
        "digest": CONFIG_DIGEST,
    },
    access=Needs("/datastore/{name}", (P.DATASTORE_MODIFY,)),
)
async def update_datastore(call: Call) -> Any:
    """Change the configuration of a datastore."""
    await call.clients.catalogue.update_datastore(
        call.ctx,
        call.text("name"),
        config.to_text(_given(call, config.FIELDS)),
        call.params.get("delete", ()),
        call.params.get("digest"),
    )
    return None


@AREA.delete(
    "config/datastore/{name}",
    {
        "keep-job-configs": optional(common.BOOLEAN, default=False),
        "destroy-data": optional(common.BOOLEAN, "delete the data too", False),
        "digest": CONFIG_DIGEST,
    },
    access=Needs("/datastore/{name}", (P.DATASTORE_ALLOCATE,)),
    statuses={**STOCK_STATUS, NotFound: 404},
)
async def delete_datastore(call: Call) -> Any:
    """Remove a datastore; answers a task id."""
    name = call.text("name")
    missing = HttpError(404, f"datastore '{name}' does not exist.")
    try:
        upid = await call.clients.catalogue.delete_datastore(
            call.ctx, name, destroy_data=call.params["destroy-data"], digest=call.params.get("digest")
        )
    except NotFound:
        raise missing from None
    if not call.params["keep-job-configs"]:
        await call.clients.gc.delete_jobs_of_datastore(call.ctx, name)
    _, digest = await call.clients.catalogue.list_datastores(call.ctx)
    return Data(upid, {"digest": digest})


def _given(call: Call, fields: Mapping[str, object]) -> dict[str, Any]:
    return {name: call.params[name] for name in fields if name in call.params}


for _action in ("mount", "unmount"):

    @AREA.post(f"admin/datastore/{{store}}/{_action}", access=Judged("`Datastore.Audit` on the datastore"))
    async def not_removable(call: Call) -> Any:
        """Refused: no datastore is removable."""
        await _refuse_removable(call, P.DATASTORE_AUDIT)


@AREA.put("admin/datastore/{store}/s3-refresh", access=Judged("`Datastore.Modify` on the datastore"))
async def s3_refresh(call: Call) -> Any:
    """Refused: there is no local cache of a bucket to refresh."""
    await _refuse_removable(call, P.DATASTORE_MODIFY)


async def _refuse_removable(call: Call, needed: P) -> None:
    name = call.text("store")
    require(call.caller, datastore_path(name), needed)
    store: Datastore = (await find_store(call, name))[0]
    raise HttpError(400, f"datastore '{store.name}' is not removable")
