"""Privileges, roles, levels and the one function that evaluates an ACL (rest-api A.8)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from pbs_cloud.contracts.context import AclEntry, Caller
from pbs_cloud.contracts.errors import NotOwner, PermissionDenied


class Privilege(StrEnum):
    SYS_AUDIT = "Sys.Audit"
    SYS_MODIFY = "Sys.Modify"
    SYS_POWER_MANAGEMENT = "Sys.PowerManagement"
    SYS_CONSOLE = "Sys.Console"
    DATASTORE_AUDIT = "Datastore.Audit"
    DATASTORE_ALLOCATE = "Datastore.Allocate"
    DATASTORE_MODIFY = "Datastore.Modify"
    DATASTORE_READ = "Datastore.Read"
    DATASTORE_VERIFY = "Datastore.Verify"
    DATASTORE_BACKUP = "Datastore.Backup"
    DATASTORE_PRUNE = "Datastore.Prune"
    PERMISSIONS_MODIFY = "Permissions.Modify"
    REMOTE_AUDIT = "Remote.Audit"
    REMOTE_MODIFY = "Remote.Modify"
    REMOTE_READ = "Remote.Read"
    REMOTE_DATASTORE_BACKUP = "Remote.DatastoreBackup"
    REMOTE_DATASTORE_MODIFY = "Remote.DatastoreModify"
    REMOTE_DATASTORE_PRUNE = "Remote.DatastorePrune"
    TAPE_AUDIT = "Tape.Audit"
    TAPE_MODIFY = "Tape.Modify"
    TAPE_WRITE = "Tape.Write"
    TAPE_READ = "Tape.Read"
    REALM_ALLOCATE = "Realm.Allocate"


P = Privilege
ALL_PRIVILEGES = frozenset(Privilege)

# Role -> (privileges, comment shown by `access/roles`).
ROLES: Mapping[str, tuple[frozenset[Privilege], str]] = {
    "Admin": (ALL_PRIVILEGES, "Administrator"),
    "NoAccess": (frozenset(), "Disable access"),
    "Audit": (frozenset({P.SYS_AUDIT, P.DATASTORE_AUDIT}), "Auditor"),
    "DatastoreAdmin": (
        frozenset(
            {
                P.DATASTORE_AUDIT,
                P.DATASTORE_MODIFY,
                P.DATASTORE_READ,
                P.DATASTORE_VERIFY,
                P.DATASTORE_BACKUP,
                P.DATASTORE_PRUNE,
            }
        ),
        "Datastore administrator",
    ),
    "DatastoreReader": (
        frozenset({P.DATASTORE_AUDIT, P.DATASTORE_VERIFY, P.DATASTORE_READ}),
        "Read datastore contents",
    ),
    "DatastoreBackup": (frozenset({P.DATASTORE_BACKUP}), "Create and restore own backups"),
    "DatastorePowerUser": (frozenset({P.DATASTORE_BACKUP, P.DATASTORE_PRUNE}), "Create, restore and prune own backups"),
    "DatastoreAudit": (frozenset({P.DATASTORE_AUDIT}), "Datastore auditor"),
    "RemoteAudit": (frozenset({P.REMOTE_AUDIT}), "Remote auditor"),
    "RemoteAdmin": (frozenset({P.REMOTE_AUDIT, P.REMOTE_MODIFY, P.REMOTE_READ}), "Remote administrator"),
    "RemoteSyncOperator": (frozenset({P.REMOTE_AUDIT, P.REMOTE_READ}), "Pull from remotes"),
    "RemoteSyncPushOperator": (frozenset({P.REMOTE_AUDIT, P.REMOTE_DATASTORE_BACKUP}), "Push to remotes"),
    "RemoteDatastorePowerUser": (
        frozenset({P.REMOTE_AUDIT, P.REMOTE_DATASTORE_BACKUP, P.REMOTE_DATASTORE_PRUNE}),
        "Push and prune on remotes",
    ),
    "RemoteDatastoreAdmin": (
        frozenset({P.REMOTE_AUDIT, P.REMOTE_DATASTORE_BACKUP, P.REMOTE_DATASTORE_MODIFY, P.REMOTE_DATASTORE_PRUNE}),
        "Administrate datastores of remotes",
    ),
    "TapeAudit": (frozenset({P.TAPE_AUDIT}), "Tape auditor"),
    "TapeAdmin": (frozenset({P.TAPE_AUDIT, P.TAPE_MODIFY, P.TAPE_READ, P.TAPE_WRITE}), "Tape administrator"),
    "TapeOperator": (frozenset({P.TAPE_AUDIT, P.TAPE_READ, P.TAPE_WRITE}), "Tape operator"),
    "TapeReader": (frozenset({P.TAPE_AUDIT, P.TAPE_READ}), "Read tapes"),
}

# Level -> entries (path, role) that it stands for, lowest first.
LEVELS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "read": (("/datastore", "DatastoreReader"), ("/system", "Audit")),
    "backup": (("/datastore", "DatastoreReader"), ("/system", "Audit"), ("/datastore", "DatastoreBackup")),
    "datastore_admin": (("/datastore", "DatastoreAdmin"), ("/system", "Audit")),
    "admin": (("/", "Admin"),),
}


def _evaluate(acl: Iterable[AclEntry], auth_id: str, path: str) -> dict[Privilege, bool]:
    """Privileges of one auth id at a path, each with whether it propagates further down."""
    nodes = ["/"]
    for part in [p for p in path.split("/") if p]:
        nodes.append(nodes[-1].rstrip("/") + "/" + part)
    held: dict[Privilege, bool] = {}
    own = [entry for entry in acl if entry.auth_id == auth_id]
    for node in nodes:
        here = [e for e in own if e.path == node and (e.propagate or node == nodes[-1])]
        if not here:
            continue
        held = {}
        if any(e.role == "NoAccess" for e in here):
            continue
        for entry in here:
            for privilege in ROLES[entry.role][0] if entry.role in ROLES else ():
                held[privilege] = held.get(privilege, False) or entry.propagate
    return held


def propagation(caller: Caller, path: str) -> dict[Privilege, bool]:
    """Privileges of ``caller`` at the ACL path, mapped to whether they propagate.

    A token has what was granted to it, cut down to what its user has there.
    """
    if caller.superuser:
        return dict.fromkeys(ALL_PRIVILEGES, True)
    held = _evaluate(caller.acl, caller.auth_id, path)
    if caller.is_token and caller.user_id != "root@pam":
        user = _evaluate(caller.acl, caller.user_id, path)
        held = {p: spread and user[p] for p, spread in held.items() if p in user}
    return held


def privileges(caller: Caller, path: str) -> frozenset[Privilege]:
    """Privileges of ``caller`` at the ACL path (``/``, ``/datastore/{store}[/{ns}]``, ...)."""
    return frozenset(propagation(caller, path))


def has_any_below(caller: Caller, path: str, wanted: Iterable[Privilege]) -> bool:
    """Whether the caller holds one of ``wanted`` at some ACL path strictly below ``path``."""
    goal, prefix = frozenset(wanted), path.rstrip("/") + "/"
    if caller.superuser:
        return True
    return any(privileges(caller, e.path) & goal for e in caller.acl if e.path.startswith(prefix))


def datastore_path(store: str, ns: str = "") -> str:
    """ACL path of a namespace (wire-protocol 2)."""
    return f"/datastore/{store}/{ns}" if ns else f"/datastore/{store}"


def require(caller: Caller, path: str, *wanted: Privilege) -> None:
    """Declarative check: at least one of ``wanted``, else ``permission check failed``."""
    if not privileges(caller, path) & frozenset(wanted):
        raise PermissionDenied("permission check failed")


def require_access(
    caller: Caller, store: str, ns: str, full: tuple[Privilege, ...], owned: tuple[Privilege, ...] = ()
) -> bool:
    """The pattern access(full; owned) of rest-api A.8.

    Returns whether the caller is limited to groups that it owns. Raises ``PermissionDenied`` without any of them.
    """
    path = datastore_path(store, ns)
    held = privileges(caller, path)
    if held & frozenset(full):
        return False
    if held & frozenset(owned):
        return True
    wanted = "|".join(full) + ("|" + "|".join(owned) if owned else "")
    raise PermissionDenied(f"permission check failed - missing {wanted} on {path}")


def require_owner(caller: Caller, owner: str) -> None:
    """Owner check of formats 12.3."""
    if not caller.owns(owner):
        raise NotOwner(f"backup owner check failed ({caller.auth_id} != {owner})")
