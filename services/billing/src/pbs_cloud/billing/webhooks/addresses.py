"""Where a webhook may go: https to public addresses only, looked at again at every delivery (rest-api D.8).

A name may resolve to another address the next time, so the connection is made to the very address that was judged.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from pbs_cloud.contracts.errors import InvalidArgument

MAX_URL = 2048
RESOLVE_SECONDS = 10.0
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_PORTS = {"https": 443, "http": 80}


class Refused(Exception):
    """The address must not be used; the text tells nothing about what a name resolves to."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A URL in parts; ``authority`` is the Host header."""

    scheme: str
    host: str
    port: int
    authority: str
    path: str

    @property
    def encrypted(self) -> bool:
        return self.scheme == "https"


def parse_url(url: str, *, allow_internal: bool) -> Destination:
    """Raises InvalidArgument with field ``url``."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _wrong("is no URL") from None
    allowed = ("https", "http") if allow_internal else ("https",)
    if parts.scheme not in allowed:
        raise _wrong(f"must begin with {' or '.join(f'{scheme}://' for scheme in allowed)}")
    host = parts.hostname or ""
    if (
        not host
        or "@" in parts.netloc
        or len(url) > MAX_URL
        or not url.isascii()
        or not url.isprintable()
        or " " in url
    ):
        raise _wrong("must name a host, without user and blanks, in at most 2048 ASCII characters")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Destination(parts.scheme, host, port or _PORTS[parts.scheme], parts.netloc, path)


def _wrong(reason: str) -> InvalidArgument:
    return InvalidArgument(f"url: {reason}", field="url")


def is_public(text: str) -> bool:
    """Whether the address belongs to the public network, also what is embedded in an IPv6 address."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        for inner in (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())):
            if inner is not None and not is_public(str(inner)):
                return False
        if address in _NAT64 and not is_public(str(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))):
            return False
        if address.is_site_local:
            return False
    return address.is_global and not address.is_multicast


async def resolve(destination: Destination, *, allow_internal: bool) -> list[str]:
    """Addresses to connect to, in the resolver's order. Raises Refused."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await loop.getaddrinfo(destination.host, destination.port, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError, UnicodeError):
        raise Refused("the host has no public address") from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not addresses or not (allow_internal or all(is_public(address) for address in addresses)):
        raise Refused("the host has no public address")
    return addresses
