"""A small real OpenID provider on loopback: discovery, keys, authorize, token, user info. It can misbehave on demand.

async with OpenidProvider() as provider:
    provider.user = {"sub": "0815", "preferred_username": "ada"}
    code, state = await provider.log_in(url)
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

CLIENT_ID = "pbs-cloud"
CLIENT_KEY = "the client's own key"


@dataclass(slots=True)
class SigningKey:
    """A key of the provider."""

    kid: str
    algorithm: str
    private: Any

    @classmethod
    def make(cls, kid: str, algorithm: str = "RS256") -> SigningKey:
        """A fresh RSA or P-256 key."""
        if algorithm == "ES256":
            return cls(kid, algorithm, ec.generate_private_key(ec.SECP256R1()))
        return cls(kid, algorithm, rsa.generate_private_key(65537, 2048))

    def public(self) -> dict[str, Any]:
        """As an entry of the JWKS."""
        kind = jwt.get_algorithm_by_name(self.algorithm)
        entry: dict[str, Any] = kind.to_jwk(self.private.public_key(), as_dict=True)  # type: ignore[attr-defined]
        return {**entry, "kid": self.kid, "use": "sig", "alg": self.algorithm}

    def sign(self, claims: dict[str, Any]) -> str:
        """An ID token."""
        return jwt.encode(claims, self.private, algorithm=self.algorithm, headers={"kid": self.kid})


@dataclass(slots=True)
class Grant:
    """A code that was handed out."""

    asked: dict[str, str]
    user: dict[str, Any]


@dataclass(slots=True)
class OpenidProvider:
    """``user`` is who logs in next. To misbehave: ``spoil`` changes the claims, ``sign`` makes the token otherwise."""

    user: dict[str, Any] = field(default_factory=lambda: {"sub": "0815"})
    userinfo: dict[str, Any] = field(default_factory=dict)
    client_key: str | None = CLIENT_KEY
    keys: list[SigningKey] = field(default_factory=lambda: [SigningKey.make("one")])
    described: dict[str, Any] = field(default_factory=dict)
    spoil: Callable[[dict[str, Any]], dict[str, Any]] = lambda claims: claims
    sign: Callable[[dict[str, Any]], str] | None = None
    requests: list[str] = field(default_factory=list)
    now: Callable[[], float] = time.time
    _grants: dict[str, Grant] = field(default_factory=dict)
    _server: asyncio.Server | None = None
    _port: int = 0

    @property
    def issuer(self) -> str:
        """URL without a slash at the end."""
        return f"http://127.0.0.1:{self._port}/realm"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def log_in(self, url: str) -> tuple[str, str]:
        """What the browser does: open the page, be sent back. Code and state."""
        async with httpx.AsyncClient() as browser:
            answer = await browser.get(url)
        assert answer.status_code == 302, answer.text
        back = dict(parse_qsl(urlsplit(answer.headers["location"]).query))
        return back["code"], back["state"]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            method, target, _ = head[0].split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            parts = urlsplit(target)
            self.requests.append(f"{method} {parts.path}")
            given = dict(parse_qsl(parts.query) + parse_qsl(body.decode()))
            status, more, content = self._answer(parts.path, given, headers)
            lines = [f"HTTP/1.1 {status} x", "Connection: close", f"Content-Length: {len(content)}", *more]
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
            await writer.drain()
        writer.close()

    def _answer(self, path: str, given: dict[str, str], headers: dict[str, str]) -> tuple[int, list[str], bytes]:
        name = path.removeprefix("/realm")
        if name == "/authorize":
            return self._authorize(given)
        calls: dict[str, Callable[[], tuple[int, Any]]] = {
            "/.well-known/openid-configuration": lambda: (200, self._description()),
            "/keys": lambda: (200, {"keys": [key.public() for key in self.keys]}),
            "/token": lambda: self._token(given, headers),
            "/userinfo": lambda: (200, self.userinfo),
        }
        status, value = calls[name]() if name in calls else (404, {})
        return status, ["Content-Type: application/json"], json.dumps(value).encode()

    def _description(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            **self.described,
        }

    def _authorize(self, given: dict[str, str]) -> tuple[int, list[str], bytes]:
        wanted = {"response_type": "code", "client_id": CLIENT_ID, "code_challenge_method": "S256"}
        if any(given.get(name) != value for name, value in wanted.items()) or "openid" not in given["scope"].split():
            return 400, [], b"a request that is none"
        code = secrets.token_urlsafe(16)
        self._grants[code] = Grant(given, self.user)
        back = urlencode({"code": code, "state": given["state"]})
        return 302, [f"Location: {given['redirect_uri']}?{back}"], b""

    def _token(self, given: dict[str, str], headers: dict[str, str]) -> tuple[int, Any]:
        grant = self._grants.pop(given.get("code", ""), None)
        if grant is None or given.get("redirect_uri") != grant.asked["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        hashed = hashlib.sha256(given.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(hashed).decode().rstrip("=") != grant.asked["code_challenge"]:
            return 400, {"error": "invalid_grant"}
        if self.client_key is not None and self._sent_key(given, headers) != self.client_key:
            return 401, {"error": "invalid_client"}
        now = int(self.now())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "nonce": grant.asked["nonce"],
            "iat": now,
            "exp": now + 300,
            **grant.user,
        }
        sign = self.sign or self.keys[-1].sign
        return 200, {"access_token": "access", "token_type": "Bearer", "id_token": sign(self.spoil(claims))}

    def _sent_key(self, given: dict[str, str], headers: dict[str, str]) -> str | None:
        basic = headers.get("authorization", "")
        if basic.startswith("Basic "):
            name, _, key = base64.b64decode(basic[6:]).decode().partition(":")
            return unquote(key) if unquote(name) == CLIENT_ID else None
        return given.get("client_secret") if given.get("client_id") == CLIENT_ID else None
