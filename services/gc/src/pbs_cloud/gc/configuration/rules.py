"""Who may see and change which entry (rest-api A.8, C.11, C.12)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pbs_cloud.contracts.configuration import ConfigEntry, Section
from pbs_cloud.contracts.context import Caller
from pbs_cloud.contracts.errors import Conflict, PermissionDenied
from pbs_cloud.contracts.rights import Privilege as P
from pbs_cloud.contracts.rights import datastore_path, privileges

FORBIDDEN = "permission check failed"


def may_see(caller: Caller, section: Section, entry: ConfigEntry) -> bool:
    """Whether the entry is shown to the caller."""
    if section is Section.SYNC:
        return _sees_job(caller, entry.fields)
    return _holds(caller, *_place(section, entry.id), change=False)


def may_change(caller: Caller, section: Section, entry: ConfigEntry) -> bool:
    """Whether the caller may make, change and remove the entry as it is."""
    if section is Section.SYNC:
        return _changes_job(caller, entry.fields)
    return _holds(caller, *_place(section, entry.id), change=True)


def refusal(section: Section) -> Conflict | PermissionDenied:
    """What a missing right is: on stock a 400 for sync jobs (rest-api C.12)."""
    return Conflict(FORBIDDEN) if section is Section.SYNC else PermissionDenied(FORBIDDEN)


def _place(section: Section, entry_id: str) -> tuple[str, P, P]:
    """ACL path, and the privileges to see and to change there."""
    if section is Section.REMOTE:
        return f"/remote/{entry_id}", P.REMOTE_AUDIT, P.REMOTE_MODIFY
    return "/", P.SYS_AUDIT, P.SYS_MODIFY


def _holds(caller: Caller, path: str, see: P, modify: P, *, change: bool) -> bool:
    return (modify if change else see) in privileges(caller, path)


def _local_path(fields: Mapping[str, Any]) -> str:
    return datastore_path(fields["store"], fields.get("ns", ""))


def _remote_path(fields: Mapping[str, Any]) -> str | None:
    """ACL path of the other side; None for a job inside this server."""
    if "remote" not in fields:
        return None
    path = f"/remote/{fields['remote']}/{fields['remote-store']}"
    return f"{path}/{fields['remote-ns']}" if fields.get("remote-ns") else path


def _sees_job(caller: Caller, fields: Mapping[str, Any]) -> bool:
    remote = _remote_path(fields)
    return P.DATASTORE_AUDIT in privileges(caller, _local_path(fields)) and (
        remote is None or P.REMOTE_AUDIT in privileges(caller, remote)
    )


def _changes_job(caller: Caller, fields: Mapping[str, Any]) -> bool:
    """The rights that running it by hand would need."""
    local, remote = privileges(caller, _local_path(fields)), _remote_path(fields)
    far = privileges(caller, remote if remote is not None else datastore_path(fields["remote-store"]))
    if fields.get("sync-direction") == "push":
        removes = not fields.get("remove-vanished") or bool(far & {P.REMOTE_DATASTORE_PRUNE, P.REMOTE_DATASTORE_MODIFY})
        return P.DATASTORE_READ in local and P.REMOTE_DATASTORE_BACKUP in far and removes
    wanted = {P.DATASTORE_BACKUP}
    if fields.get("remove-vanished"):
        wanted.add(P.DATASTORE_PRUNE)
    if fields.get("owner") not in (None, caller.auth_id):
        wanted.add(P.DATASTORE_MODIFY)
    source = {P.REMOTE_READ} if remote is not None else {P.DATASTORE_READ, P.DATASTORE_BACKUP}
    return wanted <= local and bool(source & far)
