"""The chunks of one datastore: claim, write, publish; recover what a dead predecessor left (formats 1.7, 9.9)."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from pbs_cloud.chunkstore.backends.port import ChunkBackend
from pbs_cloud.chunkstore.chunks import claim_db, metrics
from pbs_cloud.chunkstore.chunks.claim_db import Written
from pbs_cloud.chunkstore.chunks.claim_rules import ChunkRow, Next, ObjectInfo
from pbs_cloud.chunkstore.chunks.claims import Claim, ClaimQueue
from pbs_cloud.chunkstore.chunks.digest_locks import DigestLocks
from pbs_cloud.chunkstore.chunks.duplicates import Decision, decide
from pbs_cloud.chunkstore.chunks.intake import Upload
from pbs_cloud.chunkstore.chunks.kinds import ChunkKind
from pbs_cloud.chunkstore.chunks.publishing import Publisher, StoreIds
from pbs_cloud.chunkstore.chunks.quota import QuotaLedger
from pbs_cloud.chunkstore.states import ChunkState
from pbs_cloud.contracts.chunkstore.types import StoredChunk
from pbs_cloud.contracts.errors import DataCorrupt, NotFound, PbsError, Unavailable
from pbs_cloud.formats import blob
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.logging import get_logger

T = TypeVar("T")

WAIT_SECONDS = 30.0
"""How long an upload waits for its digest's other writer or for a deletion."""

TAKE_OVER_SECONDS = 5.0
"""How long it waits for an attempt of its own session in another process."""

CLOSE_SECONDS = 10.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0
_log = get_logger(__name__)


@dataclass(slots=True)
class Attempt:
    """One upload. `cancelled`: the sender gave up, its memory may change under us, nothing of it may go live.

    `made`: its last write made an object where none was.
    """

    session: UUID
    upload: Upload
    quota: int | None = None
    cancelled: bool = False
    made: bool = False

    @property
    def info(self) -> ObjectInfo:
        """What the row will say."""
        return ObjectInfo(self.upload.kind, self.upload.size, self.upload.raw_size)


