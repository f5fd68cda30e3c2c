"""From answers and errors to HTTP: envelopes, streamed lists, compression (rest-api A.5, A.6, A.9)."""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pbs_cloud.gateway.errors import CLEARED_COOKIE, JSON_CONTENT_TYPE, Failure, Format, error_body
from pbs_cloud.gateway.rest.calls import Answer, Content, Data, Rows

PIECE_BYTES: Final = 64 * 1024
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
BUFFER_BYTES: Final = 1024 * 1024
"""Up to here a list that is not always chunked is sent with its length."""


@dataclass(slots=True)
class Reply:
    """Status, headers and body; a body in pieces is sent chunked."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | AsyncIterator[bytes] = b""


def dump(value: Any) -> bytes:
    """Compact JSON, always valid UTF-8."""
    return _ENCODER.encode(value).encode("utf-8", "replace")


def error_reply(found: Failure, shape: Format, content_type: str | None = JSON_CONTENT_TYPE) -> Reply:
    """An error in the shape of the format; a real 401 clears the cookie."""
    status, body = error_body(found, shape)
    headers = dict(found.headers)
    if content_type is not None:
        headers["Content-Type"] = "application/json" if shape == "extra" else content_type
    if found.status == 401:
        headers["Set-Cookie"] = CLEARED_COOKIE
    return Reply(status, headers, body)


async def success_reply(answer: Answer, chosen: Literal["json", "extjs"]) -> Reply:
    """Head and body of an answer. The first piece of a stream is there when this returns: earlier errors are raised."""
    if isinstance(answer, Data):
        headers = dict(answer.headers)
        if answer.content_type is not None:
            headers["Content-Type"] = answer.content_type
        return Reply(answer.status, headers, dump(_envelope(answer, chosen)))
    if isinstance(answer, Rows):
        pieces = _row_pieces(answer, chosen)
        body = await (_primed(pieces) if answer.chunked else _buffered(pieces))
        return Reply(200, {"Content-Type": JSON_CONTENT_TYPE}, body)
    headers = dict(answer.headers)
    if answer.content_type is not None:
        headers["Content-Type"] = answer.content_type
    content = answer.content if isinstance(answer.content, bytes) else await _primed(answer.content)
    return Reply(answer.status, headers, content)


def _envelope(answer: Data, chosen: str) -> dict[str, Any]:
    outcome = {} if chosen == "json" or answer.own else {"success": True, "status": 200}
    return {"data": answer.value, **answer.attributes, **outcome}


async def _row_pieces(answer: Rows, chosen: str) -> AsyncIterator[bytes]:
    buffer, first = bytearray(b'{"data":['), True
    async for row in answer.rows:
        buffer += (b"" if first else b",") + dump(row)
        first = False
        if len(buffer) >= PIECE_BYTES:
            yield bytes(buffer)
            buffer.clear()
    rest: Mapping[str, Any] = {
        **answer.attributes,
        **({} if chosen == "json" else {"success": True, "status": 200}),
    }
    buffer += b"]" + (b"," + dump(rest)[1:] if rest else b"}")
    yield bytes(buffer)


async def _primed(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same pieces, the first one read already."""
    iterator = aiter(pieces)
    first = await anext(iterator, b"")
    return _chain(first, iterator)


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        if first:
            yield first
        async for piece in rest:
            yield piece
    finally:
        await close(rest)


async def _buffered(pieces: AsyncIterator[bytes]) -> bytes | AsyncIterator[bytes]:
    """All of it when it is short, else a stream."""
    iterator, buffer = aiter(pieces), bytearray()
    async for piece in iterator:
        buffer += piece
        if len(buffer) > BUFFER_BYTES:
            return _chain(bytes(buffer), iterator)
    return bytes(buffer)


async def close(pieces: object) -> None:
    """End a generator that may not have run to its end."""
    finish = getattr(pieces, "aclose", None)
    if finish is not None:
        await finish()


def wants_deflate(accept_encoding: bytes | None) -> bool:
    """Whether ``deflate`` was asked for by name (wire-protocol 1.12); gzip is never used."""
    items = (accept_encoding or b"").replace(b",", b" ").split()
    return any(item == b"deflate" or item.startswith(b"deflate;q=") for item in items)


def deflated(reply: Reply) -> Reply:
    """The reply with its body as a zlib stream."""
    headers = {**reply.headers, "Content-Encoding": "deflate"}
    if isinstance(reply.body, bytes):
        return Reply(reply.status, headers, zlib.compress(reply.body))
    return Reply(reply.status, headers, _deflated_pieces(reply.body))


async def _deflated_pieces(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    compressor = zlib.compressobj()
    try:
        async for piece in pieces:
            if packed := compressor.compress(piece):
                yield packed
        yield compressor.flush()
    finally:
        await close(pieces)


def as_answer(value: Any) -> Answer:
    """What a handler returned: an answer, or a plain value for the envelope."""
    return value if isinstance(value, (Data, Rows, Content)) else Data(value)
