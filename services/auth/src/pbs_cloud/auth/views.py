"""Rows to the domain types that clients get."""

from __future__ import annotations

from collections.abc import Iterable

from pbs_cloud.auth.db.factors import FactorState
from pbs_cloud.auth.db.tokens import TokenRow
from pbs_cloud.auth.db.users import UserRow
from pbs_cloud.auth.levels import level_of
from pbs_cloud.auth.second_factor import is_totp_locked
from pbs_cloud.contracts.auth import ApiToken, User
from pbs_cloud.contracts.context import AclEntry


def group_by_auth_id(entries: Iterable[AclEntry]) -> dict[str, list[AclEntry]]:
    """Entries of each auth id, so that many users can be shown in one pass."""
    grouped: dict[str, list[AclEntry]] = {}
    for entry in entries:
        grouped.setdefault(entry.auth_id, []).append(entry)
    return grouped


def token_view(row: TokenRow, acl: dict[str, list[AclEntry]]) -> ApiToken:
    return ApiToken(
        id=str(row.id),
        user_id=str(row.user_id),
        tokenid=row.token_id,
        name=row.name,
        enable=row.enable,
        expire=row.expire,
        created_at=row.created_at,
        comment=row.comment,
        permission=level_of(acl.get(row.token_id, ()), row.token_id),
        last_used=row.last_used,
    )


def user_view(
    row: UserRow,
    acl: dict[str, list[AclEntry]],
    tokens: Iterable[TokenRow] = (),
    state: FactorState | None = None,
    now: float = 0.0,
) -> User:
    locked_until = state.locked_until if state is not None and state.locked_until > now else None
    return User(
        id=str(row.id),
        tenant_id=row.tenant_id,
        userid=row.userid,
        enable=row.enable,
        expire=row.expire,
        created_at=row.created_at,
        comment=row.comment,
        firstname=row.firstname,
        lastname=row.lastname,
        email=row.email,
        permission=level_of(acl.get(row.userid, ()), row.userid),
        last_login=row.last_login,
        tokens=tuple(token_view(token, acl) for token in tokens),
        totp_locked=state is not None and is_totp_locked(state),
        tfa_locked_until=locked_until,
    )
