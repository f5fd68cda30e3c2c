"""Second factors of users: one-time codes and recovery keys (rest-api A.7, C.3)."""

from __future__ import annotations

from typing import Any, Final

from pbs_cloud.contracts.rights import Privilege as P
from pbs_cloud.contracts.second_factor import Factor, UserFactors
from pbs_cloud.gateway.errors import HttpError
from pbs_cloud.gateway.rest.access import Judged, Needs
from pbs_cloud.gateway.rest.calls import Call
from pbs_cloud.gateway.rest.endpoint import Area
from pbs_cloud.gateway.rest.endpoints.users import USERS
from pbs_cloud.gateway.schema import Enum, String, common, optional, required

AREA = Area("Second factors")
_PATH: Final = "access/tfa/{userid}"
_READ: Final = Needs(USERS, (P.SYS_AUDIT,), or_self="userid")
_WRITE: Final = Needs(USERS, (P.PERMISSIONS_MODIFY,), or_self="userid")
_ID: Final = required(String(pattern="[A-Za-z0-9-]+", maximum=64), "id of the entry; `recovery` for the recovery keys")
_DESCRIPTION: Final = String(pattern=r"[^\x00-\x1f\x7f-\x9f]*", maximum=255)
_PASSWORD: Final = optional(common.PASSWORD, "the caller's own password; only `root@pam` may leave it out")


def shown_factor(found: Factor) -> dict[str, Any]:
    """One entry."""
    return {
        "id": found.id,
        "type": found.type,
        "created": found.created,
        "description": found.description,
        "enable": found.enable,
    }


def _shown_user(found: UserFactors) -> dict[str, Any]:
    shown: dict[str, Any] = {"userid": found.userid, "entries": [shown_factor(entry) for entry in found.entries]}
    if found.totp_locked:
        shown["totp-locked"] = True
    if found.tfa_locked_until is not None:
        shown["tfa-locked-until"] = found.tfa_locked_until
    return shown


@AREA.get("access/tfa", access=Judged("all with `Sys.Audit` on `/access/users`; else the caller's own user"))
async def all_factors(call: Call) -> Any:
    """Users with second factors."""
    return [_shown_user(user) for user in await call.clients.auth.factors.list_users(call.ctx)]


@AREA.get(_PATH, access=_READ)
async def factors(call: Call) -> Any:
    """Second factors of a user."""
    found = await call.clients.auth.factors.get(call.ctx, call.text("userid"))
    return [shown_factor(entry) for entry in found.entries]


@AREA.post(
    _PATH,
    {
        "type": required(Enum(("totp", "recovery", "webauthn")), "`webauthn` is not offered"),
        "description": optional(_DESCRIPTION),
        "totp": optional(String(maximum=1024), "`totp`: otpauth URI with the secret"),
        "value": optional(String(maximum=64), "`totp`: the code that the device shows now"),
        "challenge": optional(String(maximum=4096), "of `webauthn`"),
        "password": _PASSWORD,
    },
    access=_WRITE,
)
async def add_factor(call: Call) -> Any:
    """Add a second factor; recovery keys replace former ones and are shown only here."""
    if call.text("type") == "webauthn":
        raise HttpError(400, "webauthn is not offered: use totp or recovery")
    made = await call.clients.auth.factors.add(
        call.ctx,
        call.text("userid"),
        call.text("type"),
        **{name: call.params.get(name) for name in ("description", "totp", "value", "password")},
    )
    return {"id": made.id, **({"recovery": list(made.recovery)} if made.recovery else {})}


@AREA.get(_PATH + "/{id}", {"id": _ID}, access=_READ)
async def factor(call: Call) -> Any:
    """One second factor."""
    found = await call.clients.auth.factors.get(call.ctx, call.text("userid"))
    for entry in found.entries:
        if entry.id == call.text("id"):
            return shown_factor(entry)
    raise HttpError(400, f"no such tfa entry '{call.text('id')}' of user '{found.userid}'")


@AREA.put(
    _PATH + "/{id}",
    {
        "id": _ID,
        "description": optional(_DESCRIPTION),
        "enable": optional(common.BOOLEAN, "whether it counts"),
        "password": _PASSWORD,
    },
    access=_WRITE,
)
async def update_factor(call: Call) -> Any:
    """Change a second factor."""
    changes = {name: call.params.get(name) for name in ("description", "enable", "password")}
    await call.clients.auth.factors.update(call.ctx, call.text("userid"), call.text("id"), **changes)
    return None


@AREA.delete(_PATH + "/{id}", {"id": _ID, "password": _PASSWORD}, access=_WRITE)
async def delete_factor(call: Call) -> Any:
    """Remove a second factor."""
    await call.clients.auth.factors.delete(call.ctx, call.text("userid"), call.text("id"), call.params.get("password"))
    return None


@AREA.put("access/users/{userid}/unlock-tfa", access=Needs(USERS, (P.PERMISSIONS_MODIFY,)))
async def unlock(call: Call) -> Any:
    """Accept a user's second factors again; answers whether they were locked."""
    return await call.clients.auth.factors.unlock(call.ctx, call.text("userid"))
