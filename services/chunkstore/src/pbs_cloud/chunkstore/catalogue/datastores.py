"""Datastores: create, change, delete, list (rest-api C.12, E.3)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence

from pbs_cloud.chunkstore.catalogue.announce import announce, announce_usage
from pbs_cloud.chunkstore.catalogue.background import Background
from pbs_cloud.chunkstore.catalogue.names import refusing_bad_names
from pbs_cloud.chunkstore.catalogue.parts import Parts
from pbs_cloud.chunkstore.catalogue.retention import require_nothing_locked
from pbs_cloud.chunkstore.catalogue.rows import Store, find_store, list_stores, store_by_id
from pbs_cloud.chunkstore.catalogue.store_config import (
    changed_config,
    configuration_digest,
    lock_configuration,
    new_config,
    require_digest,
)
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import CallContext, SystemContext
from pbs_cloud.contracts.errors import AlreadyExists, Conflict, DataCorrupt, InvalidArgument, Locked, NotFound, PbsError
from pbs_cloud.contracts.events import EventType
from pbs_cloud.contracts.rights import Privilege, datastore_path, require
from pbs_cloud.formats.names import parse_datastore_name, parse_safe_id
from pbs_cloud.runtime.database import Connection
from pbs_cloud.runtime.logging import get_logger

_log = get_logger(__name__)

RESERVED = frozenset({"status"})
_REMOVE_BATCH = 10_000


class Datastores:
    """The datastores of a tenant."""

    def __init__(self, parts: Parts, background: Background) -> None:
        self._parts = parts
        self._background = background
        self._kind = "s3" if parts.settings.s3_bucket else "filesystem"

    async def ensure(self, tenant_id: str, name: str) -> None:
        """Create a datastore unless it exists. Raises Conflict or Unavailable if that fails."""
        ctx = SystemContext().for_tenant(tenant_id)
        async with self._parts.database.tenant(tenant_id) as connection:
            if name in {store.name for store in await list_stores(connection, tenant_id)}:
                return
        try:
            store = await self._reserve(ctx, name, new_config(name, {}), reuse=True)
            await self._make(store, reuse=True)
        except AlreadyExists:
            return
        self._background.run(self._parts.backends.of(store).complete())

    async def create(self, ctx: CallContext, name: str, fields: Mapping[str, str], *, reuse: bool) -> str:
        """Create a datastore; UPID of the task that says whether it worked. It can be used when this returns.

        Raises PermissionDenied, InvalidArgument (name, a field), AlreadyExists.
        """
        require(ctx.caller, "/datastore", Privilege.DATASTORE_ALLOCATE)
        config = new_config(name, fields)
        store = await self._reserve(ctx, name, config, reuse=reuse)
        made = asyncio.ensure_future(self._make(store, reuse=reuse))
        await asyncio.wait({made})
        try:
            return await self._background.as_task(
                ctx, "create-datastore", store.name, lambda: self._complete(store, made)
            )
        except Exception:  # there is no task; the datastore is made all the same
            self._background.run(self._complete(store, made))
            raise

    async def _complete(self, store: Store, made: Awaitable[None]) -> None:
        await made
        await self._parts.backends.of(store).complete()

    async def update(
        self, ctx: CallContext, name: str, changes: Mapping[str, str], delete: Sequence[str], digest: str | None
    ) -> None:
        """Raises PermissionDenied, NotFound, InvalidArgument, Conflict (digest)."""
        require(ctx.caller, datastore_path(name), Privilege.DATASTORE_MODIFY)
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            await lock_configuration(connection, ctx.tenant_id)
            store = await find_store(connection, ctx.tenant_id, name)
            await require_digest(connection, ctx.tenant_id, digest)
            config = changed_config(store.config, changes, delete)
            await connection.execute("UPDATE datastore SET config = $2 WHERE id = $1", store.id, config)

    async def delete(self, ctx: CallContext, name: str, *, destroy_data: bool, digest: str | None) -> str:
        """Remove a datastore, with ``destroy_data`` its bytes too; UPID of the task.

        Raises PermissionDenied, NotFound, Conflict (digest; snapshots that must be retained), Locked (in use).
        """
        require(ctx.caller, datastore_path(name), Privilege.DATASTORE_ALLOCATE)
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            await lock_configuration(connection, ctx.tenant_id)
            try:
                store = await find_store(connection, ctx.tenant_id, name)
            except NotFound as error:
                raise NotFound(f"datastore '{name}' does not exist.") from error
            await require_digest(connection, ctx.tenant_id, digest)
            await connection.fetchval("SELECT 1 FROM datastore WHERE id = $1 FOR UPDATE", store.id)
            await _require_idle(connection, store)
            if destroy_data:
                await require_nothing_locked(connection, store)
            state = "deleting" if destroy_data else "removed"
            await connection.execute("UPDATE datastore SET state = $2 WHERE id = $1", store.id, state)
            if not destroy_data:
                await announce(connection, EventType.DATASTORE_REMOVED, ctx.tenant_id, store=name)

        def work() -> Awaitable[None]:
            return self.destroy(store) if destroy_data else self._parts.backends.forget(store)

        return await self._background.as_task(ctx, "delete-datastore", store.name, work)

    async def listed(self, ctx: CallContext) -> tuple[list[t.Datastore], str]:
        """All datastores of the tenant, and the configuration digest; who asks shows what the caller may see."""
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            stores = await list_stores(connection, ctx.tenant_id)
            digest = await configuration_digest(connection, ctx.tenant_id)
        return [_shown(ctx, store) for store in stores], digest

    async def destroy(self, store: Store) -> None:
        """Delete the bytes, then the rows of a datastore in state ``deleting``; repeatable, also beside itself."""
        await self._parts.backends.of(store).destroy()
        await self._parts.backends.forget(store)
        for statement in (_SOME_CHUNKS, _SOME_SNAPSHOTS):
            while await self._delete_some(statement, store):
                pass
        async with self._parts.database.tenant(store.tenant_id) as connection:
            for statement in _DELETE_CONTENTS:
                await connection.execute(statement, store.id)
            if not await connection.fetchval("DELETE FROM datastore WHERE id = $1 RETURNING true", store.id):
                return
            await announce(connection, EventType.DATASTORE_REMOVED, store.tenant_id, store=store.name)
            await announce_usage(connection, store.tenant_id, store.name)

    async def resume(self, leftover_seconds: float) -> None:
        """Finish what a process that died has begun: deletions, and creations older than ``leftover_seconds``."""
        async with self._parts.database.system() as connection:
            rows = await connection.fetch(_LEFT_OVER, leftover_seconds)
            stores = [await store_by_id(connection, row["id"]) for row in rows]
        for store in stores:
            await (self.destroy(store) if store.state == "deleting" else self._finish_making(store))

    async def _finish_making(self, store: Store) -> None:
        """A creation that was cut off: the store is shown if its place is whole and ours."""
        try:
            await self._parts.backends.of(store).complete()
            await self._parts.backends.of(store).check()
        except (NotFound, Conflict, DataCorrupt):
            await self._forget_new(store, reuse=True)
        else:
            await self._activate(store)

    async def _reserve(self, ctx: CallContext, name: str, config: dict[str, str], *, reuse: bool) -> Store:
        """The row of a new datastore; with ``reuse`` that of a removed one of the same name, which is active again."""
        with refusing_bad_names():
            parse_datastore_name(name, "name")
            parse_safe_id(ctx.tenant_id, "tenant", 1, 64)
        if name in RESERVED:
            raise InvalidArgument(f"name: '{name}' is reserved", field="name")
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            await lock_configuration(connection, ctx.tenant_id)
            row = await connection.fetchrow(
                "SELECT id, state FROM datastore WHERE tenant_id = $1 AND name = $2 ORDER BY state <> 'removed' DESC"
                " LIMIT 1 FOR UPDATE",
                ctx.tenant_id,
                name,
            )
            if row is not None and row["state"] != "removed":
                raise AlreadyExists(f"datastore '{name}' already exists.", field="name")
            if row is not None and reuse:
                await connection.execute(
                    "UPDATE datastore SET state = 'active', config = $2 WHERE id = $1", row["id"], config
                )
                return await store_by_id(connection, row["id"])
            return await store_by_id(connection, await self._insert(connection, ctx.tenant_id, name, config))

    async def _insert(self, connection: Connection, tenant_id: str, name: str, config: dict[str, str]) -> int:
        folder = "datastores/" if self._kind == "filesystem" else ""
        store_id: int = await connection.fetchval(
            "INSERT INTO datastore (tenant_id, name, backend_type, location, config, state)"
            " VALUES ($1, $2, $3, $4, $5, 'creating') RETURNING id",
            tenant_id,
            name,
            self._kind,
            f"{folder}{tenant_id}/{name}",
            config,
        )
        await connection.execute(
            "INSERT INTO namespace (tenant_id, datastore_id, path) VALUES ($1, $2, '')", tenant_id, store_id
        )
        return store_id

    async def _make(self, store: Store, *, reuse: bool) -> None:
        """Make the place of a new store and show it; what cannot be made leaves no row behind."""
        if store.state == "active":
            return
        try:
            await self._parts.backends.of(store).create(reuse=reuse)
        except PbsError:
            await self._forget_new(store, reuse=reuse)
            raise
        await self._activate(store)

    async def _activate(self, store: Store) -> None:
        async with self._parts.database.tenant(store.tenant_id) as connection:
            await connection.execute(
                "UPDATE datastore SET state = 'active' WHERE id = $1 AND state = 'creating'", store.id
            )

    async def _forget_new(self, store: Store, *, reuse: bool) -> None:
        """Drop the row of a store that could not be made."""
        await self._clear_place(store, reuse=reuse)
        await self._parts.backends.forget(store)
        async with self._parts.database.tenant(store.tenant_id) as connection:
            await connection.execute("DELETE FROM datastore WHERE id = $1 AND state = 'creating'", store.id)

    async def _clear_place(self, store: Store, *, reuse: bool) -> None:
        """Whatever lies there may be somebody else's, unless our mark is there: then an attempt was only not answered.

        With ``reuse`` the mark goes, otherwise all, since the place was empty; or the next attempt would be refused.
        """
        backend = self._parts.backends.of(store)
        try:
            if await backend.is_marked():
                await (backend.release() if reuse else backend.destroy())
        except PbsError as error:
            _log.warning("the place of a datastore may stay marked", datastore=store.name, reason=error.message)

    async def _delete_some(self, statement: str, store: Store) -> bool:
        """A batch that is done well within a statement's time limit; whether there was anything to delete."""
        async with self._parts.database.tenant(store.tenant_id) as connection:
            return bool(await connection.fetchval(statement, store.id, _REMOVE_BATCH))


