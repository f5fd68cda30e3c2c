"""Groups and snapshots: listings, deletion, ownership (rest-api C.5)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from pbs_cloud.contracts.chunkstore.types import DeleteStatistics, File, Group, Snapshot
from pbs_cloud.contracts.errors import InvalidArgument, Unauthenticated
from pbs_cloud.contracts.rights import Privilege as P
from pbs_cloud.contracts.rights import datastore_path
from pbs_cloud.formats.names import MAX_FILE_NAME
from pbs_cloud.gateway.rest.access import OnStore, holds
from pbs_cloud.gateway.rest.calls import Call, Rows
from pbs_cloud.gateway.rest.endpoint import Area
from pbs_cloud.gateway.rest.endpoints.shared import (
    ERROR_ON_PROTECTED,
    GROUP,
    NS,
    SNAPSHOT,
    STORE_AUDIT,
    STORE_BACKUP,
    STORE_MODIFY,
    STORE_PRUNE,
    group_ref,
    snapshot_key,
    without_none,
)
from pbs_cloud.gateway.schema import common, optional, required

AREA = Area("Groups and snapshots")


def shown_group(group: Group) -> dict[str, Any]:
    """Group as `groups` lists it."""
    return without_none(
        {
            "backup-type": group.backup_type,
            "backup-id": group.backup_id,
            "last-backup": group.last_backup,
            "backup-count": group.backup_count,
            "files": list(group.files),
            "owner": group.owner,
            "comment": group.comment or None,
        }
    )


def shown_file(file: File) -> dict[str, Any]:
    """File of a snapshot."""
    return without_none({"filename": file.filename, "crypt-mode": file.crypt_mode, "size": file.size})


def shown_snapshot(snapshot: Snapshot) -> dict[str, Any]:
    """Snapshot as `snapshots` lists it."""
    found = snapshot.verification
    return without_none(
        {
            "backup-type": snapshot.backup_type,
            "backup-id": snapshot.backup_id,
            "backup-time": snapshot.backup_time,
            "comment": snapshot.comment or None,
            "verification": {"state": found.state, "upid": found.upid} if found else None,
            "fingerprint": snapshot.fingerprint,
            "files": [shown_file(file) for file in snapshot.files],
            "size": snapshot.size,
            "owner": snapshot.owner,
            "protected": snapshot.protected,
        }
    )


def shown_statistics(found: DeleteStatistics) -> dict[str, int]:
    """What a deletion did; pushing peers need all three numbers."""
    return {
        "removed-groups": found.removed_groups,
        "protected-snapshots": found.protected_snapshots,
        "removed-snapshots": found.removed_snapshots,
    }


@AREA.get("admin/datastore/{store}/groups", NS, access=OnStore(STORE_AUDIT, STORE_BACKUP))
async def groups(call: Call) -> Any:
    """Groups of a namespace."""

    async def rows() -> AsyncIterator[Any]:
        async for group in call.clients.catalogue.list_groups(call.ctx, call.text("store"), call.text("ns")):
            yield shown_group(group)

    return Rows(rows(), chunked=False)


@AREA.delete(
    "admin/datastore/{store}/groups",
    {**GROUP, "error-on-protected": ERROR_ON_PROTECTED},
    access=OnStore(STORE_MODIFY, STORE_PRUNE),
)
async def delete_group(call: Call) -> Any:
    """Delete all snapshots of a group that are not protected."""
    return shown_statistics(
        await call.clients.catalogue.delete_group(
            call.ctx, group_ref(call), error_on_protected=call.params["error-on-protected"]
        )
    )


@AREA.get(
    "admin/datastore/{store}/snapshots",
    {
        **NS,
        "backup-type": optional(common.BACKUP_TYPE, "may be given alone"),
        "backup-id": optional(common.BACKUP_ID, "may be given alone: all types are searched"),
    },
    access=OnStore(STORE_AUDIT, STORE_BACKUP),
)
async def snapshots(call: Call) -> Any:
    """Snapshots of a namespace, not below."""
    if len(call.params.get("backup-id", "")) > MAX_FILE_NAME:
        await call.clients.catalogue.datastore_status(call.ctx, call.text("store"))  # its errors come first
        return []  # no group can have such an id

    async def rows() -> AsyncIterator[Any]:
        async for snapshot in call.clients.catalogue.list_snapshots(
            call.ctx,
            call.text("store"),
            call.text("ns"),
            backup_type=call.params.get("backup-type"),
            backup_id=call.params.get("backup-id"),
        ):
            yield shown_snapshot(snapshot)

    return Rows(rows())


@AREA.delete("admin/datastore/{store}/snapshots", SNAPSHOT, access=OnStore(STORE_MODIFY, STORE_PRUNE))
async def delete_snapshot(call: Call) -> Any:
    """Delete a snapshot."""
    await call.clients.catalogue.delete_snapshot(call.ctx, snapshot_key(call))
    return None


@AREA.get(
    "admin/datastore/{store}/files",
    SNAPSHOT,
    access=OnStore((P.DATASTORE_AUDIT, P.DATASTORE_READ), STORE_BACKUP),
)
async def files(call: Call) -> Any:
    """Files of a snapshot."""
    return [shown_file(file) for file in await call.clients.catalogue.list_files(call.ctx, snapshot_key(call))]


@AREA.post(
    "admin/datastore/{store}/change-owner",
    {**GROUP, "new-owner": required(common.AUTH_ID)},
    access=OnStore(STORE_MODIFY, STORE_BACKUP),
)
async def change_owner(call: Call) -> Any:
    """Give a group to another owner."""
    group, new_owner, caller = group_ref(call), call.text("new-owner"), call.caller
    if not holds(caller, datastore_path(group.store, group.ns), P.DATASTORE_MODIFY) and (
        caller.is_token or not caller.owns(new_owner)
    ):
        # Refused whatever the present owner is, and before the new one is looked up.
        raise Unauthenticated(
            f"{caller.auth_id} does not have permission to change owner of backup group '{group}' to {new_owner}"
        )
    if not await call.clients.auth.is_active(call.ctx, new_owner):
        kind = "API token" if "!" in new_owner else "user"
        raise InvalidArgument(f"{kind} '{new_owner}' is inactive or non-existent", field="new-owner")
    await call.clients.catalogue.change_owner(call.ctx, group, new_owner)
    return None
