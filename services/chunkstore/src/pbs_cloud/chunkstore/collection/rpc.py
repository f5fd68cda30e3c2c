"""gRPC methods of ``pbs_cloud.proto.chunkstore.v1.Collection``."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

from pbs_cloud.chunkstore.catalogue.closing import Closing
from pbs_cloud.chunkstore.catalogue.parts import Parts, to_the_end
from pbs_cloud.chunkstore.collection.condemning import Condemning
from pbs_cloud.chunkstore.collection.marking import Marking
from pbs_cloud.chunkstore.collection.runs_service import Runs
from pbs_cloud.contracts.codec import to_message
from pbs_cloud.contracts.errors import InvalidArgument, Unavailable
from pbs_cloud.proto.chunkstore.v1 import collection_pb2 as pb
from pbs_cloud.proto.chunkstore.v1 import collection_pb2_grpc
from pbs_cloud.proto.common.v1 import common_pb2
from pbs_cloud.runtime.grpc_server import GrpcServer, RpcContext


class CollectionRpc:
    """Thin on purpose."""

    def __init__(self, runs: Runs, marking: Marking, condemning: Condemning) -> None:
        self._runs = runs
        self._marking = marking
        self._condemning = condemning

    async def BeginRun(self, request: pb.BeginRunRequest, context: RpcContext) -> pb.CollectionRun:
        work = self._runs.begin(context.call, request.store, request.process_id, dry_run=request.dry_run)
        return to_message(await to_the_end(work), pb.CollectionRun)

    async def RenewRun(self, request: pb.RunRequest, context: RpcContext) -> common_pb2.Empty:
        await self._runs.renew(context.call, parse_token(request.token))
        return common_pb2.Empty()

    async def MarkRun(self, request: pb.RunRequest, context: RpcContext) -> AsyncIterator[pb.MarkPiece]:
        async for piece in self._marking.mark(context.call, parse_token(request.token)):
            yield to_message(piece, pb.MarkPiece)

    async def CondemnRun(self, request: AsyncIterator[bytes], context: RpcContext) -> pb.CondemnResult:
        token = parse_token(context.parameters(pb.RunRequest).token)
        return to_message(await self._condemning.condemn(context.call, token, _whole(request)), pb.CondemnResult)

    async def EndRun(self, request: pb.EndRunRequest, context: RpcContext) -> pb.GcStatusJson:
        token = parse_token(request.token)
        work = self._runs.end(context.call, token, request.upid, request.result, complete=request.complete)
        return pb.GcStatusJson(json=await to_the_end(work))

    async def ListCollections(
        self, request: pb.ListCollectionsRequest, context: RpcContext
    ) -> AsyncIterator[pb.CollectionState]:
        store = request.store if request.HasField("store") else None
        async for state in self._runs.states(context.call, store, with_chunks=request.with_chunks):
            yield to_message(state, pb.CollectionState)

    async def ListAllCollections(
        self, request: common_pb2.Empty, context: RpcContext
    ) -> AsyncIterator[pb.CollectionState]:
        async for state in self._runs.all_states():
            yield to_message(state, pb.CollectionState)


async def _whole(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces up to the empty one that ends them.

    Raises Unavailable: the sender went away. What it had not sent must not look unused.
    """
    async for piece in pieces:
        if not piece:
            return
        yield piece
    raise Unavailable("the marks ended too early")


def parse_token(text: str) -> uuid.UUID:
    """Raises InvalidArgument."""
    try:
        return uuid.UUID(text)
    except ValueError as error:
        raise InvalidArgument("token: is no run", field="token") from error


def serve(server: GrpcServer, parts: Parts, closing: Closing) -> None:
    """Let ``server`` answer the calls of ``Collection``."""
    rpc = CollectionRpc(Runs(parts), Marking(parts, closing), Condemning(parts))
    server.add_service(collection_pb2_grpc.add_CollectionServicer_to_server, rpc, raw_requests=("CondemnRun",))
