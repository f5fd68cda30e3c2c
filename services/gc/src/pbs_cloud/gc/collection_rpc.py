"""Calls of ``pbs_cloud.proto.gc.v1.Gc`` about garbage collection."""

from __future__ import annotations

from pbs_cloud.contracts.codec import to_message
from pbs_cloud.gc.collection import Collection
from pbs_cloud.proto.chunkstore.v1 import collection_pb2
from pbs_cloud.proto.gc.v1 import gc_pb2 as pb
from pbs_cloud.runtime.grpc_server import RpcContext


class CollectionRpc:
    """Thin on purpose."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    async def StartCollection(
        self, request: pb.StartCollectionRequest, context: RpcContext
    ) -> pb.StartCollectionResponse:
        upid, statistics = await self._collection.start(
            context.call,
            request.store,
            dry_run=request.dry_run,
            max_delete=request.max_delete if request.HasField("max_delete") else None,
            wait_seconds=request.wait_seconds,
        )
        done = None if statistics is None else to_message(statistics, pb.CollectionStatistics)
        return pb.StartCollectionResponse(upid=upid, statistics=done)

    async def GetCollectionStatus(
        self, request: collection_pb2.ListCollectionsRequest, context: RpcContext
    ) -> pb.GetCollectionStatusResponse:
        store = request.store if request.HasField("store") else None
        states = await self._collection.states(context.call, store, with_chunks=request.with_chunks)
        shown = [to_message(state, collection_pb2.CollectionState) for state in states]
        return pb.GetCollectionStatusResponse(collections=shown)
