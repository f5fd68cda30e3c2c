"""Requests to OpenID providers, within limits: an address that an administrator typed must not reach our inside.

Every name is resolved here, its addresses are checked, and the connection goes to the address that was checked.
Redirects are not followed, answers have to be small and quick, and nothing of them is shown to anybody.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
import ssl
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import httpcore

from pbs_cloud.runtime.lifecycle import Component

MAX_ANSWER_BYTES: Final = 512 * 1024
TOTAL_SECONDS: Final = 10.0
_STEP_SECONDS: Final = 5.0
_MOST_CONNECTIONS: Final = 20
# Networks whose addresses stand for IPv4 addresses.
_TRANSLATED: Final = tuple(ipaddress.ip_network(text) for text in ("64:ff9b::/96", "2002::/16", "2001::/32"))


class ProviderError(Exception):
    """The provider cannot be used, or what it sent must not be believed; the text is for the log only."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet."""
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return is_public(str(found.ipv4_mapped))
        if any(found in network for network in _TRANSLATED):
            return False
    return found.is_global and not found.is_multicast


class _CheckedBackend(httpcore.AsyncNetworkBackend):
    """Connects only to addresses that were checked."""

    def __init__(self, allow_internal: bool) -> None:
        self._inner = httpcore.AnyIOBackend()
        self._allow_internal = allow_internal

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        addresses = [str(entry[4][0]) for entry in found]
        if not self._allow_internal and not all(is_public(address.partition("%")[0]) for address in addresses):
            raise httpcore.ConnectError("the address is internal")
        return await self._inner.connect_tcp(addresses[0], port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Fetcher(Component):
    """JSON from providers. Raises ``ProviderError`` for everything that goes wrong."""

    name = "openid fetcher"

    def __init__(self, allow_internal: bool, tls: ssl.SSLContext) -> None:
        self._allow_internal = allow_internal
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            network_backend=_CheckedBackend(allow_internal),
            max_connections=_MOST_CONNECTIONS,
            max_keepalive_connections=0,
        )

    async def stop(self) -> None:
        await self._pool.aclose()

    def check_url(self, url: object) -> str:
        """The URL if it may be asked: https (http only where internal addresses are allowed), no user information."""
        if not isinstance(url, str):
            raise ProviderError("a URL is missing")
        try:
            parts = urlsplit(url)
            usable = parts.hostname and not parts.username and not parts.password and parts.port != 0
        except ValueError:
            usable = None
        schemes = ("https", "http") if self._allow_internal else ("https",)
        if not usable or parts.scheme not in schemes or not url.isascii() or len(url) > 2048:
            raise ProviderError("a URL that must not be asked")
        return url

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The JSON object at ``url``."""
        return await self._ask("GET", url, headers or {}, b"")

    async def post(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, Any]:
        """The JSON object that a form is answered with."""
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return await self._ask("POST", url, {**kind, **headers}, urlencode(form).encode())

    async def _ask(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        self.check_url(url)
        limits = dict.fromkeys(("connect", "read", "write", "pool"), _STEP_SECONDS)
        sent = {"Host": urlsplit(url).netloc, "Accept": "application/json", **headers}
        if body:
            sent["Content-Length"] = str(len(body))
        try:
            async with asyncio.timeout(TOTAL_SECONDS):
                answer = bytearray()
                async with self._pool.stream(
                    method, url, headers=list(sent.items()), content=body, extensions={"timeout": limits}
                ) as response:
                    async for piece in response.aiter_stream():
                        answer += piece
                        if len(answer) > MAX_ANSWER_BYTES:
                            raise ProviderError("the answer is too long")
        except (
            TimeoutError,
            OSError,
            httpcore.TimeoutException,
            httpcore.NetworkError,
            httpcore.ProtocolError,
        ) as error:
            raise ProviderError(f"{type(error).__name__}: {error}") from error
        if response.status != 200:
            raise ProviderError(f"{method} answered {response.status}")
        try:
            found = json.loads(answer)
        except (ValueError, RecursionError) as error:
            raise ProviderError("the answer is no JSON") from error
        if not isinstance(found, dict):
            raise ProviderError("the answer is no JSON object")
        return found
