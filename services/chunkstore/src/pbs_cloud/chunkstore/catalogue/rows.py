"""Rows of datastores, namespaces, groups and snapshots, found inside one tenant."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from pbs_cloud.chunkstore.backends.port import StoreLocation
from pbs_cloud.chunkstore.catalogue.maintenance import Maintenance, Mode, effective
from pbs_cloud.chunkstore.catalogue.names import Place, SnapshotPlace
from pbs_cloud.contracts.context import Caller
from pbs_cloud.contracts.errors import NotFound
from pbs_cloud.runtime.database import Connection

ENOENT = "ENOENT: No such file or directory"

_STORE = "SELECT id, tenant_id, name, uuid, backend_type, location, config, epoch, state, gc_status FROM datastore"


@dataclass(frozen=True, slots=True)
class Store:
    """A datastore row; ``config`` holds the text fields of rest-api C.12."""

    id: int
    tenant_id: str
    name: str
    uuid: uuid.UUID
    backend_type: str
    location: str
    config: dict[str, str]
    epoch: int
    state: str
    gc_status: dict[str, Any] | None

    @property
    def place(self) -> StoreLocation:
        return StoreLocation(self.backend_type, self.location, str(self.uuid), dict(self.config))

    def maintenance(self, caller: Caller) -> Maintenance | None:
        """Mode in force for ``caller``'s tenant."""
        if self.state == "deleting":
            return Maintenance(Mode.DELETE)
        return effective(self.config.get("maintenance-mode"), caller.maintenance)

    def require_usable(self, caller: Caller, *, writing: bool) -> None:
        """Raises Conflict if the maintenance mode forbids the access."""
        found = self.maintenance(caller)
        if found is not None and (writing or found.mode is not Mode.READ_ONLY):
            raise found.refusal(self.name)


def no_such_store(name: str) -> NotFound:
    return NotFound(f"no such datastore '{name}'")


async def find_store(connection: Connection, tenant_id: str, name: str, *, share: bool = False) -> Store:
    """The datastore of that name, in any maintenance mode; ``share`` excludes the start of a GC run.

    Raises NotFound.
    """
    suffix = " FOR SHARE" if share else ""
    row = await connection.fetchrow(
        f"{_STORE} WHERE tenant_id = $1 AND name = $2 AND state IN ('active', 'deleting'){suffix}", tenant_id, name
    )
    if row is None:
        raise no_such_store(name)
    return Store(**row)


async def usable_store(connection: Connection, caller: Caller, name: str, *, writing: bool) -> Store:
    """The datastore, if its maintenance mode allows the access. Raises NotFound, Conflict."""
    store = await find_store(connection, caller.tenant_id, name)
    store.require_usable(caller, writing=writing)
    return store


async def store_by_id(connection: Connection, store_id: int) -> Store:
    """A datastore in whatever state. Raises NotFound."""
    row = await connection.fetchrow(f"{_STORE} WHERE id = $1", store_id)
    if row is None:
        raise NotFound("no such datastore")
    return Store(**row)


async def list_stores(connection: Connection, tenant_id: str) -> list[Store]:
    """Datastores that the tenant sees, by name."""
    rows = await connection.fetch(
        f"{_STORE} WHERE tenant_id = $1 AND state IN ('active', 'deleting') ORDER BY name", tenant_id
    )
    return [Store(**row) for row in rows]


_NAMESPACE = "SELECT id FROM namespace WHERE datastore_id = $1 AND path = $2"


async def find_namespace(connection: Connection, store: Store, path: str, *, lock: str = "") -> int | None:
    """Id of a namespace row; None if there is none."""
    found = await connection.fetchval(f"{_NAMESPACE} {lock}", store.id, path)
    return None if found is None else int(found)


async def require_namespace(connection: Connection, store: Store, path: str) -> int:
    """Id of a namespace. Raises NotFound with the text of stock."""
    found = await find_namespace(connection, store, path)
    if found is None:
        raise NotFound(ENOENT)
    return found


@dataclass(frozen=True, slots=True)
class Group:
    """A group row with its place."""

    id: int
    owner: str
    notes: str
    place: Place


_GROUP = """
SELECT g.id, g.owner, g.notes FROM backup_group g JOIN namespace n ON n.id = g.namespace_id
WHERE n.datastore_id = $1 AND n.path = $2 AND g.backup_type = $3 AND g.backup_id = $4
"""


async def find_group(connection: Connection, store: Store, place: Place, *, update: bool = False) -> Group | None:
    """The group row, locked with ``update``; None if there is none."""
    row = await connection.fetchrow(
        _GROUP + (" FOR UPDATE OF g" if update else ""),
        store.id,
        str(place.ns),
        place.group.backup_type.value,
        place.group.backup_id,
    )
    return None if row is None else Group(row["id"], row["owner"], row["notes"], place)


async def require_group(connection: Connection, store: Store, place: Place, *, update: bool = False) -> Group:
    """The group row. Raises NotFound."""
    found = await find_group(connection, store, place, update=update)
    if found is None:
        raise NotFound(f"group '{place.group}' not found: {ENOENT}")
    return found


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot row with its place; ``manifest`` is JSON text, None while the backup runs."""

    id: int
    state: str
    protected: bool
    manifest: str | None
    manifest_size: int | None
    size: int | None
    session_id: Any
    where: SnapshotPlace


_SNAPSHOT = """
SELECT id, state, protected, manifest, manifest_size, size, session_id FROM snapshot
WHERE group_id = $1 AND backup_time = $2 AND state <> 'removing'
"""


async def find_snapshot(connection: Connection, group: Group, backup_time: int, *, lock: str = "") -> Snapshot | None:
    """The snapshot row (not one that is being removed), locked with ``lock``; None if there is none."""
    row = await connection.fetchrow(f"{_SNAPSHOT} {lock}", group.id, backup_time)
    return None if row is None else Snapshot(**row, where=group.place.snapshot(backup_time))
