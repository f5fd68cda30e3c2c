"""Plain HTTP on the TLS port: every request is sent to https (wire-protocol 1.1)."""

from __future__ import annotations

import asyncio
from typing import Final, cast

from pbs_cloud.gateway.front.head import MAX_HEAD, BadHead, parse_request_head
from pbs_cloud.gateway.front.replies import reply

SECONDS: Final = 10.0


class RedirectConnection(asyncio.Protocol):
    """Answers one request and closes."""

    def __init__(self) -> None:
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._timer = asyncio.get_running_loop().call_later(SECONDS, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._transport is None or self._transport.is_closing():
            return
        head, end, _ = self._received.partition(b"\r\n\r\n")
        if end or len(self._received) > MAX_HEAD:
            self._transport.write(redirect(head if end else b""))
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()


def redirect(raw: bytes) -> bytes:
    """The answer to a request head."""
    try:
        head = parse_request_head(raw)
    except BadHead:
        return reply(400, b"", {}, close=True)
    host = head.get(b"host")
    if not host:
        return reply(400, b"", {}, close=True)
    status = 301 if head.method in ("GET", "HEAD") else 308
    return reply(status, b"", {"Location": f"https://{host.decode('latin-1')}"}, close=True)
