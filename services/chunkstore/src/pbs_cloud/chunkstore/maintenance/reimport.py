"""What somebody else made or changed in a datastore of ours: into its catalogue with it (formats 9.9 "mixed mode").

A real PBS used the directory or bucket for a while. Until its snapshots are known, no collection looks for objects
without a row, and in a bucket nothing protects what they need. Everything happens in one transaction that holds the
datastore's row as a session start does, so no collection begins meanwhile; backups go on.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Executor

import asyncpg

from pbs_cloud.chunkstore.backends import open_backend
from pbs_cloud.chunkstore.backends.port import ChunkBackend
from pbs_cloud.chunkstore.catalogue.rows import Store
from pbs_cloud.chunkstore.chunks.kinds import ChunkKind
from pbs_cloud.chunkstore.maintenance import staging
from pbs_cloud.chunkstore.maintenance.contents import GroupFiles, GroupPlace, SnapshotFiles
from pbs_cloud.chunkstore.maintenance.importing import Importer, NewStore
from pbs_cloud.chunkstore.maintenance.objects import chunk_batches, marked_by, uuid_of
from pbs_cloud.chunkstore.maintenance.refreshing import Refreshing
from pbs_cloud.chunkstore.maintenance.report import ImportReport
from pbs_cloud.chunkstore.states import ChunkState
from pbs_cloud.contracts.errors import Conflict, DataCorrupt, Locked, NotFound
from pbs_cloud.formats.names import BackupNamespace
from pbs_cloud.runtime.database import Connection, Database
from pbs_cloud.runtime.settings import Settings

_RUNNING = """
SELECT EXISTS (SELECT 1 FROM gc_run WHERE datastore_id = $1 AND ended_at IS NULL AND lease_until > clock_timestamp())
"""
_CHANGED = (asyncpg.IntegrityConstraintViolationError, asyncpg.DeadlockDetectedError)
_NAMESPACE = """
INSERT INTO namespace (tenant_id, datastore_id, path) VALUES ($1, $2, $3) ON CONFLICT (datastore_id, path) DO NOTHING
"""
_GROUP = "SELECT owner, notes FROM backup_group WHERE id = $1"
_DELETING = """
SELECT count(*) FROM staged_digest d JOIN chunk c ON c.datastore_id = $1 AND c.digest = d.digest AND c.state = 5
"""
# A row that is there stays; what was condemned is needed again.
_NEW_CHUNKS = """
WITH made AS (
  INSERT INTO chunk (datastore_id, tenant_id, digest, kind, size, raw_size, state, touch_epoch)
  SELECT $1, $2, s.digest, $3, least(s.size, 2147483647)::int, 0, $4, $5
  FROM staged_chunk s JOIN staged_digest d ON d.digest = s.digest ORDER BY s.digest
  ON CONFLICT (datastore_id, digest) DO NOTHING RETURNING size
) SELECT count(*) AS count, coalesce(sum(size), 0)::bigint AS bytes FROM made
"""
_RESCUE = """
WITH wanted AS MATERIALIZED (
  SELECT c.digest FROM chunk c JOIN staged_digest d ON d.digest = c.digest
  WHERE c.datastore_id = $1 AND c.state = 4 ORDER BY c.digest FOR NO KEY UPDATE OF c
)
UPDATE chunk SET state = 2, condemned_run = NULL, condemned_at = NULL FROM wanted
WHERE chunk.datastore_id = $1 AND chunk.digest = wanted.digest AND chunk.state = 4
"""
# An upload was under way, or its process died: the object is there, whoever wrote it.
_TAKE_UPLOADS = """
WITH wanted AS MATERIALIZED (
  SELECT c.digest, s.size FROM chunk c JOIN staged_digest d ON d.digest = c.digest
  JOIN staged_chunk s ON s.digest = c.digest
  WHERE c.datastore_id = $1 AND c.state = 1 ORDER BY c.digest FOR NO KEY UPDATE OF c
), taken AS (
  UPDATE chunk SET state = 2, kind = $2, size = least(wanted.size, 2147483647)::int, raw_size = 0,
    touch_epoch = greatest(touch_epoch, $3), owner_session = NULL, writer = NULL
  FROM wanted WHERE chunk.datastore_id = $1 AND chunk.digest = wanted.digest AND chunk.state = 1
  RETURNING chunk.size
) SELECT count(*) AS count, coalesce(sum(size), 0)::bigint AS bytes FROM taken
"""


class Reimport:
    """One command on one datastore of the catalogue."""

    def __init__(self, settings: Settings, database: Database, executor: Executor) -> None:
        self._settings = settings
        self._database = database
        self._executor = executor

    async def run(self, store: Store) -> ImportReport:
        """Take in what is new. Repeatable; may run beside the product.

        Raises:
            Conflict: the place carries somebody else's mark, chunks that are needed are being deleted, or the
                groups that new snapshots belong to were changed meanwhile.
            Locked: a collection runs. Unavailable.
        """
        backend = open_backend(self._settings, store.place, self._executor)
        try:
            mark = await marked_by(backend, self._settings)
            if mark is not None and uuid_of(mark) != store.place.uuid:
                raise Conflict(f"the place is in use by {mark or 'another server'}: end its use there first")
            try:
                async with self._database.tenant(store.tenant_id) as connection:
                    report = await _KnownImporter(connection, backend, self._settings, store).run()
            except _CHANGED as error:
                raise Conflict("groups were made, moved or removed meanwhile: repeat") from error
            if mark is None:
                await backend.create(reuse=True)
        finally:
            await backend.close()
        return report


class _KnownImporter(Importer):
    """Knows what is there already, and takes over what was changed in it."""

    def __init__(self, connection: Connection, backend: ChunkBackend, settings: Settings, store: Store) -> None:
        place = store.place
        new = NewStore(store.tenant_id, store.name, place.uuid, place.backend_type, place.location, {})
        super().__init__(connection, backend, settings, new)
        self._known_id = store.id
        self._epoch = 0
        self._found: dict[GroupPlace, GroupFiles] = {}
        self._known = Refreshing(connection, backend)

    async def _insert_store(self) -> None:
        row = await self._db.fetchrow("SELECT epoch, state FROM datastore WHERE id = $1 FOR SHARE", self._known_id)
        if row is None or row["state"] != "active":
            raise NotFound(f"no such datastore '{self._store.name}'")
        if await self._db.fetchval(_RUNNING, self._known_id):
            raise Locked("a garbage collection runs: try again when it has ended")
        self._store_id, self._epoch = self._known_id, row["epoch"]

    async def _insert_chunks(self) -> int:
        """Rows are made later, for what new snapshots need; here only the list of objects."""
        async for batch in chunk_batches(self._backend, self._settings):
            await staging.stage(self._db, "staged_chunk", batch.chunks)
            self.report.bad_chunks += len(batch.bad)
        await staging.analyse(self._db, "staged_chunk")
        return 0

    async def _insert_namespaces(self, used: Iterable[BackupNamespace]) -> None:
        for ns in await self._wanted_namespaces(used):
            made = await self._db.execute(_NAMESPACE, self._store.tenant_id, self._store_id, str(ns))
            self.report.namespaces += made == "INSERT 0 1"
            self._namespaces[ns] = await self._db.fetchval(
                "SELECT id FROM namespace WHERE datastore_id = $1 AND path = $2", self._store_id, str(ns)
            )

    async def _insert_group(self, place: GroupPlace, files: GroupFiles) -> None:
        """A group is made with the first snapshot that needs it."""
        self._found[place] = files
        known = await self._db.fetchval(
            "SELECT id FROM backup_group WHERE namespace_id = $1 AND backup_type = $2 AND backup_id = $3",
            self._namespaces[place.ns],
            place.group.backup_type.value,
            place.group.backup_id,
        )
        if known is not None:
            self._groups[place] = known
            await self._refresh_group(known, place, files)

    async def _insert_snapshot(self, snapshot: SnapshotFiles) -> int:
        group_id = self._groups.get(snapshot.place)
        try:
            if group_id is not None and (grown := await self._known.snapshot(group_id, snapshot)) is not None:
                return grown
        except NotFound:
            return 0
        except DataCorrupt as error:
            self.report.warn(f"{error.message}; the catalogue keeps what it has")
            return 0
        if group_id is None and snapshot.finished:
            await super()._insert_group(snapshot.place, self._found.get(snapshot.place, GroupFiles()))
        try:
            async with self._db.transaction():
                return await super()._insert_snapshot(snapshot)
        except NotFound:
            # It was listed, then removed: files go before their row.
            return 0

    async def _refresh_group(self, group_id: int, place: GroupPlace, files: GroupFiles) -> None:
        """Owner and notes as the files have them, read again under the lock of a row that says something else."""
        for query in (_GROUP, f"{_GROUP} FOR UPDATE"):
            row = await self._db.fetchrow(query, group_id)
            try:
                owner = await self._owner(place, files)
                notes = await self._notes(place) if files.notes else ""
            except NotFound:
                return  # it is being removed
            if row is None or (found := (owner or row["owner"], notes)) == tuple(row):
                return
        await self._db.execute("UPDATE backup_group SET owner = $2, notes = $3 WHERE id = $1", group_id, *found)
        self.report.owners.add(found[0])

    async def _report_missing(self) -> None:
        await super()._report_missing()
        self.report.refreshed = self._known.changed
        async for path in self._known.vanished(self._store_id):
            self.report.warn(f"snapshot '{path}' is gone from the storage: forget it, no collection runs until then")
        deleting = await self._db.fetchval(_DELETING, self._store_id, timeout=staging.STATEMENT_SECONDS)
        if deleting:
            raise Conflict(f"{deleting} chunks that new snapshots need are being deleted: repeat when that has ended")
        await self._db.execute(_RESCUE, self._store_id, timeout=staging.STATEMENT_SECONDS)
        await self._insert_new_chunks()

    async def _insert_new_chunks(self) -> None:
        unknown, timeout = int(ChunkKind.UNKNOWN), staging.STATEMENT_SECONDS
        await self._backend.sync()
        taken = await self._db.fetchrow(_TAKE_UPLOADS, self._store_id, unknown, self._epoch, timeout=timeout)
        made = await self._db.fetchrow(
            _NEW_CHUNKS,
            self._store_id,
            self._store.tenant_id,
            unknown,
            int(ChunkState.LIVE),
            self._epoch,
            timeout=timeout,
        )
        self.report.chunks = made["count"] + taken["count"]
        self._late_bytes += made["bytes"] + taken["bytes"]
