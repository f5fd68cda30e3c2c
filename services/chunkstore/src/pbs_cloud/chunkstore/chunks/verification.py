"""Checking stored chunks: each one read once, everything checked before the answer (formats 11.1, 11.2)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pbs_cloud.chunkstore.chunks import claim_db, metrics
from pbs_cloud.chunkstore.chunks.budget import ByteBudget
from pbs_cloud.chunkstore.chunks.claim_db import FoundChunk
from pbs_cloud.chunkstore.chunks.sessions import SessionDirectory
from pbs_cloud.chunkstore.chunks.store import ChunkStore
from pbs_cloud.chunkstore.chunks.stores import StoreRegistry
from pbs_cloud.chunkstore.states import ChunkState
from pbs_cloud.contracts.chunkstore.verifier import BadChunk, CheckedChunks
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import DataCorrupt, InvalidArgument, NotFound, PbsError
from pbs_cloud.formats import blob
from pbs_cloud.formats.digest import DIGEST_SIZE
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.runtime.database import Database

T = TypeVar("T")

MEMORY_BYTES = 96 * 1024 * 1024
"""Chunks under examination at once, all verifications together; uploads and reads have their own bound."""
MAX_WORKERS = 32
LOCAL_AT_ONCE = 4
"""Files that are read at once, all verifications together: uploads use the same threads."""
MAX_BATCH = 4096


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an index says of a chunk: digest, raw size, and whether its archive is encrypted."""

    digest: bytes
    size: int
    encrypted: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """``damage``: the object is not what its digest says. ``mismatch``: sound, but not as the manifest says."""

    damage: str | None = None
    mismatch: str | None = None

    @property
    def text(self) -> str:
        return self.damage or self.mismatch or ""


def examine(data: bytes, wanted: Wanted) -> Finding | None:
    """Everything that can be checked without a key; None if all is well (table of formats 11.1)."""
    try:
        kind = blob.check_crc(data)
        if not kind.encrypted:
            blob.verify_plain_chunk(data, wanted.digest, wanted.size)
    except FormatError as error:
        return Finding(damage=str(error))
    if kind.encrypted == wanted.encrypted:
        return None
    is_now, should_be = ("encrypted", "plain") if kind.encrypted else ("plain", "encrypted")
    return Finding(mismatch=f"chunk: is {is_now}, but its archive is {should_be}")


class Verification:
    """Checks batches of chunks for sessions that pin a snapshot."""

    def __init__(self, database: Database, stores: StoreRegistry, memory: int = MEMORY_BYTES) -> None:
        self._database = database
        self._stores = stores
        self._sessions = SessionDirectory(database)
        self._budget = ByteBudget(memory)
        self._disk = asyncio.Semaphore(LOCAL_AT_ONCE)

    async def check(
        self, ctx: CallContext, session_id: str, digests: bytes, sizes: Sequence[int], *, encrypted: bool, workers: int
    ) -> CheckedChunks:
        """Bad chunks in the order of ``digests``; damaged ones are `corrupt` and set aside when this returns.

        Raises InvalidArgument, SessionLost, Unavailable (the database, or the store as a whole).
        """
        chunks = _batch(digests, sizes, encrypted)
        session = await self._sessions.get(ctx.tenant_id, session_id)
        store = await self._stores.get(session.datastore, session.tenant, session.location)
        async with self._database.tenant(session.tenant) as db:
            rows = await claim_db.find_all(db, session.datastore, [chunk.digest for chunk in chunks])
        places = asyncio.Semaphore(min(max(workers, 1), MAX_WORKERS))

        async def one(chunk: Wanted) -> BadChunk | None:
            async with places:
                return await self._check_one(store, chunk, rows.get(chunk.digest))

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(chunk)) for chunk in chunks]
        bad = tuple(found for task in tasks if (found := task.result()) is not None)
        metrics.VERIFIED.inc(len(chunks))
        return CheckedChunks(bad, sum(row.size for row in rows.values()))

    async def _check_one(self, store: ChunkStore, chunk: Wanted, row: FoundChunk | None) -> BadChunk | None:
        if row is None or row.state in (ChunkState.UPLOADING, ChunkState.DELETING):
            return BadChunk(chunk.digest, "does not exist", corrupt=True)
        if row.state is ChunkState.CORRUPT:
            await store.set_aside_leftover(chunk.digest)
            return BadChunk(chunk.digest, "is known to be damaged", corrupt=True)
        try:
            finding = await self._look(store, chunk, row.location, row.size)
            if finding is not None and finding.damage is not None:
                finding = await store.retire(
                    chunk.digest, row.location, lambda: self._look(store, chunk, row.location, row.size)
                )
        except PbsError as error:
            return BadChunk(chunk.digest, f"cannot be read: {error.message}", corrupt=False)
        if finding is None:
            return None
        return BadChunk(chunk.digest, finding.text, corrupt=finding.damage is not None)

    async def _look(self, store: ChunkStore, chunk: Wanted, location: str | None, size: int) -> Finding | None:
        """Raises Unavailable and what else says nothing about the object."""
        place = contextlib.nullcontext() if store.backend.immediate else self._disk
        async with place, self._budget.take(size):
            try:
                data = await store.backend.read_chunk(chunk.digest, location)
            except (NotFound, DataCorrupt) as error:
                return Finding(damage=error.message)
            return await self._in_worker(lambda: examine(data, chunk))

    async def _in_worker(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._stores.checks, work)


def _batch(digests: bytes, sizes: Sequence[int], encrypted: bool) -> list[Wanted]:
    if len(digests) != DIGEST_SIZE * len(sizes) or not 0 < len(sizes) <= MAX_BATCH:
        raise InvalidArgument(f"digests: must be 1 to {MAX_BATCH}, one for each size", field="digests")
    return [
        Wanted(digests[DIGEST_SIZE * at : DIGEST_SIZE * (at + 1)], size, encrypted) for at, size in enumerate(sizes)
    ]
