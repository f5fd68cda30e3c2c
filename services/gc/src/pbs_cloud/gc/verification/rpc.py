"""The gRPC face of verification."""

from __future__ import annotations

from pbs_cloud.contracts.codec import from_message
from pbs_cloud.contracts.jobs import VerifyOptions, VerifyScope
from pbs_cloud.gc.verification.verify import Verify
from pbs_cloud.proto.chunkstore.v1 import chunkstore_pb2
from pbs_cloud.proto.gc.v1 import gc_pb2 as pb
from pbs_cloud.runtime.grpc_server import RpcContext


class VerifyRpc:
    """Part of the servicer of ``Gc``."""

    def __init__(self, verify: Verify) -> None:
        self._verify = verify

    async def Verify(self, request: pb.VerifyRequest, context: RpcContext) -> chunkstore_pb2.UpidResponse:
        scope, options = from_message(request, VerifyScope), from_message(request.options, VerifyOptions)
        return chunkstore_pb2.UpidResponse(upid=await self._verify.start(context.call, scope, options))
