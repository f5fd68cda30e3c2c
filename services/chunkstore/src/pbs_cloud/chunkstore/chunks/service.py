"""What the `Chunks` calls do: who may, how much at once, check, store, read (architecture "The way of a backup")."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from pbs_cloud.chunkstore.chunks import claim_db, metrics
from pbs_cloud.chunkstore.chunks.budget import ByteBudget
from pbs_cloud.chunkstore.chunks.intake import check_parameters, check_upload
from pbs_cloud.chunkstore.chunks.sessions import SessionDirectory, SessionInfo
from pbs_cloud.chunkstore.chunks.store import Attempt, ChunkStore
from pbs_cloud.chunkstore.chunks.stores import StoreRegistry
from pbs_cloud.chunkstore.states import ChunkState
from pbs_cloud.contracts.chunkstore.types import StoredChunk
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import DataCorrupt, InvalidArgument, NotFound
from pbs_cloud.formats import blob
from pbs_cloud.formats.digest import DIGEST_SIZE
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.runtime.database import Database

P = ParamSpec("P")
T = TypeVar("T")

MEMORY_BYTES = 512 * 1024 * 1024
"""Encoded bytes of uploads and reads in memory at once, all sessions together."""


class ChunkService:
    """Uploads, reads and durability of chunks. Every method takes the caller's context first."""

    def __init__(self, database: Database, stores: StoreRegistry, memory: int = MEMORY_BYTES) -> None:
        self._database = database
        self._stores = stores
        self._sessions = SessionDirectory(database)
        self._budget = ByteBudget(memory)
        self._running: set[asyncio.Task[StoredChunk]] = set()

    async def put(self, ctx: CallContext, session_id: str, digest: bytes, size: int, data: memoryview) -> StoredChunk:
        """Check, claim and store an encoded chunk (wire-protocol 4.6).

        `data` must stay as it is until the answer. If the call is cancelled before, nothing of it goes live.

        Raises:
            InvalidArgument, SessionLost, QuotaExceeded, NoSpace, Unavailable.
        """
        with metrics.PUT_SECONDS.time():
            session = await self._sessions.get(ctx.tenant_id, session_id)
            if not session.writes:
                raise InvalidArgument("session_id: not a backup session", field="session_id")
            try:
                check_parameters(digest, size, len(data))
                async with self._budget.take(len(data)):
                    upload = await self._in_worker(check_upload, digest, size, data)
                    stored = await self._insert(session, Attempt(session.id, upload, session.quota))
            except InvalidArgument:
                metrics.REJECTED.inc()
                raise
        metrics.BYTES_RECEIVED.inc(len(data))
        return stored

    async def get(self, ctx: CallContext, session_id: str, digest: bytes) -> bytes:
        """The stored blob, its CRC checked.

        Raises:
            NotFound, DataCorrupt (the row becomes `corrupt`), SessionLost, Unavailable.
        """
        with metrics.GET_SECONDS.time():
            store, location, size = await self._locate(ctx, session_id, digest)
            async with self._budget.take(size):
                data = await self._read(store, digest, location)
                try:
                    await self._in_worker(blob.check_crc, data)
                except FormatError as error:
                    data = await self._second_look(store, digest, location, str(error))
        metrics.READ.inc()
        metrics.BYTES_READ.inc(len(data))
        return data

    async def get_into(self, ctx: CallContext, session_id: str, digest: bytes, target: memoryview) -> int:
        """`get` into memory of the caller; the length."""
        with metrics.GET_SECONDS.time():
            store, location, _size = await self._locate(ctx, session_id, digest)
            try:
                length = await store.backend.read_chunk_into(digest, location, target)
                await self._in_worker(blob.check_crc, target[:length])
            except (NotFound, FormatError) as error:
                data = await self._second_look(store, digest, location, str(error))
                length = len(data)
                if length > len(target):
                    raise InvalidArgument(f"capacity: the object has {length} bytes", field="capacity") from error
                target[:length] = data
        metrics.READ.inc()
        metrics.BYTES_READ.inc(length)
        return length

    async def flush(self, ctx: CallContext, session_id: str) -> None:
        """Everything that the session uploaded is durable and live (formats 9.9 "Index close").

        Raises:
            SessionLost; DataCorrupt: an upload did not survive a crash, the backup must start again; Unavailable.
        """
        session = await self._sessions.get(ctx.tenant_id, session_id, fresh=True)
        await (await self._store_of(session)).flush(session.id)

    async def _insert(self, session: SessionInfo, attempt: Attempt) -> StoredChunk:
        """Runs on when the caller goes away, so that a half-done claim is brought to an end; only nothing goes live."""
        store = await self._store_of(session)
        task = asyncio.create_task(store.insert(attempt))
        self._running.add(task)
        task.add_done_callback(self._ended)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            attempt.cancelled = True
            raise

    def _ended(self, task: asyncio.Task[StoredChunk]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()

    async def _locate(self, ctx: CallContext, session_id: str, digest: bytes) -> tuple[ChunkStore, str | None, int]:
        """Store, location and size of a chunk that may be read."""
        if len(digest) != DIGEST_SIZE:
            raise InvalidArgument(f"digest: must have {DIGEST_SIZE} bytes, has {len(digest)}", field="digest")
        session = await self._sessions.get(ctx.tenant_id, session_id)
        async with self._database.tenant(session.tenant) as db:
            found = await claim_db.find(db, session.datastore, digest)
        if found is None or found.state in (ChunkState.UPLOADING, ChunkState.DELETING):
            raise NotFound(f"chunk {digest.hex()} does not exist")
        if found.state is ChunkState.CORRUPT:
            raise DataCorrupt(f"chunk {digest.hex()} is damaged")
        return await self._store_of(session), found.location, found.size

    async def _read(self, store: ChunkStore, digest: bytes, location: str | None) -> bytes:
        try:
            return await store.backend.read_chunk(digest, location)
        except NotFound as error:
            return await self._second_look(store, digest, location, error.message)

    async def _second_look(self, store: ChunkStore, digest: bytes, location: str | None, problem: str) -> bytes:
        """What looked damaged is read again, as it may just have been replaced; if it is damaged the row says so."""
        if await store.mark_corrupt(digest, location):
            raise DataCorrupt(f"chunk {digest.hex()} is damaged: {problem}")
        return await store.backend.read_chunk(digest)

    async def _store_of(self, session: SessionInfo) -> ChunkStore:
        return await self._stores.get(session.datastore, session.tenant, session.location)

    async def _in_worker(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._stores.checks, lambda: work(*args, **kwargs))
