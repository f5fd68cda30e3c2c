"""Step F: objects that no row knows become rows to delete; set-aside copies that nobody needs go (formats 9.9, 9.4)."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import obstore
from obstore.exceptions import BaseError

from pbs_cloud.chunkstore.backends.local import LocalBackend
from pbs_cloud.chunkstore.backends.port import ChunkBackend
from pbs_cloud.chunkstore.backends.s3 import S3Backend
from pbs_cloud.chunkstore.backends.s3_client import S3Settings, as_pbs_error, data_client
from pbs_cloud.chunkstore.chunks import claim_db
from pbs_cloud.chunkstore.chunks.stores import StoreRegistry
from pbs_cloud.chunkstore.collection import runs
from pbs_cloud.chunkstore.collection.deleting import S3Deleter, boot_time
from pbs_cloud.chunkstore.collection.lost import LostObjects
from pbs_cloud.chunkstore.collection.sweeping import Sweeping, SweptStore
from pbs_cloud.chunkstore.states import ChunkState
from pbs_cloud.contracts.chunkstore.collection import OrphanResult
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import Internal, NotFound, Unavailable
from pbs_cloud.formats import layout
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.names import MANIFEST_NAME
from pbs_cloud.runtime.database import Connection, Database
from pbs_cloud.runtime.settings import Settings

_BATCH = 1000
_FOLDERS_AT_ONCE = 256
_TELLING = (".fidx", ".didx", f"/{MANIFEST_NAME}")
"""Files that only a snapshot has, finished or not."""

_KNOWN = """
SELECT given.n FROM unnest($2::text[], $3::text[], $4::text[], $5::bigint[])
  WITH ORDINALITY AS given(path, backup_type, backup_id, backup_time, n)
JOIN namespace ns ON ns.datastore_id = $1 AND ns.path = given.path
JOIN backup_group g ON g.namespace_id = ns.id AND g.backup_type = given.backup_type AND g.backup_id = given.backup_id
JOIN snapshot s ON s.group_id = g.id AND s.backup_time = given.backup_time
"""
_STATES = "SELECT digest, state FROM chunk WHERE datastore_id = $1 AND digest = ANY($2)"
# 5 deleting; kind 0: unknown. A row that somebody makes at the same time wins.
_DOOM = """
INSERT INTO chunk (datastore_id, tenant_id, digest, kind, size, raw_size, state, touch_epoch, condemned_run,
  condemned_at)
SELECT $1, $2, digest, 0, size, 0, 5, 0, $5, clock_timestamp()
FROM unnest($3::bytea[], $4::int[]) AS given(digest, size) ORDER BY digest
ON CONFLICT (datastore_id, digest) DO NOTHING RETURNING size
"""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A chunk or a set-aside copy in the storage; `changed` in Unix seconds by the storage's clock."""

    digest: bytes
    bad_number: int | None
    size: int
    changed: float


