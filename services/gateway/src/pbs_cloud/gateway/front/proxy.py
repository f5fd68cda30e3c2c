"""Passing a request to a REST worker and its answer back, both as streams."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Protocol

from pbs_cloud.gateway.errors import reason_phrase
from pbs_cloud.gateway.front.backend import BackendConnection, BackendLost, BackendPool
from pbs_cloud.gateway.front.framing import (
    LAST_CHUNK,
    ByteSource,
    body_of_length,
    body_until_end,
    chunk,
    chunked_body,
)
from pbs_cloud.gateway.front.head import HOP_BY_HOP, BadHead, RequestHead, ResponseHead, serialize
from pbs_cloud.gateway.front.replies import plain_reply

CLIENT_ADDRESS: Final = b"x-pbs-client-address"
METHODS: Final = frozenset({"GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE"})
"""What a worker's parser reads. All others mean as little as PATCH (rest-api A.2) and are passed on as that."""
_BEYOND_ASCII: Final = re.compile(rb"[\x80-\xff]")
MAX_UNREAD: Final = 1024 * 1024
"""Body bytes thrown away after an early answer, so that the connection can go on."""


class CutOff(Exception):
    """The answer broke off after it had begun: the client's connection has to end without a proper end."""


class Client(Protocol):
    """What the proxy needs of the connection to the client."""

    address: str

    @property
    def source(self) -> ByteSource:
        """Bytes that the client sends."""

    async def write(self, data: bytes) -> None:
        """Send, waiting while the client does not read."""


class Proxy:
    """One request at a time for each client connection."""

    def __init__(self, pool: BackendPool) -> None:
        self._pool = pool

    async def forward(self, client: Client, head: RequestHead) -> bool:
        """Serve a request; whether the client's connection can go on."""
        body = RequestBody(client, head)
        try:
            backend, response = await self._exchange(client, head, body)
        except BackendLost:
            await body.stop()
            return await self._unavailable(client, head, body.problem)
        reusable = False
        try:
            keep = await self._respond(client, head, body, backend, response)
            reusable = body.sent and b"close" not in response.tokens(b"connection") and response.minor == 1
            return keep
        finally:
            await body.stop()
            self._pool.release(backend, reusable=reusable)

    async def _exchange(
        self, client: Client, head: RequestHead, body: RequestBody
    ) -> tuple[BackendConnection, ResponseHead]:
        """Send the request until its answer begins; a connection that had died in the pool is replaced."""
        fresh = False
        while True:
            backend = await self._pool.acquire(fresh=fresh)
            try:
                await backend.write(_request_head(client, head))
                body.start(backend)
                return backend, await backend.response_head()
            except BackendLost:
                backend.close()
                if not backend.used or head.has_body:
                    raise
                fresh = True
            except BaseException:
                backend.close()
                raise

    async def _respond(
        self, client: Client, head: RequestHead, body: RequestBody, backend: BackendConnection, response: ResponseHead
    ) -> bool:
        empty = head.method == "HEAD" or response.status in (204, 304)
        length = response.content_length
        bounded = empty or length is not None or (response.chunked and head.minor == 1)
        await body.finish_early()
        keep = head.keeps_alive and bounded and body.complete
        await client.write(_response_head(head, response, keep))
        if empty:
            return keep
        try:
            async for piece in _response_body(backend, response):
                await client.write(chunk(piece) if response.chunked and head.minor == 1 else piece)
        except (BackendLost, BadHead) as error:
            raise CutOff from error
        if response.chunked and head.minor == 1:
            await client.write(LAST_CHUNK)
        return keep

    @staticmethod
    async def _unavailable(client: Client, head: RequestHead, problem: BadHead | None) -> bool:
        status, text = (problem.status, problem.message) if problem else (503, "the service is not available")
        await client.write(plain_reply(status, text, close=True, head_only=head.method == "HEAD"))
        return False


class RequestBody:
    """The client's body on its way to a worker."""

    def __init__(self, client: Client, head: RequestHead) -> None:
        self._client = client
        self._head = head
        self._task: asyncio.Task[None] | None = None
        self.sent = not head.has_body
        self.complete = not head.has_body
        self.problem: BadHead | None = None
        self._pieces = self._read()

    def start(self, backend: BackendConnection) -> None:
        """Send it in the background, if there is one."""
        if self._head.has_body and self._task is None:
            self._task = asyncio.create_task(self._pump(backend))

    async def finish_early(self) -> None:
        """The answer is here: let a body that is nearly there come to its end, so that the connection can go on."""
        if self._task is None or self._head.tokens(b"expect"):
            return
        length = self._head.content_length
        if length is None or length <= MAX_UNREAD:
            await asyncio.wait({self._task}, timeout=1.0)

    async def stop(self) -> None:
        """Send no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _read(self) -> AsyncIterator[bytes]:
        if b"100-continue" in self._head.tokens(b"expect"):
            await self._client.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        source = self._client.source
        length = self._head.content_length or 0
        pieces = chunked_body(source) if self._head.chunked else body_of_length(source, length)
        async for piece in pieces:
            yield piece

    async def _pump(self, backend: BackendConnection) -> None:
        try:
            await self._send(backend.write)
        except BadHead as error:
            self.problem = error
            backend.close()
        except BaseException:
            backend.close()
            raise

    async def _send(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        lost = False
        async for piece in self._pieces:
            try:
                if not lost:
                    await write(chunk(piece) if self._head.chunked else piece)
            except BackendLost:
                lost = True  # the worker may have answered without reading all of it
        self.complete = True
        if not lost:
            if self._head.chunked:
                await write(LAST_CHUNK)
            self.sent = True


def _request_head(client: Client, head: RequestHead) -> bytes:
    fields = [(k, v) for k, v in head.fields if k not in HOP_BY_HOP and k != CLIENT_ADDRESS]
    if head.chunked:
        fields.append((b"transfer-encoding", b"chunked"))
    if head.get(b"host") is None:
        fields.append((b"host", b"localhost"))
    fields.append((CLIENT_ADDRESS, client.address.encode()))
    method = head.method if head.method in METHODS else "PATCH"
    target = _BEYOND_ASCII.sub(lambda found: b"%%%02X" % found[0][0], head.target)
    return serialize(b"%b %b HTTP/1.1" % (method.encode(), target), fields)


def _response_head(head: RequestHead, response: ResponseHead, keep: bool) -> bytes:
    fields = [(k, v) for k, v in response.fields if k not in HOP_BY_HOP]
    if response.chunked and head.minor == 1:
        fields.append((b"transfer-encoding", b"chunked"))
    if not keep:
        fields.append((b"connection", b"close"))
    elif head.minor == 0:
        fields.append((b"connection", b"keep-alive"))
    return serialize(b"HTTP/1.1 %d %b" % (response.status, reason_phrase(response.status).encode()), fields)


def _response_body(backend: BackendConnection, response: ResponseHead) -> AsyncIterator[bytes]:
    if response.chunked:
        return chunked_body(backend)
    if response.content_length is not None:
        return body_of_length(backend, response.content_length)
    return body_until_end(backend)
