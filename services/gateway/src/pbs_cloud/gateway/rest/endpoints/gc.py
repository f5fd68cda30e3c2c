"""Garbage collection: start and state, stock's form and the project's own (rest-api C.7, C.11, D.6)."""

from __future__ import annotations

import json
from typing import Any, Final

from pbs_cloud.contracts.chunkstore.collection import CollectionState
from pbs_cloud.contracts.rights import Privilege as P
from pbs_cloud.contracts.rights import datastore_path, require
from pbs_cloud.gateway.rest.access import Anyone, Judged, Needs, SeesStore
from pbs_cloud.gateway.rest.calls import Call, Data
from pbs_cloud.gateway.rest.endpoint import Area
from pbs_cloud.gateway.rest.endpoints.shared import without_none
from pbs_cloud.gateway.rest.endpoints.stores import find_store, next_run, visible_stores
from pbs_cloud.gateway.schema import Integer, common, optional, required

AREA = Area("Garbage collection")
WAIT_SECONDS: Final = 60.0
"""How long `POST admin/gc` waits for the end of the run."""


def _shown(state: CollectionState) -> dict[str, Any]:
    """The object of rest-api C.7: counters of the last complete run, end of the last one, begin of the next."""
    status: dict[str, Any] = json.loads(state.gc_status)
    return {
        "store": state.store,
        **status,
        **without_none(
            {
                "schedule": state.schedule,
                "next-run": next_run(state.schedule, state.now),
                "last-run-state": state.last_result,
                "last-run-endtime": state.last_end,
                "duration": state.last_duration,
            }
        ),
    }


def _readable(state: CollectionState) -> bool:
    """Whether its maintenance mode lets the datastore be read."""
    return state.maintenance is None or "read-only" in state.maintenance.partition(",")[0]


async def _state(call: Call, name: str) -> CollectionState:
    """Raises NotFound, and Conflict for a datastore that is offline."""
    await find_store(call, name)
    (state,) = await call.clients.gc.collection_status(call.ctx, name)
    if not _readable(state):
        await call.clients.catalogue.datastore_status(call.ctx, name)
    return state


@AREA.post("admin/datastore/{store}/gc", access=Needs("/datastore/{store}", (P.DATASTORE_MODIFY,)))
async def start(call: Call) -> Any:
    """Start a garbage collection; answers a task id. Waits up to ten seconds for one that is under way."""
    upid, _ = await call.clients.gc.start_collection(call.ctx, call.text("store"))
    return upid


@AREA.get("admin/datastore/{store}/gc", access=Needs("/datastore/{store}", (P.DATASTORE_AUDIT,)))
async def gc_state(call: Call) -> Any:
    """State of the last garbage collection."""
    return _shown(await _state(call, call.text("store")))


@AREA.get(
    "admin/gc",
    {"store": optional(common.STORE, "only this one")},
    access=Anyone("datastores that `admin/datastore` lists"),
)
async def gc_list(call: Call) -> Any:
    """State of the last garbage collection of each datastore."""
    if "store" in call.params:
        return await _of_store(call)
    visible = {seen.store.name for seen in await visible_stores(call)}
    if not visible:
        return []
    states = await call.clients.gc.collection_status(call.ctx)
    return [_shown(state) for state in states if state.store in visible and _readable(state)]


@AREA.get("admin/gc/{store}", {"store": required(common.STORE)}, access=SeesStore())
async def gc_of_store(call: Call) -> Any:
    """The same for one datastore, as a list."""
    return await _of_store(call)


async def _of_store(call: Call) -> list[dict[str, Any]]:
    SeesStore().before(call.caller, call.params)
    return [_shown(await _state(call, call.text("store")))]


@AREA.post(
    "admin/gc",
    {
        "store": optional(common.STORE, default="default"),
        "dry_run": optional(common.BOOLEAN, "only count", False),
        "max_delete": optional(Integer(minimum=0), "most chunks to delete"),
    },
    access=Judged("`Datastore.Modify` on the datastore"),
    extra=True,
)
async def run(call: Call) -> Any:
    """Collect garbage and answer the statistics; after a minute the task id, with status 202."""
    store = call.text("store")
    require(call.caller, datastore_path(store), P.DATASTORE_MODIFY)
    upid, done = await call.clients.gc.start_collection(
        call.ctx,
        store,
        dry_run=call.params["dry_run"],
        max_delete=call.params.get("max_delete"),
        wait_seconds=WAIT_SECONDS,
    )
    if done is None:
        return Data({"upid": upid}, status=202, content_type="application/json")
    value = {
        "chunks_scanned": done.chunks_scanned,
        "chunks_referenced": done.chunks_referenced,
        "chunks_orphaned": done.chunks_orphaned,
        "chunks_deleted": done.chunks_deleted,
        "bytes_freed": done.bytes_freed,
        "errors": list(done.errors),
    }
    return Data(value, content_type="application/json")


@AREA.get(
    "admin/gc/status",
    {"store": optional(common.STORE, default="default")},
    access=Judged("`Datastore.Audit` on the datastore"),
    extra=True,
)
async def status(call: Call) -> Any:
    """Chunks of a datastore, and whether a collection runs."""
    store = call.text("store")
    require(call.caller, datastore_path(store), P.DATASTORE_AUDIT)
    (state,) = await call.clients.gc.collection_status(call.ctx, store, with_chunks=True)
    return Data({"total_chunks": state.chunks or 0, "gc_running": state.running}, content_type="application/json")