class Orphans:
    """Compares the storage with the rows; runs rarely."""

    def __init__(self, database: Database, sweeping: Sweeping, settings: Settings, stores: StoreRegistry) -> None:
        self._database = database
        self._sweeping = sweeping
        self._settings = settings
        self._stores = stores

    async def find(self, ctx: CallContext, token: uuid.UUID) -> OrphanResult:
        """Rows in `deleting` for objects older than the grace time. Raises Conflict, Unavailable."""
        store = await self._sweeping.store_of(ctx.tenant_id, token)
        stranger = await self._unknown_snapshot(store)
        if stranger is not None:
            return OrphanResult(0, 0, 0, f"snapshot '{stranger}' is not in the catalogue: adopt the datastore first")
        async with self._database.tenant(store.tenant) as connection:
            now: datetime = await connection.fetchval("SELECT clock_timestamp()")
        oldest = now.timestamp() - self._settings.gc_grace_seconds
        found = removed_bad = still_bad = 0
        lost = LostObjects(self._database, store)
        async for whole in _in_batches(_objects(store.chunks.backend, self._settings)):
            await lost.listed([item.digest for item in whole if item.bad_number is None])
            batch = [item for item in whole if item.changed <= oldest]
            rows = await self._states(store, batch) if batch else {}
            missing = [item for item in batch if item.bad_number is None and item.digest not in rows]
            found += await self._doom(store, missing)
            copies = [item for item in batch if item.bad_number is not None]
            needless = [item for item in copies if rows.get(item.digest, ChunkState.LIVE) is ChunkState.LIVE]
            await self._remove_copies(store, needless)
            removed_bad += len(needless)
            still_bad += len(copies) - len(needless)
        await lost.end()
        return OrphanResult(found, removed_bad, still_bad, lost=lost.count)

    async def _unknown_snapshot(self, store: SweptStore) -> str | None:
        """Path of a snapshot in the storage that the catalogue does not know: somebody else used the store."""
        batch: dict[str, tuple[layout.ContentPath, str]] = {}
        async for key, _size in store.chunks.backend.list_files():
            if not key.endswith(_TELLING):
                continue
            try:
                path = layout.parse_content_path(key)
            except FormatError:
                return key
            if path.snapshot is None:
                return key
            batch.setdefault(key.rpartition("/")[0], (path, key))
            if len(batch) == _BATCH:
                if unknown := await self._first_unknown(store, list(batch.values())):
                    return unknown
                batch = {}
        return await self._first_unknown(store, list(batch.values())) if batch else None

    async def _first_unknown(self, store: SweptStore, files: Sequence[tuple[layout.ContentPath, str]]) -> str | None:
        """Of the snapshots of these files the first one without a row, if its file is still there."""
        places = [(path, path.snapshot, key) for path, key in files if path.snapshot is not None]
        columns = [
            [str(path.ns) for path, _, _ in places],
            [snapshot.group.backup_type.value for _, snapshot, _ in places],
            [snapshot.group.backup_id for _, snapshot, _ in places],
            [snapshot.backup_time for _, snapshot, _ in places],
        ]
        async with self._database.tenant(store.tenant) as connection:
            known = {row["n"] for row in await connection.fetch(_KNOWN, store.run.datastore_id, *columns)}
        for number, (_, _, key) in enumerate(places, 1):
            if number not in known and await _exists(store.chunks.backend, key):
                return key.rpartition("/")[0]
        return None

    async def _states(self, store: SweptStore, batch: Sequence[StoredObject]) -> dict[bytes, ChunkState]:
        async with self._database.tenant(store.tenant) as connection:
            digests = list({item.digest for item in batch})
            rows = await connection.fetch(_STATES, store.run.datastore_id, digests)
        return {row["digest"]: ChunkState(row["state"]) for row in rows}

    async def _doom(self, store: SweptStore, objects: Sequence[StoredObject]) -> int:
        """Rows for objects without one; their bytes count until they are deleted."""
        if not objects:
            return 0
        async with self._database.tenant(store.tenant) as connection:
            await runs.require_run(connection, store.run.token, lock=True)
            rows = await self._insert(connection, store, objects)
            await claim_db.count(connection, store.run.datastore_id, store.tenant, sum(row["size"] for row in rows))
        return len(rows)

    async def _insert(self, connection: Connection, store: SweptStore, objects: Sequence[StoredObject]) -> list[Any]:
        rows: list[Any] = await connection.fetch(
            _DOOM,
            store.run.datastore_id,
            store.tenant,
            [item.digest for item in objects],
            [min(item.size, 2**31 - 1) for item in objects],
            store.run.run_epoch,
        )
        return rows

    async def _remove_copies(self, store: SweptStore, copies: Sequence[StoredObject]) -> None:
        backend = store.chunks.backend
        if not copies:
            return
        if isinstance(backend, S3Backend):
            keys = [layout.bad_chunk_key(backend.prefix, item.digest, item.bad_number or 0) for item in copies]
            deleter = S3Deleter(S3Settings.of(self._settings), backend.prefix, self._stores.io)
            await deleter.delete_keys(keys, boot_time())
        elif isinstance(backend, LocalBackend):
            for item in copies:
                path = backend.path / layout.bad_chunk_path(item.digest, item.bad_number or 0)
                await asyncio.to_thread(path.unlink, missing_ok=True)


async def _exists(backend: ChunkBackend, key: str) -> bool:
    """A second look: files go before their row does."""
    try:
        await backend.file_size(key)
    except NotFound:
        return False
    return True


async def _in_batches(objects: AsyncIterator[StoredObject]) -> AsyncIterator[list[StoredObject]]:
    batch: list[StoredObject] = []
    async for item in objects:
        batch.append(item)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _objects(backend: ChunkBackend, settings: Settings) -> AsyncIterator[StoredObject]:
    if isinstance(backend, LocalBackend):
        return _local_objects(backend)
    if isinstance(backend, S3Backend):
        return _bucket_objects(backend, settings)
    raise Internal("the storage cannot be listed")


async def _local_objects(backend: LocalBackend) -> AsyncIterator[StoredObject]:
    root = backend.path / layout.CHUNK_DIR
    for start in range(0, 0x10000, _FOLDERS_AT_ONCE):
        names = [f"{number:04x}" for number in range(start, start + _FOLDERS_AT_ONCE)]
        found = await asyncio.to_thread(_scan, lambda name: os.scandir(root / name), names)
        for item in sorted(found, key=lambda item: item.digest):
            yield item


def _scan(scan: Callable[[str], Any], names: Sequence[str]) -> list[StoredObject]:
    found: list[StoredObject] = []
    for folder in names:
        try:
            with scan(folder) as entries:
                for entry in entries:
                    name = layout.parse_chunk_name(entry.name)
                    if name is None or name.using or not entry.is_file(follow_symlinks=False):
                        continue
                    stat = entry.stat(follow_symlinks=False)
                    found.append(StoredObject(name.digest, name.bad_number, stat.st_size, stat.st_mtime))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise Unavailable(f"{layout.CHUNK_DIR}/{folder} cannot be read") from error
    return found


async def _bucket_objects(backend: S3Backend, settings: Settings) -> AsyncIterator[StoredObject]:
    listing = obstore.list(data_client(S3Settings.of(settings)), layout.chunk_prefix(backend.prefix), chunk_size=_BATCH)
    try:
        async for batch in listing:
            for entry in batch:
                name = layout.parse_chunk_name(entry["path"].rpartition("/")[2])
                if name is not None and not name.using:
                    changed = entry["last_modified"].timestamp()
                    yield StoredObject(name.digest, name.bad_number, entry["size"], changed)
    except (BaseError, OSError) as error:
        raise as_pbs_error(error, "the list of objects") from error
