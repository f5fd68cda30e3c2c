"""One client connection: HTTP/1.1 requests one after the other, then perhaps the HTTP/2 of a session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pbs_cloud.gateway.front.framing import ByteSource, body_of_length, chunked_body
from pbs_cloud.gateway.front.head import MAX_HEAD, BadHead, RequestHead, parse_request_head
from pbs_cloud.gateway.front.proxy import CutOff, Proxy
from pbs_cloud.gateway.front.replies import plain_reply, switching_reply
from pbs_cloud.gateway.front.upgrade import Refused, Target, Upgrades, upgrade_target
from pbs_cloud.gateway.http2.connection import Connection
from pbs_cloud.gateway.http2.inflow import CreditPool
from pbs_cloud.gateway.sessions.registry import SessionRegistry
from pbs_cloud.gateway.sessions.session import Session
from pbs_cloud.runtime.logging import get_logger

log = get_logger(__name__)

IDLE_SECONDS: Final = 120.0
"""An idle connection between requests; clients keep theirs for 90 s (wire-protocol 1.4)."""
HEAD_SECONDS: Final = 30.0
BODY_SECONDS: Final = 60.0
SEND_SECONDS: Final = 120.0
PAUSE_ABOVE: Final = 256 * 1024
HIGH_WATER: Final = 2 * 1024 * 1024
_RECEIVE: Final = memoryview(bytearray(128 * 1024))


class ClientGone(Exception):
    """The client closed the connection, or was too slow."""


@dataclass(frozen=True, slots=True)
class Service:
    """What client connections need."""

    proxy: Proxy
    upgrades: Upgrades
    registry: SessionRegistry
    pool: CreditPool


class ClientConnection(asyncio.BufferedProtocol, ByteSource):
    """The protocol of an accepted connection. ``closed`` is called once when it is gone."""

    def __init__(self, service: Service, address: str, closed: Callable[[ClientConnection], None]) -> None:
        self._service = service
        self.address = address
        self._closed = closed
        self._transport: Any = None
        self._buffer = bytearray()
        self._eof = False
        self._reading_paused = False
        self._arrived: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._http2: Connection | None = None
        self._session: Session | None = None
        self._task: asyncio.Task[None] | None = None
        self._write_scheduled = False
        self._opening = False
        self.idle = True

    # -------------------------------------------------------------------------------------------------- transport
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._task = asyncio.create_task(self._serve())

    def get_buffer(self, sizehint: int) -> memoryview:
        return _RECEIVE if self._http2 is None else self._http2.get_buffer(sizehint)

    def buffer_updated(self, nbytes: int) -> None:
        if self._http2 is not None:
            self._http2.buffer_updated(nbytes)
            self._write_output()
            return
        self._buffer += _RECEIVE[:nbytes]
        if len(self._buffer) > PAUSE_ABOVE and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()
        self._notify()

    def eof_received(self) -> bool:
        self._eof = True
        self._notify()
        return False

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()
        if self._http2 is not None:
            self._write_output()

    def connection_lost(self, exc: Exception | None) -> None:
        self._eof = True
        self._writable.set()
        self._notify()
        if self._session is not None:
            self._service.registry.remove(self._session)
        if self._task is not None and not self._task.done() and not self._opening:
            self._task.cancel()
        self._closed(self)

    def close(self) -> None:
        """Close after what is written."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def in_session(self) -> bool:
        """Whether this connection carries a session."""
        return self._session is not None

    # ------------------------------------------------------------------------------------------------ byte source
    @property
    def source(self) -> ByteSource:
        """Bytes of the client as the proxy reads them."""
        return self

    async def read(self, limit: int) -> bytes:
        while not self._buffer:
            if self._eof:
                return b""
            await self._more(BODY_SECONDS)
        return self._consume(min(limit, len(self._buffer)))

    async def line(self, limit: int) -> bytes:
        found = await self._until(b"\r\n", limit, BODY_SECONDS)
        if found is None:
            raise BadHead(400, "line too long")
        return found

    async def write(self, data: bytes) -> None:
        """Send, waiting while the client does not read. Raises ClientGone."""
        if self._transport.is_closing():
            raise ClientGone
        self._transport.write(data)
        if not self._writable.is_set():
            try:
                await asyncio.wait_for(self._writable.wait(), SEND_SECONDS)
            except TimeoutError:
                self.abort()
                raise ClientGone from None

    def _consume(self, count: int) -> bytes:
        found = bytes(memoryview(self._buffer)[:count])
        del self._buffer[:count]
        if self._reading_paused and len(self._buffer) <= PAUSE_ABOVE // 2:
            self._reading_paused = False
            self._transport.resume_reading()
        return found

    async def _until(self, end: bytes, limit: int, seconds: float) -> bytes | None:
        """Bytes up to ``end``, which is consumed too; None if there are more than ``limit``. Raises ClientGone."""
        loop = asyncio.get_running_loop()
        deadline, searched = loop.time() + seconds, 0
        while True:
            at = self._buffer.find(end, max(0, searched - len(end)))
            if 0 <= at <= limit:
                return self._consume(at + len(end))[: -len(end)]
            if at > limit or len(self._buffer) > limit + len(end):
                return None
            searched = len(self._buffer)
            await self._more(deadline - loop.time())

    async def _more(self, seconds: float) -> None:
        """Wait for further bytes. Raises ClientGone at the end, or when none come in time."""
        if self._eof or seconds <= 0:
            raise ClientGone
        self._arrived = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(seconds):
                await self._arrived
        except TimeoutError:
            raise ClientGone from None
        finally:
            self._arrived = None

    def _notify(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    # --------------------------------------------------------------------------------------------------- requests
    async def _serve(self) -> None:
        try:
            while await self._request():
                pass
        except ClientGone:
            self.close()
        except CutOff:
            self.abort()
        except BadHead as error:
            self._transport.write(plain_reply(error.status, error.message, close=True))
            self.close()
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("connection failed", client=self.address)
            self.abort()

    async def _request(self) -> bool:
        """Serve one request; whether another one may follow on this connection as HTTP/1.1."""
        self.idle = True
        while not self._buffer:
            await self._more(IDLE_SECONDS)
        self.idle = False
        raw = await self._until(b"\r\n\r\n", MAX_HEAD, HEAD_SECONDS)
        if raw is None:
            raise BadHead(431, "request head too large")
        head = parse_request_head(raw.lstrip(b"\r\n"))
        target = upgrade_target(head)
        if target is not None:
            return await self._upgrade(target, head)
        if not await self._service.proxy.forward(self, head) or self._service.registry.draining:
            self.close()
            return False
        return True

    async def _upgrade(self, target: Target, head: RequestHead) -> bool:
        if head.has_body:
            await self._skip_body(head)
        self._opening = True  # a session that opens for a client that has gone must be closed, not forgotten
        try:
            session = await self._service.upgrades.open(target, head, self.address)
        except Refused as refused:
            self._opening = False
            await self.write(refused.answer)
            if not head.keeps_alive:
                self.close()
            return head.keeps_alive
        self._opening = False
        if self._transport.is_closing():
            self._service.registry.remove(session)
            return False
        self._start_session(target, session)
        return False

    async def _skip_body(self, head: RequestHead) -> None:
        length = head.content_length or 0
        async for _ in chunked_body(self) if head.chunked else body_of_length(self, length):
            pass

    # ---------------------------------------------------------------------------------------------------- sessions
    def _start_session(self, target: Target, session: Session) -> None:
        """From here on every byte belongs to HTTP/2, those that are here already too."""
        self._session = session
        connection = Connection(self._service.pool, session.slack)
        self._http2 = connection
        session.attach(connection, self._write_soon, self.abort)
        self._transport.set_write_buffer_limits(high=HIGH_WATER, low=HIGH_WATER // 4)
        self._transport.write(switching_reply(target.protocol) + b"".join(connection.take_output()))
        early, self._buffer = self._buffer, bytearray()
        if early:
            connection.receive(early)
            self._write_output()
        if self._reading_paused:
            self._reading_paused = False
            self._transport.resume_reading()

    def _write_soon(self) -> None:
        if not self._write_scheduled:
            self._write_scheduled = True
            asyncio.get_running_loop().call_soon(self._write_scheduled_output)

    def _write_scheduled_output(self) -> None:
        self._write_scheduled = False
        self._write_output()

    def _write_output(self) -> None:
        connection = self._http2
        if connection is None or self._transport.is_closing():
            return
        while self._writable.is_set() and connection.has_output:
            frames = connection.take_output()
            if not frames:
                break
            self._transport.write(frames[0] if len(frames) == 1 else b"".join(frames))
        if connection.fault is not None:
            log.info("connection ended", client=self.address, reason=connection.fault.text)
            self.close()
        elif connection.client_left and connection.streams == 0:
            connection.say_goodbye()
            self._transport.write(b"".join(connection.take_output()))
            self.close()
