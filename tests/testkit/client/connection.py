"""One TLS connection of a backup client: HTTP/1.1 first, HTTP/2 after a 101 answer."""

import asyncio
import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from testkit.client.endpoint import Endpoint
from testkit.client.http2 import Answer, Http2Client, ProtocolFault, StreamReset

USER_AGENT = "user-agent: proxmox-backup-client/1.0"
FORM = "content-type: application/x-www-form-urlencoded"
JSON = "content-type: application/json"
OCTETS = "content-type: application/octet-stream"


class Lost(ConnectionError):
    """The connection ended before an answer was complete."""


class Refused(Exception):
    """The server answered with an error: ``status`` and the text of the body."""

    def __init__(self, status: int, text: str, request: str = "") -> None:
        super().__init__(f"{request}: {status} {text}")
        self.status = status
        self.text = text


def encode_query(parameters: Mapping[str, object]) -> str:
    """Query string as the stock client writes it: sorted, booleans in words, lists as repeated keys, None left out."""
    pairs: list[tuple[str, str]] = []
    for key, value in sorted(parameters.items()):
        for item in value if isinstance(value, list | tuple) else [value]:
            if item is not None:
                pairs.append((key, str(item).lower() if isinstance(item, bool) else str(item)))
    return urlencode(pairs, quote_via=quote, safe="")


class Connection:
    """TLS connection with at most one HTTP/1.1 request at a time, any number of HTTP/2 ones after an upgrade."""

    def __init__(self, endpoint: Endpoint, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.endpoint, self.reader, self.writer = endpoint, reader, writer
        self.http2: Http2Client | None = None
        self._answers: dict[int, asyncio.Future[Answer]] = {}
        self._pump_task: asyncio.Task[None] | None = None
        self._lost: str | None = None

    @classmethod
    async def open(cls, endpoint: Endpoint, timeout: float = 10) -> "Connection":
        """Connect, within 10 s like the stock client, and compare the certificate."""
        opening = asyncio.open_connection(endpoint.host, endpoint.port, ssl=endpoint.tls(), limit=1 << 22)
        reader, writer = await asyncio.wait_for(opening, timeout)
        endpoint.check(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
        return cls(endpoint, reader, writer)

    @property
    def lost(self) -> str | None:
        """Why the upgraded connection ended, None while it lives."""
        return self._lost

    # --- HTTP/1.1 ---------------------------------------------------------------------------------------------------
    async def request(
        self, method: str, target: str, headers: Sequence[str] = (), body: bytes = b"", extra: bytes = b""
    ) -> Answer:
        """One request and its answer within 120 s; a 101 answer starts HTTP/2.

        ``extra`` goes out in the same write, behind the request (for example the HTTP/2 preface).
        """
        lines = [
            f"{method} {target} HTTP/1.1",
            USER_AGENT,
            *headers,
            f"host: {self.endpoint.host}:{self.endpoint.port}",
        ]
        if body or method in ("POST", "PUT"):
            lines.append(f"content-length: {len(body)}")
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body + extra)
        try:
            return await asyncio.wait_for(self._read_answer(method), 120)
        except (asyncio.IncompleteReadError, ConnectionError, OSError) as error:
            raise Lost(f"{method} {target}: {error!r}") from error

    async def _read_answer(self, method: str) -> Answer:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(head[0].split()[1])
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        if status == 101:
            return Answer(status, fields)
        if fields.get("transfer-encoding", "").lower() == "chunked":
            return Answer(status, fields, await self._read_chunked())
        length = 0 if method == "HEAD" else int(fields.get("content-length", 0))
        return Answer(status, fields, await self.reader.readexactly(length))

    async def _read_chunked(self) -> bytes:
        pieces = []
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            pieces.append((await self.reader.readexactly(size + 2))[:size])
        await self.reader.readuntil(b"\r\n")
        return b"".join(pieces)

    # --- HTTP/2 -----------------------------------------------------------------------------------------------------
    async def upgrade(self, target: str, protocol: str, headers: Sequence[str], eager: bool = False) -> None:
        """Switch to HTTP/2; :class:`Refused` leaves the connection usable.

        With ``eager`` the client's preface travels in the same packet as the upgrade request.
        """
        http2 = Http2Client()
        upgrade = [FORM, *headers, "connection: upgrade", f"upgrade: {protocol}"]
        answer = await self.request("GET", target, upgrade, extra=http2.take_output() if eager else b"")
        if answer.status != 101:
            raise Refused(answer.status, answer.body.decode(), f"GET {target}")
        if answer.headers.get("upgrade") != protocol:
            raise ProtocolFault(f"upgraded to {answer.headers.get('upgrade')!r}")
        self.http2 = http2
        self._flush()
        self._pump_task = asyncio.create_task(self._pump())

    async def _pump(self) -> None:
        http2, reason = self._machine(), "closed by the server"
        try:
            while data := await self.reader.read(1 << 20):
                http2.receive(data)
                self._flush()
                self._settle()
        except (OSError, ProtocolFault) as error:
            reason = repr(error)
        self._lost = reason
        for future in self._answers.values():
            if not future.done():
                future.set_exception(Lost(reason))

    def _machine(self) -> Http2Client:
        if self.http2 is None:
            raise RuntimeError("not upgraded")
        return self.http2

    def _settle(self) -> None:
        http2 = self._machine()
        for stream, answer in http2.done:
            future = self._answers.pop(stream, None)
            if future is None or future.done():
                continue
            if isinstance(answer, StreamReset):
                future.set_exception(answer)
            else:
                future.set_result(answer)
        http2.done.clear()

    def _flush(self) -> None:
        output = self._machine().take_output()
        if output and not self.writer.is_closing():
            self.writer.write(output)

    def submit(
        self, method: str, path: str, content_type: str = FORM, body: bytes | memoryview = b""
    ) -> "asyncio.Future[Answer]":
        """Start a request of the session without waiting for earlier ones."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if self._lost is not None or self.writer.is_closing():
            future.set_exception(Lost(self._lost or "connection lost"))
            return future
        name, _, value = content_type.partition(": ")
        pseudo = [(":method", method), (":scheme", "https"), (":authority", "localhost:8007"), (":path", path)]
        fields = [*pseudo, ("user-agent", "proxmox-backup-client/1.0"), (name, value)]
        stream = self._machine().request(fields if value else fields[:-1], body)
        self._answers[stream] = future
        self._flush()
        return future

    def send_raw(self, data: bytes) -> None:
        """Bytes past the state machine, for tests of bad input."""
        self.writer.write(data)

    async def close(self, abort: bool = False) -> None:
        """End the connection; ``abort`` resets it without TLS close_notify."""
        if self._pump_task:
            self._pump_task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pump_task
        self._lost = self._lost or "closed by the client"
        for future in self._answers.values():
            if not future.done():
                future.cancel()
        if abort:
            self.writer.transport.abort()
        self.writer.close()
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self.writer.wait_closed(), 2)


def data_of(answer: Answer, request: str) -> Any:
    """``data`` of a successful JSON answer; anything else is :class:`Refused`."""
    if not 200 <= answer.status < 300:
        raise Refused(answer.status, answer.body.decode(), request)
    return json.loads(answer.body)["data"] if answer.body else None
