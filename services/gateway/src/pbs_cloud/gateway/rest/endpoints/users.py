"""Users: the stock calls and the project's own form (rest-api C.3, D.4)."""

from __future__ import annotations

from typing import Any, Final

from pbs_cloud.contracts.auth import ApiToken, User, UserSettings
from pbs_cloud.contracts.errors import NotFound, PermissionDenied
from pbs_cloud.contracts.rights import LEVELS
from pbs_cloud.contracts.rights import Privilege as P
from pbs_cloud.gateway.errors import FORBIDDEN, HttpError
from pbs_cloud.gateway.rest.access import Judged, Needs
from pbs_cloud.gateway.rest.calls import Call, Data
from pbs_cloud.gateway.rest.endpoint import Area, Endpoint
from pbs_cloud.gateway.rest.endpoints.shared import CONFIG_DIGEST, is_uuid, rfc3339
from pbs_cloud.gateway.schema import Array, Enum, Param, Schema, String, common, optional, required

AREA = Area("Users")
USERS: Final = "/access/users"
TEXTS: Final = ("comment", "firstname", "lastname", "email")
_LEVEL_NAMES: Final = {name.replace("_", ""): name for name in LEVELS}
LEVEL: Final = String(
    pattern="(?i:" + "|".join(sorted({*LEVELS, *_LEVEL_NAMES})) + ")",
    after=lambda text: _LEVEL_NAMES[text.replace("_", "").lower()],
)
"""A level in the project's spelling or as ``DatastoreAdmin`` (rest-api D.4)."""
_FIELDS: Final[dict[str, Param]] = {
    "password": optional(common.NEW_PASSWORD),
    "comment": optional(common.COMMENT),
    "firstname": optional(common.NAME_TEXT),
    "lastname": optional(common.NAME_TEXT),
    "email": optional(common.NAME_TEXT),
    "enable": optional(common.BOOLEAN),
    "expire": optional(common.EXPIRE, "Unix seconds; 0 is never"),
}


def shown_token(token: ApiToken) -> dict[str, Any]:
    """Token object of the stock calls; unset fields and defaults are left out."""
    return {"tokenid": token.tokenid, **_optional(token, ("comment",))}


def shown_user(user: User, include_tokens: bool = False) -> dict[str, Any]:
    """User object of the stock calls."""
    shown = {"userid": user.userid, **_optional(user, TEXTS)}
    if include_tokens and user.tokens:
        shown["tokens"] = [shown_token(token) for token in user.tokens]
    return shown


def _listed_user(user: User, include_tokens: bool) -> dict[str, Any]:
    """As ``shown_user``, with the state of second factors."""
    shown = shown_user(user, include_tokens)
    if user.totp_locked:
        shown["totp-locked"] = True
    if user.tfa_locked_until is not None:
        shown["tfa-locked-until"] = user.tfa_locked_until
    return shown


def _optional(found: User | ApiToken, texts: tuple[str, ...]) -> dict[str, Any]:
    shown: dict[str, Any] = {name: value for name in texts if (value := getattr(found, name))}
    if not found.enable:
        shown["enable"] = False
    if found.expire:
        shown["expire"] = found.expire
    return shown


def extra_user(user: User) -> dict[str, Any]:
    """User object of the project's own calls."""
    return {
        "id": user.id,
        "username": user.userid,
        "tenant_id": user.tenant_id,
        "permission": user.permission,
        "active": user.enable,
        "created_at": rfc3339(user.created_at),
        "last_login": rfc3339(user.last_login),
    }


def _settings(call: Call) -> UserSettings:
    return UserSettings(**{name: call.params[name] for name in (*_FIELDS, "permission") if name in call.params})


