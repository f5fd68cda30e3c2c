"""What a provider says about itself (discovery, keys), and the exchange of a code for an ID token."""

from __future__ import annotations

import base64
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from pbs_cloud.auth.openid.fetch import Fetcher, ProviderError
from pbs_cloud.auth.openid.id_token import UnknownKey, signing_key, verified_claims
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock

_KEEP_SECONDS: Final = 300.0
_LEAST_REFRESH_SECONDS: Final = 10.0
_MOST_PROVIDERS: Final = 256
_WELL_KNOWN: Final = "/.well-known/openid-configuration"


@dataclass(slots=True)
class Provider:
    """A provider's own description and its keys, as read ``read_at`` (monotonic)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None
    secret_in_form: bool
    keys: Mapping[str, Any]
    read_at: float


@dataclass(frozen=True, slots=True)
class CodeExchange:
    """What is sent to turn a code into an ID token."""

    client_id: str
    client_key: str | None
    code: str
    redirect_url: str
    code_verifier: str
    nonce: str


class Providers:
    """Providers by their issuer, remembered for five minutes. Raises ``ProviderError``."""

    def __init__(self, fetcher: Fetcher, clock: Clock = SYSTEM_CLOCK) -> None:
        self._fetcher = fetcher
        self._clock = clock
        self._known: OrderedDict[str, Provider] = OrderedDict()

    async def discover(self, issuer_url: str) -> Provider:
        """The provider with this issuer."""
        known = self._known.get(issuer_url)
        if known is not None and known.read_at + _KEEP_SECONDS > self._clock.monotonic():
            return known
        provider = await self._read(issuer_url)
        self._known[issuer_url] = provider
        self._known.move_to_end(issuer_url)
        while len(self._known) > _MOST_PROVIDERS:
            self._known.popitem(last=False)
        return provider

    async def claims(self, provider: Provider, exchange: CodeExchange, wanted: str) -> dict[str, Any]:
        """The claims of the ID token for a code; ``wanted``, if it is not among them, from the user info."""
        answer = await self._exchange(provider, exchange)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise ProviderError("the provider sent no ID token")
        claims = verified_claims(
            token,
            await self._key(provider, token),
            issuer=provider.issuer,
            client_id=exchange.client_id,
            nonce=exchange.nonce,
            now=self._clock.time(),
        )
        if wanted in claims or provider.userinfo_endpoint is None:
            return claims
        access = answer.get("access_token")
        if not isinstance(access, str) or not access.isascii() or not access.isprintable():
            return claims
        info = await self._fetcher.get(provider.userinfo_endpoint, {"Authorization": f"Bearer {access}"})
        if info.get("sub") != claims["sub"]:
            raise ProviderError("the user info is somebody else's")
        return {**info, **claims}

    async def _read(self, issuer_url: str) -> Provider:
        found = await self._fetcher.get(issuer_url.rstrip("/") + _WELL_KNOWN)
        issuer = found.get("issuer")
        if not isinstance(issuer, str) or issuer.rstrip("/") != issuer_url.rstrip("/"):
            raise ProviderError("the provider calls itself otherwise")
        check = self._fetcher.check_url
        userinfo = found.get("userinfo_endpoint")
        methods = found.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        provider = Provider(
            issuer=issuer,
            authorization_endpoint=check(found.get("authorization_endpoint")),
            token_endpoint=check(found.get("token_endpoint")),
            jwks_uri=check(found.get("jwks_uri")),
            userinfo_endpoint=None if userinfo is None else check(userinfo),
            secret_in_form=isinstance(methods, list) and "client_secret_basic" not in methods,
            keys={},
            read_at=self._clock.monotonic(),
        )
        provider.keys = await self._fetcher.get(provider.jwks_uri)
        return provider

    async def _key(self, provider: Provider, token: str) -> Any:
        """The key that the token names; the provider is asked again if it may be a new one."""
        try:
            return signing_key(token, provider.keys)
        except UnknownKey:
            if provider.read_at + _LEAST_REFRESH_SECONDS > self._clock.monotonic():
                raise
            provider.keys = await self._fetcher.get(provider.jwks_uri)
            provider.read_at = self._clock.monotonic()
            return signing_key(token, provider.keys)

    async def _exchange(self, provider: Provider, exchange: CodeExchange) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": exchange.code,
            "redirect_uri": exchange.redirect_url,
            "code_verifier": exchange.code_verifier,
        }
        headers: dict[str, str] = {}
        if exchange.client_key is None or provider.secret_in_form:
            form["client_id"] = exchange.client_id
            if exchange.client_key is not None:
                form["client_secret"] = exchange.client_key
        else:
            pair = f"{quote(exchange.client_id, safe='')}:{quote(exchange.client_key, safe='')}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        return await self._fetcher.post(provider.token_endpoint, form, headers)
