"""From answers to frames: heads, bodies of known and unknown length, files and chunks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Final

from pbs_cloud.gateway.errors import JSON_CONTENT_TYPE
from pbs_cloud.gateway.http2.connection import Connection
from pbs_cloud.gateway.http2.headers import http_date
from pbs_cloud.gateway.http2.streams import Fields, Stream
from pbs_cloud.gateway.protocol import answers as a
from pbs_cloud.gateway.protocol import effects as do
from pbs_cloud.gateway.sessions.calls import SessionCalls

OCTETS: Final = "application/octet-stream"
MAX_CHUNKS_UNSENT: Final = 8
"""Chunks of one connection that are read and not sent yet; further requests wait."""


class Replies:
    """Sends the answers of one session. ``wake``: output waits; ``sent``: bytes of files and chunks."""

    def __init__(
        self, connection: Connection, calls: SessionCalls, wake: Callable[[], None], sent: Callable[[int], None]
    ) -> None:
        self._connection = connection
        self._calls = calls
        self._wake = wake
        self._sent = sent
        self._chunks = asyncio.Semaphore(MAX_CHUNKS_UNSENT)

    async def send(self, stream: Stream, answer: a.Answer) -> None:
        """Send any answer; returns when its last byte was framed, or nobody waits for it any more."""
        if isinstance(answer, a.JsonAnswer):
            self.json(stream, answer)
        elif isinstance(answer, a.ErrorAnswer):
            await asyncio.sleep(answer.delay_seconds)
            self.error(stream, answer)
        elif isinstance(answer, a.BytesAnswer):
            self._sent(len(answer.body))
            self._whole(stream, 200, OCTETS, answer.body)
        elif isinstance(answer, a.IndexAnswer):
            await self._index(stream, answer.loaded)
        elif isinstance(answer, a.FileAnswer):
            await self._file(stream, answer.name)
        else:
            await self._chunk(stream, answer)

    def json(self, stream: Stream, answer: a.JsonAnswer) -> None:
        """Send ``{"data": …}``."""
        body = json.dumps({"data": answer.data}, separators=(",", ":")).encode()
        self._whole(stream, 200, JSON_CONTENT_TYPE, body)

    def error(self, stream: Stream, answer: a.ErrorAnswer) -> None:
        """Send a refusal; a stream whose answer began already is reset."""
        if stream.answered:
            self._connection.abort(stream)
            self._wake()
            return
        body = answer.message.encode("utf-8", "replace")
        self._whole(stream, answer.status, JSON_CONTENT_TYPE if answer.typed else None, body)

    def _whole(self, stream: Stream, status: int, content_type: str | None, body: bytes | memoryview) -> None:
        fields: Fields = [] if content_type is None else [(b"content-type", content_type.encode())]
        fields += [(b"date", http_date()), (b"content-length", str(len(body)).encode())]
        self._connection.answer(stream, status, fields, body)
        self._wake()

    def _start(self, stream: Stream) -> None:
        """Head of a file: without a length, as PBS sends it."""
        self._connection.answer(stream, 200, [(b"content-type", OCTETS.encode()), (b"date", http_date())], None)

    async def _index(self, stream: Stream, loaded: do.LoadedIndex) -> None:
        try:
            self._start(stream)
            self._calls.index_sent(loaded.index)
            self._sent(len(loaded.data))
            await self._piece(stream, loaded.data, end=True)
        finally:
            loaded.close()

    async def _file(self, stream: Stream, name: str) -> None:
        pieces = self._calls.read_blob(name)
        first = await anext(pieces, b"")
        self._start(stream)
        self._sent(len(first))
        await self._piece(stream, first)
        async for piece in pieces:
            self._sent(len(piece))
            if not await self._piece(stream, piece):
                return
        self._connection.send(stream, b"", end=True)
        self._wake()

    async def _chunk(self, stream: Stream, answer: a.ChunkAnswer) -> None:
        async with self._chunks:
            if not self._connection.is_open(stream):
                return
            chunk = await self._calls.get_chunk(answer.digest, answer.capacity)
            try:
                if self._connection.is_open(stream):
                    self._sent(len(chunk.view))
                    self._whole(stream, 200, OCTETS, chunk.view)
                    await self._drained(stream)
            finally:
                chunk.free()

    async def _piece(self, stream: Stream, piece: bytes | memoryview, *, end: bool = False) -> bool:
        """Queue a piece and wait until it was framed; False when nobody reads it."""
        if not self._connection.send(stream, piece, end=end):
            return False
        self._wake()
        await self._drained(stream)
        return True

    async def _drained(self, stream: Stream) -> None:
        drained = asyncio.Event()
        self._connection.on_drained(stream, drained.set)
        await drained.wait()
