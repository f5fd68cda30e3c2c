"""Tickets, permissions, roles, ACL and passwords (rest-api C.2)."""

from __future__ import annotations

from typing import Any, Final

from pbs_cloud.contracts.context import AclEntry
from pbs_cloud.contracts.errors import Unauthenticated
from pbs_cloud.contracts.login import Login
from pbs_cloud.contracts.rights import ROLES
from pbs_cloud.gateway.credentials import ticket_cookie
from pbs_cloud.gateway.errors import CLEARED_COOKIE, LOGIN_FAILED, HttpError
from pbs_cloud.gateway.rest.access import Anyone, Judged, Public
from pbs_cloud.gateway.rest.calls import Call, Data
from pbs_cloud.gateway.rest.endpoint import Area
from pbs_cloud.gateway.rest.endpoints.shared import CONFIG_DIGEST
from pbs_cloud.gateway.schema import Enum, Integer, String, common, optional, required

AREA = Area("Access")
_COOKIE: Final = "__Host-PBSAuthCookie"
_TERMINAL: Final = ("path", "privs", "port")


@AREA.post(
    "access/ticket",
    {
        "username": required(common.USER_ID),
        "password": optional(
            common.PASSWORD, "password, a valid ticket of the same user, a token's secret, or the answer to a challenge"
        ),
        "tfa-challenge": optional(String(maximum=4096), "partial ticket of the first step"),
        "path": optional(String(maximum=256), "only for terminal tickets"),
        "privs": optional(String(maximum=256), "only for terminal tickets"),
        "port": optional(Integer(0, 65535), "only for terminal tickets"),
        "http-only": optional(common.BOOLEAN, "deliver the ticket as a cookie", False),
    },
    access=Public(),
)
async def login(call: Call) -> Any:
    """Log in."""
    if any(name in call.params for name in _TERMINAL):
        raise HttpError(400, "terminal tickets are not offered")
    http_only = call.params["http-only"]
    cookie = ticket_cookie([call.headers.get(b"cookie", b"")], (_COOKIE,)) if http_only else None
    password = call.params.get("password")
    if password is None and not cookie:
        raise HttpError(400, "no password provided")
    if http_only and password is not None and password.startswith("PBS:"):
        raise Unauthenticated(LOGIN_FAILED)
    try:
        done = await call.clients.auth.login(
            call.text("username"),
            password,
            cookie_ticket=cookie,
            tfa_challenge=call.params.get("tfa-challenge"),
            client_address=call.client_address,
        )
    except Unauthenticated:
        raise Unauthenticated(LOGIN_FAILED) from None
    await call.limits.admit_tenant(done.tenant_id)
    value, headers = login_value(done, http_only)
    return _own_envelope(value, headers, "application/json")


def login_value(done: Login, http_only: bool) -> tuple[dict[str, Any], dict[str, str]]:
    """Answer and headers of a login; a partial ticket never becomes a cookie (wire-protocol 3.5)."""
    value = {"username": done.username, "CSRFPreventionToken": done.csrf_token}
    if not http_only or done.is_partial:
        return {**value, "ticket": done.ticket}, {}
    value["ticket-info"] = done.ticket.rpartition("::")[0] + "::ticketinfo"
    return value, {"Set-Cookie": f"{_COOKIE}={done.ticket}; Secure; SameSite=Lax; HttpOnly; Path=/;"}


@AREA.delete("access/ticket", access=Public())
async def logout(call: Call) -> Any:
    """Clear the ticket cookie; the ticket itself stays valid."""
    return _own_envelope({}, {"Set-Cookie": CLEARED_COOKIE}, None)


def _own_envelope(value: dict[str, Any], headers: dict[str, str], content_type: str | None) -> Data:
    attributes = {"status": 200, "success": True}
    return Data(value, attributes, headers=headers, content_type=content_type, own=True)


@AREA.get(
    "access/permissions",
    {"auth-id": optional(common.AUTH_ID, "whose; default the caller"), "path": optional(common.ACL_PATH_TYPE)},
    access=Judged("any for oneself; a user for its own tokens; others with `Sys.Audit` on `/access`"),
)
async def permissions(call: Call) -> Any:
    """Privileges by ACL path, and whether they propagate."""
    return await call.clients.auth.list_permissions(call.ctx, call.params.get("auth-id"), call.params.get("path"))


@AREA.get("access/roles", access=Anyone())
async def roles(call: Call) -> Any:
    """Roles and their privileges."""
    return [
        {"roleid": name, "privs": sorted(privileges), "comment": comment}
        for name, (privileges, comment) in ROLES.items()
    ]


@AREA.get(
    "access/acl",
    {"path": optional(common.ACL_PATH_TYPE, "start there", "/"), "exact": optional(common.BOOLEAN, "not below", False)},
    access=Judged("all with `Sys.Audit` on `/access/acl`; else the entries of the caller's own tokens"),
)
async def acl(call: Call) -> Any:
    """ACL entries."""
    entries, digest = await call.clients.auth.list_acl(call.ctx, call.text("path"), call.params["exact"])
    shown = [
        {
            "path": entry.path,
            "ugid": entry.auth_id,
            "ugid_type": "user",
            "propagate": entry.propagate,
            "roleid": entry.role,
        }
        for entry in entries
    ]
    return Data(shown, {"digest": digest})


@AREA.put(
    "access/acl",
    {
        "path": required(common.ACL_PATH_TYPE),
        "role": required(Enum(tuple(ROLES))),
        "auth-id": optional(common.AUTH_ID, "user or token; required in fact"),
        "group": optional(common.SAFE_NAME, "refused: there are no groups"),
        "propagate": optional(common.BOOLEAN, default=True),
        "delete": optional(common.BOOLEAN, "remove the entry", False),
        "digest": CONFIG_DIGEST,
    },
    access=Judged("`Permissions.Modify` on `/access/acl`; a user for its own tokens"),
)
async def update_acl(call: Call) -> Any:
    """Set or remove an ACL entry."""
    if "group" in call.params:
        raise HttpError(400, "parameter 'group' - groups are currently not supported.")
    if "auth-id" not in call.params:
        raise HttpError(400, "missing 'userid' or 'group' parameter.")
    entry = AclEntry(call.text("path"), call.text("auth-id"), call.text("role"), call.params["propagate"])
    await call.clients.auth.update_acl(call.ctx, entry, delete=call.params["delete"], digest=call.params.get("digest"))
    return None


@AREA.put(
    "access/password",
    {
        "userid": required(common.USER_ID),
        "password": required(common.NEW_PASSWORD),
        "confirmation-password": optional(common.GIVEN_PASSWORD, "the caller's own password"),
    },
    access=Judged("a user for itself; `Permissions.Modify` on `/` for others; never a token"),
)
async def change_password(call: Call) -> Any:
    """Change a password."""
    await call.clients.auth.change_password(
        call.ctx, call.text("userid"), call.text("password"), call.params.get("confirmation-password")
    )
    return None
