"""Retention: one group, a namespace, and the project's own form (rest-api C.7, D.7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pbs_cloud.contracts.chunkstore.types import GroupRef, PrunedSnapshot
from pbs_cloud.contracts.errors import InvalidArgument, PermissionDenied
from pbs_cloud.contracts.rights import Privilege as P
from pbs_cloud.contracts.rights import datastore_path, require
from pbs_cloud.formats.prune import KeepOptions, PruneMark
from pbs_cloud.gateway.errors import STOCK_STATUS
from pbs_cloud.gateway.rest.access import Judged, OnStore, holds
from pbs_cloud.gateway.rest.calls import Call, Data
from pbs_cloud.gateway.rest.endpoint import Area
from pbs_cloud.gateway.rest.endpoints.shared import GROUP, NS, STORE_MODIFY, STORE_PRUNE, group_ref
from pbs_cloud.gateway.schema import Param, common, optional

AREA = Area("Prune")
_UNITS: Final = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
KEEP: Final[Mapping[str, Param]] = {f"keep-{unit}": optional(common.KEEP) for unit in _UNITS}
_OWN_KEEP: Final[Mapping[str, Param]] = {f"keep_{unit}": optional(common.KEEP) for unit in _UNITS}
_DRY_RUN: Final = optional(common.BOOLEAN, "only compute", False)


def _entry(group: GroupRef, verdict: PrunedSnapshot, show_ns: bool) -> dict[str, Any]:
    entry = {
        "backup-type": group.backup_type,
        "backup-id": group.backup_id,
        "backup-time": verdict.backup_time,
        "keep": verdict.keep,
        "protected": verdict.mark == PruneMark.PROTECTED,
    }
    return {**entry, "ns": group.ns} if show_ns and group.ns else entry


@AREA.post(
    "admin/datastore/{store}/prune",
    {
        **GROUP,
        **KEEP,
        "dry-run": _DRY_RUN,
        "use-task": optional(common.BOOLEAN, "answer a task id; ignored with `dry-run`", False),
    },
    access=OnStore(STORE_MODIFY, STORE_PRUNE),
)
async def prune(call: Call) -> Any:
    """Prune one group; without any keep option everything is kept."""
    group, dry_run = group_ref(call), call.params["dry-run"]
    use_task = call.params["use-task"] and not dry_run
    verdicts, upid = await call.clients.gc.prune_group(
        call.ctx, group, KeepOptions.parse(call.params), dry_run=dry_run, use_task=use_task
    )
    return upid if use_task else [_entry(group, verdict, dry_run) for verdict in verdicts]


@AREA.post(
    "admin/datastore/{store}/prune-datastore",
    {**NS, **KEEP, "max-depth": optional(common.MAX_DEPTH, "default: unlimited"), "dry-run": _DRY_RUN},
    access=Judged("`Datastore.Modify` on the namespace; `Datastore.Prune` for own groups"),
    statuses={**STOCK_STATUS, PermissionDenied: 400},
)
async def prune_datastore(call: Call) -> Any:
    """Prune all groups of a namespace and below; answers a task id."""
    store, ns = call.text("store"), call.text("ns")
    path = datastore_path(store, ns)
    if not holds(call.caller, path, P.DATASTORE_MODIFY, P.DATASTORE_PRUNE):
        raise PermissionDenied(f"missing permissions 'Datastore.Modify|Datastore.Prune' on '{path}'")
    return await call.clients.gc.prune_datastore(
        call.ctx,
        store,
        ns,
        call.params.get("max-depth"),
        KeepOptions.parse(call.params),
        dry_run=call.params["dry-run"],
    )


@AREA.post(
    "admin/prune",
    {
        **_OWN_KEEP,
        "backup_type": optional(common.BACKUP_TYPE, "together with `backup_id`; without both every group"),
        "backup_id": optional(common.BACKUP_ID),
        "store": optional(common.STORE, default="default"),
        "ns": optional(common.NAMESPACE, "not below", ""),
        "dry_run": _DRY_RUN,
    },
    access=Judged("`Datastore.Modify` on the namespace"),
    extra=True,
)
async def prune_now(call: Call) -> Any:
    """Prune one group or all groups of a namespace; without any keep option everything is kept."""
    store, ns, dry_run = call.text("store"), call.text("ns"), call.params["dry_run"]
    require(call.caller, datastore_path(store, ns), P.DATASTORE_MODIFY)
    kind, name = call.params.get("backup_type"), call.params.get("backup_id")
    if (kind is None) != (name is None):
        raise InvalidArgument("backup_type and backup_id belong together", field="backup_id")
    keep = KeepOptions.parse({name.replace("_", "-"): value for name, value in call.params.items()})
    if kind is not None and name is not None:
        groups = [GroupRef(store, ns, kind, name)]
    else:
        found = call.clients.catalogue.list_groups(call.ctx, store, ns)
        groups = [GroupRef(store, ns, group.backup_type, group.backup_id) async for group in found]
    entries = []
    for group in groups:
        verdicts, _ = await call.clients.gc.prune_group(call.ctx, group, keep, dry_run=dry_run)
        entries += [_entry(group, verdict, True) for verdict in verdicts]
    return Data(entries, content_type="application/json")
