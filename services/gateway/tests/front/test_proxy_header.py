"""The PROXY-protocol header: parsing, and what the REST worker is told about the client."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pbs_cloud.gateway.front.proxy_header import SIGNATURE_2, BadHeader, parse_binary, parse_line
from pbs_cloud.runtime.errors import ConfigError
from pbs_cloud.runtime.settings import load_settings

CLIENT = "203.0.113.9"


def binary(address: str = CLIENT, *, command: int = 0x21, more: bytes = b"") -> bytes:
    """A version 2 header with type-length-value fields behind the addresses."""
    source = ipaddress.ip_address(address).packed
    body = source + source + struct.pack(">HH", 4000, 8007) + more
    family = 0x11 if len(source) == 4 else 0x21
    return SIGNATURE_2 + struct.pack(">BBH", command, family, len(body)) + body


def line(address: str = CLIENT, kind: str = "TCP4") -> bytes:
    return f"PROXY {kind} {address} 192.0.2.1 4000 8007\r\n".encode()


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (b"PROXY TCP4 203.0.113.9 192.0.2.1 4000 8007", CLIENT),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 4000 8007", "2001:db8::1"),
        (b"PROXY TCP6 ::ffff:203.0.113.9 ::ffff:1.2.3.4 4000 8007", CLIENT),
        (b"PROXY UNKNOWN", None),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2", None),
    ],
)
def test_lines(found: bytes, expected: str | None) -> None:
    assert parse_line(found) == expected


@pytest.mark.parametrize(
    "wrong",
    [
        b"PROXY TCP4 2001:db8::1 192.0.2.1 1 2",
        b"PROXY TCP4 203.0.113.9",
        b"PROXY TCP5 203.0.113.9 192.0.2.1 1 2",
        b"PROXY TCP4 \xff 192.0.2.1 1 2",
        b"PROXY  TCP4 203.0.113.9 192.0.2.1 1",
    ],
)
def test_lines_that_are_none(wrong: bytes) -> None:
    with pytest.raises(BadHeader):
        parse_line(wrong)


def test_binary_headers() -> None:
    assert parse_binary(0x20, 0, b"") is None, "LOCAL: a health check"
    assert parse_binary(0x21, 0x31, bytes(216)) is None, "a unix socket"
    assert parse_binary(0x21, 0x11, ipaddress.ip_address(CLIENT).packed + bytes(8)) == CLIENT
    for command, family, body in ((0x21, 0x11, bytes(11)), (0x21, 0x21, bytes(35)), (0x22, 0x11, bytes(12))):
        with pytest.raises(BadHeader):
            parse_binary(command, family, body)


@pytest.fixture(params=[True, False], ids=["tls", "plain"])
async def fronted(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[tuple[int, bool]]:
    """A front that trusts 127.0.0.2, and a REST worker that answers with the address it was told."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        told = next(text.split(": ")[1] for text in head.split("\r\n") if text.startswith("x-pbs-client-address"))
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(told)}\r\n\r\n{told}".encode())
        writer.close()

    worker = await asyncio.start_unix_server(serve, str(tmp_path / "rest.sock"))
    running = await request.getfixturevalue("make_front")(tmp_path, tls=request.param, proxies=("127.0.0.2/32", "::1"))
    yield running.listener.port, request.param
    await running.listener.stop()
    running.listener.close_all()
    worker.close()


async def ask(port: int, tls: bool, source: str, pieces: list[bytes]) -> str:
    """Connect from ``source``, send ``pieces`` one after the other, then a request; the body of the answer."""

    def talk() -> str:
        with socket.create_connection(("127.0.0.1", port), 3, (source, 0)) as raw:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for piece in pieces:
                raw.sendall(piece)
                if len(pieces) > 1:
                    time.sleep(0.05)
            wrapped: Any = raw
            if tls:
                context = ssl._create_unverified_context()
                wrapped = context.wrap_socket(raw, server_hostname="x")
            wrapped.sendall(b"GET /api2/json/version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            found = b""
            while piece := wrapped.recv(4096):
                found += piece
            return found.partition(b"\r\n\r\n")[2].decode()

    return await asyncio.to_thread(talk)


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([], "127.0.0.2"),
        ([line()], CLIENT),
        ([binary()], CLIENT),
        ([binary("2001:db8::7", more=b"\x04\x00\x02ab")], "2001:db8::7"),
        ([binary(command=0x20)], "127.0.0.2"),
        ([line()[:3], line()[3:20], line()[20:]], CLIENT),
        ([binary()[:5], binary()[5:14], binary()[14:20], binary()[20:]], CLIENT),
    ],
)
async def test_a_trusted_proxy_tells_the_client(fronted: tuple[int, bool], pieces: list[bytes], expected: str) -> None:
    assert await ask(*fronted, "127.0.0.2", pieces) == expected


async def test_nobody_else_is_believed(fronted: tuple[int, bool]) -> None:
    assert await ask(*fronted, "127.0.0.3", []) == "127.0.0.3"
    for header in (line(), binary()):
        try:
            answer = await ask(*fronted, "127.0.0.3", [header])
        except OSError:  # closed, or no TLS
            continue
        assert CLIENT not in answer


async def test_nonsense_ends_the_connection(fronted: tuple[int, bool]) -> None:
    for header in (
        line("nobody"),
        b"PROXY TCP4 " + b"1" * 200,
        SIGNATURE_2 + b"\x21\x11\xff\xff",
        binary(command=0x25),
    ):
        with pytest.raises(OSError):
            assert not await ask(*fronted, "127.0.0.2", [header])
            raise ConnectionError("answered with nothing")


def test_networks_are_checked_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PBS_TRUSTED_PROXIES", "10.0.0.0/8, fd00::/8,192.0.2.7")
    assert len(load_settings().trusted_proxies) == 3
    monkeypatch.setenv("PBS_TRUSTED_PROXIES", "10.0.0.0/33")
    with pytest.raises(ConfigError, match="PBS_TRUSTED_PROXIES"):
        load_settings()
