"""Levels: short forms that write ACL entries (rest-api A.8)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pbs_cloud.auth.db import acl
from pbs_cloud.auth.db.changes import Change
from pbs_cloud.contracts.context import AclEntry, Caller
from pbs_cloud.contracts.errors import InvalidArgument
from pbs_cloud.contracts.rights import LEVELS, ROLES, privileges


def parse_level(text: str) -> str:
    """The level's name; also as ``Backup`` or ``DatastoreAdmin`` (rest-api D.4). Raises ``InvalidArgument``."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text).lower()
    if name not in LEVELS:
        raise InvalidArgument(f"value '{text}' is not defined in the enumeration.", field="permission")
    return name


def entries_for(level: str, auth_id: str) -> tuple[AclEntry, ...]:
    """The propagating entries that a level stands for."""
    return tuple(AclEntry(path, auth_id, role, True) for path, role in LEVELS[level])


def level_of(entries: Iterable[AclEntry], auth_id: str) -> str | None:
    """The highest level whose entries are all there and propagate."""
    held = {(entry.path, entry.role) for entry in entries if entry.auth_id == auth_id and entry.propagate}
    return next((level for level in reversed(list(LEVELS)) if held.issuperset(LEVELS[level])), None)


async def set_level(change: Change, auth_id: str, level: str) -> None:
    """Write the entries of ``level`` and remove those of the former level that it does not share."""
    current = await acl.entries_of(change.connection, change.tenant_id, auth_id)
    former, wanted = level_of(current, auth_id), entries_for(level, auth_id)
    if former == level:
        return
    obsolete = [entry for entry in entries_for(former, auth_id) if entry not in wanted] if former else []
    await acl.remove(change.connection, change.tenant_id, obsolete)
    await acl.put(change.connection, change.tenant_id, wanted)
    change.acl_touched = True
    change.affected.add(auth_id)


def covers(caller: Caller, level: str) -> bool:
    """Whether the caller holds every privilege of the level on the level's own paths."""
    return all(ROLES[role][0] <= privileges(caller, path) for path, role in LEVELS[level])
