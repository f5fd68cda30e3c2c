"""Moving groups and namespaces inside a datastore (rest-api C.6)."""

from __future__ import annotations

from typing import Any

from pbs_cloud.gateway.rest.access import Judged, OnStore
from pbs_cloud.gateway.rest.calls import Call
from pbs_cloud.gateway.rest.endpoint import Area
from pbs_cloud.gateway.rest.endpoints.shared import GROUP, STORE_MODIFY, STORE_PRUNE, group_ref
from pbs_cloud.gateway.schema import common, optional, required

AREA = Area("Moves")


@AREA.post(
    "admin/datastore/{store}/move-group",
    {
        **GROUP,
        "target-ns": optional(common.NAMESPACE, "must exist; empty is the root", ""),
        "merge-group": optional(common.BOOLEAN, "join a group of that name in the target", True),
    },
    access=OnStore(STORE_MODIFY, STORE_PRUNE),
)
async def move_group(call: Call) -> Any:
    """Move a group to another namespace; `Modify`, or `Backup` and ownership, in the target too. Answers a task id."""
    return await call.clients.catalogue.move_group(
        call.ctx, group_ref(call), call.text("target-ns"), merge=call.params["merge-group"]
    )


@AREA.post(
    "admin/datastore/{store}/move-namespace",
    {
        "ns": required(common.NAMESPACE),
        "target-ns": required(common.NAMESPACE, "its parent must exist"),
        "max-depth": optional(common.MAX_DEPTH, "levels below `ns`; default: all"),
        "delete-source": optional(common.BOOLEAN, "delete the namespaces that are empty afterwards", True),
        "merge-groups": optional(common.BOOLEAN, "join groups that exist in the target", True),
    },
    access=Judged("`Datastore.Modify` on the parents of both namespaces"),
)
async def move_namespace(call: Call) -> Any:
    """Move a namespace with its groups and the namespaces below it. Answers a task id."""
    return await call.clients.catalogue.move_namespace(
        call.ctx,
        call.text("store"),
        call.text("ns"),
        call.text("target-ns"),
        max_depth=call.params.get("max-depth"),
        delete_source=call.params["delete-source"],
        merge=call.params["merge-groups"],
    )
