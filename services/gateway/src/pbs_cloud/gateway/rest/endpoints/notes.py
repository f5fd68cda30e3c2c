"""Notes and protection (rest-api C.5)."""

from __future__ import annotations

from typing import Any

from pbs_cloud.gateway.rest.access import OnStore
from pbs_cloud.gateway.rest.calls import Call
from pbs_cloud.gateway.rest.endpoint import Area
from pbs_cloud.gateway.rest.endpoints.shared import (
    GROUP,
    SNAPSHOT,
    STORE_AUDIT,
    STORE_BACKUP,
    STORE_MODIFY,
    group_ref,
    snapshot_key,
)
from pbs_cloud.gateway.schema import common, required

AREA = Area("Notes and protection")
_READ = OnStore(STORE_AUDIT, STORE_BACKUP)
_WRITE = OnStore(STORE_MODIFY, STORE_BACKUP)


@AREA.get("admin/datastore/{store}/notes", SNAPSHOT, access=_READ)
async def notes(call: Call) -> Any:
    """Notes of a snapshot; empty if there are none."""
    return await call.clients.catalogue.notes(call.ctx, snapshot_key(call))


@AREA.put("admin/datastore/{store}/notes", {**SNAPSHOT, "notes": required(common.NOTES)}, access=_WRITE)
async def set_notes(call: Call) -> Any:
    """Set the notes of a snapshot."""
    await call.clients.catalogue.set_notes(call.ctx, snapshot_key(call), call.text("notes"))
    return None


@AREA.get("admin/datastore/{store}/group-notes", GROUP, access=_READ)
async def group_notes(call: Call) -> Any:
    """Notes of a group; empty if there are none."""
    return await call.clients.catalogue.group_notes(call.ctx, group_ref(call))


@AREA.put("admin/datastore/{store}/group-notes", {**GROUP, "notes": required(common.NOTES)}, access=_WRITE)
async def set_group_notes(call: Call) -> Any:
    """Set the notes of a group."""
    await call.clients.catalogue.set_group_notes(call.ctx, group_ref(call), call.text("notes"))
    return None


@AREA.get("admin/datastore/{store}/protected", SNAPSHOT, access=_READ)
async def protected(call: Call) -> Any:
    """Whether a snapshot is protected; false for one that does not exist."""
    return await call.clients.catalogue.protected(call.ctx, snapshot_key(call))


@AREA.put("admin/datastore/{store}/protected", {**SNAPSHOT, "protected": required(common.BOOLEAN)}, access=_WRITE)
async def set_protected(call: Call) -> Any:
    """Protect a snapshot, or end its protection."""
    await call.clients.catalogue.set_protected(call.ctx, snapshot_key(call), call.params["protected"])
    return None
