"""Credentials from headers: wire-protocol 3.1."""

from __future__ import annotations

import pytest

from pbs_cloud.contracts.auth import Credentials
from pbs_cloud.gateway.credentials import credentials_from_headers


def read(method: str = "GET", **headers: str) -> Credentials | None:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return credentials_from_headers(method, pairs)


@pytest.mark.parametrize("separator", [" ", "="])
def test_token_after_blank_or_equals_sign(separator: str) -> None:
    found = read(authorization=f"PBSAPIToken{separator}a@pbs!t:x%20y:z")
    assert found == Credentials(token_id="a@pbs!t", token_secret="x y:z")


def test_token_id_is_not_decoded() -> None:
    assert read(authorization="PBSAPIToken=a%40pbs!t:s") == Credentials(token_id="a%40pbs!t", token_secret="s")


@pytest.mark.parametrize(
    "value", ["pbsapitoken=a@pbs!t:s", "PBSAPIToken:a@pbs!t:s", "PBSAPIToken=a@pbs!t=s", "Basic eDp5", ""]
)
def test_everything_else_is_no_credential(value: str) -> None:
    assert read(authorization=value) is None


def test_bearer() -> None:
    assert read(authorization="Bearer pbs_00") == Credentials(bearer_secret="pbs_00")


def test_cookie_among_others_and_percent_encoded() -> None:
    found = read(cookie="a=b; PBSAuthCookie=PBS%3Aa@pbs%3A0%3A%3As ;c=d")
    assert found == Credentials(ticket="PBS:a@pbs:0::s")


def test_prefixed_cookie_wins_even_when_it_is_bad() -> None:
    assert read(cookie="PBSAuthCookie=good; __Host-PBSAuthCookie=bad") == Credentials(ticket="bad")
    assert read(cookie="__Host-PBSAuthCookie=; PBSAuthCookie=good") == Credentials(ticket="")


def test_cookie_wins_over_token() -> None:
    found = read(cookie="PBSAuthCookie=foo", authorization="PBSAPIToken=a@pbs!t:s")
    assert found == Credentials(ticket="foo")


def test_csrf_token_is_required_for_everything_but_get() -> None:
    assert read("POST", cookie="PBSAuthCookie=foo", CSRFPreventionToken="0:x") == Credentials(
        ticket="foo", csrf_token="0:x", csrf_required=True
    )
    assert read("GET", cookie="PBSAuthCookie=foo") == Credentials(ticket="foo", csrf_required=False)


def test_several_cookie_headers_and_broken_bytes() -> None:
    headers = [(b"cookie", b"a=b"), (b"Cookie", b"PBSAuthCookie=%FF%FE"), (b"authorization", b"PBSAPIToken=a:b")]
    assert credentials_from_headers("GET", headers) == Credentials(ticket="")


def test_nothing() -> None:
    assert read() is None
