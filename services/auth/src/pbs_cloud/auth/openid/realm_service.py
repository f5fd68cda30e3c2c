"""Configuration of OpenID realms. Realm names are shared by all tenants, since a login carries nothing else (E.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg

from pbs_cloud.auth.db import openid, tenants, users
from pbs_cloud.auth.db.changes import Change, announce_credentials, change, check_digest, read_revisions
from pbs_cloud.auth.db.openid import RealmRow
from pbs_cloud.auth.guard import denied, holds
from pbs_cloud.auth.names import check_comment, check_length, check_one_line, check_realm
from pbs_cloud.auth.openid.fetch import Fetcher, ProviderError
from pbs_cloud.auth.openid.flow import key_owner
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import AlreadyExists, InvalidArgument, NotFound
from pbs_cloud.contracts.realms import OpenidRealm, Realm
from pbs_cloud.contracts.rights import Privilege
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.secret_box import SecretBox

PATH: Final = "/access/domains"
DELETABLE: Final = ("client-key", "comment", "scopes", "prompt", "acr-values", "autocreate")
# With another provider, or as another of its clients, a name may stand for somebody else.
_WHO_IS_WHO: Final = ("issuer_url", "client_id")
_WORDS = re.compile(r"[\x21-\x7e]+(?: [\x21-\x7e]+)*")
_CLAIM = re.compile(r"[A-Za-z0-9_.:/-]+")
_BUILT_IN = (
    Realm("pam", "pam", False, "Linux PAM standard authentication"),
    Realm("pbs", "pbs", True, "PBS Cloud accounts"),
)


class RealmService:
    """Every call works on the realms of the caller's tenant; only logins and the public list cross tenants."""

    def __init__(self, database: Database, box: SecretBox, fetcher: Fetcher, clock: Clock = SYSTEM_CLOCK) -> None:
        self._database = database
        self._box = box
        self._fetcher = fetcher
        self._clock = clock

    async def list_public(self) -> list[Realm]:
        """The built-in realms and the OpenID realms of the built-in tenant; a tenant's own are typed by hand (E.2)."""
        async with self._database.system() as connection:
            tenant_id = await tenants.root_tenant(connection)
            rows = [] if tenant_id is None else await openid.of_tenant(connection, tenant_id)
        return [*_BUILT_IN, *(Realm(row.realm, "openid", False, row.comment) for row in rows)]

    async def list_openid(self, ctx: CallContext) -> tuple[list[OpenidRealm], str]:
        """The tenant's OpenID realms and the digest."""
        _require_audit(ctx, PATH)
        async with self._database.tenant(ctx.tenant_id) as connection:
            revisions = await read_revisions(connection, ctx.tenant_id)
            rows = await openid.of_tenant(connection, ctx.tenant_id)
        return [_view(row) for row in rows], revisions.realms_digest

    async def get(self, ctx: CallContext, realm: str) -> tuple[OpenidRealm, str]:
        """One realm and the digest."""
        _require_audit(ctx, f"{PATH}/{realm}")
        async with self._database.tenant(ctx.tenant_id) as connection:
            revisions = await read_revisions(connection, ctx.tenant_id)
            row = await openid.by_name(connection, realm)
        if row is None:
            raise _no_such_realm(realm)
        return _view(row), revisions.realms_digest

    async def create(self, ctx: CallContext, settings: OpenidRealm, client_key: str | None) -> None:
        """A new realm of the tenant: named ``<slug>.<name>``, by the operator also otherwise in its own tenant."""
        _require_allocate(ctx, PATH)
        check_realm(settings.realm)
        self._check({**_values(settings), "client_key": client_key})
        await self._check_name(ctx, settings.realm)
        sealed = None if not client_key else self._box.seal(client_key, key_owner(settings.realm))
        row = RealmRow(
            **_values(settings), tenant_id=ctx.tenant_id, client_key=sealed, created_at=int(self._clock.time())
        )
        async with change(self._database, ctx, ctx.tenant_id, self._clock) as running:
            try:
                async with running.connection.transaction():
                    await openid.insert(running.connection, row)
            except asyncpg.UniqueViolationError:
                raise _taken(settings.realm) from None
            running.realms_touched = True
            await running.audit("realm.create", settings.realm, {"issuer": settings.issuer_url})

    async def update(
        self, ctx: CallContext, realm: str, changes: Mapping[str, Any], delete: Sequence[str], digest: str | None
    ) -> None:
        """Change what is given; ``delete`` names what goes back to its default."""
        _require_allocate(ctx, f"{PATH}/{realm}")
        for name in delete:
            if name not in DELETABLE:
                raise InvalidArgument(f"value '{name}' is not defined in the enumeration.", field="delete")
        self._check(changes)
        values = dict(changes) | {name.replace("-", "_"): None for name in delete}
        values |= {"autocreate": False} if "autocreate" in delete else {}
        async with change(self._database, ctx, ctx.tenant_id, self._clock) as running:
            row = await openid.by_name(running.connection, realm)
            if row is None:
                raise _no_such_realm(realm)
            check_digest(digest, running.revisions.realms_digest)
            sealed = row.client_key
            if "client_key" in values:
                plain = values.pop("client_key")
                sealed = self._box.seal(plain, key_owner(realm)) if plain else None
            await openid.update(running.connection, realm, values, sealed)
            if any(values.get(name, getattr(row, name)) != getattr(row, name) for name in _WHO_IS_WHO):
                await self._end_tickets(running, realm)
            running.realms_touched = True
            await running.audit("realm.update", realm, {"fields": sorted({*changes, *delete})})

    async def delete(self, ctx: CallContext, realm: str, digest: str | None) -> None:
        """Remove a realm. Its users stay, with their tokens; their tickets end, and they cannot log in any more."""
        _require_allocate(ctx, f"{PATH}/{realm}")
        async with change(self._database, ctx, ctx.tenant_id, self._clock) as running:
            if await openid.by_name(running.connection, realm) is None:
                raise _no_such_realm(realm)
            check_digest(digest, running.revisions.realms_digest)
            await openid.delete(running.connection, realm)
            await self._end_tickets(running, realm)
            running.realms_touched = True
            await running.audit("realm.delete", realm)

    async def _end_tickets(self, running: Change, realm: str) -> None:
        """Of all users of a realm, also those that would only be renewed."""
        await users.end_tickets_of_realm(running.connection, running.tenant_id, realm)
        await announce_credentials(running.connection, running.tenant_id, None, self._clock)

    async def _check_name(self, ctx: CallContext, realm: str) -> None:
        async with self._database.system() as connection:
            tenant = await tenants.by_id(connection, ctx.tenant_id)
            taken = realm.lower() in tenants.BUILT_IN_REALMS or await openid.is_taken(connection, realm, ctx.tenant_id)
        slug = tenant.slug if tenant else ""
        if not ctx.caller.operator and not realm.lower().startswith(f"{slug.lower()}."):
            raise InvalidArgument(f"realm: must begin with '{slug}.'", field="realm")
        if taken:
            raise _taken(realm)

    def _check(self, values: Mapping[str, Any]) -> None:
        """Grammar of everything that may be set."""
        if "issuer_url" in values:
            self._check_issuer(values["issuer_url"])
        if "client_id" in values:
            check_one_line("client-id", values["client_id"], 1, 256)
        if values.get("client_key") is not None:
            check_one_line("client-key", values["client_key"], 0, 512)
        if values.get("comment") is not None:
            check_comment(values["comment"])
        for name in ("scopes", "prompt", "acr_values"):
            _check_words(name.replace("_", "-"), values.get(name))
        claim = values.get("username_claim")
        if claim is not None:
            check_length("username-claim", claim, 1, 128)
            if not _CLAIM.fullmatch(claim):
                raise InvalidArgument("value does not match the regex pattern", field="username-claim")

    def _check_issuer(self, url: str) -> None:
        check_length("issuer-url", url, 1, 1024)
        try:
            self._fetcher.check_url(url)
        except ProviderError:
            raise InvalidArgument("issuer-url: must be an https URL", field="issuer-url") from None
        if urlsplit(url).query or "#" in url or "?" in url or not url.isprintable():
            raise InvalidArgument("issuer-url: must have no query and no fragment", field="issuer-url")


def _check_words(field: str, text: str | None) -> None:
    if text is None:
        return
    check_length(field, text, 1, 512)
    if not _WORDS.fullmatch(text):
        raise InvalidArgument("value does not match the regex pattern", field=field)


def _values(settings: OpenidRealm) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in settings.__slots__}


def _view(row: RealmRow) -> OpenidRealm:
    return OpenidRealm(**{name: getattr(row, name) for name in OpenidRealm.__slots__})


def _require_audit(ctx: CallContext, path: str) -> None:
    if not any(holds(ctx.caller, path, needed) for needed in (Privilege.SYS_AUDIT, Privilege.REALM_ALLOCATE)):
        raise denied()


def _require_allocate(ctx: CallContext, path: str) -> None:
    if not holds(ctx.caller, path, Privilege.REALM_ALLOCATE):
        raise denied()


def _no_such_realm(realm: str) -> NotFound:
    return NotFound(f"no such realm '{realm}'")


def _taken(realm: str) -> AlreadyExists:
    """One text for whatever has the name already."""
    return AlreadyExists(f"realm '{realm}' cannot be used")
