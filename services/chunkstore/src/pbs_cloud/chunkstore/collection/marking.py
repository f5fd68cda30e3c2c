"""Steps B and C of a run: who may still claim what, which indexes there are, and the digests in them (formats 9.9)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from dataclasses import dataclass, field

from pbs_cloud.chunkstore.backends.port import ChunkBackend
from pbs_cloud.chunkstore.backends.s3 import S3Backend
from pbs_cloud.chunkstore.catalogue.closing import Closing
from pbs_cloud.chunkstore.catalogue.parts import Parts
from pbs_cloud.chunkstore.catalogue.rows import Store
from pbs_cloud.chunkstore.catalogue.session_rows import place_of_snapshot
from pbs_cloud.chunkstore.collection import runs
from pbs_cloud.chunkstore.collection.index_list import IndexEntry, IndexList, added
from pbs_cloud.chunkstore.collection.index_reading import IndexDigests, segments
from pbs_cloud.chunkstore.collection.reading_ahead import read_ahead
from pbs_cloud.chunkstore.collection.runs import Run
from pbs_cloud.chunkstore.collection.seen import SeenDigests
from pbs_cloud.chunkstore.collection.strays import Strays
from pbs_cloud.contracts.chunkstore.collection import MarkPiece, MarkSummary
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import Conflict, DataCorrupt, NotFound, SessionLost
from pbs_cloud.runtime.database import Connection
from pbs_cloud.runtime.quiet_threads import quietly

_WORTH_A_MESSAGE = 1024 * 1024
_AT_ONCE = 2
"""Runs that mark at the same time; the others wait. Each may need some 450 MiB (`SeenDigests`)."""

_DEAD = """
SELECT id FROM session WHERE datastore_id = $1 AND state = 'active' AND lease_until <= clock_timestamp() ORDER BY id
"""
# A session that is active in this snapshot counts, whatever its lease: one that is not active can commit no more.
_CUTOFF = """
SELECT least($2, min(start_epoch)) FROM session
WHERE datastore_id = $1 AND state = 'active' AND kind <> 'reader'
"""


async def _once(content: asyncio.Task[bytes]) -> AsyncIterator[bytes]:
    yield await content


def _unseen(reader: IndexDigests, seen: SeenDigests, pieces: list[bytes]) -> bytes:
    """Digests in the next bytes of an index that were perhaps not told yet; blocking."""
    return b"".join(seen.unseen(entries).tobytes() for piece in pieces for entries in reader.feed(piece))


class Vanished(Exception):
    """The index went with its snapshot."""


@dataclass(slots=True)
class _Marks:
    """What a call has done so far."""

    store: Store
    cutoff: int
    seen: SeenDigests
    files: int = 0
    total: int = 0
    data_bytes: int = 0
    digests: int = 0
    vanished: bool = False
    untold: bytearray = field(default_factory=bytearray)

    def piece(self, *log: str) -> MarkPiece:
        """What was found and not told yet, and how far this is."""
        told, self.untold = bytes(self.untold), bytearray()
        return MarkPiece(told, self.files, self.total, log)


async def _told(reader: IndexDigests, marks: _Marks, pieces: AsyncIterable[bytes]) -> AsyncIterator[MarkPiece]:
    """Reads an index to its end. The last digests stay in `marks`: a small piece is not worth a message.

    Raises NotFound, DataCorrupt, Unavailable.
    """
    async for data in segments(pieces):
        marks.untold += await quietly(_unseen, reader, marks.seen, data)
        if len(marks.untold) >= _WORTH_A_MESSAGE:
            yield marks.piece()
    reader.finish()


class Marking:
    """Reads every index once; stops at the first that cannot be read."""

    def __init__(self, parts: Parts, closing: Closing) -> None:
        self._parts = parts
        self._closing = closing
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def mark(self, ctx: CallContext, token: uuid.UUID) -> AsyncIterator[MarkPiece]:
        """The digests that are in use, and at the end a summary. Raises Conflict, DataCorrupt, Unavailable."""
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            run = await runs.require_run(connection, token)
            store = await runs.require_store(connection, run)
        await self._require_ours(store)
        await self._expire_dead(ctx.tenant_id, store)
        async with self._turns:
            async for piece in self._mark(run, store):
                if piece.summary is not None:
                    await self._marked(ctx, token, piece.summary)
                yield piece

    async def _mark(self, run: Run, store: Store) -> AsyncIterator[MarkPiece]:
        listed = IndexList()
        try:
            cutoff = await self._snapshot(run, listed)
            marks = _Marks(store, cutoff, await quietly(SeenDigests, listed.longest))
            async for piece in self._mark_all(marks, listed.entries()):
                yield piece
            while marks.vanished:
                marks.vanished = False
                again = IndexList()
                await self._list_again(run, again)
                old, listed = listed, again
                async for piece in self._mark_all(marks, added(again.entries(), old.entries())):
                    yield piece
                old.close()
        finally:
            listed.close()
        async for piece in self._mark_strays(marks):
            yield piece
        yield marks.piece()
        summary = MarkSummary(marks.files, marks.data_bytes, marks.digests, marks.cutoff)
        yield MarkPiece(b"", marks.total, marks.total, (), summary)

    async def _require_ours(self, store: Store) -> None:
        """Raises Conflict: another server has taken the prefix, and nobody here knows which chunks it needs."""
        backend = self._parts.backends.of(store)
        other = await backend.used_by_another() if isinstance(backend, S3Backend) else None
        if other is not None:
            raise Conflict(f"the bucket's prefix is in use by {other or 'another server'}: nothing is collected")

    async def _expire_dead(self, tenant_id: str, store: Store) -> None:
        async with self._parts.database.tenant(tenant_id) as connection:
            dead = [row["id"] for row in await connection.fetch(_DEAD, store.id)]
        for session_id in dead:
            await self._closing.expire(tenant_id, session_id)

    async def _snapshot(self, run: Run, listed: IndexList) -> int:
        """Step B: cutoff and list from one snapshot of the database."""
        async with self._parts.database.system(isolation="repeatable_read") as connection:
            cutoff: int = await connection.fetchval(_CUTOFF, run.datastore_id, run.run_epoch)
            await listed.fill(connection, run.datastore_id)
        async with self._parts.database.system() as connection:
            await connection.execute(
                "UPDATE gc_run SET cutoff = $2 WHERE token = $1 AND ended_at IS NULL", run.token, cutoff
            )
        return cutoff

    async def _list_again(self, run: Run, listed: IndexList) -> None:
        async with self._parts.database.system(isolation="repeatable_read") as connection:
            await listed.fill(connection, run.datastore_id)

    async def _mark_all(self, marks: _Marks, entries: Iterator[IndexEntry]) -> AsyncIterator[MarkPiece]:
        backend = self._parts.backends.of(marks.store)
        previous: IndexEntry | None = None
        async for entry, ahead in read_ahead(entries, backend):
            marks.total += 1
            marks.seen.start(related=entry.related(previous))
            previous = entry
            try:
                async for piece in self._mark_one(marks, entry, backend, ahead):
                    yield piece
            except Vanished:
                marks.vanished = True
                continue
            marks.files += 1
            marks.data_bytes += entry.size
            yield marks.piece()

    async def _mark_one(
        self, marks: _Marks, entry: IndexEntry, backend: ChunkBackend, ahead: asyncio.Task[bytes] | None
    ) -> AsyncIterator[MarkPiece]:
        """Digests of one index, where it lies now if not where it was listed. Raises Vanished, DataCorrupt."""
        key = entry.file_key
        while True:
            reader = IndexDigests(entry)
            pieces = backend.read_file(key) if ahead is None else _once(ahead)
            try:
                async for piece in _told(reader, marks, pieces):
                    yield piece
                break
            except (NotFound, DataCorrupt) as error:
                now, ahead = await self._key_of(marks.store, entry), None
                if now == key:
                    raise DataCorrupt(f"unable to read index '{key}': {error.message}") from error
                key = now
                marks.seen.start(related=False)
        marks.digests += reader.count

    async def _key_of(self, store: Store, entry: IndexEntry) -> str:
        """Where the index lies. Raises Vanished if its snapshot is removed."""
        async with self._parts.database.tenant(store.tenant_id) as connection:
            state = await connection.fetchval("SELECT state FROM snapshot WHERE id = $1", entry.snapshot_id)
            if state in (None, "removing"):
                raise Vanished
            try:
                _, where = await place_of_snapshot(connection, entry.snapshot_id)
            except SessionLost as error:
                raise Vanished from error
        return where.file_key(entry.name)

    async def _mark_strays(self, marks: _Marks) -> AsyncIterator[MarkPiece]:
        """Indexes that lie in the directory and that no row knows protect their chunks too (checklist 51)."""
        strays = Strays(self._parts.database, self._parts.backends.of(marks.store), marks.store)
        async for entry, key in strays.find():
            marks.seen.start(related=False)
            reader = IndexDigests(entry)
            try:
                async for piece in _told(reader, marks, strays.read(key)):
                    yield piece
            except NotFound:
                continue
            except DataCorrupt as error:
                raise DataCorrupt(f"unable to read index '{key}': {error.message}") from error
            marks.digests += reader.count
            marks.files += 1
            marks.total += 1
            yield marks.piece(f"index file outside of the catalogue: {key}")

    async def _marked(self, ctx: CallContext, token: uuid.UUID, summary: MarkSummary) -> None:
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            run = await runs.require_run(connection, token)
            await _store_summary(connection, run, summary)


async def _store_summary(connection: Connection, run: Run, summary: MarkSummary) -> None:
    await runs.set_phase(
        connection,
        run,
        "condemn",
        index_files=summary.index_file_count,
        index_bytes=summary.index_data_bytes,
        digests=summary.digests_read,
    )
