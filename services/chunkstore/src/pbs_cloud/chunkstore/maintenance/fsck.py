"""Postgres, backend and indexes of one datastore compared; nothing is repaired (formats 9.9 "Usage", 15).

The listings of the backend go into temporary tables, and Postgres finds the differences. A finding counts only if a
second look at that very object and row confirms it, so that a running product is no reason for alarm.
"""

from __future__ import annotations

import asyncio
from typing import Any

from pbs_cloud.chunkstore.backends.port import ChunkBackend
from pbs_cloud.chunkstore.backends.small_files import read_small
from pbs_cloud.chunkstore.catalogue.rows import Store
from pbs_cloud.chunkstore.maintenance import contents, fsck_sql, staging
from pbs_cloud.chunkstore.maintenance.fsck_report import FsckReport, Problem
from pbs_cloud.chunkstore.maintenance.importing import is_sound
from pbs_cloud.chunkstore.maintenance.objects import chunk_batches
from pbs_cloud.chunkstore.states import ChunkState, UsageWriter
from pbs_cloud.contracts.errors import DataCorrupt, NotFound
from pbs_cloud.formats import blob, layout
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.manifest import BackupManifest
from pbs_cloud.formats.names import MANIFEST_NAME
from pbs_cloud.runtime.database import Connection, Database
from pbs_cloud.runtime.settings import Settings

_PAGE = 1000


