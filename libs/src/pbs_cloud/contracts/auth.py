"""Typed client of the auth service and the domain types it answers with (rest-api A.7, A.8, C.2, C.3, D.3-D.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc

from pbs_cloud.contracts.client import ServiceClient
from pbs_cloud.contracts.codec import from_message
from pbs_cloud.contracts.context import AclEntry, CallContext, Caller
from pbs_cloud.contracts.login import Login
from pbs_cloud.contracts.realms import RealmsClient
from pbs_cloud.contracts.second_factor import SecondFactorClient
from pbs_cloud.proto.auth.v1 import auth_pb2 as pb
from pbs_cloud.proto.auth.v1 import auth_pb2_grpc
from pbs_cloud.proto.common.v1 import common_pb2


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one request carried (wire-protocol 3.1); a ticket decides over a token."""

    ticket: str | None = None
    csrf_token: str | None = None
    csrf_required: bool = False
    token_id: str | None = None
    token_secret: str | None = None
    bearer_secret: str | None = None


@dataclass(frozen=True, slots=True)
class ApiToken:
    """An API token without its secret. ``expire``, ``created_at``, ``last_used``: Unix seconds, expire 0 = never."""

    id: str
    user_id: str
    tokenid: str
    name: str
    enable: bool
    expire: int
    created_at: int
    comment: str | None = None
    permission: str | None = None
    last_used: int | None = None


@dataclass(frozen=True, slots=True)
class User:
    """A user of one tenant. ``permission`` is the highest level whose entries are all there."""

    id: str
    tenant_id: str
    userid: str
    enable: bool
    expire: int
    created_at: int
    comment: str | None = None
    firstname: str | None = None
    lastname: str | None = None
    email: str | None = None
    permission: str | None = None
    last_login: int | None = None
    tokens: tuple[ApiToken, ...] = ()
    totp_locked: bool = False
    tfa_locked_until: int | None = None


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant; ``quota_bytes`` None = unlimited, ``maintenance`` the operator's read-only overlay."""

    id: str
    name: str
    slug: str
    created_at: int
    active: bool
    quota_bytes: int | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    maintenance: str | None = None


@dataclass(frozen=True, slots=True)
class UserSettings:
    """Fields of a user or token that create and update calls may set; None = leave as it is."""

    password: str | None = None
    comment: str | None = None
    firstname: str | None = None
    lastname: str | None = None
    email: str | None = None
    enable: bool | None = None
    expire: int | None = None
    permission: str | None = None


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """Fields of a token that create and update calls may set; None = leave as it is."""

    comment: str | None = None
    enable: bool | None = None
    expire: int | None = None
    permission: str | None = None


def _fields(settings: UserSettings | TokenSettings) -> dict[str, Any]:
    return {name: value for name in settings.__slots__ if (value := getattr(settings, name)) is not None}


