"""The gRPC face of the chunk service: messages in, service call, messages out."""

from __future__ import annotations

from pbs_cloud.chunkstore.chunks.service import ChunkService
from pbs_cloud.contracts.errors import InvalidArgument
from pbs_cloud.proto.chunkstore.v1 import chunkstore_pb2 as pb
from pbs_cloud.proto.chunkstore.v1 import chunkstore_pb2_grpc
from pbs_cloud.proto.common.v1 import common_pb2
from pbs_cloud.runtime.grpc_server import GrpcServer, RpcContext
from pbs_cloud.runtime.shared_region import SharedRegionServer


class ChunksRpc:
    """Handlers of `pbs_cloud.proto.chunkstore.v1.Chunks`."""

    def __init__(self, service: ChunkService, regions: SharedRegionServer | None) -> None:
        self._service = service
        self._regions = regions

    def add_to(self, server: GrpcServer) -> None:
        """Register all methods."""
        server.add_service(
            chunkstore_pb2_grpc.add_ChunksServicer_to_server,
            self,
            raw_requests=["PutChunk"],
            raw_responses=["GetChunk"],
        )

    async def PutChunk(self, request: bytes, context: RpcContext) -> pb.PutChunkResponse:
        given = context.parameters(pb.PutChunkRequest)
        stored = await self._service.put(context.call, given.session_id, given.digest, given.size, memoryview(request))
        return pb.PutChunkResponse(duplicate=stored.duplicate, stored_size=stored.stored_size)

    async def GetChunk(self, request: pb.GetChunkRequest, context: RpcContext) -> bytes:
        return await self._service.get(context.call, request.session_id, request.digest)

    async def PutSharedChunk(self, request: pb.PutSharedChunkRequest, context: RpcContext) -> pb.PutChunkResponse:
        given = request.chunk
        data = self._slot(request.region, request.offset, request.length)
        stored = await self._service.put(context.call, given.session_id, given.digest, given.size, data)
        return pb.PutChunkResponse(duplicate=stored.duplicate, stored_size=stored.stored_size)

    async def GetSharedChunk(self, request: pb.GetSharedChunkRequest, context: RpcContext) -> pb.GetSharedChunkResponse:
        given = request.chunk
        target = self._slot(request.region, request.offset, request.capacity)
        length = await self._service.get_into(context.call, given.session_id, given.digest, target)
        return pb.GetSharedChunkResponse(length=length)

    async def Flush(self, request: pb.FlushRequest, context: RpcContext) -> common_pb2.Empty:
        await self._service.flush(context.call, request.session_id)
        return common_pb2.Empty()

    def _slot(self, region: bytes, offset: int, length: int) -> memoryview:
        if self._regions is None:
            raise InvalidArgument("region: this server takes no shared memory", field="region")
        return self._regions.slot(region, offset, length)
