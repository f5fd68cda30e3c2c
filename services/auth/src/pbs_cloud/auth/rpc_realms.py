"""gRPC methods of ``pbs_cloud.proto.auth.v1.Realms``."""

from __future__ import annotations

from pbs_cloud.auth.openid.flow import OpenidLogins
from pbs_cloud.auth.openid.realm_service import RealmService
from pbs_cloud.auth.rpc import given
from pbs_cloud.contracts.codec import from_message, to_message
from pbs_cloud.contracts.realms import OpenidRealm
from pbs_cloud.proto.auth.v1 import auth_pb2
from pbs_cloud.proto.auth.v1 import realms_pb2 as pb
from pbs_cloud.proto.common.v1 import common_pb2
from pbs_cloud.runtime.grpc_server import RpcContext

_CHANGES = ("issuer_url", "client_id", "client_key", "comment", "scopes", "prompt", "acr_values", "autocreate")


class RealmsRpc:
    """Thin on purpose: rules stand in the services."""

    def __init__(self, realms: RealmService, logins: OpenidLogins) -> None:
        self._realms = realms
        self._logins = logins

    async def ListRealms(self, request: common_pb2.Empty, context: RpcContext) -> pb.ListRealmsResponse:
        found = await self._realms.list_public()
        return pb.ListRealmsResponse(realms=[to_message(realm, pb.Realm) for realm in found])

    async def ListOpenidRealms(self, request: common_pb2.Empty, context: RpcContext) -> pb.ListOpenidRealmsResponse:
        found, digest = await self._realms.list_openid(context.call)
        return pb.ListOpenidRealmsResponse(realms=[to_message(realm, pb.OpenidRealm) for realm in found], digest=digest)

    async def GetOpenidRealm(self, request: pb.RealmRequest, context: RpcContext) -> pb.OpenidRealmResponse:
        realm, digest = await self._realms.get(context.call, request.realm)
        return pb.OpenidRealmResponse(realm=to_message(realm, pb.OpenidRealm), digest=digest)

    async def CreateOpenidRealm(self, request: pb.CreateOpenidRealmRequest, context: RpcContext) -> common_pb2.Empty:
        realm = from_message(request.realm, OpenidRealm)
        await self._realms.create(context.call, realm, given(request, "client_key"))
        return common_pb2.Empty()

    async def UpdateOpenidRealm(self, request: pb.UpdateOpenidRealmRequest, context: RpcContext) -> common_pb2.Empty:
        changes = {name: getattr(request, name) for name in _CHANGES if request.HasField(name)}
        digest = given(request, "digest")
        await self._realms.update(context.call, request.realm, changes, list(request.delete), digest)
        return common_pb2.Empty()

    async def DeleteOpenidRealm(self, request: pb.DeleteRealmRequest, context: RpcContext) -> common_pb2.Empty:
        await self._realms.delete(context.call, request.realm, given(request, "digest"))
        return common_pb2.Empty()

    async def StartOpenidLogin(
        self, request: pb.StartOpenidLoginRequest, context: RpcContext
    ) -> pb.StartOpenidLoginResponse:
        url = await self._logins.start(request.realm, request.redirect_url, request.client_address)
        return pb.StartOpenidLoginResponse(url=url)

    async def FinishOpenidLogin(
        self, request: pb.FinishOpenidLoginRequest, context: RpcContext
    ) -> auth_pb2.LoginResponse:
        login = await self._logins.finish(request.state, request.code, request.redirect_url, request.client_address)
        return to_message(login, auth_pb2.LoginResponse)
