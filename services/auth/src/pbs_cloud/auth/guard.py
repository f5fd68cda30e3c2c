"""Checks that several calls of this service share (rest-api C.3, E.6, E.11)."""

from __future__ import annotations

from pbs_cloud.contracts.context import SYSTEM_AUTH_ID, Caller
from pbs_cloud.contracts.errors import PermissionDenied
from pbs_cloud.contracts.rights import Privilege, privileges


def denied() -> PermissionDenied:
    """The answer of every declarative check."""
    return PermissionDenied("permission check failed")


def holds(caller: Caller, path: str, privilege: Privilege) -> bool:
    """Whether the caller has the privilege at the ACL path."""
    return privilege in privileges(caller, path)


def require_user_access(caller: Caller, userid: str, privilege: Privilege) -> None:
    """The privilege on ``/access/users``, or the caller is that user (a token is not its user)."""
    if caller.auth_id != userid and not holds(caller, "/access/users", privilege):
        raise denied()


def require_operator(caller: Caller) -> None:
    """Only the system operator."""
    if not caller.operator:
        raise denied()


def protect_operator(caller: Caller, auth_id: str) -> None:
    """``root@pam`` and its tokens belong to the operator: nobody else changes them (rest-api E.6).

    Called once it is known that the auth id exists in the caller's tenant: elsewhere it is as unknown as any other.
    """
    if auth_id.partition("!")[0] == SYSTEM_AUTH_ID and not caller.operator:
        raise denied()
