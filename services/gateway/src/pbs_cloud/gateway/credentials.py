"""Credentials that a request carries in its headers (wire-protocol 3.1, rest-api A.7)."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from pbs_cloud.contracts.auth import Credentials

COOKIE_NAMES = ("__Host-PBSAuthCookie", "PBSAuthCookie")
Headers = Iterable[tuple[bytes, bytes]]


def credentials_from_headers(method: str, headers: Headers) -> Credentials | None:
    """Credentials of a request, None without any. Header names in any case.

    A ticket cookie, even an empty or broken one, wins over ``Authorization``; every method but GET then needs a CSRF
    token. A value that cannot be decoded becomes an empty ticket or secret, which no service accepts.
    """
    cookies: list[bytes] = []
    authorization: bytes | None = None
    csrf: str | None = None
    for raw_name, value in headers:
        name = raw_name.lower()
        if name == b"cookie":
            cookies.append(value)
        elif name == b"authorization" and authorization is None:
            authorization = value
        elif name == b"csrfpreventiontoken" and csrf is None:
            csrf = value.decode("latin-1").strip()
    ticket = ticket_cookie(cookies)
    if ticket is not None:
        return Credentials(ticket=ticket, csrf_token=csrf, csrf_required=method != "GET")
    return None if authorization is None else _from_authorization(authorization)


def ticket_cookie(cookies: Iterable[bytes], names: tuple[str, ...] = COOKIE_NAMES) -> str | None:
    """Decoded value of the ticket cookie among all ``Cookie`` headers; an earlier name wins."""
    found: dict[bytes, bytes] = {}
    for header in cookies:
        for pair in header.split(b";"):
            name, equals, value = pair.partition(b"=")
            if equals:
                found.setdefault(name.strip(), value.strip())
    for wanted in names:
        if (value_found := found.get(wanted.encode())) is not None:
            return _decode(value_found)
    return None


def _from_authorization(value: bytes) -> Credentials | None:
    for scheme in (b"PBSAPIToken ", b"PBSAPIToken="):
        if value.startswith(scheme):
            token_id, colon, secret = value[len(scheme) :].partition(b":")
            if not colon:
                return None
            return Credentials(token_id=_text(token_id), token_secret=_decode(secret))
    if value.startswith(b"Bearer "):
        return Credentials(bearer_secret=_text(value[len(b"Bearer ") :].strip()))
    return None


def _decode(value: bytes) -> str:
    return _text(unquote_to_bytes(value))


def _text(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return ""
    return "" if "\0" in text else text
