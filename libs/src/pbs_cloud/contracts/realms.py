"""Typed client for realms and for logins at OpenID providers (rest-api C.2, E.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from pbs_cloud.contracts.client import ServiceClient
from pbs_cloud.contracts.codec import from_message, to_message
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.login import Login
from pbs_cloud.proto.auth.v1 import realms_pb2 as pb
from pbs_cloud.proto.auth.v1 import realms_pb2_grpc
from pbs_cloud.proto.common.v1 import common_pb2


@dataclass(frozen=True, slots=True)
class Realm:
    """A realm as login boxes show it. ``type``: ``pam``, ``pbs`` or ``openid``."""

    realm: str
    type: str
    is_default: bool
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class OpenidRealm:
    """An OpenID realm of one tenant, without its client key. ``scopes`` and ``acr_values``: words, blank-separated."""

    realm: str
    issuer_url: str
    client_id: str
    autocreate: bool = False
    comment: str | None = None
    scopes: str | None = None
    prompt: str | None = None
    acr_values: str | None = None
    username_claim: str | None = None


class RealmsClient(ServiceClient):
    """Calls of ``pbs_cloud.proto.auth.v1.Realms``. Every method raises a ``PbsError``."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__(channel)
        self._stub = realms_pb2_grpc.RealmsStub(channel)

    async def list_public(self) -> tuple[Realm, ...]:
        """The realms that everybody may know."""
        answer = await self._unary(self._stub.ListRealms, common_pb2.Empty(), None)
        return tuple(from_message(realm, Realm) for realm in answer.realms)

    async def list_openid(self, ctx: CallContext) -> tuple[tuple[OpenidRealm, ...], str]:
        """OpenID realms of the caller's tenant and the digest."""
        answer = await self._unary(self._stub.ListOpenidRealms, common_pb2.Empty(), ctx)
        return tuple(from_message(realm, OpenidRealm) for realm in answer.realms), answer.digest

    async def get_openid(self, ctx: CallContext, realm: str) -> tuple[OpenidRealm, str]:
        answer = await self._unary(self._stub.GetOpenidRealm, pb.RealmRequest(realm=realm), ctx)
        return from_message(answer.realm, OpenidRealm), answer.digest

    async def create_openid(self, ctx: CallContext, realm: OpenidRealm, client_key: str | None = None) -> None:
        request = pb.CreateOpenidRealmRequest(realm=to_message(realm, pb.OpenidRealm), client_key=client_key)
        await self._unary(self._stub.CreateOpenidRealm, request, ctx)

    async def update_openid(
        self,
        ctx: CallContext,
        realm: str,
        changes: Mapping[str, Any],
        delete: Sequence[str] = (),
        digest: str | None = None,
    ) -> None:
        """``changes``: any fields of ``OpenidRealm`` but realm and username claim, and ``client_key``."""
        request = pb.UpdateOpenidRealmRequest(realm=realm, delete=delete, digest=digest, **changes)
        await self._unary(self._stub.UpdateOpenidRealm, request, ctx)

    async def delete_openid(self, ctx: CallContext, realm: str, digest: str | None = None) -> None:
        request = pb.DeleteRealmRequest(realm=realm, digest=digest)
        await self._unary(self._stub.DeleteOpenidRealm, request, ctx)

    async def start_login(self, realm: str, redirect_url: str, client_address: str = "") -> str:
        """The URL at the provider where the browser has to go."""
        request = pb.StartOpenidLoginRequest(realm=realm, redirect_url=redirect_url, client_address=client_address)
        return str((await self._unary(self._stub.StartOpenidLogin, request, None)).url)

    async def finish_login(self, state: str, code: str, redirect_url: str, client_address: str = "") -> Login:
        """A ticket for what the provider sent back; ``Unauthenticated`` alike for every cause."""
        request = pb.FinishOpenidLoginRequest(
            state=state, code=code, redirect_url=redirect_url, client_address=client_address
        )
        return from_message(await self._unary(self._stub.FinishOpenidLogin, request, None), Login)
