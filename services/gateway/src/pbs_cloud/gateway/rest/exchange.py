"""One HTTP request over ASGI: its head, its body within limits, and sending the reply."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, Final

from pbs_cloud.gateway.errors import HttpError
from pbs_cloud.gateway.rest.replies import Reply, close

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_BODY_BYTES: Final = 524_287
BODY_SECONDS: Final = 60.0
CLIENT_ADDRESS_HEADER: Final = b"x-pbs-client-address"


class Disconnected(Exception):
    """The client went away before its request was complete."""


class Exchange:
    """Head of the request and access to its body. Header names are lower-case; of repeated ones the first counts."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        self.query: bytes = scope["query_string"]
        self.header_list: list[tuple[bytes, bytes]] = list(scope["headers"])
        self.headers: dict[bytes, bytes] = {}
        for name, value in self.header_list:
            self.headers.setdefault(name, value)
        peer = scope.get("client")
        fallback = peer[0] if peer else ""
        self.client_address = self.headers.get(CLIENT_ADDRESS_HEADER, fallback.encode()).decode("latin-1")
        self._receive = receive
        self._send = send
        self._read_all = False

    @property
    def content_type(self) -> str | None:
        value = self.headers.get(b"content-type")
        return None if value is None else value.decode("latin-1")

    async def read_body(self) -> bytes:
        """The whole body. Raises HttpError 400 when it is too large or does not come, Disconnected."""
        length = self.headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > MAX_BODY_BYTES:
            raise HttpError(400, "Request body too large")
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for piece in self.body_pieces():
                    body += piece
                    if len(body) > MAX_BODY_BYTES:
                        raise HttpError(400, "Request body too large")
        except TimeoutError:
            raise HttpError(400, "timeout while reading the request body") from None
        return bytes(body)

    async def body_pieces(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises Disconnected."""
        while not self._read_all:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            self._read_all = not message.get("more_body", False)
            if message.get("body"):
                yield message["body"]

    async def send(self, reply: Reply) -> None:
        """Send the reply; an error in a streamed body is raised after the head is out, which cuts the connection."""
        headers = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in reply.headers.items()]
        if isinstance(reply.body, bytes):
            headers.append((b"content-length", str(len(reply.body)).encode()))
            await self._send({"type": "http.response.start", "status": reply.status, "headers": headers})
            await self._send({"type": "http.response.body", "body": reply.body})
            return
        await self._send({"type": "http.response.start", "status": reply.status, "headers": headers})
        gone = asyncio.create_task(self._wait_for_disconnect())
        try:
            async for piece in reply.body:
                if gone.done():
                    return
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
            await self._send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            await close(reply.body)

    async def _wait_for_disconnect(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
