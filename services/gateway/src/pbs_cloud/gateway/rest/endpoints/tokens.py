"""API tokens: the stock calls and the project's own form (rest-api C.3, D.5)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from pbs_cloud.contracts.auth import ApiToken, TokenSettings
from pbs_cloud.contracts.errors import InvalidArgument, NotFound, PermissionDenied
from pbs_cloud.contracts.rights import Privilege as P
from pbs_cloud.gateway.errors import FORBIDDEN
from pbs_cloud.gateway.rest.access import Judged, Needs, holds
from pbs_cloud.gateway.rest.calls import Call, Data
from pbs_cloud.gateway.rest.endpoint import Area
from pbs_cloud.gateway.rest.endpoints.shared import CONFIG_DIGEST, rfc3339
from pbs_cloud.gateway.rest.endpoints.users import LEVEL, USERS, shown_token
from pbs_cloud.gateway.schema import Array, Enum, Param, String, common, optional, required

AREA = Area("API tokens")
_PATH: Final = "access/users/{userid}/token"
_READ: Final = Needs(USERS, (P.SYS_AUDIT,), or_self="userid")
_WRITE: Final = Needs(USERS, (P.PERMISSIONS_MODIFY,), or_self="userid")
_FIELDS: Final[dict[str, Param]] = {
    "comment": optional(common.COMMENT),
    "enable": optional(common.BOOLEAN),
    "expire": optional(common.EXPIRE, "Unix seconds; 0 is never"),
    "permission": optional(LEVEL, "level to set; without it the token has no rights"),
}


def _settings(call: Call) -> TokenSettings:
    return TokenSettings(**{name: call.params[name] for name in _FIELDS if name in call.params})


@AREA.get(_PATH, access=_READ)
async def tokens(call: Call) -> Any:
    """Tokens of a user."""
    found, digest = await call.clients.auth.list_tokens(call.ctx, call.text("userid"))
    return Data([{"token-name": token.name, **shown_token(token)} for token in found], {"digest": digest})


@AREA.get(_PATH + "/{token-name}", access=_READ)
async def token(call: Call) -> Any:
    """One token."""
    found, digest = await call.clients.auth.get_token(call.ctx, call.text("userid"), call.text("token-name"))
    return Data(shown_token(found), {"digest": digest})


@AREA.post(_PATH + "/{token-name}", {**_FIELDS, "digest": CONFIG_DIGEST}, access=_WRITE)
async def create_token(call: Call) -> Any:
    """Create a token; its secret is shown only here."""
    found, secret = await call.clients.auth.create_token(
        call.ctx, call.text("userid"), call.text("token-name"), _settings(call), call.params.get("digest")
    )
    return {"tokenid": found.tokenid, "value": secret}


@AREA.put(
    _PATH + "/{token-name}",
    {
        **_FIELDS,
        "regenerate": optional(common.BOOLEAN, "make a new secret", False),
        "delete": optional(Array(Enum(("comment",))), "fields to unset"),
        "digest": CONFIG_DIGEST,
    },
    access=_WRITE,
)
async def update_token(call: Call) -> Any:
    """Change a token."""
    secret = await call.clients.auth.update_token(
        call.ctx,
        call.text("userid"),
        call.text("token-name"),
        _settings(call),
        regenerate=call.params["regenerate"],
        delete=call.params.get("delete", ()),
        digest=call.params.get("digest"),
    )
    return None if secret is None else {"secret": secret}


@AREA.delete(_PATH + "/{token-name}", {"digest": CONFIG_DIGEST}, access=_WRITE)
async def delete_token(call: Call) -> Any:
    """Delete a token."""
    await call.clients.auth.delete_token(
        call.ctx, call.text("userid"), call.text("token-name"), call.params.get("digest")
    )
    return None


def extra_token(found: ApiToken) -> dict[str, Any]:
    """Token object of the project's own calls."""
    return {
        "id": found.id,
        "user_id": found.user_id,
        "tokenid": found.tokenid,
        "name": found.name,
        "permission": found.permission,
        "active": found.enable,
        "created_at": rfc3339(found.created_at),
        "expires_at": rfc3339(found.expire or None),
        "last_used": rfc3339(found.last_used),
    }


@AREA.get("access/tokens", access=Judged("any, for oneself"), extra=True)
async def own_tokens(call: Call) -> Any:
    """The caller's own tokens."""
    found, _ = await call.clients.auth.list_users(call.ctx, include_tokens=True)
    own = [user for user in found if user.userid == call.caller.user_id]
    return Data([extra_token(token) for user in own for token in user.tokens], content_type="application/json")


def _expiry(call: Call) -> int | None:
    text = call.params.get("expires_at")
    if text is None:
        return call.params.get("expire")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidArgument("expires_at: not an RFC 3339 time", field="expires_at") from None
    if moment.tzinfo is None:
        raise InvalidArgument("expires_at: the time zone is missing", field="expires_at")
    return int(moment.timestamp())


@AREA.post(
    "access/tokens",
    {
        "name": required(common.TOKEN_NAME),
        "permission": optional(LEVEL, "level", "read"),
        "username": optional(common.USER_ID, "another user of the tenant; needs `Permissions.Modify` on `/access`"),
        "expires_at": optional(String(maximum=64), "RFC 3339 time"),
        "expire": optional(common.EXPIRE, "the same as Unix seconds"),
    },
    access=Judged("a user for itself; tokens, and for others, with `Permissions.Modify` on `/access`"),
    extra=True,
)
async def create_own_token(call: Call) -> Any:
    """Create a token with a level; its secret is shown only here."""
    userid = call.params.get("username", call.caller.user_id)
    if userid != call.caller.auth_id and not holds(call.caller, "/access", P.PERMISSIONS_MODIFY):
        raise PermissionDenied(FORBIDDEN)
    settings = TokenSettings(permission=call.text("permission"), expire=_expiry(call))
    found, secret = await call.clients.auth.create_token(
        call.ctx, userid, call.text("name"), settings, level_within_user=True
    )
    return Data({"token": extra_token(found), "value": secret}, status=201, content_type="application/json")


@AREA.delete(
    "access/tokens/{id}",
    {"id": required(String(minimum=1, maximum=256), "id of the token")},
    access=Judged("own tokens; others with `Permissions.Modify` on `/access`"),
    extra=True,
)
async def delete_own_token(call: Call) -> Any:
    """Delete a token by its id."""
    try:
        await call.clients.auth.delete_token_by_id(call.ctx, call.text("id"))
    except NotFound:
        raise PermissionDenied(FORBIDDEN) from None
    return Data({"deleted": True}, content_type="application/json")
