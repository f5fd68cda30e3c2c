"""The catalogue of one datastore from what lies in its directory or bucket, within one transaction (formats 7.2, 9.9).

What a row cannot know from the backend is left at its honest default: kind and raw size of chunks are unknown until
they are first read, `touch_epoch` is that before the first collection, sessions and tasks are none.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from pbs_cloud.chunkstore.backends.port import ChunkBackend
from pbs_cloud.chunkstore.backends.small_files import read_owner, read_small
from pbs_cloud.chunkstore.catalogue.announce import announce_usage
from pbs_cloud.chunkstore.catalogue.manifests import total_size
from pbs_cloud.chunkstore.catalogue.session_files import StoredFile
from pbs_cloud.chunkstore.chunks.kinds import ChunkKind
from pbs_cloud.chunkstore.collection import status_file
from pbs_cloud.chunkstore.maintenance import contents, staging
from pbs_cloud.chunkstore.maintenance.contents import GroupFiles, GroupPlace, SnapshotFiles
from pbs_cloud.chunkstore.maintenance.objects import chunk_batches, namespaces
from pbs_cloud.chunkstore.maintenance.report import ImportReport
from pbs_cloud.chunkstore.states import ChunkState, SnapshotState, UsageWriter
from pbs_cloud.contracts.errors import Conflict, DataCorrupt, NotFound, Unavailable
from pbs_cloud.formats import blob, layout
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.manifest import BackupManifest
from pbs_cloud.formats.names import MANIFEST_NAME, ArchiveName, ArchiveType, BackupNamespace
from pbs_cloud.runtime.database import Connection
from pbs_cloud.runtime.settings import Settings

_CHUNKS = """
WITH made AS (
  INSERT INTO chunk (datastore_id, tenant_id, digest, kind, size, raw_size, state, touch_epoch)
  SELECT $1, $2, digest, $3, least(size, 2147483647)::int, 0, $4, 0 FROM staged_chunk ORDER BY digest
  RETURNING size
) SELECT count(*) AS count, coalesce(sum(size), 0)::bigint AS bytes FROM made
"""
_MISSING = """
SELECT digest, count(*) OVER () AS total FROM staged_digest d
WHERE NOT EXISTS (SELECT 1 FROM staged_chunk c WHERE c.digest = d.digest) ORDER BY digest LIMIT $1
"""
_MISSING_SHOWN = 1000


@dataclass(frozen=True, slots=True)
class NewStore:
    """The datastore row to make."""

    tenant_id: str
    name: str
    uuid: str
    backend_type: str
    location: str
    config: dict[str, str]


class Importer:
    """Fills the catalogue; the caller's transaction makes all of it visible at once, or nothing."""

    def __init__(self, connection: Connection, backend: ChunkBackend, settings: Settings, store: NewStore) -> None:
        self._db = connection
        self._backend = backend
        self._settings = settings
        self._store = store
        self._store_id = 0
        self._digests = staging.DigestSet()
        self._namespaces: dict[BackupNamespace, int] = {}
        self._groups: dict[GroupPlace, int] = {}
        self._lost: list[str] = []
        self._late_bytes = 0
        self.report = ImportReport(store.tenant_id, store.name, store.location)

    async def run(self) -> ImportReport:
        """Raises AlreadyExists, Unavailable, DataCorrupt; Conflict: in a bucket, snapshots would be left out."""
        await staging.make_tables(self._db)
        await self._insert_store()
        found = await contents.find_groups(self._backend)
        for line in found.unusable:
            self._leave_out(f"left out, no name of a snapshot: {line}")
        await self._insert_namespaces(place.ns for place in found.groups)
        for place in sorted(found.groups, key=str):
            await self._insert_group(place, found.groups[place])
        file_bytes = 0
        async for snapshot in contents.find_snapshots(self._backend):
            file_bytes += await self._insert_snapshot(snapshot)
        self._require_complete()
        # after the indexes: whoever writes beside this stores chunks before the index that needs them
        chunk_bytes = await self._insert_chunks()
        await self._report_missing()
        chunk_bytes += self._late_bytes
        await self._count(UsageWriter.CHUNKS, chunk_bytes)
        await self._count(UsageWriter.CATALOGUE, file_bytes)
        self.report.bytes = chunk_bytes + file_bytes
        await announce_usage(self._db, self._store.tenant_id, self._store.name)
        return self.report

    async def _insert_store(self) -> None:
        store = self._store
        self._store_id = await self._db.fetchval(
            "INSERT INTO datastore (tenant_id, name, uuid, backend_type, location, config)"
            " VALUES ($1, $2, $3::text::uuid, $4, $5, $6) RETURNING id",
            store.tenant_id,
            store.name,
            store.uuid,
            store.backend_type,
            store.location,
            store.config,
        )
        if (status := await status_file.read(self._backend)) is not None:
            await self._db.execute("UPDATE datastore SET gc_status = $2 WHERE id = $1", self._store_id, status)

    # ------------------------------------------------------------------------------------------------ chunks

    async def _insert_chunks(self) -> int:
        """Rows of all chunk objects; their bytes."""
        doubtful: set[bytes] = set()
        async for batch in chunk_batches(self._backend, self._settings):
            await staging.stage(self._db, "staged_chunk", batch.chunks)
            doubtful |= batch.bad
            self.report.bad_chunks += len(batch.bad)
            for path in batch.misplaced:
                self.report.warn(f"{path}: no reader looks for a chunk there, it is ignored")
        await staging.analyse(self._db, "staged_chunk")
        made = await self._db.fetchrow(
            _CHUNKS,
            self._store_id,
            self._store.tenant_id,
            int(ChunkKind.UNKNOWN),
            int(ChunkState.LIVE),
            timeout=staging.STATEMENT_SECONDS,
        )
        self.report.chunks = made["count"]
        for digest in sorted(doubtful):
            await self._judge(digest)
        return int(made["bytes"])

    async def _judge(self, digest: bytes) -> None:
        """A chunk with a set-aside copy: in a bucket the damaged original stays beside it until an upload heals it."""
        try:
            data = await self._backend.read_chunk(digest)
            sound = await asyncio.to_thread(is_sound, data, digest)
        except NotFound:
            return
        if not sound:
            await self._db.execute(
                "UPDATE chunk SET state = $3 WHERE datastore_id = $1 AND digest = $2",
                self._store_id,
                digest,
                int(ChunkState.CORRUPT),
            )
            self.report.warn(f"chunk {digest.hex()} is damaged")

    async def _report_missing(self) -> None:
        await self._digests.stage(self._db)
        rows = await self._db.fetch(_MISSING, _MISSING_SHOWN, timeout=staging.STATEMENT_SECONDS)
        self.report.missing = [row["digest"].hex() for row in rows]
        self.report.missing_chunks = rows[0]["total"] if rows else 0

    # ------------------------------------------------------------------------------------------------ groups

    async def _insert_namespaces(self, used: Iterable[BackupNamespace]) -> None:
        wanted = await self._wanted_namespaces(used)
        for ns in wanted:
            self._namespaces[ns] = await self._db.fetchval(
                "INSERT INTO namespace (tenant_id, datastore_id, path) VALUES ($1, $2, $3) RETURNING id",
                self._store.tenant_id,
                self._store_id,
                str(ns),
            )
        self.report.namespaces = len(wanted) - 1

    async def _wanted_namespaces(self, used: Iterable[BackupNamespace]) -> list[BackupNamespace]:
        """Those that exist, those of groups, and all their parents; parents first."""
        found = await namespaces(self._backend, self._settings)
        for folder in found.unusable:
            self._leave_out(f"left out, no name of a namespace: '{folder}'")
        wanted = {BackupNamespace()}
        for ns in (*used, *map(BackupNamespace.parse, found.paths)):
            wanted |= {BackupNamespace(ns.components[:depth]) for depth in range(1, ns.depth + 1)}
        return sorted(wanted)

    async def _insert_group(self, place: GroupPlace, files: GroupFiles) -> None:
        """A group with a readable owner; without one it is left out, as a real PBS leaves it out of its lists."""
        owner = await self._owner(place, files)
        if owner is None:
            self._leave_out(f"group '{place}' left out: it has no readable owner file")
            return
        self._groups[place] = await self._db.fetchval(
            "INSERT INTO backup_group (tenant_id, datastore_id, namespace_id, backup_type, backup_id, owner, notes)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id",
            self._store.tenant_id,
            self._store_id,
            self._namespaces[place.ns],
            place.group.backup_type.value,
            place.group.backup_id,
            owner,
            await self._notes(place) if files.notes else "",
        )
        self.report.groups += 1
        self.report.owners.add(owner)

    async def _owner(self, place: GroupPlace, files: GroupFiles) -> str | None:
        return await read_owner(self._backend, layout.owner_path(place.ns, place.group)) if files.owner else None

    async def _notes(self, place: GroupPlace) -> str:
        content = await read_small(self._backend, layout.notes_path(place.ns, place.group))
        try:
            text = content.decode()
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            self.report.warn(f"group '{place}': its notes are no text, they are left out")
            return ""
        return text

    # ------------------------------------------------------------------------------------------------ snapshots

    async def _insert_snapshot(self, snapshot: SnapshotFiles) -> int:
        """Rows of a finished snapshot of a known group; bytes of its files."""
        group_id = self._groups.get(snapshot.place)
        if group_id is None:
            self.report.left_out_snapshots += 1
            return 0
        if not snapshot.finished:
            self.report.left_out_snapshots += 1
            self.report.warn(f"snapshot '{snapshot.path}' left out: it was never finished (no {MANIFEST_NAME})")
            return 0
        manifest = await self._manifest(snapshot)
        manifest_size = snapshot.sizes[MANIFEST_NAME]
        snapshot_id = await self._db.fetchval(
            "INSERT INTO snapshot (tenant_id, datastore_id, group_id, backup_time, state, manifest, manifest_size,"
            " size, protected, kept, retain_until) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9,"
            " CASE WHEN $10::bigint > extract(epoch FROM clock_timestamp())::bigint THEN $10::bigint END) RETURNING id",
            self._store.tenant_id,
            self._store_id,
            group_id,
            snapshot.ref.backup_time,
            SnapshotState.COMMITTED.value,
            None if manifest is None else manifest.to_json().decode(),
            manifest_size,
            manifest_size if manifest is None else total_size(manifest, manifest_size),
            snapshot.protected,
            manifest.retain_until if manifest is not None and snapshot.protected else None,
        )
        rows = [row for name in sorted(snapshot.sizes) if (row := await self._file(snapshot, name, manifest))]
        await self._insert_files(snapshot_id, rows)
        self.report.snapshots += 1
        self.report.files += len(rows)
        return sum(row.stored_size for row in rows)

    async def _manifest(self, snapshot: SnapshotFiles) -> BackupManifest | None:
        """None if it cannot be read: such a snapshot shows bare file names."""
        key = layout.manifest_path(snapshot.place.ns, snapshot.ref)
        try:
            data = await read_small(self._backend, key)
            _require_whole(key, len(data), snapshot.sizes[MANIFEST_NAME])
            manifest = BackupManifest.from_blob(data)
            manifest.to_json()
        except (ValueError, DataCorrupt) as error:
            self.report.warn(f"'{key}' cannot be read: {error}")
            return None
        if manifest.snapshot != snapshot.ref:
            self.report.warn(f"'{key}' describes '{manifest.snapshot}'")
        return manifest

    async def _file(self, snapshot: SnapshotFiles, name: str, manifest: BackupManifest | None) -> StoredFile | None:
        key, size = f"{snapshot.path}/{name}", snapshot.sizes[name]
        try:
            archive = ArchiveName.parse_server(name)
        except FormatError as error:
            self._leave_out(f"'{key}' left out: {error}")
            return None
        if archive.archive_type is ArchiveType.BLOB:
            return StoredFile(name, "blob", size, size)
        try:
            file = await contents.examine_index(self._whole(key, size), name, self._digests)
        except DataCorrupt as error:
            self.report.warn(f"'{key}' is damaged, collections will refuse to run: {error.message}")
            return StoredFile(name, contents.index_kind(archive), 0, size)
        entry = None if manifest is None else manifest.file(name)
        if entry is not None and (entry.csum, entry.size) != (file.csum, file.size):
            self.report.warn(f"'{key}' is not what its manifest says (size or csum)")
        return file

    async def _whole(self, key: str, size: int) -> AsyncIterator[bytes]:
        """A file that is listed with that size. Raises Unavailable."""
        count = 0
        async for piece in self._backend.read_file(key):
            count += len(piece)
            yield piece
        _require_whole(key, count, size)

    async def _insert_files(self, snapshot_id: int, rows: list[StoredFile]) -> None:
        ids = (snapshot_id, self._store.tenant_id, self._store_id)
        await self._db.executemany(
            "INSERT INTO snapshot_file (snapshot_id, tenant_id, datastore_id, name, kind, csum, size, stored_size,"
            " chunk_count) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            [(*ids, row.name, row.kind, row.csum, row.size, row.stored_size, row.chunk_count) for row in rows],
        )

    # ------------------------------------------------------------------------------------------------ the rest

    async def _count(self, writer: UsageWriter, size: int) -> None:
        await self._db.execute(
            "INSERT INTO usage_counter (datastore_id, writer, tenant_id, bytes) VALUES ($1, $2, $3, $4)"
            " ON CONFLICT (datastore_id, writer) DO UPDATE SET bytes = usage_counter.bytes + excluded.bytes",
            self._store_id,
            int(writer),
            self._store.tenant_id,
            size,
        )

    def _leave_out(self, line: str) -> None:
        self._lost.append(line)
        self.report.warn(line)

    def _require_complete(self) -> None:
        """A collection of a directory spares what indexes without a row need; that of a bucket would delete it."""
        if self._lost and self._backend.kind == "s3":
            raise Conflict("a bucket is taken whole or not at all:\n" + "\n".join(self._lost))


def _require_whole(key: str, count: int, size: int) -> None:
    """What came of a file is no proof of damage unless all that was listed came. Raises Unavailable."""
    if count != size:
        raise Unavailable(f"'{key}': {count} bytes came of {size}")


def is_sound(data: bytes, digest: bytes) -> bool:
    """Whether a stored chunk is what its digest says, as far as the server can tell (formats 2.7)."""
    try:
        if blob.check_crc(data).encrypted:
            return True
        return hashlib.sha256(blob.decode(data)).digest() == digest
    except FormatError:
        return False