@AREA.get(
    "access/users",
    {"include_tokens": optional(common.BOOLEAN, "with their API tokens", False)},
    access=Judged("all with `Sys.Audit` on `/access/users`; else the caller's own user"),
)
async def users(call: Call) -> Any:
    """Users."""
    include = call.params["include_tokens"]
    found, digest = await call.clients.auth.list_users(call.ctx, include)
    return Data([_listed_user(user, include) for user in found], {"digest": digest})


async def create_extra_user(call: Call) -> Any:
    """Create a user with a level."""
    tenant_id = call.params.get("tenant_id", call.caller.tenant_id)
    if tenant_id != call.caller.tenant_id and not call.caller.operator:
        raise PermissionDenied(FORBIDDEN)
    settings = UserSettings(password=call.params.get("password"), permission=call.text("permission"))
    other = tenant_id if tenant_id != call.caller.tenant_id else None
    user = await call.clients.auth.create_user(call.ctx, call.text("username"), settings, other)
    return Data(extra_user(user), status=201, content_type="application/json")


EXTRA_USER: Final = Endpoint(
    "POST",
    "access/users",
    Schema(
        {
            "username": required(common.USER_ID),
            "tenant_id": optional(String(pattern="[A-Za-z0-9_.-]+", maximum=64), "other tenants: operator only"),
            "permission": optional(LEVEL, "level", "read"),
            "password": optional(common.NEW_PASSWORD),
        },
        kebab=True,
    ),
    Needs(USERS, (P.PERMISSIONS_MODIFY,)),
    create_extra_user,
    "Create a user with a level.",
    extra=True,
)


@AREA.post(
    "access/users",
    {"userid": required(common.USER_ID), **_FIELDS},
    access=Needs(USERS, (P.PERMISSIONS_MODIFY,)),
    alternative=("username", EXTRA_USER),
)
async def create_user(call: Call) -> Any:
    """Create a user without any rights."""
    await call.clients.auth.create_user(call.ctx, call.text("userid"), _settings(call))
    return None


@AREA.get("access/users/{userid}", access=Needs(USERS, (P.SYS_AUDIT,), or_self="userid"))
async def user(call: Call) -> Any:
    """One user."""
    found, digest = await call.clients.auth.get_user(call.ctx, call.text("userid"))
    return Data(shown_user(found), {"digest": digest})


@AREA.put(
    "access/users/{userid}",
    {
        **_FIELDS,
        "permission": optional(LEVEL, "level to set; needs `Permissions.Modify` on `/access/acl`"),
        "delete": optional(Array(Enum(TEXTS)), "fields to unset"),
        "digest": CONFIG_DIGEST,
    },
    access=Needs(USERS, (P.PERMISSIONS_MODIFY,), or_self="userid"),
)
async def update_user(call: Call) -> Any:
    """Change a user."""
    await call.clients.auth.update_user(
        call.ctx, call.text("userid"), _settings(call), call.params.get("delete", ()), call.params.get("digest")
    )
    return None


@AREA.delete(
    "access/users/{userid}",
    {
        "userid": required(String(check=lambda text: is_uuid(text) or common.is_user_id(text)), "userid, or the id"),
        "digest": CONFIG_DIGEST,
    },
    access=Needs(USERS, (P.PERMISSIONS_MODIFY,), or_self="userid"),
)
async def delete_user(call: Call) -> Any:
    """Delete a user with its tokens."""
    name = call.text("userid")
    if "@" in name:
        await call.clients.auth.delete_user(call.ctx, name, call.params.get("digest"))
        return None
    return await _delete_by_id(call, name)


async def _delete_by_id(call: Call, user_id: str) -> Data:
    """Everything that is not the caller's own tenant's is 403, existing or not (rest-api E.10)."""
    try:
        found = await call.clients.auth.delete_user(call.ctx, user_id, call.params.get("digest"))
    except NotFound as error:
        if call.caller.operator:
            raise HttpError(404, error.message) from None
        raise PermissionDenied(FORBIDDEN) from None
    return Data({"deleted": True, "user": extra_user(found)}, content_type="application/json")
