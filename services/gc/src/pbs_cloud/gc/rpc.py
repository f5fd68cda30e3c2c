"""gRPC methods of ``pbs_cloud.proto.gc.v1.Gc``."""

from __future__ import annotations

from pbs_cloud.contracts.codec import to_message
from pbs_cloud.gc.service import GcService
from pbs_cloud.proto.common.v1 import common_pb2
from pbs_cloud.proto.gc.v1 import gc_pb2 as pb
from pbs_cloud.runtime.grpc_server import RpcContext


class GcRpc:
    """Thin on purpose."""

    def __init__(self, service: GcService) -> None:
        self._service = service

    async def GetStatus(self, request: common_pb2.Empty, context: RpcContext) -> pb.GcServiceStatus:
        return to_message(await self._service.status(context.call), pb.GcServiceStatus)
