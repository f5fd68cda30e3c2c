"""Clients of the steps of garbage collection (formats 9.9): ``CollectionClient`` and ``SweeperClient``."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc

from pbs_cloud.contracts.client import STREAM_DEADLINE_SECONDS, ServiceClient, call_metadata
from pbs_cloud.contracts.codec import from_message
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import from_rpc_error
from pbs_cloud.proto.chunkstore.v1 import collection_pb2 as pb
from pbs_cloud.proto.chunkstore.v1 import collection_pb2_grpc
from pbs_cloud.proto.common.v1 import common_pb2

SERVICE = "/pbs_cloud.proto.chunkstore.v1.Collection"
SWEEP_DEADLINE_SECONDS = 300.0
# Marks of very many snapshots in a bucket, and what waits for its turn behind them.
MARK_DEADLINE_SECONDS = 48 * 3600.0


@dataclass(frozen=True, slots=True)
class CollectionRun:
    """A run that the caller holds; ``phase`` (`mark`, `condemn`, `delete`) is where one that was taken over goes on."""

    token: str
    store: str
    run_epoch: int
    phase: str
    resumed: bool
    dry_run: bool
    orphans_due: bool


@dataclass(frozen=True, slots=True)
class MarkSummary:
    """What the indexes hold: their number, the bytes they describe, the digests in them (repetitions included)."""

    index_file_count: int
    index_data_bytes: int
    digests_read: int
    cutoff: int


@dataclass(frozen=True, slots=True)
class MarkPiece:
    """Concatenated digests and how far the marking is; ``summary`` only in the last piece."""

    digests: bytes
    indexes_done: int
    indexes_total: int
    warnings: tuple[str, ...] = ()
    summary: MarkSummary | None = None


@dataclass(frozen=True, slots=True)
class CondemnResult:
    """Rows looked at, and what became of them; ``missing``: the first digests that have no chunk."""

    rows: int
    referenced: int
    unreferenced: int
    condemned: int
    discarded: int
    missing_count: int
    missing: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class SweepResult:
    """One batch of deletions; ``failed`` are tried again in a later run."""

    removed_chunks: int
    removed_bytes: int
    removed_bad: int
    failed: int
    more: bool


@dataclass(frozen=True, slots=True)
class OrphanResult:
    """Objects without a row that will be deleted; ``refused``: why nothing was looked for.

    ``lost``: live chunks whose object is gone; they are `corrupt` now, so that the next backup stores them again.
    """

    found: int
    removed_bad: int
    still_bad: int
    refused: str | None = None
    lost: int = 0


@dataclass(frozen=True, slots=True)
class CollectionState:
    """A datastore as its collection sees it; times in Unix seconds of the database, ``gc_status`` is JSON (9.8)."""

    tenant_id: str
    store: str
    gc_status: str
    running: bool
    abandoned: bool
    last_start: int
    now: int
    schedule: str | None = None
    last_result: str | None = None
    last_end: int | None = None
    last_duration: int | None = None
    chunks: int | None = None
    maintenance: str | None = None


async def _with_end(pieces: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """A stream that is cut off looks to gRPC's server as if it had ended: an empty piece says that it really has."""
    async for piece in pieces:
        yield piece
    yield b""


class CollectionClient(ServiceClient):
    """Calls of ``pbs_cloud.proto.chunkstore.v1.Collection``."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__(channel)
        self._stub = collection_pb2_grpc.CollectionStub(channel)
        self._condemn: Any = channel.stream_unary(
            f"{SERVICE}/CondemnRun", request_serializer=None, response_deserializer=pb.CondemnResult.FromString
        )

    async def begin(self, ctx: CallContext, store: str, process_id: str, *, dry_run: bool = False) -> CollectionRun:
        """Step A. Raises PermissionDenied, NotFound, Conflict (maintenance), Locked (a run is alive)."""
        request = pb.BeginRunRequest(store=store, process_id=process_id, dry_run=dry_run)
        return from_message(await self._unary(self._stub.BeginRun, request, ctx), CollectionRun)

    async def renew(self, ctx: CallContext, token: str) -> None:
        """Keep the run. Raises Conflict if somebody else has it, or it has ended."""
        await self._unary(self._stub.RenewRun, pb.RunRequest(token=token), ctx)

    async def mark(self, ctx: CallContext, token: str) -> AsyncIterator[MarkPiece]:
        """Steps B and C. Raises DataCorrupt for an index that cannot be read, Conflict, Unavailable."""
        request = pb.RunRequest(token=token)
        call = self._stub.MarkRun(request, metadata=call_metadata(ctx), timeout=MARK_DEADLINE_SECONDS)
        try:
            async for piece in call:
                yield from_message(piece, MarkPiece)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        finally:
            call.cancel()

    async def condemn(self, ctx: CallContext, token: str, digests: AsyncIterable[bytes]) -> CondemnResult:
        """Step D over pieces of sorted, distinct digests (whole ones in each piece)."""
        metadata = call_metadata(ctx, pb.RunRequest(token=token))
        try:
            answer = await self._condemn(_with_end(digests), metadata=metadata, timeout=MARK_DEADLINE_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        return from_message(answer, CondemnResult)

    async def end(self, ctx: CallContext, token: str, upid: str, result: str, *, complete: bool) -> str:
        """Step G; the datastore's status as JSON. Repeatable."""
        request = pb.EndRunRequest(token=token, upid=upid, result=result, complete=complete)
        return str((await self._unary(self._stub.EndRun, request, ctx)).json)

    async def states(
        self, ctx: CallContext, store: str | None = None, *, with_chunks: bool = False
    ) -> AsyncIterator[CollectionState]:
        """All datastores of the tenant, or one (NotFound), by name."""
        request = pb.ListCollectionsRequest(store=store, with_chunks=with_chunks)
        async for state in self._stream_out(self._stub.ListCollections, request, ctx):
            yield from_message(state, CollectionState)

    async def all_states(self) -> AsyncIterator[CollectionState]:
        """All datastores of all tenants."""
        async for state in self._stream_out(self._stub.ListAllCollections, common_pb2.Empty(), None):
            yield from_message(state, CollectionState)


class SweeperClient(ServiceClient):
    """Calls of ``pbs_cloud.proto.chunkstore.v1.Sweeper``."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__(channel)
        self._stub = collection_pb2_grpc.SweeperStub(channel)

    async def sweep(self, ctx: CallContext, token: str, limit: int) -> SweepResult:
        """Delete at most ``limit`` chunks whose grace is over. Repeatable. Raises Conflict, Unavailable."""
        request = pb.SweepRequest(token=token, limit=limit)
        answer = await self._unary(self._stub.SweepSome, request, ctx, timeout=SWEEP_DEADLINE_SECONDS)
        return from_message(answer, SweepResult)

    async def find_orphans(self, ctx: CallContext, token: str) -> OrphanResult:
        """Step F up to the rows; the next sweep deletes. Raises Conflict, Unavailable."""
        request = pb.RunRequest(token=token)
        answer = await self._unary(self._stub.FindOrphans, request, ctx, timeout=STREAM_DEADLINE_SECONDS)
        return from_message(answer, OrphanResult)
