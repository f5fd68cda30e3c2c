"""gRPC methods of ``pbs_cloud.proto.auth.v1.SecondFactor``."""

from __future__ import annotations

from pbs_cloud.auth.rpc import given
from pbs_cloud.auth.second_factor_service import SecondFactorService
from pbs_cloud.contracts.codec import to_message
from pbs_cloud.proto.auth.v1 import second_factor_pb2 as pb
from pbs_cloud.proto.common.v1 import common_pb2
from pbs_cloud.runtime.grpc_server import RpcContext


class SecondFactorRpc:
    """Thin on purpose: rules stand in the service."""

    def __init__(self, service: SecondFactorService) -> None:
        self._service = service

    async def ListUserFactors(self, request: common_pb2.Empty, context: RpcContext) -> pb.ListUserFactorsResponse:
        found = await self._service.list_users(context.call)
        return pb.ListUserFactorsResponse(users=[to_message(user, pb.UserFactors) for user in found])

    async def GetUserFactors(self, request: pb.UserFactorsRequest, context: RpcContext) -> pb.UserFactors:
        return to_message(await self._service.get(context.call, request.userid), pb.UserFactors)

    async def AddFactor(self, request: pb.AddFactorRequest, context: RpcContext) -> pb.AddFactorResponse:
        made = await self._service.add(
            context.call,
            request.userid,
            request.type,
            given(request, "description"),
            given(request, "totp"),
            given(request, "value"),
            given(request, "password"),
        )
        return to_message(made, pb.AddFactorResponse)

    async def UpdateFactor(self, request: pb.UpdateFactorRequest, context: RpcContext) -> common_pb2.Empty:
        await self._service.update(
            context.call,
            request.userid,
            request.id,
            given(request, "description"),
            given(request, "enable"),
            given(request, "password"),
        )
        return common_pb2.Empty()

    async def DeleteFactor(self, request: pb.DeleteFactorRequest, context: RpcContext) -> common_pb2.Empty:
        await self._service.delete(context.call, request.userid, request.id, given(request, "password"))
        return common_pb2.Empty()

    async def UnlockFactors(self, request: pb.UserFactorsRequest, context: RpcContext) -> pb.UnlockFactorsResponse:
        return pb.UnlockFactorsResponse(was_locked=await self._service.unlock(context.call, request.userid))