class Check:
    """One datastore."""

    def __init__(self, settings: Settings, database: Database, backend: ChunkBackend, store: Store) -> None:
        self._settings = settings
        self._database = database
        self._backend = backend
        self._store = store
        self._digests = staging.DigestSet()
        self.report = FsckReport(store.tenant_id, store.name)

    async def run(self, *, read_data: bool = False) -> FsckReport:
        """Compare everything; with `read_data` read and check every chunk and blob too.

        Raises:
            Unavailable: the storage or the database is away; then nothing is known.
        """
        await self._read_indexes()
        async with self._database.tenant(self._store.tenant_id) as connection:
            await staging.make_tables(connection)
            await self._stage_listings(connection)
            found = {
                name: await connection.fetch(sql, self._store.id, timeout=staging.STATEMENT_SECONDS)
                for name, sql in fsck_sql.DIFFERENCES.items()
            }
            await self._recount(connection)
        for name, rows in found.items():
            await self._confirm_all(name, rows)
        if read_data:
            await self._read_data()
        return self.report

    # ------------------------------------------------------------------------------------------------ listings

    async def _stage_listings(self, connection: Connection) -> None:
        async for batch in chunk_batches(self._backend, self._settings):
            await staging.stage(connection, "staged_chunk", batch.chunks)
            self.report.chunks += len(batch.chunks)
            for path in batch.misplaced:
                self.report.add(Problem.OBJECT_WITHOUT_ROW, path, "no reader looks for a chunk there")
        rows: list[tuple[str, int]] = []
        async for row in self._backend.list_files():
            rows.append(row)
            if len(rows) == _PAGE:
                await staging.stage(connection, "staged_file", rows)
                self.report.files += len(rows)
                rows = []
        await staging.stage(connection, "staged_file", rows)
        self.report.files += len(rows)
        self.report.digests = await self._digests.stage(connection)
        for table in ("staged_chunk", "staged_file"):
            await staging.analyse(connection, table)

    async def _read_indexes(self) -> None:
        """Each index of a finished snapshot must be what its row says."""
        last = (0, "")
        while True:
            async with self._database.tenant(self._store.tenant_id) as connection:
                rows = await connection.fetch(fsck_sql.INDEXES, self._store.id, *last, _PAGE)
            for row in rows:
                await self._read_index(row)
            if len(rows) < _PAGE:
                return
            last = (rows[-1]["snapshot_id"], rows[-1]["name"])

    async def _read_index(self, row: Any) -> None:
        self.report.indexes += 1
        try:
            found = await contents.examine_index(self._backend.read_file(row["key"]), row["name"], self._digests)
        except NotFound:
            return  # the comparison of files says so
        except DataCorrupt as error:
            self.report.add(Problem.DAMAGED, row["key"], error.message)
            return
        for field in ("csum", "size", "chunk_count"):
            if getattr(found, field) != row[field]:
                # nobody writes an index again, so other entries than it was closed with are damage
                problem = Problem.DAMAGED if field == "csum" and row[field] is not None else Problem.DIFFERENT
                self.report.add(problem, row["key"], f"{field} is not what the row says")

    # ------------------------------------------------------------------------------------------------ second looks

    async def _confirm_all(self, name: str, rows: list[Any]) -> None:
        if name in ("file_without_object", "file_of_other_size"):
            await self._file_rows([row["key"] for row in rows])
        elif name == "object_without_file":
            await self._file_objects([row["key"] for row in rows])
        else:
            confirm = {"object_without_chunk": self._chunk_object, "digest_without_chunk": self._digest}
            for row in rows:
                await confirm.get(name, self._chunk_row)(row)

    async def _chunk_row(self, row: Any) -> None:
        digest, name = row["digest"], f"chunk {row['digest'].hex()}"
        try:
            size = await self._backend.chunk_size(digest)
        except NotFound:
            size = None
        now = await self._value(fsck_sql.CHUNK_NOW, digest)
        if now is None or now["state"] not in (ChunkState.LIVE, ChunkState.CONDEMNED):
            return
        if size is None:
            self.report.add(Problem.ROW_WITHOUT_OBJECT, name, f"its row is {ChunkState(now['state']).name.lower()}")
        elif size != now["size"]:
            self.report.add(Problem.DIFFERENT, name, f"has {size} bytes, its row says {now['size']}")

    async def _chunk_object(self, row: Any) -> None:
        digest = row["digest"]
        if await self._value(fsck_sql.CHUNK_NOW, digest) is not None:
            return
        try:
            size = await self._backend.chunk_size(digest)
        except NotFound:
            return
        self.report.add(Problem.OBJECT_WITHOUT_ROW, f"chunk {digest.hex()}", f"{size} bytes")

    async def _digest(self, row: Any) -> None:
        now = await self._value(fsck_sql.CHUNK_NOW, row["digest"])
        state = None if now is None else ChunkState(now["state"])
        if state is not ChunkState.LIVE:
            why = "it has no row" if state is None else f"its row is {state.name.lower()}"
            self.report.add(Problem.NOT_LIVE, f"chunk {row['digest'].hex()}", f"an index names it, {why}")

    async def _file_rows(self, keys: list[str]) -> None:
        """Files that rows want: objects are looked at before the rows, which may be gone by now."""
        sizes = {key: await self._file_size(key) for key in keys}
        for row in await self._rows(fsck_sql.FILES_NOW, keys):
            size = sizes[row["key"]]
            if size is None:
                self.report.add(Problem.ROW_WITHOUT_OBJECT, f"file {row['key']}", "")
            elif row["size"] not in (None, size) and not await self._is_known_manifest(row["key"]):
                self.report.add(
                    Problem.DIFFERENT, f"file {row['key']}", f"has {size} bytes, its row says {row['size']}"
                )

    async def _is_known_manifest(self, key: str) -> bool:
        """Whether it differs from its row in its unprotected part alone.

        That is what a process leaves which dies between the file and its row, and what another server may change at any
        time; the next change of the manifest writes both.
        """
        if not key.endswith(f"/{MANIFEST_NAME}"):
            return False
        row = await self._value(fsck_sql.MANIFEST_NOW, key)
        try:
            stored = BackupManifest.from_blob(await read_small(self._backend, key))
            known = BackupManifest.parse(row["manifest"] or "" if row else "")
        except (FormatError, DataCorrupt, NotFound):
            return False
        return stored.signature == known.signature and stored.signature_input() == known.signature_input()

    async def _file_objects(self, keys: list[str]) -> None:
        """Files that no row wants; those of snapshots that are being written or removed are no finding."""
        known = {row["key"] for row in await self._rows(fsck_sql.FILES_NOW, keys)}
        unsettled = {row["path"] for row in await self._rows(fsck_sql.UNSETTLED, [k.rpartition("/")[0] for k in keys])}
        for key in keys:
            if key in known or key.rpartition("/")[0] in unsettled:
                continue
            size = await self._file_size(key)
            if size is not None:
                self.report.add(Problem.OBJECT_WITHOUT_ROW, f"file {key}", f"{size} bytes")

    async def _file_size(self, key: str) -> int | None:
        try:
            return await self._backend.file_size(key)
        except NotFound:
            return None

    async def _rows(self, sql: str, argument: list[str]) -> list[Any]:
        if not argument:
            return []
        async with self._database.tenant(self._store.tenant_id) as connection:
            rows: list[Any] = await connection.fetch(sql, self._store.id, argument, timeout=staging.STATEMENT_SECONDS)
        return rows

    async def _value(self, sql: str, argument: Any) -> Any:
        async with self._database.tenant(self._store.tenant_id) as connection:
            return await connection.fetchrow(sql, self._store.id, argument)

    # ------------------------------------------------------------------------------------------------ usage and data

    async def _recount(self, connection: Connection) -> None:
        """Counters and what they count, in one statement: both as of one moment."""
        row = await connection.fetchrow(fsck_sql.USAGE, self._store.id, timeout=staging.STATEMENT_SECONDS)
        for writer in UsageWriter:
            name = writer.name.lower()
            counted, stored = row[f"{name}_counted"], row[f"{name}_stored"]
            self.report.bytes += stored
            if counted != stored:
                self.report.add(Problem.USAGE, f"usage counter {name}", f"says {counted} bytes, there are {stored}")

    async def _read_data(self) -> None:
        last = b""
        while True:
            async with self._database.tenant(self._store.tenant_id) as connection:
                rows = await connection.fetch(fsck_sql.LIVE_CHUNKS, self._store.id, last, _PAGE)
            for row in rows:
                await self._read_chunk(row["digest"], row["location"])
            if len(rows) < _PAGE:
                break
            last = rows[-1]["digest"]
        async for key, _size in self._backend.list_files():
            if key.endswith(".blob"):
                await self._read_blob(key)

    async def _read_chunk(self, digest: bytes, location: str | None) -> None:
        try:
            data = await self._backend.read_chunk(digest, location)
        except NotFound:
            return  # the comparison says so
        if not await asyncio.to_thread(is_sound, data, digest):
            self.report.add(Problem.DAMAGED, f"{layout.chunk_path(digest)}", "is not what its digest says")

    async def _read_blob(self, key: str) -> None:
        try:
            await asyncio.to_thread(blob.check_crc, await read_small(self._backend, key))
        except NotFound:
            return
        except (FormatError, DataCorrupt) as error:
            self.report.add(Problem.DAMAGED, f"file {key}", str(error))
