"""A proxy in front of object storage that delays requests, sends them again, drops answers and fails batch deletes.

It passes bytes on as they are (signatures stay valid), one connection for each request. Rules are tried in order; one
that has done its work `times` times is left out. A *late* request reaches the storage long after its sender gave up.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit
from xml.sax.saxutils import escape

_MOST_BYTES = 64 << 20
_SECONDS = 30.0


@dataclass(slots=True)
class Request:
    """One request; `raw` is what came, head and body."""

    method: str
    path: str
    body: bytes
    raw: bytes

    @property
    def keys(self) -> list[str]:
        """Keys that a batch delete names."""
        return [unquote(key.decode()) for key in re.findall(rb"<Key>(.*?)</Key>", self.body)]


@dataclass(slots=True)
class Rule:
    """What happens to requests that `matches` picks."""

    matches: Callable[[Request], bool]
    action: str
    times: int
    fails: Callable[[str], bool] = lambda _key: True
    caught: list[Request] = field(default_factory=list)
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)


def batch_delete(request: Request) -> bool:
    """`POST ?delete`."""
    return request.method == "POST" and "?delete" in request.path


def putting(part: str) -> Callable[[Request], bool]:
    """A PUT whose path contains `part`."""
    return lambda request: request.method == "PUT" and part in unquote(request.path)


class LateRequests:
    """The proxy; lives in the test's event loop."""

    def __init__(self, endpoint: str, delete: Callable[[str, list[str]], None]) -> None:
        """`delete`: deletes keys of a bucket, past the proxy."""
        self._delete = delete
        self._host, self._port = urlsplit(endpoint).hostname, urlsplit(endpoint).port
        self._rules: list[Rule] = []
        self._server: Any = None
        self._running: set[asyncio.Task[None]] = set()
        self.seen: list[Request] = []

    async def start(self) -> LateRequests:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=_MOST_BYTES)
        return self

    async def stop(self) -> None:
        self._server.close()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    @property
    def endpoint(self) -> str:
        """URL to give to the product."""
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    # ------------------------------------------------------------------------------------------------ rules

    def hold(self, matches: Callable[[Request], bool], times: int = 1) -> Rule:
        """Requests wait for `rule.go_on`, with their sender."""
        return self._rule(matches, "hold", times)

    def lose(self, matches: Callable[[Request], bool], times: int = 1) -> Rule:
        """Requests do not arrive, their senders get no answer; `deliver` lets them arrive late."""
        return self._rule(matches, "lose", times)

    def drop_answers(self, matches: Callable[[Request], bool], times: int = 1) -> Rule:
        """Requests arrive, their answers do not."""
        return self._rule(matches, "drop", times)

    def fail(self, matches: Callable[[Request], bool], times: int = 1) -> Rule:
        """Requests are answered with 500 and do not arrive."""
        return self._rule(matches, "fail", times)

    def fail_keys(self, fails: Callable[[str], bool], times: int = 1) -> Rule:
        """Batch deletes: 200, with an error for each key that `fails` picks; only the others are deleted."""
        rule = self._rule(batch_delete, "fail keys", times)
        rule.fails = fails
        return rule

    def _rule(self, matches: Callable[[Request], bool], action: str, times: int) -> Rule:
        self._rules.append(Rule(matches, action, times))
        return self._rules[-1]

    async def deliver(self, rule: Rule) -> list[int]:
        """What was lost or held arrives now, once more if it arrived before: the statuses that nobody waits for."""
        return [int((await self._forward(request.raw)).split(b" ", 2)[1]) for request in rule.caught]

    # ------------------------------------------------------------------------------------------------ requests

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                answer = await self._answer(await _read_request(reader))
                writer.write(answer)
                await writer.drain()
        finally:
            self._running.discard(task)
            writer.close()

    async def _answer(self, request: Request) -> bytes:
        self.seen.append(request)
        rule = next((rule for rule in self._rules if rule.times > len(rule.caught) and rule.matches(request)), None)
        if rule is None:
            return await self._forward(request.raw)
        rule.caught.append(request)
        rule.reached.set()
        if rule.action == "hold":
            await rule.go_on.wait()
            return await self._forward(request.raw)
        if rule.action == "drop":
            await self._forward(request.raw)
        if rule.action == "fail":
            return b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        if rule.action == "fail keys":
            return await self._partly(rule, request)
        return b""

    async def _partly(self, rule: Rule, request: Request) -> bytes:
        """The signature covers the body, so the good half is deleted by the test's own client."""
        failed = [key for key in request.keys if rule.fails(key)]
        deleted = [key for key in request.keys if not rule.fails(key)]
        bucket = urlsplit(request.path).path.strip("/")
        await asyncio.to_thread(self._delete, bucket, deleted)
        parts = [f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in deleted]
        parts += [f"<Error><Key>{escape(key)}</Key><Code>InternalError</Code></Error>" for key in failed]
        body = f'<?xml version="1.0" encoding="UTF-8"?><DeleteResult>{"".join(parts)}</DeleteResult>'.encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
        return f"{head}Connection: close\r\n\r\n".encode() + body

    async def _forward(self, raw: bytes) -> bytes:
        """The storage's whole answer; its connection ends with it."""
        async with asyncio.timeout(_SECONDS):
            reader, writer = await asyncio.open_connection(self._host, self._port)
            head, _, body = raw.partition(b"\r\n\r\n")
            lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
            writer.write(b"\r\n".join([*lines, b"Connection: close"]) + b"\r\n\r\n" + body)
            await writer.drain()
            answer = await reader.read()
            writer.close()
        return answer


async def _read_request(reader: asyncio.StreamReader) -> Request:
    head = await reader.readuntil(b"\r\n\r\n")
    method, path = head.split(b" ", 2)[:2]
    length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    assert b"transfer-encoding" not in head.lower(), "a body without a length"
    body = await reader.readexactly(int(length[1])) if length else b""
    return Request(method.decode(), path.decode(), body, head + body)