class ChunkStore:
    """Chunk bytes and rows of one datastore, as this process sees them."""

    def __init__(
        self, database: Database, backend: ChunkBackend, ids: StoreIds, quota: QuotaLedger, executor: Executor
    ) -> None:
        self.backend = backend
        self.ids = ids
        self._database = database
        self._quota = quota
        self._executor = executor
        self._locks = DigestLocks(contended=self._hurry)
        self._publisher = Publisher(database, backend, ids, quota, self._locks.release)
        self._claims = ClaimQueue(database, ids.datastore, ids.tenant, ids.writer, quota)

    @property
    def digest_locks(self) -> DigestLocks:
        """One writer per digest: whoever deletes takes part (formats 9.9)."""
        return self._locks

    # ------------------------------------------------------------------------------------------------ writing

    async def insert(self, attempt: Attempt) -> StoredChunk:
        """Claim and store a checked chunk; what the row and the object are afterwards.

        Raises:
            InvalidArgument (refused beside the stored object), SessionLost, QuotaExceeded, NoSpace, Unavailable.
        """
        digest = attempt.upload.digest
        began, pause = time.monotonic(), _FIRST_PAUSE
        while True:
            waited = time.monotonic() - began
            await self._locks.acquire(digest)
            held = True
            try:
                patient = self.backend.immediate and waited < TAKE_OVER_SECONDS
                claim = await self._claims.claim(
                    attempt.session, digest, attempt.info, quota=attempt.quota, patient=patient
                )
                row = await self._described(claim.row) if claim.next is Next.PRESENT else None
                if row is not None:
                    return await self._present(row, attempt)
                if claim.next in (Next.WRITE, Next.HEAL):
                    live = await self._write(claim, attempt)
                    held = live is None
                    if live is not None and (not self.backend.immediate or await live):
                        return StoredChunk(duplicate=False, stored_size=attempt.upload.size)
                elif claim.next is Next.WAIT_FOR_WRITER:
                    await self._rescue(claim.row)
            finally:
                if held:
                    self._locks.release(digest)
            if waited > WAIT_SECONDS:
                raise Unavailable(f"chunk {digest.hex()} is being written or deleted by somebody else; try again")
            await asyncio.sleep(pause * (0.5 + secrets.randbelow(1000) / 1000))
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _write(self, claim: Claim, attempt: Attempt) -> asyncio.Future[bool] | None:
        """Write the object and hand it and its lock to the publisher; None when the row is somebody else's by now."""
        upload, reserved = attempt.upload, attempt.upload.size
        self._quota.claimed(self.ids.tenant, reserved)
        handed_over = False
        try:
            if not await self._write_object(claim, attempt):
                return None
            if attempt.cancelled:
                raise Unavailable("the upload was given up")
            before = claim.row.size if claim.next is Next.HEAL and claim.row is not None else 0
            written = Written(upload.digest, attempt.session, attempt.info, upload.size - before)
            live = self._publisher.add(written, reserved)
            handed_over = True
        except PbsError:
            if claim.fresh:
                await self._forget(attempt)
            raise
        finally:
            if not handed_over:
                self._quota.ended(self.ids.tenant, reserved, 0)
        metrics.STORED.inc()
        metrics.BYTES_STORED.inc(upload.size)
        return live

    async def _write_object(self, claim: Claim, attempt: Attempt) -> bool:
        """Whether it was written; an object of unknown origin is overwritten only while the row is still ours."""
        upload = attempt.upload
        if claim.next is Next.WRITE:
            attempt.made = False
            attempt.made = await self.backend.write_chunk(upload.digest, upload.parts, only_new=True)
            if attempt.made:
                return True
            if not await self._is_ours(attempt):
                return False
        await self.backend.write_chunk(upload.digest, upload.parts, only_new=False)
        return True

    async def _is_ours(self, attempt: Attempt) -> bool:
        async with self._database.tenant(self.ids.tenant) as db:
            return await claim_db.is_ours(
                db, self.ids.datastore, attempt.upload.digest, attempt.session, self.ids.writer
            )

    async def _forget(self, attempt: Attempt) -> None:
        """Drop a row that this attempt inserted, so that others need not wait for the end of its session.

        Its object, if there is one after all, is then a leftover: a later writer overwrites it. In a directory it goes
        at once; a DELETE in a bucket could arrive late. One that was there before may be another server's: it stays.
        """
        digest = attempt.upload.digest
        try:
            if not self.backend.immediate:
                if attempt.made:
                    await self.backend.delete_chunks([digest])
            elif attempt.cancelled:
                return
            async with self._database.tenant(self.ids.tenant, wait=1.0) as db:
                await claim_db.forget(db, self.ids.datastore, digest, attempt.session, self.ids.writer)
        except PbsError as error:
            _log.warning("a failed upload's row stays until its session ends", error=error.message)

    async def _present(self, row: ChunkRow, attempt: Attempt) -> StoredChunk:
        """The digest is stored and claimed: the table of formats 1.7 says which copy stays."""
        upload = attempt.upload
        decision = decide(row.kind, row.size, upload.kind, upload.size)
        if decision is Decision.KEEP:
            metrics.DUPLICATES.inc()
            return StoredChunk(duplicate=True, stored_size=row.size)
        if decision is Decision.POISONED:
            metrics.POISONED.inc()
            _log.error("poisoned chunk replaced", digest=row.digest.hex(), datastore=self.ids.datastore, size=row.size)
        private = await asyncio.get_running_loop().run_in_executor(self._executor, upload.owned)
        if attempt.cancelled:
            raise Unavailable("the upload was given up")
        await self.backend.write_chunk(upload.digest, private.parts, only_new=False, durable=True)
        old = ObjectInfo(row.kind, row.size, row.raw_size)
        async with self._database.tenant(self.ids.tenant) as db:
            await claim_db.replaced(db, self.ids.datastore, self.ids.tenant, upload.digest, old, attempt.info)
        metrics.STORED.inc()
        metrics.BYTES_STORED.inc(upload.size)
        return StoredChunk(duplicate=False, stored_size=upload.size)

    async def _described(self, row: ChunkRow | None) -> ChunkRow | None:
        """The row with the kind and size of its object, which of an adopted chunk nobody has looked at before.

        None: the object is damaged or missing, so that the next claim lets this upload heal it.
        """
        if row is None or row.kind is not ChunkKind.UNKNOWN:
            return row
        try:
            data = await self.backend.read_chunk(row.digest, row.location)
            kind = ChunkKind.of(await asyncio.get_running_loop().run_in_executor(self._executor, blob.check_crc, data))
        except (NotFound, DataCorrupt, FormatError):
            await self._mark_if_damaged(row.digest, row.location)
            return None
        found = ObjectInfo(kind, len(data), row.raw_size)
        async with self._database.tenant(self.ids.tenant) as db:
            old = ObjectInfo(row.kind, row.size, row.raw_size)
            await claim_db.replaced(db, self.ids.datastore, self.ids.tenant, row.digest, old, found)
        return ChunkRow(row.digest, row.state, kind, len(data), row.raw_size, row.touch_epoch, row.location)

    # ------------------------------------------------------------------------------------------------ durability

    async def flush(self, session: UUID) -> None:
        """Everything that the session uploaded is durable and live, also what a predecessor of this process wrote.

        Raises:
            DataCorrupt: an upload did not survive; the session cannot finish. Unavailable.
        """
        await self._publisher.flush()
        if self.backend.immediate:
            return  # an upload is answered only when its row is live
        held: list[bytes] = []
        try:
            for digest, _info in await self._unfinished(session):
                await self._locks.acquire(digest)
                held.append(digest)
            left = [item for item in await self._unfinished(session) if item[0] in set(held)]
            await self._recover(session, left)
        finally:
            for digest in held:
                self._locks.release(digest)

    async def _unfinished(self, session: UUID) -> list[tuple[bytes, ObjectInfo]]:
        async with self._database.tenant(self.ids.tenant) as db:
            return await claim_db.unfinished(db, self.ids.datastore, session)

    async def _rescue(self, row: ChunkRow | None) -> None:
        """Set a row live that another session's upload through a dead process left in our own directory.

        If its file is not whole, that session's `flush` fails and says so; until then the row stays.
        """
        if row is None or row.owner is None or self.backend.immediate or row.state is not ChunkState.UPLOADING:
            return
        with contextlib.suppress(DataCorrupt):
            await self._recover(row.owner, [(row.digest, ObjectInfo(row.kind, row.size, row.raw_size))])

    async def _recover(self, session: UUID, rows: Sequence[tuple[bytes, ObjectInfo]]) -> None:
        """Verify files whose locks we hold, make them durable and set their rows live."""
        whole = [(digest, info) for digest, info in rows if await self._is_whole(digest, info)]
        if whole:
            async with self._database.tenant(self.ids.tenant) as db:
                for digest, _info in whole:
                    await claim_db.adopt(db, self.ids.datastore, digest, session, self.ids.writer)
            await self._publisher.publish_now([Written(digest, session, info, info.size) for digest, info in whole])
        broken = {digest for digest, _info in rows} - {digest for digest, _info in whole}
        if broken:
            raise DataCorrupt(f"chunk {min(broken).hex()} was lost before it was durable; start the backup again")

    async def _is_whole(self, digest: bytes, info: ObjectInfo) -> bool:
        """Whether the file is what the row says, as far as size, kind and CRC tell."""
        if self._publisher.was_lost(digest):
            return False
        try:
            data = await self.backend.read_chunk(digest)
            kind = await asyncio.get_running_loop().run_in_executor(self._executor, blob.check_crc, data)
        except (NotFound, FormatError):
            return False
        return ChunkKind.of(kind) is info.kind and len(data) == info.size

    async def close(self) -> None:
        """Publish what is pending (a successor finds what a missing database leaves), then let the directory go."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._publisher.flush()
        await self.backend.close()

    def _hurry(self) -> None:
        self._publisher.hurry()

    # ------------------------------------------------------------------------------------------------ reading

    async def mark_corrupt(self, digest: bytes, location: str | None) -> bool:
        """Look at a damaged object again under its lock; if it still is, its row becomes `corrupt`. Whether it is."""
        await self._locks.acquire(digest)
        try:
            return await self._mark_if_damaged(digest, location)
        finally:
            self._locks.release(digest)

    async def _mark_if_damaged(self, digest: bytes, location: str | None) -> bool:
        """`mark_corrupt` under a lock that the caller holds."""
        if await self._reads_well(digest, location):
            return False
        async with self._database.tenant(self.ids.tenant) as db:
            await claim_db.mark_corrupt(db, self.ids.datastore, digest)
        metrics.CORRUPT.inc()
        _log.error("chunk is damaged", digest=digest.hex(), datastore=self.ids.datastore)
        return True

    async def retire(self, digest: bytes, location: str | None, look: Callable[[], Awaitable[T | None]]) -> T | None:
        """Look again under the digest's lock; if there still is a finding, the row becomes `corrupt` and the object is
        set aside, so that the next upload restores it (formats 11.2). Answers the finding.

        A row that was not live is left alone: somebody else deals with it.
        """
        await self._locks.acquire(digest)
        try:
            finding = await look()
            if finding is None:
                return None
            async with self._database.tenant(self.ids.tenant) as db:
                marked = await claim_db.mark_corrupt(db, self.ids.datastore, digest)
            if marked:
                metrics.CORRUPT.inc()
                _log.error("chunk is damaged", digest=digest.hex(), datastore=self.ids.datastore)
                await self._set_aside(digest, location)
        finally:
            self._locks.release(digest)
        return finding

    async def set_aside_leftover(self, digest: bytes) -> None:
        """In a directory: set the file of a `corrupt` row aside that nobody has come to yet."""
        if self.backend.immediate:
            return
        await self._locks.acquire(digest)
        try:
            async with self._database.tenant(self.ids.tenant) as db:
                row = await claim_db.find(db, self.ids.datastore, digest)
            if row is not None and row.state is ChunkState.CORRUPT:
                await self._set_aside(digest, row.location)
        finally:
            self._locks.release(digest)

    async def _set_aside(self, digest: bytes, location: str | None) -> None:
        """An object that lies elsewhere (adopted) or is missing stays as it is."""
        if location is not None:
            return
        try:
            await self.backend.set_aside_chunk(digest)
        except NotFound:
            return
        except PbsError as error:
            _log.warning("damaged chunk not set aside", digest=digest.hex(), error=error.message)

    async def _reads_well(self, digest: bytes, location: str | None) -> bool:
        try:
            data = await self.backend.read_chunk(digest, location)
            await asyncio.get_running_loop().run_in_executor(self._executor, blob.check_crc, data)
        except (NotFound, DataCorrupt, FormatError):
            return False
        return True
