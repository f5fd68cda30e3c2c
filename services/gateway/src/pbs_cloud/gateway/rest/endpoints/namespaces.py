"""Namespaces (rest-api C.6)."""

from __future__ import annotations

from typing import Any

from pbs_cloud.contracts.errors import InvalidArgument
from pbs_cloud.contracts.rights import require_access
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.names import BackupNamespace
from pbs_cloud.gateway.rest.access import Judged, OnStore
from pbs_cloud.gateway.rest.calls import Call
from pbs_cloud.gateway.rest.endpoint import Area
from pbs_cloud.gateway.rest.endpoints.contents import shown_statistics
from pbs_cloud.gateway.rest.endpoints.shared import ERROR_ON_PROTECTED, STORE_MODIFY
from pbs_cloud.gateway.schema import common, optional, required

AREA = Area("Namespaces")
_PATH = "admin/datastore/{store}/namespace"


@AREA.get(
    _PATH,
    {
        "parent": optional(common.NAMESPACE, "where to start", ""),
        "max-depth": optional(common.MAX_DEPTH, "0: only the start itself"),
    },
    access=Judged("`Datastore.Modify`, `Read`, `Backup` or `Audit` on the level or on something listed"),
)
async def namespaces(call: Call) -> Any:
    """The level itself and everything below that the caller may see, parents before children."""
    found = await call.clients.catalogue.list_namespaces(
        call.ctx, call.text("store"), call.text("parent"), call.params.get("max-depth")
    )
    return [{"ns": ns} for ns in found]


@AREA.post(
    _PATH,
    {
        "name": required(common.NAMESPACE_NAME, "one component"),
        "parent": optional(common.NAMESPACE, "must exist", ""),
    },
    access=OnStore(STORE_MODIFY, ns="parent"),
)
async def create_namespace(call: Call) -> Any:
    """Create a namespace; one that exists already is fine. Answers its path."""
    try:
        path = str(BackupNamespace.parse(call.text("parent")).child(call.text("name")))
    except FormatError as error:
        raise InvalidArgument(str(error).removeprefix("name: "), field="name") from None
    await call.clients.catalogue.create_namespace(call.ctx, call.text("store"), path)
    return path


@AREA.delete(
    _PATH,
    {
        "ns": required(common.NAMESPACE),
        "delete-groups": optional(common.BOOLEAN, "delete the groups below too", False),
        "error-on-protected": ERROR_ON_PROTECTED,
    },
    access=Judged("`Datastore.Modify` on the parent namespace"),
)
async def delete_namespace(call: Call) -> Any:
    """Delete a namespace with everything below it."""
    store, ns = call.text("store"), call.text("ns")
    require_access(call.caller, store, ns.rpartition("/")[0], STORE_MODIFY)
    if not ns:
        raise InvalidArgument("Cannot create/delete root namespace!", field="ns")
    return shown_statistics(
        await call.clients.catalogue.delete_namespace(
            call.ctx,
            store,
            ns,
            delete_groups=call.params["delete-groups"],
            error_on_protected=call.params["error-on-protected"],
        )
    )
