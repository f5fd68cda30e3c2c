"""What another server changed in groups and snapshots that the catalogue knows: owner, notes, verification, protection.

Its files are right (formats 9.9 "mixed mode"). Rows are compared without a lock; one that differs is locked, as every
change of ours does, and what it must say is read again. What the other server removed is only told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from pbs_cloud.chunkstore.backends.port import ChunkBackend
from pbs_cloud.chunkstore.backends.small_files import read_small
from pbs_cloud.chunkstore.catalogue.manifests import total_size
from pbs_cloud.chunkstore.catalogue.names import Place
from pbs_cloud.chunkstore.maintenance.contents import SnapshotFiles
from pbs_cloud.contracts.errors import DataCorrupt, NotFound
from pbs_cloud.formats import layout
from pbs_cloud.formats.manifest import BackupManifest
from pbs_cloud.formats.names import MANIFEST_NAME
from pbs_cloud.runtime.database import Connection

_SNAPSHOT = """
SELECT id, state, manifest, manifest_size, protected FROM snapshot WHERE group_id = $1 AND backup_time = $2
"""
# A retention lock is ours alone: it stays, and the protection with it.
_CHANGE = """
UPDATE snapshot SET manifest = $2, manifest_size = $3, size = $4, protected = $5 OR retain_until IS NOT NULL,
  kept = CASE WHEN retain_until IS NULL THEN $5 ELSE kept END WHERE id = $1
"""
_FILE = "UPDATE snapshot_file SET size = $3, stored_size = $3, csum = NULL WHERE snapshot_id = $1 AND name = $2"
_COMMITTED = """
SELECT s.id, n.path, g.backup_type, g.backup_id, s.backup_time FROM snapshot s
JOIN backup_group g ON g.id = s.group_id JOIN namespace n ON n.id = g.namespace_id
WHERE s.datastore_id = $1 AND s.state = 'committed' AND s.id > $2 ORDER BY s.id LIMIT 1000
"""


@dataclass(frozen=True, slots=True)
class _Found:
    """A snapshot as its files have it."""

    manifest: BackupManifest
    stored: int
    protected: bool

    def is_told_by(self, row: Any) -> bool:
        now = (self.manifest.to_json().decode(), self.stored, self.protected)
        return now == (row["manifest"], row["manifest_size"], row["protected"])


class Refreshing:
    """Part of one `reimport`, in its transaction."""

    def __init__(self, connection: Connection, backend: ChunkBackend) -> None:
        self._db = connection
        self._backend = backend
        self._seen: set[int] = set()
        self.changed = 0
        """Snapshots whose rows were changed."""

    async def snapshot(self, group_id: int, files: SnapshotFiles) -> int | None:
        """Bytes that its files have grown by; None if the catalogue has no such snapshot. Raises DataCorrupt."""
        where = (group_id, files.ref.backup_time)
        row = await self._db.fetchrow(_SNAPSHOT, *where)
        if row is None:
            return None
        self._seen.add(row["id"])
        if row["state"] != "committed" or not files.finished:
            return 0
        if (await self._read(files, files.protected)).is_told_by(row):
            return 0
        row = await self._db.fetchrow(f"{_SNAPSHOT} FOR UPDATE", *where)
        if row is None or row["state"] != "committed":
            return 0
        protected = await self._exists(layout.protected_path(files.place.ns, files.ref))
        if (found := await self._read(files, protected)).is_told_by(row):
            return 0
        size = total_size(found.manifest, found.stored)
        text = found.manifest.to_json().decode()
        await self._db.execute(_CHANGE, row["id"], text, found.stored, size, found.protected)
        await self._db.execute(_FILE, row["id"], MANIFEST_NAME, found.stored)
        self.changed += 1
        return found.stored - int(row["manifest_size"] or 0)

    async def _read(self, files: SnapshotFiles, protected: bool) -> _Found:
        raw = await read_small(self._backend, layout.manifest_path(files.place.ns, files.ref))
        try:
            return _Found(BackupManifest.from_blob(raw), len(raw), protected)
        except ValueError as error:
            raise DataCorrupt(f"'{files.path}/{MANIFEST_NAME}' cannot be read: {error}") from error

    async def vanished(self, datastore_id: int) -> AsyncIterator[str]:
        """Paths of committed snapshots whose manifest is gone."""
        last = 0
        while rows := await self._db.fetch(_COMMITTED, datastore_id, last):
            for row in rows:
                last = row["id"]
                where = Place.of(row["path"], row["backup_type"], row["backup_id"]).snapshot(row["backup_time"])
                if last not in self._seen and not await self._exists(where.file_key(MANIFEST_NAME)):
                    yield where.path

    async def _exists(self, key: str) -> bool:
        try:
            await self._backend.file_size(key)
        except NotFound:
            return False
        return True