class AuthClient(ServiceClient):
    """Calls of ``pbs_cloud.proto.auth.v1.Auth``. Every method raises a ``PbsError``.

    ``factors`` and ``realms``: the calls about second factors and realms, on the same channel.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__(channel)
        self.factors = SecondFactorClient(channel)
        self.realms = RealmsClient(channel)
        self._stub = auth_pb2_grpc.AuthStub(channel)

    async def authenticate(self, credentials: Credentials, client_address: str = "") -> Caller:
        """Caller of these credentials; ``Unauthenticated`` alike for every cause."""
        request = pb.AuthenticateRequest(
            client_address=client_address,
            **{name: value for name in credentials.__slots__ if (value := getattr(credentials, name)) is not None},
        )
        return from_message(await self._unary(self._stub.Authenticate, request, None), Caller)

    async def login(
        self,
        username: str,
        password: str | None,
        *,
        cookie_ticket: str | None = None,
        tfa_challenge: str | None = None,
        client_address: str = "",
    ) -> Login:
        """A new ticket for a password, a valid ticket of the user, or a token secret (rest-api C.2).

        A user with second factors gets a partial ticket first: it is the ``tfa_challenge`` of a second call, whose
        ``password`` is the answer (``totp:…``, ``recovery:…``).
        """
        request = pb.LoginRequest(
            username=username,
            password=password,
            cookie_ticket=cookie_ticket,
            tfa_challenge=tfa_challenge,
            client_address=client_address,
        )
        return from_message(await self._unary(self._stub.Login, request, None), Login)

    async def change_password(self, ctx: CallContext, userid: str, password: str, confirmation: str | None) -> None:
        request = pb.ChangePasswordRequest(userid=userid, password=password, confirmation_password=confirmation)
        await self._unary(self._stub.ChangePassword, request, ctx)

    async def list_permissions(
        self, ctx: CallContext, auth_id: str | None, path: str | None
    ) -> dict[str, dict[str, bool]]:
        """Path -> privilege -> propagates."""
        request = pb.ListPermissionsRequest(auth_id=auth_id, path=path)
        answer = await self._unary(self._stub.ListPermissions, request, ctx)
        return {entry.path: dict(entry.privileges) for entry in answer.paths}

    async def list_acl(
        self, ctx: CallContext, path: str | None = None, exact: bool = False
    ) -> tuple[tuple[AclEntry, ...], str]:
        """Visible entries and the digest."""
        answer = await self._unary(self._stub.ListAcl, pb.ListAclRequest(path=path, exact=exact), ctx)
        return tuple(from_message(entry, AclEntry) for entry in answer.entries), answer.digest

    async def update_acl(
        self, ctx: CallContext, entry: AclEntry, *, delete: bool = False, digest: str | None = None
    ) -> None:
        request = pb.UpdateAclRequest(
            path=entry.path,
            role=entry.role,
            auth_id=entry.auth_id,
            propagate=entry.propagate,
            delete=delete,
            digest=digest,
        )
        await self._unary(self._stub.UpdateAcl, request, ctx)

    async def is_active(self, ctx: CallContext, auth_id: str) -> bool:
        """Whether the auth id exists in the caller's tenant and is enabled and not expired."""
        answer = await self._unary(self._stub.CheckAuthId, pb.CheckAuthIdRequest(auth_id=auth_id), ctx)
        return bool(answer.active)

    async def list_users(self, ctx: CallContext, include_tokens: bool = False) -> tuple[tuple[User, ...], str]:
        """Visible users and the digest."""
        answer = await self._unary(self._stub.ListUsers, pb.ListUsersRequest(include_tokens=include_tokens), ctx)
        return tuple(from_message(user, User) for user in answer.users), answer.digest

    async def get_user(self, ctx: CallContext, userid: str) -> tuple[User, str]:
        answer = await self._unary(self._stub.GetUser, pb.UserRequest(userid=userid), ctx)
        return from_message(answer.user, User), answer.digest

    async def create_user(
        self, ctx: CallContext, userid: str, settings: UserSettings, tenant_id: str | None = None
    ) -> User:
        request = pb.CreateUserRequest(userid=userid, tenant_id=tenant_id, **_fields(settings))
        return from_message(await self._unary(self._stub.CreateUser, request, ctx), User)

    async def update_user(
        self,
        ctx: CallContext,
        userid: str,
        settings: UserSettings,
        delete: Sequence[str] = (),
        digest: str | None = None,
    ) -> None:
        request = pb.UpdateUserRequest(userid=userid, delete=delete, digest=digest, **_fields(settings))
        await self._unary(self._stub.UpdateUser, request, ctx)

    async def delete_user(self, ctx: CallContext, user: str, digest: str | None = None) -> User:
        """``user`` is a userid or the id of rest-api D.4."""
        return from_message(
            await self._unary(self._stub.DeleteUser, pb.DeleteUserRequest(user=user, digest=digest), ctx), User
        )

    async def list_tokens(self, ctx: CallContext, userid: str) -> tuple[tuple[ApiToken, ...], str]:
        answer = await self._unary(self._stub.ListTokens, pb.UserRequest(userid=userid), ctx)
        return tuple(from_message(token, ApiToken) for token in answer.tokens), answer.digest

    async def get_token(self, ctx: CallContext, userid: str, name: str) -> tuple[ApiToken, str]:
        answer = await self._unary(self._stub.GetToken, pb.TokenRequest(userid=userid, name=name), ctx)
        return from_message(answer.token, ApiToken), answer.digest

    async def create_token(
        self,
        ctx: CallContext,
        userid: str,
        name: str,
        settings: TokenSettings,
        digest: str | None = None,
        *,
        level_within_user: bool = False,
    ) -> tuple[ApiToken, str]:
        """The token and its secret, which is shown only here.

        ``level_within_user``: a level with rights that the user lacks is ``InvalidArgument`` (rest-api D.5).
        """
        request = pb.CreateTokenRequest(
            userid=userid, name=name, digest=digest, level_within_user=level_within_user, **_fields(settings)
        )
        answer = await self._unary(self._stub.CreateToken, request, ctx)
        return from_message(answer.token, ApiToken), answer.secret

    async def update_token(
        self,
        ctx: CallContext,
        userid: str,
        name: str,
        settings: TokenSettings,
        *,
        regenerate: bool = False,
        delete: Sequence[str] = (),
        digest: str | None = None,
    ) -> str | None:
        """The new secret with ``regenerate``, else None."""
        request = pb.UpdateTokenRequest(
            userid=userid, name=name, regenerate=regenerate, delete=delete, digest=digest, **_fields(settings)
        )
        answer = await self._unary(self._stub.UpdateToken, request, ctx)
        return answer.secret if answer.HasField("secret") else None

    async def delete_token(self, ctx: CallContext, userid: str, name: str, digest: str | None = None) -> None:
        await self._unary(self._stub.DeleteToken, pb.DeleteTokenRequest(userid=userid, name=name, digest=digest), ctx)

    async def delete_token_by_id(self, ctx: CallContext, token_id: str) -> None:
        await self._unary(self._stub.DeleteToken, pb.DeleteTokenRequest(id=token_id), ctx)

    async def list_tenants(self, ctx: CallContext) -> tuple[Tenant, ...]:
        answer = await self._unary(self._stub.ListTenants, common_pb2.Empty(), ctx)
        return tuple(from_message(tenant, Tenant) for tenant in answer.tenants)

    async def get_tenant(self, ctx: CallContext, tenant_id: str) -> Tenant:
        return from_message(await self._unary(self._stub.GetTenant, pb.TenantRequest(id=tenant_id), ctx), Tenant)

    async def create_tenant(
        self,
        ctx: CallContext,
        name: str,
        *,
        slug: str | None = None,
        quota_bytes: int | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Tenant:
        request = pb.CreateTenantRequest(name=name, slug=slug, quota_bytes=quota_bytes, metadata=dict(metadata or {}))
        return from_message(await self._unary(self._stub.CreateTenant, request, ctx), Tenant)

    async def update_tenant(self, ctx: CallContext, tenant_id: str, changes: Mapping[str, Any]) -> Tenant:
        """``changes``: any of name, quota_bytes, active, metadata, maintenance; None clears quota and maintenance."""
        request = pb.UpdateTenantRequest(
            id=tenant_id,
            **{k: v for k, v in changes.items() if v is not None},
            set_metadata="metadata" in changes,
            clear_quota="quota_bytes" in changes and changes["quota_bytes"] is None,
            clear_maintenance="maintenance" in changes and changes["maintenance"] is None,
        )
        return from_message(await self._unary(self._stub.UpdateTenant, request, ctx), Tenant)

    async def delete_tenant(self, ctx: CallContext, tenant_id: str) -> Tenant:
        return from_message(await self._unary(self._stub.DeleteTenant, pb.TenantRequest(id=tenant_id), ctx), Tenant)

    async def list_tenant_users(self, ctx: CallContext, tenant_id: str) -> tuple[User, ...]:
        answer = await self._unary(self._stub.ListTenantUsers, pb.TenantRequest(id=tenant_id), ctx)
        return tuple(from_message(user, User) for user in answer.users)

    async def ensure_root(self, tenant_id: str, *, renew: bool = False) -> str | None:
        """Secret of the root token if this call created it (first start) or renewed it, else None."""
        request = pb.EnsureRootRequest(tenant_id=tenant_id, renew=renew)
        answer = await self._unary(self._stub.EnsureRoot, request, None)
        return answer.token_secret if answer.HasField("token_secret") else None
