"""Who calls: decided once by ``auth``, carried by every call, judged by each service with its own rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from pbs_cloud.contracts.codec import from_message, to_message
from pbs_cloud.proto.common.v1 import common_pb2

CONTEXT_METADATA_KEY = "pbs-context-bin"
REQUEST_METADATA_KEY = "pbs-request-bin"


@dataclass(frozen=True, slots=True)
class AclEntry:
    """One entry of the tenant's ACL (rest-api A.8). ``auth_id`` is the user or token it is for."""

    path: str
    auth_id: str
    role: str
    propagate: bool = True


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated auth id with everything that rights need."""

    tenant_id: str
    auth_id: str
    acl: tuple[AclEntry, ...] = ()
    superuser: bool = False
    operator: bool = False
    quota_bytes: int | None = None
    maintenance: str | None = None

    @property
    def user_id(self) -> str:
        """The user behind the auth id (the auth id itself unless it is a token)."""
        return self.auth_id.partition("!")[0]

    @property
    def is_token(self) -> bool:
        return "!" in self.auth_id

    def owns(self, owner: str) -> bool:
        """Owner check of formats 12.3: same auth id, or the owner is a token of this user."""
        return owner == self.auth_id or owner.partition("!")[0] == self.auth_id


@dataclass(frozen=True, slots=True)
class CallContext:
    """Travels with every call in the metadata key ``pbs-context-bin``."""

    caller: Caller
    request_id: str = ""
    client_address: str = ""

    @property
    def tenant_id(self) -> str:
        return self.caller.tenant_id

    def to_bytes(self) -> bytes:
        return _written(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> CallContext:
        """Raises ``google.protobuf.message.DecodeError`` on bytes that are no context."""
        return _read(data)


# The calls of one request or session carry the same context, with the whole ACL in it: it is not converted for each.
@lru_cache(maxsize=256)
def _written(context: CallContext) -> bytes:
    return to_message(context, common_pb2.CallContext).SerializeToString()


@lru_cache(maxsize=256)
def _read(data: bytes) -> CallContext:
    return from_message(common_pb2.CallContext.FromString(data), CallContext)


SYSTEM_AUTH_ID = "root@pam"


@dataclass(frozen=True, slots=True)
class SystemContext:
    """Makes contexts for work that no request started: scheduled jobs run as ``root@pam`` in their tenant."""

    request_id: str = field(default="system")

    def for_tenant(self, tenant_id: str) -> CallContext:
        return CallContext(
            Caller(tenant_id=tenant_id, auth_id=SYSTEM_AUTH_ID, superuser=True, operator=True), self.request_id
        )
