"""Upload of ``client.log.blob`` (rest-api C.8)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable

from pbs_cloud.chunkstore.catalogue.parts import Parts
from pbs_cloud.chunkstore.catalogue.session_files import StoredFile, upsert_file
from pbs_cloud.chunkstore.catalogue.snapshots import Snapshots
from pbs_cloud.chunkstore.catalogue.usage import require_room
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import Conflict, InvalidArgument
from pbs_cloud.formats import blob
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.names import CLIENT_LOG_NAME
from pbs_cloud.runtime.database import Connection

MAX_LOG = 64 * 1024 * 1024
_AT_ONCE = 2


class ClientLogs:
    """Stores logs; few at a time, since each is held in memory to be checked."""

    def __init__(self, parts: Parts, snapshots: Snapshots) -> None:
        self._parts = parts
        self._snapshots = snapshots
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def upload(self, ctx: CallContext, key: t.SnapshotKey, pieces: AsyncIterable[bytes]) -> None:
        """Raises PermissionDenied, NotOwner, NotFound, Conflict (there is one), InvalidArgument, QuotaExceeded."""
        async with self._snapshots.for_log(ctx, key) as (connection, _store, snapshot):
            await _require_none(connection, snapshot.id)
        async with self._room:
            raw = bytearray()
            async for piece in pieces:
                raw += piece
                if len(raw) > MAX_LOG:
                    raise InvalidArgument(f"body: the log is larger than {MAX_LOG} bytes", field="body")
            await asyncio.to_thread(_check, bytes(raw))
            await self._store(ctx, key, bytes(raw))

    async def _store(self, ctx: CallContext, key: t.SnapshotKey, raw: bytes) -> None:
        """File, then row, under the lock of the snapshot's row."""
        async with self._snapshots.for_log(ctx, key) as (connection, store, snapshot):
            await _require_none(connection, snapshot.id)
            await require_room(connection, ctx.tenant_id, ctx.caller.quota_bytes, len(raw))
            file_key = snapshot.where.file_key(CLIENT_LOG_NAME)
            await self._parts.backends.of(store).put_file(file_key, raw)
            file = StoredFile(CLIENT_LOG_NAME, "blob", len(raw), len(raw))
            await upsert_file(connection, store, snapshot.id, file)


async def _require_none(connection: Connection, snapshot_id: int) -> None:
    if await connection.fetchval(
        "SELECT true FROM snapshot_file WHERE snapshot_id = $1 AND name = $2", snapshot_id, CLIENT_LOG_NAME
    ):
        raise Conflict("backup already contains a log.")


def _check(raw: bytes) -> None:
    try:
        kind = blob.check_crc(raw)
        if not kind.encrypted:
            blob.decode(raw)
    except FormatError as error:
        raise InvalidArgument(str(error), field="body") from error
