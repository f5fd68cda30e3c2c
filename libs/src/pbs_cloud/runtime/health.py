"""A very small HTTP responder for `/health`, `/ready` and `/metrics`, on a unix socket or a TCP port."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path

from pbs_cloud.runtime.addresses import Endpoint
from pbs_cloud.runtime.telemetry import CONTENT_TYPE, render_metrics

_HEAD_LIMIT = 8192
_TIMEOUT = 5.0
Missing = Callable[[], "list[str] | Awaitable[list[str]]"]


class HealthServer:
    """Answers `/health` always, `/ready` with 200 only when nothing is missing, `/metrics` with the metrics."""

    def __init__(self, address: Path | Endpoint) -> None:
        self._address = address
        self._missing: Missing = lambda: ["starting"]
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Bind; a socket left over by a killed predecessor is replaced."""
        if isinstance(self._address, Endpoint):
            self._server = await asyncio.start_server(
                self._serve, self._address.host or None, self._address.port, limit=_HEAD_LIMIT
            )
            return
        self._address.parent.mkdir(parents=True, exist_ok=True)
        self._address.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, str(self._address), limit=_HEAD_LIMIT)
        self._address.chmod(0o600)

    async def stop(self) -> None:
        """Close the socket and remove its file."""
        if self._server is not None:
            self._server.close()
        if isinstance(self._address, Path):
            self._address.unlink(missing_ok=True)

    def serve_readiness(self, missing: Missing) -> None:
        """Ask `missing` for the names of parts that are not ready, at each `/ready`."""
        self._missing = missing

    def refuse(self, reason: str) -> None:
        """Not ready from now on."""
        self._missing = lambda: [reason]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT):
                head = await reader.readuntil(b"\r\n\r\n")
                status, kind, body = await self._answer(head.split(b" ", 2)[1].split(b"?")[0])
                writer.write(_response(status, kind, body))
                await writer.drain()
        except (TimeoutError, OSError, IndexError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a peer that does not finish its request gets no answer
        finally:
            writer.close()

    async def _answer(self, path: bytes) -> tuple[HTTPStatus, str, bytes]:
        if path in (b"/health", b"/healthz"):
            return HTTPStatus.OK, "application/json", b'{"status": "healthy"}'
        if path in (b"/ready", b"/readyz"):
            missing = self._missing()
            names = missing if isinstance(missing, list) else await missing
            if not names:
                return HTTPStatus.OK, "application/json", b'{"status": "ready"}'
            text = json.dumps({"status": "not_ready", "reason": ", ".join(names)})
            return HTTPStatus.SERVICE_UNAVAILABLE, "application/json", text.encode()
        if path == b"/metrics":
            return HTTPStatus.OK, CONTENT_TYPE, await asyncio.to_thread(render_metrics)
        return HTTPStatus.NOT_FOUND, "text/plain", b"not found\n"


def _response(status: HTTPStatus, kind: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


async def fetch(path: Path, what: str, timeout: float = 2.0) -> tuple[int, bytes]:
    """GET `what` from a process's health socket: status and body.

    Raises:
        OSError: nobody listens. TimeoutError: no answer in `timeout` seconds.
    """
    async with asyncio.timeout(timeout):
        reader, writer = await asyncio.open_unix_connection(str(path))
        try:
            writer.write(f"GET {what} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            answer = await reader.read(-1)
        finally:
            writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    fields = head.split(b" ", 2)
    if len(fields) < 2 or not fields[1].isdigit():
        raise OSError("no answer")
    return int(fields[1]), body
