"""The authorization code flow with PKCE, state and nonce; any replica can finish what another one began."""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import asyncpg

from pbs_cloud.auth.db import openid, principals, users
from pbs_cloud.auth.db.changes import change
from pbs_cloud.auth.db.openid import LoginRow, RealmRow
from pbs_cloud.auth.db.principals import Principal
from pbs_cloud.auth.login import Logins, refused_login
from pbs_cloud.auth.names import check_length, check_person_field, check_userid
from pbs_cloud.auth.openid.fetch import ProviderError
from pbs_cloud.auth.openid.provider import CodeExchange, Providers
from pbs_cloud.contracts.context import SystemContext
from pbs_cloud.contracts.errors import InvalidArgument, NotFound, Unavailable
from pbs_cloud.contracts.login import Login
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.logging import get_logger
from pbs_cloud.runtime.secret_box import SecretBox

LOGIN_SECONDS: Final = 600
DEFAULT_SCOPES: Final = "email profile"
_CLAIMS: Final = {"subject": "sub", "username": "preferred_username"}
_PERSON: Final = {"firstname": "given_name", "lastname": "family_name", "email": "email"}
_log = get_logger(__name__)


def key_owner(realm: str) -> str:
    """The row that a sealed client key belongs to."""
    return f"openid_realm:{realm}"