_LEFT_OVER = """
SELECT d.id FROM datastore d WHERE (d.state = 'deleting' AND NOT EXISTS (
  SELECT 1 FROM task t WHERE t.tenant_id = d.tenant_id AND t.worker_type = 'delete-datastore'
  AND t.worker_id = d.name AND t.endtime IS NULL AND t.lease_until > clock_timestamp()
)) OR (d.state = 'creating' AND d.created_at < clock_timestamp() - make_interval(secs => $1)) ORDER BY d.id
"""
_SOME_CHUNKS = """
WITH gone AS (
  DELETE FROM chunk WHERE datastore_id = $1
  AND digest IN (SELECT digest FROM chunk WHERE datastore_id = $1 LIMIT $2) RETURNING 1
) SELECT count(*) FROM gone
"""
_SOME_SNAPSHOTS = """
WITH batch AS MATERIALIZED (
  SELECT id FROM snapshot WHERE datastore_id = $1 LIMIT $2
), unpinned AS (
  DELETE FROM pin WHERE snapshot_id IN (SELECT id FROM batch)
), gone AS (
  DELETE FROM snapshot WHERE id IN (SELECT id FROM batch) RETURNING 1
) SELECT count(*) FROM gone
"""
_DELETE_CONTENTS = (
    "DELETE FROM backup_group WHERE datastore_id = $1",
    "DELETE FROM session WHERE datastore_id = $1",
    "DELETE FROM namespace WHERE datastore_id = $1",
)


async def _require_idle(connection: Connection, store: Store) -> None:
    """Raises Locked while backups or restores run."""
    if await connection.fetchval(
        "SELECT EXISTS (SELECT 1 FROM session WHERE datastore_id = $1 AND state = 'active'"
        " AND lease_until > clock_timestamp())",
        store.id,
    ):
        raise Locked(f"datastore '{store.name}' is in use by running backups or restores")
    if store.state == "deleting":
        raise Conflict(f"datastore '{store.name}' is unavailable: datastore is being deleted")


def _shown(ctx: CallContext, store: Store) -> t.Datastore:
    maintenance = store.maintenance(ctx.caller)
    text = None if maintenance is None else maintenance.text
    return t.Datastore(store.name, dict(store.config), text)
