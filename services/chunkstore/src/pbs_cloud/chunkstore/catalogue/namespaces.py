"""Namespaces: list, create, delete (rest-api C.6, formats 12.2)."""

from __future__ import annotations

from collections.abc import Iterable

from pbs_cloud.chunkstore.catalogue.groups import PARTIALLY, Deleted, Groups
from pbs_cloud.chunkstore.catalogue.names import Place, parse_namespace, refusing_bad_names
from pbs_cloud.chunkstore.catalogue.parts import Parts
from pbs_cloud.chunkstore.catalogue.rows import ENOENT, Store, find_namespace, usable_store
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import CallContext, Caller
from pbs_cloud.contracts.errors import Conflict, InvalidArgument, NotFound, PermissionDenied
from pbs_cloud.contracts.rights import Privilege, datastore_path, has_any_below, privileges, require_access
from pbs_cloud.formats.names import MAX_NAMESPACE_DEPTH, BackupNamespace
from pbs_cloud.runtime.database import Connection

P = Privilege
VISIBLE = frozenset({P.DATASTORE_MODIFY, P.DATASTORE_READ, P.DATASTORE_BACKUP, P.DATASTORE_AUDIT})
_LEFT = "only partially deleted due to existing groups but `delete-groups` not true"
_BELOW = """
SELECT path FROM namespace WHERE datastore_id = $1 AND ($2 = '' OR path = $2 OR starts_with(path, $2 || '/'))
ORDER BY path
"""


class Namespaces:
    """The namespaces of a datastore."""

    def __init__(self, parts: Parts, groups: Groups) -> None:
        self._parts = parts
        self._groups = groups

    async def below(self, ctx: CallContext, store: str, parent: str, max_depth: int | None) -> list[str]:
        """Visible namespaces from ``parent`` on, parents before children; only ``parent`` if it does not exist.

        Raises PermissionDenied if the caller may see none of them.
        """
        anchor = parse_namespace(parent, "parent")
        depth = MAX_NAMESPACE_DEPTH if max_depth is None else max_depth
        if depth < 0:
            raise InvalidArgument("max-depth: value must have a minimum value of 0", field="max-depth")
        here = visible(ctx.caller, store, parent)
        if not here and not has_any_below(ctx.caller, datastore_path(store, parent), VISIBLE):
            raise PermissionDenied("permission check failed")
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            found = await usable_store(connection, ctx.caller, store, writing=False)
            paths = await paths_below(connection, found, parent)
        shown = [str(ns) for ns in paths if ns.depth - anchor.depth <= depth and visible(ctx.caller, store, str(ns))]
        if shown:
            return shown
        if not here:
            raise PermissionDenied("permission check failed")
        return [parent]

    async def create(self, ctx: CallContext, store: str, ns: str) -> None:
        """Create one level below a parent that exists; one that exists already is no error.

        Raises InvalidArgument, PermissionDenied, NotFound, Conflict (maintenance).
        """
        path = _below_root(ns)
        with refusing_bad_names():
            path.parent.child(path.name)
        require_access(ctx.caller, store, str(path.parent), (P.DATASTORE_MODIFY,))
        await self.make(ctx, store, path)

    async def make(self, ctx: CallContext, store: str, path: BackupNamespace) -> None:
        """``create`` without asking for rights. Raises NotFound, Conflict (maintenance)."""
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            found = await usable_store(connection, ctx.caller, store, writing=True)
            if await find_namespace(connection, found, str(path.parent), lock="FOR KEY SHARE") is None:
                raise NotFound(ENOENT)
            await connection.execute(
                "INSERT INTO namespace (tenant_id, datastore_id, path) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                ctx.tenant_id,
                found.id,
                str(path),
            )
            await self._parts.backends.of(found).make_namespace(path.path)

    async def delete(
        self, ctx: CallContext, store: str, ns: str, *, delete_groups: bool, error_on_protected: bool
    ) -> t.DeleteStatistics:
        """Delete a namespace and those below it, deepest first; groups only with ``delete_groups``.

        Raises PermissionDenied, NotFound (missing, with ``delete_groups``), Locked, Conflict (something is left).
        """
        path = _below_root(ns)
        require_access(ctx.caller, store, str(path.parent), (P.DATASTORE_MODIFY,))
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            found = await usable_store(connection, ctx.caller, store, writing=True)
            paths = await paths_below(connection, found, ns)
        if not paths and delete_groups:
            raise NotFound(ENOENT)
        done = Deleted()
        left = False
        for part in sorted(paths, key=lambda p: p.depth, reverse=True):
            if delete_groups:
                await self._delete_groups(ctx.tenant_id, found, part, done)
            left |= not await self.delete_empty(ctx.tenant_id, found, part)
        if left and not delete_groups:
            raise Conflict(_LEFT)
        if done.protected and error_on_protected:
            raise Conflict(PARTIALLY)
        if left and not done.protected:
            raise Conflict("only partially deleted: something is still being removed or was just created")
        return done.statistics

    async def _delete_groups(self, tenant_id: str, store: Store, ns: BackupNamespace, done: Deleted) -> None:
        async with self._parts.database.tenant(tenant_id) as connection:
            places = await groups_in(connection, store, ns)
        for place in places:
            await self._groups.delete_contents(tenant_id, store, place, done)

    async def delete_empty(self, tenant_id: str, store: Store, ns: BackupNamespace) -> bool:
        """Delete a namespace without groups and children; whether it is gone."""
        async with self._parts.database.tenant(tenant_id) as connection:
            row = await find_namespace(connection, store, str(ns), lock="FOR UPDATE")
            if row is None:
                return True
            used = await connection.fetchval(
                "SELECT EXISTS (SELECT 1 FROM backup_group WHERE namespace_id = $1) OR EXISTS"
                " (SELECT 1 FROM namespace WHERE datastore_id = $2 AND starts_with(path, $3 || '/'))",
                row,
                store.id,
                str(ns),
            )
            if used:
                return False
            await self._parts.backends.of(store).remove_namespace(ns.path)
            await connection.execute("DELETE FROM namespace WHERE id = $1", row)
            return True


def visible(caller: Caller, store: str, ns: str) -> bool:
    """Whether a caller sees a namespace in lists."""
    return bool(privileges(caller, datastore_path(store, ns)) & VISIBLE)


async def paths_below(connection: Connection, store: Store, anchor: str) -> list[BackupNamespace]:
    """A namespace that exists and all below it, parents before children."""
    rows = await connection.fetch(_BELOW, store.id, anchor)
    return sorted(BackupNamespace.parse(row["path"]) for row in rows)


async def groups_in(connection: Connection, store: Store, ns: BackupNamespace) -> list[Place]:
    """The groups of one namespace, ordered by type and name."""
    rows = await connection.fetch(
        "SELECT g.backup_type, g.backup_id FROM backup_group g JOIN namespace n ON n.id = g.namespace_id"
        " WHERE n.datastore_id = $1 AND n.path = $2 ORDER BY g.backup_type, g.backup_id",
        store.id,
        str(ns),
    )
    return [Place.of(str(ns), row["backup_type"], row["backup_id"]) for row in rows]


def shown_namespaces(paths: Iterable[BackupNamespace], caller: Caller, store: str) -> list[str]:
    """Those of ``paths`` that the caller may see."""
    return [str(ns) for ns in paths if visible(caller, store, str(ns))]


def _below_root(ns: str) -> BackupNamespace:
    path = parse_namespace(ns)
    if path.is_root:
        raise InvalidArgument("Cannot create/delete root namespace!", field="ns")
    return path
