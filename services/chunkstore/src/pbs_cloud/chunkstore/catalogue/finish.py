"""The commit of a backup: the manifest durable, then one transaction (wire-protocol 4.12, formats 9.9 "Commit")."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass

from pbs_cloud.chunkstore.catalogue.announce import announce, announce_usage
from pbs_cloud.chunkstore.catalogue.manifests import put_protected, set_stored_size, total_size
from pbs_cloud.chunkstore.catalogue.names import UPLOADED_MANIFEST, SnapshotPlace
from pbs_cloud.chunkstore.catalogue.parts import Parts
from pbs_cloud.chunkstore.catalogue.removal import holding_place
from pbs_cloud.chunkstore.catalogue.retention import lock_until
from pbs_cloud.chunkstore.catalogue.rows import Store
from pbs_cloud.chunkstore.catalogue.session_rows import (
    LOST,
    UNFINISHABLE,
    find_session,
    finish_session,
    parse_session_id,
    place_of_snapshot,
    require_writable,
)
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import Conflict, InvalidArgument, SessionLost
from pbs_cloud.contracts.events import EventType
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.manifest import BackupManifest, ChunkUploadStats
from pbs_cloud.formats.names import MANIFEST_NAME
from pbs_cloud.runtime.telemetry import Counter

MAX_MANIFEST_TEXT = 8 * 1024 * 1024
"""Most bytes of a manifest's JSON: what listings show of it must fit into one message."""
_COMMITTED = Counter("pbs_catalogue_snapshots_committed", "Backups that were finished")


@dataclass(frozen=True, slots=True)
class _Open:
    """A session that may be finished."""

    key: uuid.UUID
    snapshot_id: int
    store: Store
    where: SnapshotPlace


class Finish:
    """Commits snapshots."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def finish(self, ctx: CallContext, session_id: str, statistics: t.UploadStatistics) -> None:
        """Commit; when this returns the snapshot is the group's newest and all locks are free. Repeatable.

        Raises SessionLost; Conflict or InvalidArgument if the manifest is missing or wrong: then the session can never
        be finished.
        """
        key = parse_session_id(session_id)
        found = await self._begin(ctx, key)
        if found is None:
            return
        async with self._parts.writes.alone(found.snapshot_id):
            if await self._begin(ctx, key) is None:
                return
            manifest = await self._read_manifest(ctx, found)
            manifest.set_chunk_upload_stats(
                ChunkUploadStats(statistics.count, statistics.size, statistics.compressed_size, statistics.duplicates)
            )
            manifest.retain_until = await self._locked_until(ctx, found)
            raw = await asyncio.to_thread(manifest.to_blob)
            backend = self._parts.backends.of(found.store)
            await self._require_still_open(ctx, key)
            async with holding_place(self._parts, ctx.tenant_id, found.snapshot_id):
                await backend.put_file(found.where.file_key(MANIFEST_NAME), raw)
            if manifest.retain_until is not None:
                await put_protected(backend, found.where)
            await self._commit(ctx, found, manifest, len(raw), statistics)
            await backend.delete_file(found.where.file_key(UPLOADED_MANIFEST))

    async def _begin(self, ctx: CallContext, key: uuid.UUID) -> _Open | None:
        """The session's snapshot; None if it is committed already."""
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            session = await find_session(connection, key)
            if session is not None and session.state == "finished" and session.kind == "backup":
                return None
            session = await require_writable(connection, key)
            if session.unfinishable:
                raise Conflict("the backup cannot be finished: a file of it was refused")
            if session.snapshot_id is None or session.kind != "backup":
                raise SessionLost(LOST)
            return _Open(key, session.snapshot_id, *await place_of_snapshot(connection, session.snapshot_id))

    async def _locked_until(self, ctx: CallContext, found: _Open) -> int | None:
        days = self._parts.settings.retention_days
        if days is None:
            return None
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            return await lock_until(connection, days, found.where.backup_time)

    async def _require_still_open(self, ctx: CallContext, key: uuid.UUID) -> None:
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            await require_writable(connection, key)

    async def _read_manifest(self, ctx: CallContext, found: _Open) -> BackupManifest:
        """The client's manifest; one that is missing or wrong closes the way to finish for good."""
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            uploaded = await connection.fetchval(
                "SELECT true FROM snapshot_file WHERE snapshot_id = $1 AND name = $2", found.snapshot_id, MANIFEST_NAME
            )
        try:
            if uploaded is None:
                raise InvalidArgument(f"unable to finish: there is no {MANIFEST_NAME}", field=MANIFEST_NAME)
            raw = bytearray()
            key = found.where.file_key(UPLOADED_MANIFEST)
            async for piece in self._parts.backends.of(found.store).read_file(key):
                raw += piece
            return await asyncio.to_thread(_parse, bytes(raw))
        except InvalidArgument:
            async with self._parts.database.tenant(ctx.tenant_id) as connection:
                await connection.execute(UNFINISHABLE, found.key)
            raise

    async def _commit(
        self, ctx: CallContext, found: _Open, manifest: BackupManifest, stored: int, statistics: t.UploadStatistics
    ) -> None:
        """The linearisation point. A session that was committed in the meantime is no error."""
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            session = await find_session(connection, found.key, lock="UPDATE")
            if session is not None and session.state == "finished":
                return
            await require_writable(connection, found.key)
            await connection.execute(
                "UPDATE snapshot SET state = 'committed', committed_at = clock_timestamp(), manifest = $2,"
                " manifest_size = $3, size = $4 WHERE id = $1",
                found.snapshot_id,
                manifest.to_json().decode(),
                stored,
                total_size(manifest, stored),
            )
            if manifest.retain_until is not None:
                await connection.execute(
                    "UPDATE snapshot SET protected = true, retain_until = $2 WHERE id = $1",
                    found.snapshot_id,
                    manifest.retain_until,
                )
            seconds = await finish_session(connection, found.key)
            await connection.execute("DELETE FROM pin WHERE session_id = $1", found.key)
            await set_stored_size(connection, found.store, found.snapshot_id, MANIFEST_NAME, stored)
            blobs = await connection.fetchval(
                "SELECT coalesce(sum(stored_size), 0)::bigint FROM snapshot_file"
                " WHERE snapshot_id = $1 AND kind = 'blob'",
                found.snapshot_id,
            )
            await announce(
                connection,
                EventType.BACKUP_CREATED,
                ctx.tenant_id,
                statistics.compressed_size + blobs,
                store=found.store.name,
                ns=str(found.where.place.ns),
                snapshot=str(found.where.ref),
                seconds=str(seconds),
            )
            await announce_usage(connection, ctx.tenant_id, found.store.name)
        _COMMITTED.inc()


def _parse(raw: bytes) -> BackupManifest:
    try:
        manifest = BackupManifest.from_blob(raw)
        if len(raw) > MAX_MANIFEST_TEXT or len(manifest.to_json()) > MAX_MANIFEST_TEXT:
            raise InvalidArgument("unable to finish: the manifest is too large", field=MANIFEST_NAME)
    except FormatError as error:
        raise InvalidArgument(f"unable to finish: {error}", field=MANIFEST_NAME) from error
    return manifest
