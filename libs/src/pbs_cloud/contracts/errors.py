"""The closed error taxonomy that crosses gRPC. HTTP shapes exist only in the gateway.

Every error carries a sentence for people and, where one parameter is to blame, its name. On the wire it is a gRPC
status plus a ``common.v1.Error`` in the trailing metadata, so both ends see the same class.
"""

from __future__ import annotations

from typing import ClassVar

import grpc
from google.protobuf.message import DecodeError

from pbs_cloud.proto.common.v1 import common_pb2

ERROR_METADATA_KEY = "pbs-error-bin"


class PbsError(Exception):
    """Base of all expected failures. ``message`` is shown to users as it is."""

    code: ClassVar[str] = "internal"
    status: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class Internal(PbsError):
    """A defect or an unexpected state; the text says nothing about the inside."""


class InvalidArgument(PbsError):
    """A parameter is wrong; ``field`` names it."""

    code = "invalid_argument"
    status = grpc.StatusCode.INVALID_ARGUMENT


class Unauthenticated(PbsError):
    """No or bad credentials."""

    code = "unauthenticated"
    status = grpc.StatusCode.UNAUTHENTICATED


class PermissionDenied(PbsError):
    """Authenticated, but the privileges are missing."""

    code = "permission_denied"
    status = grpc.StatusCode.PERMISSION_DENIED


class NotOwner(PbsError):
    """The backup owner check failed (formats 12.3)."""

    code = "not_owner"
    status = grpc.StatusCode.PERMISSION_DENIED


class NotFound(PbsError):
    """The named object does not exist (for this tenant)."""

    code = "not_found"
    status = grpc.StatusCode.NOT_FOUND


class NamespaceNotFound(NotFound):
    """The namespace does not exist: the one missing object that is a 404 at backup start."""

    code = "namespace_not_found"


class AlreadyExists(PbsError):
    """The name is taken."""

    code = "already_exists"
    status = grpc.StatusCode.ALREADY_EXISTS


class Conflict(PbsError):
    """The state of the object forbids the call: protected, modified in between, not finished, maintenance."""

    code = "conflict"
    status = grpc.StatusCode.FAILED_PRECONDITION


class Locked(Conflict):
    """Somebody holds the lock; the same call may succeed later."""

    code = "locked"


class SessionLost(Conflict):
    """The session is finished, aborted or expired: nothing more can be done in it."""

    code = "session_lost"


class QuotaExceeded(PbsError):
    """The tenant's quota is used up; the text names used and allowed bytes."""

    code = "quota_exceeded"
    status = grpc.StatusCode.RESOURCE_EXHAUSTED


class RateLimited(PbsError):
    """Too many requests."""

    code = "rate_limited"
    status = grpc.StatusCode.RESOURCE_EXHAUSTED


class DataCorrupt(PbsError):
    """Stored bytes are damaged: wrong CRC, unreadable index or manifest, missing object."""

    code = "data_corrupt"
    status = grpc.StatusCode.DATA_LOSS


class NoSpace(PbsError):
    """The backend has no room left for the bytes."""

    code = "no_space"
    status = grpc.StatusCode.RESOURCE_EXHAUSTED


class Unavailable(PbsError):
    """A part that the call needs is away; nothing is known about the outcome."""

    code = "unavailable"
    status = grpc.StatusCode.UNAVAILABLE


class Unsupported(PbsError):
    """The call is not offered for this object: users of some realms have no password here."""

    code = "unsupported"
    status = grpc.StatusCode.UNIMPLEMENTED


def _all_classes(base: type[PbsError]) -> list[type[PbsError]]:
    return [base, *(found for sub in base.__subclasses__() for found in _all_classes(sub))]


_BY_CODE = {cls.code: cls for cls in _all_classes(PbsError) if cls is not PbsError}
_BY_CODE["internal"] = Internal
_BY_STATUS = {
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: Unavailable,
    grpc.StatusCode.CANCELLED: Unavailable,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
}


def to_metadata(error: PbsError) -> tuple[tuple[str, bytes], ...]:
    """Trailing metadata that carries ``error``."""
    message = common_pb2.Error(code=error.code, message=error.message, field=error.field)
    return ((ERROR_METADATA_KEY, message.SerializeToString()),)


def from_rpc_error(error: grpc.aio.AioRpcError) -> PbsError:
    """The error a gRPC call ended with; a call that was cut off is ``Unavailable``."""
    for key, value in error.trailing_metadata() or ():
        if key != ERROR_METADATA_KEY or not isinstance(value, bytes):
            continue
        try:
            message = common_pb2.Error.FromString(value)
        except DecodeError:
            break
        field = message.field if message.HasField("field") else None
        return _BY_CODE.get(message.code, Internal)(message.message, field=field)
    return _BY_STATUS.get(error.code(), Internal)(
        "the service is not available" if error.code() in _BY_STATUS else "internal error"
    )
