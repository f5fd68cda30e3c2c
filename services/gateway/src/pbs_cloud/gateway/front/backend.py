"""Connections to the REST workers' unix socket."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from pathlib import Path
from typing import Final

from pbs_cloud.gateway.front.framing import ByteSource
from pbs_cloud.gateway.front.head import MAX_HEAD, BadHead, ResponseHead, parse_response_head

IDLE_SECONDS: Final = 3.0
MAX_IDLE: Final = 32
CONNECT_SECONDS: Final = 5.0
RETRY_PAUSE: Final = 0.1


class BackendLost(Exception):
    """The worker is away or broke the connection."""


class BackendConnection(ByteSource):
    """One connection; ``used``: it served a request before."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.used = False
        self.idle_since = 0.0

    async def write(self, data: bytes) -> None:
        """Send, waiting while too much is under way."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise BackendLost(str(error)) from error

    async def response_head(self) -> ResponseHead:
        """The next head; interim ones are skipped."""
        while True:
            try:
                raw = await self._reader.readuntil(b"\r\n\r\n")
                head = parse_response_head(raw[:-4])
            except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, BadHead) as error:
                raise BackendLost(str(error)) from error
            if head.status >= 200:
                return head

    async def read(self, limit: int) -> bytes:
        try:
            return await self._reader.read(limit)
        except OSError as error:
            raise BackendLost(str(error)) from error

    async def line(self, limit: int) -> bytes:
        try:
            found = await self._reader.readuntil(b"\r\n")
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise BackendLost(str(error)) from error
        return found[:-2]

    @property
    def alive(self) -> bool:
        """Whether the worker still holds its end open, as far as is known."""
        return not self._reader.at_eof() and not self._writer.is_closing()

    def close(self) -> None:
        """End the connection."""
        self._writer.close()


class BackendPool:
    """Keeps idle connections for a moment."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: deque[BackendConnection] = deque()

    async def acquire(self, *, fresh: bool = False) -> BackendConnection:
        """A connection; waits a few seconds for a worker that is away. Raises BackendLost."""
        while self._idle:
            connection = self._idle.pop()
            if not fresh and connection.alive and time.monotonic() - connection.idle_since < IDLE_SECONDS:
                return connection
            connection.close()
        deadline = time.monotonic() + CONNECT_SECONDS
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(str(self._path), limit=MAX_HEAD * 2)
                return BackendConnection(reader, writer)
            except OSError as error:
                if time.monotonic() > deadline:
                    raise BackendLost(str(error)) from error
                await asyncio.sleep(RETRY_PAUSE)

    def release(self, connection: BackendConnection, *, reusable: bool) -> None:
        """Take a connection back after a complete exchange."""
        if reusable and connection.alive and len(self._idle) < MAX_IDLE:
            connection.used = True
            connection.idle_since = time.monotonic()
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop().close()
