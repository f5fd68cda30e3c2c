"""The PROXY-protocol header, versions 1 and 2, with which a load balancer tells the client's address (rest-api D.11).

It is believed only from networks that the operator names (`PBS_TRUSTED_PROXIES`). Whatever else comes from there
without one, such as health checks, is served as it is.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
from collections.abc import Iterable, Sequence
from typing import Final

SIGNATURE_2: Final = b"\r\n\r\n\0\r\nQUIT\n"
SIGNATURE_1: Final = b"PROXY "
MAX_LINE: Final = 107
MAX_BODY: Final = 4096
_POLL_SECONDS: Final = 0.01
_LOCAL, _PROXY = 0x20, 0x21
_IPV4, _IPV6 = 1, 2

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class BadHeader(Exception):
    """It began like a PROXY header and is none: the connection ends."""


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Raises ValueError."""
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def is_trusted(address: str, networks: Sequence[Network]) -> bool:
    """Whether the peer may tell other addresses than its own."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return any(found in network for network in networks)


def parse_line(line: bytes) -> str | None:
    """Client address of a version 1 line without its line break; None for ``UNKNOWN``. Raises BadHeader."""
    words = line.split(b" ")
    if words[:2] == [b"PROXY", b"UNKNOWN"]:
        return None
    if len(words) != 6 or words[0] != b"PROXY" or words[1] not in (b"TCP4", b"TCP6"):
        raise BadHeader("no PROXY line")
    try:
        text = words[2].decode("ascii")
        return _plain(ipaddress.IPv4Address(text) if words[1] == b"TCP4" else ipaddress.IPv6Address(text))
    except ValueError as error:
        raise BadHeader("no address in the PROXY line") from error


def parse_binary(command: int, family: int, body: bytes) -> str | None:
    """Client address of a version 2 header; None for ``LOCAL`` and families without addresses. Raises BadHeader."""
    if command == _LOCAL:
        return None
    if command != _PROXY:
        raise BadHeader("unknown PROXY version or command")
    kind = family >> 4
    if kind not in (_IPV4, _IPV6):
        return None
    size = 4 if kind == _IPV4 else 16
    if len(body) < 2 * size + 4:
        raise BadHeader("the PROXY header is too short")
    source = body[:size]
    return _plain(ipaddress.IPv4Address(source) if kind == _IPV4 else ipaddress.IPv6Address(source))


def _plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


async def read_header(accepted: socket.socket) -> str | None:
    """Take a header from the beginning of the connection, exactly; None without one or without an address in it.

    Raises BadHeader, OSError.
    """
    start = await _peek(accepted, len(SIGNATURE_2))
    if start == SIGNATURE_2:
        return await _read_binary(accepted)
    if start.startswith(SIGNATURE_1):
        return await _read_line(accepted)
    return None


async def _peek(accepted: socket.socket, count: int) -> bytes:
    """The first bytes without taking them; fewer when the client closed, or when no header begins like that."""
    while True:
        try:
            found = accepted.recv(count, socket.MSG_PEEK)
        except BlockingIOError:
            await _readable(accepted)
            continue
        candidate = SIGNATURE_2.startswith(found) or found.startswith(SIGNATURE_1) or SIGNATURE_1.startswith(found)
        if not found or len(found) == count or not candidate:
            return found
        await asyncio.sleep(_POLL_SECONDS)  # the rest of the signature is on its way


async def _read_line(accepted: socket.socket) -> str | None:
    while True:
        found = accepted.recv(MAX_LINE, socket.MSG_PEEK)
        end = found.find(b"\r\n")
        if end >= 0:
            await _exactly(accepted, end + 2)
            return parse_line(found[:end])
        if not found or len(found) == MAX_LINE:
            raise BadHeader("the PROXY line has no end")
        await asyncio.sleep(_POLL_SECONDS)


async def _read_binary(accepted: socket.socket) -> str | None:
    head = await _exactly(accepted, len(SIGNATURE_2) + 4)
    command, family, length = struct.unpack(">BBH", head[len(SIGNATURE_2) :])
    if length > MAX_BODY:
        raise BadHeader("the PROXY header is too long")
    return parse_binary(command, family, await _exactly(accepted, length))


async def _exactly(accepted: socket.socket, count: int) -> bytes:
    taken = bytearray()
    while len(taken) < count:
        try:
            piece = accepted.recv(count - len(taken))
        except BlockingIOError:
            await _readable(accepted)
            continue
        if not piece:
            raise BadHeader("the connection ended inside the PROXY header")
        taken += piece
    return bytes(taken)


async def _readable(accepted: socket.socket) -> None:
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(accepted, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(accepted)