class OpenidLogins:
    """Sends users to their provider and makes tickets of what it sends back."""

    def __init__(
        self,
        database: Database,
        box: SecretBox,
        providers: Providers,
        logins: Logins,
        redirect_origins: tuple[str, ...],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._database = database
        self._box = box
        self._providers = providers
        self._logins = logins
        self._origins = frozenset(origin.rstrip("/").lower() for origin in redirect_origins)
        self._clock = clock

    async def start(self, realm: str, redirect_url: str, client_address: str) -> str:
        """Where the browser goes.

        Raises ``NotFound``, ``InvalidArgument``, and ``Unavailable`` when the provider cannot be used.
        """
        self._check_redirect(redirect_url)
        async with self._database.system() as connection:
            row = await openid.by_name(connection, realm)
        if row is None:
            raise NotFound(f"no such realm '{realm}'")
        try:
            provider = await self._providers.discover(row.issuer_url)
        except ProviderError as error:
            _log.warning("OpenID provider cannot be used", realm=realm, reason=str(error), client=client_address)
            raise Unavailable(f"the OpenID provider of realm '{realm}' cannot be used") from None
        state, nonce, verifier = (secrets.token_urlsafe(size) for size in (32, 32, 48))
        await self._remember(row, state, nonce, verifier, redirect_url)
        asked = {
            "response_type": "code",
            "client_id": row.client_id,
            "redirect_uri": redirect_url,
            "scope": " ".join(dict.fromkeys(["openid", *(row.scopes or DEFAULT_SCOPES).split()])),
            "state": state,
            "nonce": nonce,
            "code_challenge": _challenge(verifier),
            "code_challenge_method": "S256",
        }
        asked |= {name: value for name in ("prompt", "acr_values") if (value := getattr(row, name))}
        glue = "&" if urlsplit(provider.authorization_endpoint).query else "?"
        return f"{provider.authorization_endpoint}{glue}{urlencode(asked)}"

    async def finish(self, state: str, code: str, redirect_url: str, client_address: str) -> Login:
        """A ticket. Raises ``Unauthenticated`` alike for every cause."""
        async with self._database.system() as connection:
            login = await openid.take_login(connection, _hash(state))
            row = None if login is None else await openid.by_name(connection, login.realm)
        userid = "unknown"
        try:
            if login is None or row is None or login.expires_at <= self._clock.time():
                raise ProviderError("there is no such login, or it has expired")
            if login.redirect_url != redirect_url:
                raise ProviderError("the login began with another redirect URL")
            claims = await self._claims(row, login, code)
            userid = _userid(row, claims)
            principal = await self._principal(row, userid, claims)
        except ProviderError as error:
            realm = login.realm if login else None
            _log.warning("OpenID login refused", realm=realm, reason=str(error), client=client_address)
            raise refused_login() from None
        return await self._logins.grant(principal, userid, client_address)

    def _check_redirect(self, url: str) -> None:
        """An https URL (http for this machine's own addresses) without fragment, at an origin that is allowed."""
        check_length("redirect-url", url, 1, 2048)
        try:
            parts = urlsplit(url)
            usable = parts.hostname and not parts.username and not parts.password and "#" not in url
            local = parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")
        except ValueError:
            usable = local = None
        if not usable or not (parts.scheme == "https" or local) or not url.isascii() or not url.isprintable():
            raise InvalidArgument("redirect-url: must be an https URL", field="redirect-url")
        if self._origins and f"{parts.scheme}://{parts.netloc}".lower() not in self._origins:
            raise InvalidArgument("redirect-url: logins do not return to this origin", field="redirect-url")

    async def _remember(self, row: RealmRow, state: str, nonce: str, verifier: str, redirect_url: str) -> None:
        now, hashed = int(self._clock.time()), _hash(state)
        sealed = self._box.seal(verifier, verifier_owner(hashed))
        login = LoginRow(hashed, row.tenant_id, row.realm, redirect_url, nonce, sealed, now + LOGIN_SECONDS)
        async with self._database.tenant(row.tenant_id) as connection:
            try:
                await openid.begin_login(connection, login, now)
            except asyncpg.ForeignKeyViolationError:
                raise NotFound(f"no such realm '{row.realm}'") from None

    async def _claims(self, row: RealmRow, login: LoginRow, code: str) -> dict[str, Any]:
        provider = await self._providers.discover(row.issuer_url)
        exchange = CodeExchange(
            client_id=row.client_id,
            client_key=None if row.client_key is None else self._box.open(row.client_key, key_owner(row.realm)),
            code=code,
            redirect_url=login.redirect_url,
            code_verifier=self._box.open(login.code_verifier, verifier_owner(login.state)),
            nonce=login.nonce,
        )
        return await self._providers.claims(provider, exchange, _claim(row))

    async def _principal(self, row: RealmRow, userid: str, claims: dict[str, Any]) -> Principal:
        found = await self._find(userid)
        if found is None and row.autocreate:
            await self._create(row, userid, claims)
            found = await self._find(userid)
        if found is None or found.tenant_id != row.tenant_id:
            raise ProviderError(f"there is no user {userid!r}")
        await self._require_same(row)
        return found

    async def _require_same(self, row: RealmRow) -> None:
        """The realm is still the one that was asked. Read after the user, whose tickets end in the same transaction."""
        async with self._database.system() as connection:
            now = await openid.by_name(connection, row.realm)
        if now is None or (now.created_at, now.issuer_url, now.client_id) != (
            row.created_at,
            row.issuer_url,
            row.client_id,
        ):
            raise ProviderError("the realm was changed or removed meanwhile")

    async def _find(self, userid: str) -> Principal | None:
        async with self._database.system() as connection:
            return await principals.by_userid(connection, userid)

    async def _create(self, row: RealmRow, userid: str, claims: dict[str, Any]) -> None:
        """A user without rights; nothing happens if somebody else just made it."""
        ctx = SystemContext("openid").for_tenant(row.tenant_id)
        async with change(self._database, ctx, row.tenant_id, self._clock) as running:
            try:
                async with running.connection.transaction():
                    await users.insert(
                        running.connection, row.tenant_id, userid, int(self._clock.time()), _person(claims)
                    )
            except asyncpg.UniqueViolationError:
                return
            running.users_touched = True
            running.affected.add(userid)
            await running.audit("user.create", userid, {"realm": row.realm})


def _claim(row: RealmRow) -> str:
    return _CLAIMS.get(row.username_claim or "subject", row.username_claim or "sub")


def _userid(row: RealmRow, claims: dict[str, Any]) -> str:
    """The userid that the claims stand for. An e-mail address that the provider doubts is none."""
    name = _claim(row)
    value = claims.get(name)
    if not isinstance(value, str) or (name == "email" and claims.get("email_verified") in (False, "false")):
        raise ProviderError(f"there is no usable claim {name!r}")
    userid = f"{value}@{row.realm}"
    try:
        check_userid(userid)
    except InvalidArgument as error:
        raise ProviderError(f"the claim {name!r} cannot be a user name: {error.message}") from None
    return userid


def _person(claims: dict[str, Any]) -> dict[str, str]:
    """Names and address as far as they may be stored."""
    found: dict[str, str] = {}
    for field, claim in _PERSON.items():
        value = claims.get(claim)
        if isinstance(value, str):
            try:
                check_person_field(field, value)
            except InvalidArgument:
                continue
            found[field] = value
    return found


def _challenge(verifier: str) -> str:
    """``S256`` of RFC 7636."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def _hash(state: str) -> bytes:
    return hashlib.sha256(state.encode(errors="replace")).digest()


def verifier_owner(state_hash: bytes) -> str:
    """The row that a sealed code verifier belongs to."""
    return f"openid_login:{state_hash.hex()}"
