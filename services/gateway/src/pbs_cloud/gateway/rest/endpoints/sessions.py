"""``backup`` and ``reader`` without a protocol upgrade: the same checks, then a refusal (rest-api C.10)."""

from __future__ import annotations

from typing import Any

from pbs_cloud.contracts.errors import InvalidArgument, PermissionDenied
from pbs_cloud.contracts.rights import Privilege as P
from pbs_cloud.contracts.rights import datastore_path
from pbs_cloud.gateway.errors import UPGRADE_STATUS, HttpError
from pbs_cloud.gateway.rest.access import Judged, holds
from pbs_cloud.gateway.rest.calls import Call
from pbs_cloud.gateway.rest.endpoint import Area
from pbs_cloud.gateway.rest.endpoints.stores import find_store
from pbs_cloud.gateway.schema.upgrades import BACKUP_UPGRADE, READER_UPGRADE

AREA = Area("Protocol upgrades")


@AREA.get(
    "backup",
    BACKUP_UPGRADE.params,
    access=Judged("`Datastore.Backup` on the namespace"),
    raw=True,
    statuses=UPGRADE_STATUS,
)
async def backup(call: Call) -> Any:
    """Start a backup session: `Upgrade: proxmox-backup-protocol-v1`, answered with 101."""
    path = datastore_path(call.text("store"), call.text("ns"))
    if not holds(call.caller, path, P.DATASTORE_BACKUP):
        raise PermissionDenied(f"missing permissions 'Datastore.Backup' on '{path}'")
    await _refuse(call)


@AREA.get(
    "reader",
    READER_UPGRADE.params,
    access=Judged("`Datastore.Read` on the namespace; `Datastore.Backup` for own groups"),
    raw=True,
    statuses=UPGRADE_STATUS,
)
async def reader(call: Call) -> Any:
    """Start a reader session: `Upgrade: proxmox-backup-reader-protocol-v1`, answered with 101."""
    path = datastore_path(call.text("store"), call.text("ns"))
    if not holds(call.caller, path, P.DATASTORE_READ, P.DATASTORE_BACKUP):
        raise InvalidArgument(f"no permissions on {path}")
    await _refuse(call)


async def _refuse(call: Call) -> None:
    """Proper upgrades never come here: the front worker keeps them."""
    await find_store(call, call.text("store"))
    raise HttpError(400, "invalid protocol name" if b"upgrade" in call.headers else "missing Upgrade header")
