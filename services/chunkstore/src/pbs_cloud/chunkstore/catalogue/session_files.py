"""Files inside of sessions: blobs and indexes of a backup, and reading of files (wire-protocol 4.8-4.11, 5.2)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pbs_cloud.chunkstore.catalogue.corruption import Corruption, names_any
from pbs_cloud.chunkstore.catalogue.index_stream import IndexCheck, checked
from pbs_cloud.chunkstore.catalogue.names import UPLOADED_MANIFEST, SnapshotPlace, refusing_bad_names
from pbs_cloud.chunkstore.catalogue.parts import Parts
from pbs_cloud.chunkstore.catalogue.removal import holding_place
from pbs_cloud.chunkstore.catalogue.rows import Store
from pbs_cloud.chunkstore.catalogue.session_rows import (
    LOST,
    UNFINISHABLE,
    Session,
    parse_session_id,
    place_of_snapshot,
    require_active,
    require_writable,
)
from pbs_cloud.chunkstore.catalogue.usage import add_bytes, require_room
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import Conflict, DataCorrupt, InvalidArgument, NotFound, SessionLost
from pbs_cloud.formats import blob
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.names import MANIFEST_NAME, ArchiveName, ArchiveType
from pbs_cloud.runtime.database import Connection


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What the row of a stored file says."""

    name: str
    kind: str
    size: int
    stored_size: int
    csum: bytes | None = None
    chunk_count: int | None = None
    location: str | None = None


@dataclass(frozen=True, slots=True)
class _Target:
    session: Session
    snapshot_id: int
    store: Store
    where: SnapshotPlace


class SessionFiles:
    """Writes files of an open snapshot; reads those of the base and of a reader's snapshot."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._corruption = Corruption(parts)

    async def put_blob(self, ctx: CallContext, session_id: str, file_name: str, raw: bytes) -> None:
        """Store a blob byte for byte; durable when this returns. The manifest stays out of sight until finish.

        Raises InvalidArgument (name, size, CRC), SessionLost, QuotaExceeded, NoSpace, Unavailable.
        """
        with refusing_bad_names():
            ArchiveName.parse_server(file_name, "file-name", ArchiveType.BLOB)
        await asyncio.to_thread(_check_blob, raw)
        location = UPLOADED_MANIFEST if file_name == MANIFEST_NAME else None
        key = parse_session_id(session_id)
        target = await self._target(ctx, key, more=len(raw))
        async with self._parts.writes.of_file(target.snapshot_id, file_name):
            await self._target(ctx, key)
            async with holding_place(self._parts, ctx.tenant_id, target.snapshot_id):
                await self._parts.backends.of(target.store).put_file(target.where.file_key(location or file_name), raw)
            await self._record(ctx, key, target, StoredFile(file_name, "blob", len(raw), len(raw), location=location))

    async def close_index(
        self, ctx: CallContext, session_id: str, archive_name: str, csum: bytes, size: int, pieces: AsyncIterable[bytes]
    ) -> None:
        """Store a complete index after all its chunks went live.

        Raises InvalidArgument (name, content, csum, size), Conflict (chunks not live, or corrupt), SessionLost.
        """
        with refusing_bad_names():
            name = ArchiveName.parse_server(archive_name)
        if name.archive_type is ArchiveType.BLOB:
            raise InvalidArgument("archive-name: must end in .didx or .fidx", field="archive-name")
        key = parse_session_id(session_id)
        target = await self._target(ctx, key)
        async with self._parts.writes.of_file(target.snapshot_id, archive_name):
            await self._target(ctx, key)
            async with self._writing_index(ctx, key, target.snapshot_id):
                file = await self._write_index(target, name, pieces, csum, size)
                await self._require_live(ctx, key, target, name)
            await self._corruption.require_sound(
                target.store, target.session, target.where.file_key(archive_name), name
            )
            await self._record(ctx, key, target, file)

    async def read(self, ctx: CallContext, session_id: str, file_name: str) -> AsyncIterator[bytes]:
        """A file of the base (backup session) or of the snapshot (reader session), as stored.

        Raises SessionLost, InvalidArgument (name), Conflict (no base), NotFound, all before the first piece; at the end
        DataCorrupt if the storage has another number of bytes (a manifest may be rewritten meanwhile).
        """
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            session = await require_active(connection, parse_session_id(session_id))
            snapshot_id = session.snapshot_id if session.kind == "reader" else session.base_snapshot_id
            if snapshot_id is None:
                raise Conflict("no valid previous backup")
            with refusing_bad_names():
                ArchiveName.parse_server(file_name)
            store, where = await place_of_snapshot(connection, snapshot_id)
            size = await connection.fetchval(
                "SELECT stored_size FROM snapshot_file WHERE snapshot_id = $1 AND name = $2", snapshot_id, file_name
            )
        if size is None:
            raise NotFound(f"no such file: {file_name}")
        sent = 0
        async for piece in self._parts.backends.of(store).read_file(where.file_key(file_name)):
            sent += len(piece)
            yield piece
        if sent != size and file_name != MANIFEST_NAME:
            raise DataCorrupt(f"{file_name} has {sent} bytes instead of {size}")

    async def _target(self, ctx: CallContext, key: uuid.UUID, *, more: int = 0) -> _Target:
        """Where a session writes, if it may; ``more`` bytes fit into the quota."""
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            session = await require_writable(connection, key)
            if session.snapshot_id is None:
                raise SessionLost(LOST)
            if more:
                await require_room(connection, ctx.tenant_id, session.quota_bytes, more)
            store, where = await place_of_snapshot(connection, session.snapshot_id)
            return _Target(session, session.snapshot_id, store, where)

    @asynccontextmanager
    async def _writing_index(self, ctx: CallContext, key: uuid.UUID, snapshot_id: int) -> AsyncIterator[None]:
        """If it fails and something of it may still arrive, that would strike at the next index of its name: no finish
        then. (A blob is sent again as it was.)
        """
        async with holding_place(self._parts, ctx.tenant_id, snapshot_id) as late:
            try:
                yield
            except BaseException:
                if late.possible:
                    async with self._parts.database.tenant(ctx.tenant_id) as connection:
                        await connection.execute(UNFINISHABLE, key)
                raise

    async def _require_live(self, ctx: CallContext, key: uuid.UUID, target: _Target, name: ArchiveName) -> None:
        """No chunk of the stored index waits for its group sync (uploads of other archives may); else it is deleted."""
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            waiting = [row["digest"] for row in await connection.fetch(_UPLOADING, key)]
        file_key = target.where.file_key(name.name)
        if waiting and await names_any(self._parts.backends.of(target.store), file_key, name, waiting):
            await self._parts.backends.of(target.store).delete_file(file_key)
            raise Conflict("chunks of this archive are not stored yet")

    async def _write_index(
        self, target: _Target, name: ArchiveName, pieces: AsyncIterable[bytes], csum: bytes, size: int
    ) -> StoredFile:
        """Stream the file to the backend; what was announced must be what came."""
        check = IndexCheck(name.archive_type)
        file_key = target.where.file_key(name.name)
        backend = self._parts.backends.of(target.store)
        await backend.put_file(file_key, checked(check, pieces))
        try:
            found, length = check.finish()
            if found != csum:
                raise InvalidArgument("csum: does not fit the entries", field="csum")
            if length != size:
                raise InvalidArgument("size: does not fit the entries", field="size")
        except InvalidArgument:
            await backend.delete_file(file_key)
            raise
        kind = "fixed" if name.archive_type is ArchiveType.FIXED else "dynamic"
        return StoredFile(name.name, kind, length, check.stored_size, found, check.count)

    async def _record(self, ctx: CallContext, key: uuid.UUID, target: _Target, file: StoredFile) -> None:
        """The file's row, and its bytes in the usage counter, while the session is still active."""
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            await require_writable(connection, key)
            doubtful = await upsert_file(connection, target.store, target.snapshot_id, file)
            if doubtful:
                await connection.execute(UNFINISHABLE, key)
        if doubtful:
            raise Conflict(f"an earlier {file.name} of this backup may still arrive: start it again")


