"""gRPC methods of ``pbs_cloud.proto.auth.v1.Auth``: message in, service call, message out."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from pbs_cloud.auth.acl_service import AclService
from pbs_cloud.auth.authentication import Authenticator
from pbs_cloud.auth.login import Logins
from pbs_cloud.auth.password_change import PasswordChange
from pbs_cloud.auth.root import ensure_root
from pbs_cloud.auth.tenant_service import TenantService
from pbs_cloud.auth.token_service import TokenService
from pbs_cloud.auth.user_service import UserService
from pbs_cloud.contracts.auth import Credentials, TokenSettings, UserSettings
from pbs_cloud.contracts.codec import from_message, to_message
from pbs_cloud.contracts.context import AclEntry
from pbs_cloud.proto.auth.v1 import auth_pb2 as pb
from pbs_cloud.proto.common.v1 import common_pb2
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.grpc_server import RpcContext


def given(request: Message, name: str) -> Any:
    """The value of an optional field, None when it is absent."""
    return getattr(request, name) if request.HasField(name) else None


class AuthRpc:
    """Thin on purpose: rules stand in the services."""

    def __init__(
        self,
        database: Database,
        authenticator: Authenticator,
        logins: Logins,
        users: UserService,
        tokens: TokenService,
    ) -> None:
        self._database = database
        self._authenticator = authenticator
        self._logins = logins
        self._users = users
        self._tokens = tokens
        self._acl = AclService(database)
        self._tenants = TenantService(database)
        self._passwords = PasswordChange(logins, users)

    async def Authenticate(self, request: pb.AuthenticateRequest, context: RpcContext) -> common_pb2.Caller:
        caller = await self._authenticator.authenticate(from_message(request, Credentials))
        return to_message(caller, common_pb2.Caller)

    async def Login(self, request: pb.LoginRequest, context: RpcContext) -> pb.LoginResponse:
        login = await self._logins.login(
            request.username,
            given(request, "password"),
            given(request, "cookie_ticket"),
            given(request, "tfa_challenge"),
            request.client_address,
        )
        return to_message(login, pb.LoginResponse)

    async def ChangePassword(self, request: pb.ChangePasswordRequest, context: RpcContext) -> common_pb2.Empty:
        confirmation = given(request, "confirmation_password")
        await self._passwords.change(context.call, request.userid, request.password, confirmation)
        return common_pb2.Empty()

    async def ListPermissions(
        self, request: pb.ListPermissionsRequest, context: RpcContext
    ) -> pb.ListPermissionsResponse:
        found = await self._acl.permissions(context.call, given(request, "auth_id"), given(request, "path"))
        paths = [pb.ListPermissionsResponse.Path(path=path, privileges=held) for path, held in found.items()]
        return pb.ListPermissionsResponse(paths=paths)

    async def ListAcl(self, request: pb.ListAclRequest, context: RpcContext) -> pb.ListAclResponse:
        entries, digest = await self._acl.list_entries(context.call, given(request, "path"), request.exact)
        return pb.ListAclResponse(entries=[to_message(e, common_pb2.AclEntry) for e in entries], digest=digest)

    async def UpdateAcl(self, request: pb.UpdateAclRequest, context: RpcContext) -> common_pb2.Empty:
        entry = AclEntry(request.path, request.auth_id, request.role, request.propagate)
        await self._acl.update(context.call, entry, delete=request.delete, digest=given(request, "digest"))
        return common_pb2.Empty()

    async def CheckAuthId(self, request: pb.CheckAuthIdRequest, context: RpcContext) -> pb.CheckAuthIdResponse:
        return pb.CheckAuthIdResponse(active=await self._users.is_active(context.call, request.auth_id))

    async def ListUsers(self, request: pb.ListUsersRequest, context: RpcContext) -> pb.ListUsersResponse:
        users, digest = await self._users.list_users(context.call, request.include_tokens)
        return pb.ListUsersResponse(users=[to_message(user, pb.User) for user in users], digest=digest)

    async def GetUser(self, request: pb.UserRequest, context: RpcContext) -> pb.UserResponse:
        user, digest = await self._users.get(context.call, request.userid)
        return pb.UserResponse(user=to_message(user, pb.User), digest=digest)

    async def CreateUser(self, request: pb.CreateUserRequest, context: RpcContext) -> pb.User:
        settings, tenant_id = from_message(request, UserSettings), given(request, "tenant_id")
        return to_message(await self._users.create(context.call, request.userid, settings, tenant_id), pb.User)

    async def UpdateUser(self, request: pb.UpdateUserRequest, context: RpcContext) -> common_pb2.Empty:
        settings, digest = from_message(request, UserSettings), given(request, "digest")
        await self._users.update(context.call, request.userid, settings, list(request.delete), digest)
        return common_pb2.Empty()

    async def DeleteUser(self, request: pb.DeleteUserRequest, context: RpcContext) -> pb.User:
        if "@" in request.user:
            removed = await self._users.delete(context.call, request.user, given(request, "digest"))
        else:
            removed = await self._users.delete_by_id(context.call, request.user)
        return to_message(removed, pb.User)

    async def ListTokens(self, request: pb.UserRequest, context: RpcContext) -> pb.ListTokensResponse:
        tokens, digest = await self._tokens.list_tokens(context.call, request.userid)
        return pb.ListTokensResponse(tokens=[to_message(token, pb.Token) for token in tokens], digest=digest)

    async def GetToken(self, request: pb.TokenRequest, context: RpcContext) -> pb.TokenResponse:
        token, digest = await self._tokens.get(context.call, request.userid, request.name)
        return pb.TokenResponse(token=to_message(token, pb.Token), digest=digest)

    async def CreateToken(self, request: pb.CreateTokenRequest, context: RpcContext) -> pb.CreateTokenResponse:
        token, secret = await self._tokens.create(
            context.call,
            request.userid,
            request.name,
            from_message(request, TokenSettings),
            given(request, "digest"),
            level_within_user=request.level_within_user,
        )
        return pb.CreateTokenResponse(token=to_message(token, pb.Token), secret=secret)

    async def UpdateToken(self, request: pb.UpdateTokenRequest, context: RpcContext) -> pb.UpdateTokenResponse:
        secret = await self._tokens.update(
            context.call,
            request.userid,
            request.name,
            from_message(request, TokenSettings),
            regenerate=request.regenerate,
            delete=list(request.delete),
            digest=given(request, "digest"),
        )
        return pb.UpdateTokenResponse(secret=secret)

    async def DeleteToken(self, request: pb.DeleteTokenRequest, context: RpcContext) -> common_pb2.Empty:
        if request.HasField("id"):
            await self._tokens.delete_by_id(context.call, request.id)
        else:
            await self._tokens.delete(context.call, request.userid, request.name, given(request, "digest"))
        return common_pb2.Empty()

    async def ListTenants(self, request: common_pb2.Empty, context: RpcContext) -> pb.ListTenantsResponse:
        found = await self._tenants.list_tenants(context.call)
        return pb.ListTenantsResponse(tenants=[to_message(tenant, pb.Tenant) for tenant in found])

    async def GetTenant(self, request: pb.TenantRequest, context: RpcContext) -> pb.Tenant:
        return to_message(await self._tenants.get(context.call, request.id), pb.Tenant)

    async def CreateTenant(self, request: pb.CreateTenantRequest, context: RpcContext) -> pb.Tenant:
        tenant = await self._tenants.create(
            context.call,
            request.name,
            given(request, "slug"),
            given(request, "quota_bytes"),
            dict(request.metadata),
        )
        return to_message(tenant, pb.Tenant)

    async def UpdateTenant(self, request: pb.UpdateTenantRequest, context: RpcContext) -> pb.Tenant:
        names = ("name", "quota_bytes", "active", "maintenance")
        changes = {name: value for name in names if (value := given(request, name)) is not None}
        if request.set_metadata:
            changes["metadata"] = dict(request.metadata)
        if request.clear_quota:
            changes["quota_bytes"] = None
        if request.clear_maintenance:
            changes["maintenance"] = None
        return to_message(await self._tenants.update(context.call, request.id, changes), pb.Tenant)

    async def DeleteTenant(self, request: pb.TenantRequest, context: RpcContext) -> pb.Tenant:
        return to_message(await self._tenants.delete(context.call, request.id), pb.Tenant)

    async def ListTenantUsers(self, request: pb.TenantRequest, context: RpcContext) -> pb.ListUsersResponse:
        users = await self._users.list_of_tenant(context.call, request.id)
        return pb.ListUsersResponse(users=[to_message(user, pb.User) for user in users])

    async def EnsureRoot(self, request: pb.EnsureRootRequest, context: RpcContext) -> pb.EnsureRootResponse:
        secret = await ensure_root(self._database, request.tenant_id, renew=request.renew)
        return pb.EnsureRootResponse(created=secret is not None, token_secret=secret)
