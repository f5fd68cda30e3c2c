"""Answers that the front gives itself."""

from __future__ import annotations

from collections.abc import Mapping

from pbs_cloud.gateway.errors import reason_phrase
from pbs_cloud.gateway.front.head import Fields, serialize
from pbs_cloud.gateway.http2.headers import http_date


def reply(
    status: int, body: bytes, fields: Mapping[str, str], *, close: bool = False, head_only: bool = False
) -> bytes:
    """A complete HTTP/1.1 answer."""
    found: Fields = [(name.lower().encode(), value.encode()) for name, value in fields.items()]
    found += [(b"date", http_date()), (b"content-length", str(len(body)).encode())]
    if close:
        found.append((b"connection", b"close"))
    head = serialize(f"HTTP/1.1 {status} {reason_phrase(status)}".encode(), found)
    return head if head_only else head + body


def plain_reply(status: int, text: str, *, close: bool = False, head_only: bool = False) -> bytes:
    """An answer of plain text."""
    fields = {"Content-Type": "text/plain; charset=utf-8"}
    return reply(status, text.encode(), fields, close=close, head_only=head_only)


def switching_reply(protocol: str) -> bytes:
    """The head after which the connection is HTTP/2 (wire-protocol 4.1)."""
    fields = [(b"connection", b"upgrade"), (b"upgrade", protocol.encode()), (b"date", http_date())]
    return serialize(b"HTTP/1.1 101 Switching Protocols", fields)
