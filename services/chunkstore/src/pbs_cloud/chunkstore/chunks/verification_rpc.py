"""The gRPC face of verification."""

from __future__ import annotations

from pbs_cloud.chunkstore.chunks.verification import Verification
from pbs_cloud.contracts.codec import to_message
from pbs_cloud.proto.chunkstore.v1 import verification_pb2 as pb
from pbs_cloud.proto.chunkstore.v1 import verification_pb2_grpc
from pbs_cloud.runtime.grpc_server import GrpcServer, RpcContext


class VerifierRpc:
    """Handlers of `pbs_cloud.proto.chunkstore.v1.Verifier`."""

    def __init__(self, verification: Verification) -> None:
        self._verification = verification

    def add_to(self, server: GrpcServer) -> None:
        """Register all methods."""
        server.add_service(verification_pb2_grpc.add_VerifierServicer_to_server, self)

    async def CheckChunks(self, request: pb.CheckChunksRequest, context: RpcContext) -> pb.CheckChunksResponse:
        checked = await self._verification.check(
            context.call,
            request.session_id,
            request.digests,
            request.sizes,
            encrypted=request.encrypted,
            workers=request.workers,
        )
        return to_message(checked, pb.CheckChunksResponse)