# 1: `ChunkState.UPLOADING`, a literal so that the partial index is used.
_UPLOADING = "SELECT digest FROM chunk WHERE owner_session = $1 AND state = 1"


def _check_blob(raw: bytes) -> None:
    if not blob.MIN_ENCODED_BLOB_SIZE <= len(raw) <= blob.MAX_ENCODED_SIZE:
        raise InvalidArgument(
            f"encoded-size: not within {blob.MIN_ENCODED_BLOB_SIZE} to {blob.MAX_ENCODED_SIZE}", field="encoded-size"
        )
    try:
        blob.check_crc(raw)
    except FormatError as error:
        raise InvalidArgument(str(error), field="body") from error


async def upsert_file(connection: Connection, store: Store, snapshot_id: int, file: StoredFile) -> bool:
    """Insert or replace the row of a file of a snapshot; the usage counter follows.

    Whether it replaced one while requests for this snapshot may still arrive: the object may become the former again.
    """
    late = await connection.fetchval(
        "SELECT reusable_at > clock_timestamp() FROM snapshot WHERE id = $1 FOR NO KEY UPDATE", snapshot_id
    )
    former = await connection.fetchval(
        "SELECT stored_size FROM snapshot_file WHERE snapshot_id = $1 AND name = $2", snapshot_id, file.name
    )
    await connection.execute(
        "INSERT INTO snapshot_file"
        " (snapshot_id, name, tenant_id, datastore_id, kind, csum, size, stored_size, location, chunk_count)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (snapshot_id, name) DO UPDATE SET"
        " kind = excluded.kind, csum = excluded.csum, size = excluded.size, stored_size = excluded.stored_size,"
        " location = excluded.location, chunk_count = excluded.chunk_count",
        snapshot_id,
        file.name,
        store.tenant_id,
        store.id,
        file.kind,
        file.csum,
        file.size,
        file.stored_size,
        file.location,
        file.chunk_count,
    )
    await add_bytes(connection, store.tenant_id, store.id, file.stored_size - (former or 0))
    return bool(late) and former is not None
