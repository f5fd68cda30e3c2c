"""Typed client for second factors: one-time codes and recovery keys (rest-api A.7, C.3)."""

from __future__ import annotations

from dataclasses import dataclass

import grpc

from pbs_cloud.contracts.client import ServiceClient
from pbs_cloud.contracts.codec import from_message
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.proto.auth.v1 import second_factor_pb2 as pb
from pbs_cloud.proto.auth.v1 import second_factor_pb2_grpc
from pbs_cloud.proto.common.v1 import common_pb2


@dataclass(frozen=True, slots=True)
class Factor:
    """One second factor of a user. ``type``: ``totp`` or ``recovery``; ``created``: Unix seconds."""

    id: str
    type: str
    description: str
    created: int
    enable: bool


@dataclass(frozen=True, slots=True)
class UserFactors:
    """All second factors of a user; ``tfa_locked_until``: Unix seconds until when none of them is accepted."""

    userid: str
    entries: tuple[Factor, ...] = ()
    totp_locked: bool = False
    tfa_locked_until: int | None = None


@dataclass(frozen=True, slots=True)
class NewFactor:
    """What was added; ``recovery`` holds the recovery keys, which are shown only here."""

    id: str
    recovery: tuple[str, ...] = ()


class SecondFactorClient(ServiceClient):
    """Calls of ``pbs_cloud.proto.auth.v1.SecondFactor``. ``password`` is the caller's own. All raise a ``PbsError``."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__(channel)
        self._stub = second_factor_pb2_grpc.SecondFactorStub(channel)

    async def list_users(self, ctx: CallContext) -> tuple[UserFactors, ...]:
        """Users with second factors, as far as the caller may see them."""
        answer = await self._unary(self._stub.ListUserFactors, common_pb2.Empty(), ctx)
        return tuple(from_message(user, UserFactors) for user in answer.users)

    async def get(self, ctx: CallContext, userid: str) -> UserFactors:
        request = pb.UserFactorsRequest(userid=userid)
        return from_message(await self._unary(self._stub.GetUserFactors, request, ctx), UserFactors)

    async def add(
        self,
        ctx: CallContext,
        userid: str,
        kind: str,
        *,
        description: str | None = None,
        totp: str | None = None,
        value: str | None = None,
        password: str | None = None,
    ) -> NewFactor:
        """A one-time code entry (``totp``: otpauth URI, ``value``: a present code) or new recovery keys."""
        request = pb.AddFactorRequest(
            userid=userid, type=kind, description=description, totp=totp, value=value, password=password
        )
        return from_message(await self._unary(self._stub.AddFactor, request, ctx), NewFactor)

    async def update(
        self,
        ctx: CallContext,
        userid: str,
        factor_id: str,
        *,
        description: str | None = None,
        enable: bool | None = None,
        password: str | None = None,
    ) -> None:
        request = pb.UpdateFactorRequest(
            userid=userid, id=factor_id, description=description, enable=enable, password=password
        )
        await self._unary(self._stub.UpdateFactor, request, ctx)

    async def delete(self, ctx: CallContext, userid: str, factor_id: str, password: str | None = None) -> None:
        request = pb.DeleteFactorRequest(userid=userid, id=factor_id, password=password)
        await self._unary(self._stub.DeleteFactor, request, ctx)

    async def unlock(self, ctx: CallContext, userid: str) -> bool:
        """Accept the second factors of a user again; whether they were locked."""
        request = pb.UserFactorsRequest(userid=userid)
        return bool((await self._unary(self._stub.UnlockFactors, request, ctx)).was_locked)
