"""Realms: the public list, OpenID realms as configuration, and logins at OpenID providers (rest-api C.2, E.2)."""

from __future__ import annotations

from typing import Any, Final

from pbs_cloud.contracts.errors import Unauthenticated
from pbs_cloud.contracts.realms import OpenidRealm
from pbs_cloud.contracts.rights import Privilege as P
from pbs_cloud.gateway.errors import LOGIN_FAILED
from pbs_cloud.gateway.rest.access import Needs, Public
from pbs_cloud.gateway.rest.calls import Call, Data
from pbs_cloud.gateway.rest.endpoint import Area
from pbs_cloud.gateway.rest.endpoints.access import login_value
from pbs_cloud.gateway.rest.endpoints.shared import CONFIG_DIGEST, digest_of, without_none
from pbs_cloud.gateway.schema import Array, Enum, Param, String, common, optional, required

AREA = Area("Realms")
_PATH: Final = "config/access/openid"
_ONE: Final = _PATH + "/{realm}"
_DOMAINS: Final = "/access/domains"
_READ: Final = (P.SYS_AUDIT, P.REALM_ALLOCATE)
_REALM: Final = String(pattern=common.SAFE_NAME.pattern, minimum=2, maximum=32)
_WORDS: Final = String(pattern=r"[\x21-\x7e]+( [\x21-\x7e]+)*", maximum=512)
_ISSUER: Final = String(pattern=r"https?://[\x21-\x7e]+", maximum=1024)
_CLIENT_ID: Final = String(pattern=r"[^\x00-\x1f\x7f-\x9f]+", maximum=256)
_REDIRECT: Final = required(String(minimum=1, maximum=2048), "where the provider sends the browser back to")
_OPTIONS: Final[dict[str, Param]] = {
    "client-key": optional(String(pattern=r"[^\x00-\x1f\x7f-\x9f]*", maximum=512), "secret of the client; never shown"),
    "scopes": optional(_WORDS, "besides `openid`; `email profile` if it is not given"),
    "prompt": optional(_WORDS, "what the provider shall ask its user for"),
    "acr-values": optional(_WORDS, "authentication context classes"),
    "autocreate": optional(common.BOOLEAN, "make users, without rights, when they log in first"),
    "comment": optional(common.COMMENT),
}
_DELETABLE: Final = ("client-key", "comment", "scopes", "prompt", "acr-values", "autocreate")


def shown_realm(found: OpenidRealm) -> dict[str, Any]:
    """An OpenID realm as configuration shows it."""
    fields = {name.replace("_", "-"): getattr(found, name) for name in found.__slots__}
    return without_none({**fields, "autocreate": found.autocreate or None})


def _given(call: Call, *names: str) -> dict[str, Any]:
    return {name.replace("-", "_"): call.params[name] for name in names if name in call.params}


@AREA.get("access/domains", access=Public())
async def domains(call: Call) -> Any:
    """Realms for login boxes; realms of tenants are typed by hand."""
    shown = [
        without_none(
            {
                "realm": realm.realm,
                "type": realm.type,
                "comment": realm.comment,
                "default": True if realm.is_default else None,
            }
        )
        for realm in await call.clients.auth.realms.list_public()
    ]
    return Data(shown, {"digest": digest_of(shown)})


@AREA.get(_PATH, access=Needs(_DOMAINS, _READ))
async def openid_realms(call: Call) -> Any:
    """OpenID realms."""
    found, digest = await call.clients.auth.realms.list_openid(call.ctx)
    return Data([shown_realm(realm) for realm in found], {"digest": digest})


@AREA.post(
    _PATH,
    {
        "realm": required(_REALM, "name; `<realm of the tenant>.<name>` for everybody but the operator"),
        "issuer-url": required(_ISSUER, "of the provider, https"),
        "client-id": required(_CLIENT_ID),
        "username-claim": optional(
            String(pattern="[A-Za-z0-9_.:/-]+", maximum=128),
            "`subject` (if not given), `username`, `email` or another claim of the ID token",
        ),
        **_OPTIONS,
    },
    access=Needs(_DOMAINS, (P.REALM_ALLOCATE,)),
)
async def create_openid_realm(call: Call) -> Any:
    """Add an OpenID realm."""
    names = ("realm", "issuer-url", "client-id", "username-claim", *_OPTIONS)
    values = _given(call, *names)
    key = values.pop("client_key", None)
    await call.clients.auth.realms.create_openid(call.ctx, OpenidRealm(**values), key)
    return None


@AREA.get(_ONE, {"realm": required(_REALM)}, access=Needs(_DOMAINS + "/{realm}", _READ))
async def openid_realm(call: Call) -> Any:
    """One OpenID realm."""
    found, digest = await call.clients.auth.realms.get_openid(call.ctx, call.text("realm"))
    return Data(shown_realm(found), {"digest": digest})


@AREA.put(
    _ONE,
    {
        "realm": required(_REALM),
        "issuer-url": optional(_ISSUER, "of the provider, https"),
        "client-id": optional(_CLIENT_ID),
        **_OPTIONS,
        "delete": optional(Array(Enum(_DELETABLE)), "fields to unset"),
        "digest": CONFIG_DIGEST,
    },
    access=Needs(_DOMAINS + "/{realm}", (P.REALM_ALLOCATE,)),
)
async def update_openid_realm(call: Call) -> Any:
    """Change an OpenID realm."""
    changes = _given(call, "issuer-url", "client-id", *_OPTIONS)
    delete, digest = call.params.get("delete", ()), call.params.get("digest")
    await call.clients.auth.realms.update_openid(call.ctx, call.text("realm"), changes, delete, digest)
    return None


@AREA.delete(
    _ONE,
    {"realm": required(_REALM), "digest": CONFIG_DIGEST},
    access=Needs(_DOMAINS + "/{realm}", (P.REALM_ALLOCATE,)),
)
async def delete_openid_realm(call: Call) -> Any:
    """Remove an OpenID realm; its users stay, but cannot log in there any more."""
    await call.clients.auth.realms.delete_openid(call.ctx, call.text("realm"), call.params.get("digest"))
    return None


@AREA.post("access/openid/auth-url", {"realm": required(_REALM), "redirect-url": _REDIRECT}, access=Public())
async def auth_url(call: Call) -> Any:
    """Begin a login: the provider's page that the browser has to open."""
    return await call.clients.auth.realms.start_login(
        call.text("realm"), call.text("redirect-url"), call.client_address
    )


@AREA.post(
    "access/openid/login",
    {
        "state": required(String(minimum=1, maximum=1024), "as the provider sent it back"),
        "code": required(String(minimum=1, maximum=4096), "as the provider sent it"),
        "redirect-url": _REDIRECT,
        "http-only": optional(common.BOOLEAN, "deliver the ticket as a cookie", False),
    },
    access=Public(),
)
async def openid_login(call: Call) -> Any:
    """Finish a login: a ticket for what the provider sent back."""
    try:
        done = await call.clients.auth.realms.finish_login(
            call.text("state"), call.text("code"), call.text("redirect-url"), call.client_address
        )
    except Unauthenticated:
        raise Unauthenticated(LOGIN_FAILED) from None
    await call.limits.admit_tenant(done.tenant_id)
    value, headers = login_value(done, call.params["http-only"])
    return Data(value, headers=headers)
