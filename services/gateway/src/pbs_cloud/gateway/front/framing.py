"""Bodies of HTTP/1.1 messages as they pass by: known length, chunked, until the end (RFC 9112, 6 and 7)."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import Final

from pbs_cloud.gateway.front.head import BadHead

PIECE: Final = 64 * 1024
MAX_CHUNK_LINE: Final = 256
MAX_TRAILERS: Final = 8 * 1024

_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")


class ByteSource(ABC):
    """Bytes as they come from a peer."""

    @abstractmethod
    async def read(self, limit: int) -> bytes:
        """Up to ``limit`` bytes, at least one; empty at the end."""

    @abstractmethod
    async def line(self, limit: int) -> bytes:
        """Bytes up to CRLF, which is consumed and left out. Raises BadHead when the line is longer or never ends."""


async def body_of_length(source: ByteSource, length: int) -> AsyncIterator[bytes]:
    """Exactly ``length`` bytes. Raises BadHead when the peer ends earlier."""
    while length:
        piece = await source.read(min(length, PIECE))
        if not piece:
            raise BadHead(400, "body ended early")
        length -= len(piece)
        yield piece


async def chunked_body(source: ByteSource) -> AsyncIterator[bytes]:
    """The content of a chunked body, trailers are dropped. Raises BadHead for wrong framing."""
    while True:
        match = _CHUNK_LINE.fullmatch(await source.line(MAX_CHUNK_LINE))
        if match is None:
            raise BadHead(400, "malformed chunk size")
        size = int(match[1], 16)
        if size == 0:
            break
        async for piece in body_of_length(source, size):
            yield piece
        if await source.line(2):
            raise BadHead(400, "malformed chunk")
    left = MAX_TRAILERS
    while line := await source.line(left):
        left -= len(line)


async def body_until_end(source: ByteSource) -> AsyncIterator[bytes]:
    """Everything until the peer closes."""
    while piece := await source.read(PIECE):
        yield piece


def chunk(piece: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


LAST_CHUNK: Final = b"0\r\n\r\n"
