"""Claims in batches: up to 64, or what came within 4 ms, in one transaction (formats 9.9)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from uuid import UUID

from pbs_cloud.chunkstore.chunks import claim_db
from pbs_cloud.chunkstore.chunks.claim_rules import ChunkRow, Claimant, Next, ObjectInfo, judge
from pbs_cloud.chunkstore.chunks.quota import QuotaLedger, exceeded
from pbs_cloud.contracts.errors import Internal, PbsError, SessionLost, Unavailable
from pbs_cloud.runtime.database import Connection, Database
from pbs_cloud.runtime.logging import get_logger
from pbs_cloud.runtime.telemetry import Counter

BATCH_SIZE = 64
BATCH_SECONDS = 0.004
_PARALLEL = 1
_BATCHES = Counter("pbs_chunks_claim_batches", "Claim transactions")
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Claim:
    """Answer to a claim. `fresh`: the row is new; `row`: as it was found otherwise (with owner and state of before)."""

    next: Next
    fresh: bool = False
    row: ChunkRow | None = None


@dataclass(slots=True)
class _Request:
    session: UUID
    digest: bytes
    info: ObjectInfo
    quota: int | None
    patient: bool
    answer: asyncio.Future[Claim]


class ClaimQueue:
    """Claims of one datastore. No two requests for one digest are ever in it: the digest's lock sees to that."""

    def __init__(self, database: Database, datastore: int, tenant: str, writer: UUID, quota: QuotaLedger) -> None:
        self._database = database
        self._datastore = datastore
        self._tenant = tenant
        self._writer = writer
        self._quota = quota
        self._waiting: list[_Request] = []
        self._running = 0
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def claim(
        self, session: UUID, digest: bytes, info: ObjectInfo, *, quota: int | None = None, patient: bool = True
    ) -> Claim:
        """Claim `digest` for `session`, whose tenant may store `quota` bytes.

        Raises:
            SessionLost, QuotaExceeded, Unavailable.
        """
        answer: asyncio.Future[Claim] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Request(session, digest, info, quota, patient, answer))
        self._start_if_due(full=len(self._waiting) >= BATCH_SIZE)
        return await answer

    def _start_if_due(self, *, full: bool = False) -> None:
        if not self._waiting or self._running >= _PARALLEL:
            return
        if full:
            self._start()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(BATCH_SECONDS, self._start)

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._waiting or self._running >= _PARALLEL:
            return
        batch, self._waiting = self._waiting[:BATCH_SIZE], self._waiting[BATCH_SIZE:]
        self._running += 1
        task = asyncio.create_task(self._run(batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, batch: list[_Request]) -> None:
        try:
            _BATCHES.inc()
            answers = await self._database.retrying(lambda: self._transaction(batch))
        except Exception as error:
            answers = [_as_pbs_error(error)] * len(batch)
        finally:
            self._running -= 1
            self._start_if_due(full=len(self._waiting) >= BATCH_SIZE)
        for request, answer in zip(batch, answers, strict=True):
            if request.answer.done():
                continue
            if isinstance(answer, Claim):
                request.answer.set_result(answer)
            else:
                request.answer.set_exception(answer)

    async def _transaction(self, batch: list[_Request]) -> list[Claim | PbsError]:
        """One answer per request, in order."""
        async with self._database.tenant(self._tenant) as db:
            refused = await self._over_quota(db, batch)
            new = [
                claim_db.NewRow(item.digest, item.info, item.session) for item in batch if item.digest not in refused
            ]
            epochs, fresh = await claim_db.claim_new(
                db, self._datastore, self._tenant, (item.session for item in batch), new, self._writer
            )
            others = [item for item in batch if item.session in epochs and item.digest not in fresh]
            judged = await self._judge(db, others, epochs, refused) if others else {}
        answers = dict(judged)
        answers.update((digest, Claim(Next.WRITE, fresh=True)) for digest in fresh)
        return [
            answers.get(request.digest) or SessionLost("the backup session is no longer active") for request in batch
        ]

    async def _over_quota(self, db: Connection, requests: list[_Request]) -> dict[bytes, PbsError]:
        """Digests that may not be stored anew, because their bytes would be too many."""
        refused: dict[bytes, PbsError] = {}
        added = 0
        for request in requests:
            if request.quota is None:
                continue
            used = await self._quota.used(db, self._tenant) + added
            if used + request.info.size > request.quota:
                refused[request.digest] = exceeded(used, request.quota)
            else:
                added += request.info.size
        return refused

    async def _judge(
        self,
        db: Connection,
        requests: list[_Request],
        epochs: dict[UUID, int],
        refused: dict[bytes, PbsError],
    ) -> dict[bytes, Claim | PbsError]:
        rows = await claim_db.lock_chunks(db, self._datastore, [request.digest for request in requests])
        answers: dict[bytes, Claim | PbsError] = {}
        changed: list[ChunkRow] = []
        for request in requests:
            row = rows.get(request.digest)
            if row is None:
                # Refused, or deleted between the insert and the lock: then the next attempt inserts it.
                answers[request.digest] = refused.get(request.digest, Claim(Next.WAIT_FOR_DELETE))
                continue
            who = Claimant(request.session, epochs[request.session], self._writer)
            verdict = judge(row, who, request.info, patient=request.patient)
            if verdict.next is Next.WRITE and request.digest in refused:
                answers[request.digest] = refused[request.digest]
                continue
            if verdict.row is not None:
                changed.append(verdict.row)
            answers[request.digest] = Claim(verdict.next, row=row)
        if changed:
            await claim_db.store_rows(db, self._datastore, changed)
        return answers


def _as_pbs_error(error: Exception) -> PbsError:
    if isinstance(error, PbsError):
        return error
    _log.error("claim failed", exc_info=error)
    return Unavailable("the database takes too long") if isinstance(error, TimeoutError) else Internal("claim failed")
