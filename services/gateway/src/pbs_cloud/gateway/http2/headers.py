"""Header blocks: bounded decoding of requests, stateless encoding of answers (RFC 7541, RFC 9113 8.3)."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Final

from hpack import Decoder, HPACKError, OversizedHeaderListError

from pbs_cloud.gateway.http2.frames import ConnectionFault, ErrorCode

MAX_HEADER_LIST: Final = 16_384
"""Announced; a longer list is answered with 431 (wire-protocol 1.6)."""
MAX_DECODED_LIST: Final = 256 * 1024
"""A list that decodes to more ends the connection: a decompression bomb."""
MAX_BLOCK: Final = 64 * 1024
"""Encoded bytes of one header block, all CONTINUATION frames included."""

_CONNECTION_FIELDS = frozenset({b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"})
_PSEUDO = frozenset({b":method", b":scheme", b":authority", b":path"})


class MalformedRequest(Exception):
    """The header list is no valid request: a stream error."""


@dataclass(slots=True)
class RequestHead:
    """A request: ``path`` without the query; names of ``headers`` in lower case; the last of equal names counts."""

    method: str
    path: str
    query: str
    headers: dict[str, str] = field(default_factory=dict)
    too_large: bool = False

    @property
    def content_type(self) -> str | None:
        """The value of ``content-type``."""
        return self.headers.get("content-type")


class HeaderDecoder:
    """HPACK state of the receiving direction."""

    def __init__(self) -> None:
        self._decoder = Decoder(max_header_list_size=MAX_DECODED_LIST)

    def decode(self, block: bytes) -> list[tuple[bytes, bytes]]:
        """Names and values. Raises ConnectionFault; the state is then lost."""
        try:
            return [(bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True)]
        except OversizedHeaderListError as error:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "header list too large") from error
        except (HPACKError, UnicodeError, ValueError, IndexError) as error:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, "header block cannot be decoded") from error


def parse_request(fields: list[tuple[bytes, bytes]]) -> RequestHead:
    """The request that a header list describes. Raises MalformedRequest."""
    pseudo: dict[bytes, bytes] = {}
    headers: dict[str, str] = {}
    size = 0
    for name, value in fields:
        size += len(name) + len(value) + 32
        if name.startswith(b":"):
            if headers or name in pseudo or name not in _PSEUDO:
                raise MalformedRequest("bad pseudo header")
            pseudo[name] = value
            continue
        if not name or name != name.lower() or name in _CONNECTION_FIELDS:
            raise MalformedRequest("bad header name")
        if b"\n" in value or b"\r" in value or b"\0" in value:
            raise MalformedRequest("bad header value")
        headers[name.decode("latin-1")] = value.decode("latin-1")
    method, target = pseudo.get(b":method"), pseudo.get(b":path")
    if not method or not target or b":scheme" not in pseudo or not target.startswith(b"/"):
        raise MalformedRequest("no method, scheme or path")
    path, _, query = target.decode("latin-1").partition("?")
    return RequestHead(method.decode("latin-1"), path, query, headers, too_large=size > MAX_HEADER_LIST)


_STATUS_INDEX = {200: 8, 204: 9, 206: 10, 304: 11, 400: 12, 404: 13, 500: 14}
_NAME_INDEX = {b"content-type": 31, b"date": 33, b"content-length": 28, b":status": 8, b"retry-after": 53}


def _integer(value: int, prefix_bits: int, first: int) -> bytes:
    limit = (1 << prefix_bits) - 1
    if value < limit:
        return bytes((first | value,))
    out = bytearray((first | limit,))
    value -= limit
    while value >= 128:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _literal(name: bytes, value: bytes) -> bytes:
    index = _NAME_INDEX.get(name)
    head = _integer(index, 4, 0) if index else b"\x00" + _integer(len(name), 7, 0) + name
    return head + _integer(len(value), 7, 0) + value


def encode_answer(status: int, fields: list[tuple[bytes, bytes]]) -> bytes:
    """Header block of an answer: literals without indexing, so that no state is kept."""
    index = _STATUS_INDEX.get(status)
    start = bytes((0x80 | index,)) if index else _literal(b":status", str(status).encode())
    return start + b"".join(_literal(name, value) for name, value in fields)


class _DateHeader:
    """Text of the ``date`` header, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._text = b""

    def __call__(self) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._text = formatdate(second, usegmt=True).encode()
        return self._text


http_date: Final = _DateHeader()
"""Value of the ``date`` header of now."""
