"""Whether an ID token may be believed (OpenID Connect Core 3.1.3.7); pure."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any, Final

import jwt

from pbs_cloud.auth.openid.fetch import ProviderError

ALGORITHMS: Final = ("RS256", "ES256")
_LEEWAY_SECONDS: Final = 60
_LEAST_RSA_BITS: Final = 2048


class UnknownKey(ProviderError):
    """No key of the provider fits: it may have new ones."""


def signing_key(token: str, jwks: Mapping[str, Any]) -> jwt.PyJWK:
    """The provider's key that the token names. Raises ``ProviderError``, ``UnknownKey``."""
    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError as error:
        raise ProviderError(f"the ID token is none: {error}") from error
    if header.get("alg") not in ALGORITHMS:
        raise ProviderError("the ID token is signed by an algorithm that is not accepted")
    entries = jwks.get("keys")
    found = [key for entry in entries if (key := _usable(entry)) is not None] if isinstance(entries, list) else []
    found = [key for key in found if key.algorithm_name == header["alg"]]
    if "kid" in header:
        found = [key for key in found if key.key_id == header["kid"]]
    if len(found) != 1:
        raise UnknownKey("no single key of the provider fits the ID token")
    return found[0]


def _usable(entry: object) -> jwt.PyJWK | None:
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or entry.get("kty") not in ("RSA", "EC"):
        return None
    try:
        key = jwt.PyJWK(entry)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    weak = entry["kty"] == "RSA" and key.key.key_size < _LEAST_RSA_BITS
    return None if weak or key.algorithm_name not in ALGORITHMS else key


def verified_claims(
    token: str, key: jwt.PyJWK, *, issuer: str, client_id: str, nonce: str, now: float
) -> dict[str, Any]:
    """The claims of a token that this provider made for this client and this login. Raises ``ProviderError``."""
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=list(ALGORITHMS),
            audience=client_id,
            issuer=issuer,
            options={"require": ["iss", "sub", "aud", "exp", "iat"], "verify_exp": False, "verify_iat": False},
        )
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise ProviderError(f"the ID token is refused: {error}") from error
    _check_times(claims, now)
    audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    if claims.get("azp", client_id if len(audiences) == 1 else None) != client_id:
        raise ProviderError("the ID token was made for another party")
    sent = claims.get("nonce")
    if not isinstance(sent, str) or not hmac.compare_digest(sent.encode(), nonce.encode()):
        raise ProviderError("the ID token belongs to another login")
    return claims


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    times = [claims["exp"], claims["iat"]]
    if any(isinstance(moment, bool) or not isinstance(moment, int | float) for moment in times):
        raise ProviderError("the ID token has times that are no numbers")
    if claims["exp"] <= now - _LEEWAY_SECONDS:
        raise ProviderError("the ID token has expired")
    if claims["iat"] > now + _LEEWAY_SECONDS:
        raise ProviderError("the ID token comes from the future")
