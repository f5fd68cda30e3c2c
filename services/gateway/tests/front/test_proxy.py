"""Requests on their way to a REST worker and back: framing, streaming, a worker that is away."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from testkit.client import Connection

MIB = 1 << 20


class Worker:
    """A worker that answers by path and remembers the heads it saw."""

    def __init__(self, path: Path) -> None:
        self.path, self.heads, self.connections = path, [], 0
        self.server: asyncio.Server | None = None
        self.received = 0
        self.writers: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        self.server = await asyncio.start_unix_server(self.serve, str(self.path), limit=1 << 20)

    async def stop(self) -> None:
        self.server.close()
        for writer in self.writers:
            writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
                self.heads.append(head)
                fields = dict(line.split(": ", 1) for line in head[1:] if line)
                await self.answer(head[0].split()[1], fields, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def body(self, fields, reader) -> bytes:
        if fields.get("transfer-encoding") == "chunked":
            found = b""
            while size := int(await reader.readuntil(b"\r\n"), 16):
                found += (await reader.readexactly(size + 2))[:size]
            await reader.readexactly(2)
            return found
        return await reader.readexactly(int(fields.get("content-length", 0)))

    async def answer(self, target, fields, reader, writer) -> None:
        if target == "/early":
            writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 5\r\n\r\nearly")
            await asyncio.sleep(0.05)
            await self.body(fields, reader)
        elif target == "/chunked":
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            for piece in (b"one", b"", b"two" * 50_000):
                if piece:
                    writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                    await writer.drain()
            writer.write(b"0\r\n\r\n")
        elif target == "/cut":
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
            await writer.drain()
            raise ConnectionError
        elif target == "/large":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (32 * MIB))
            for _ in range(32):
                writer.write(bytes(MIB))
                await writer.drain()
        elif target == "/once":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
            raise ConnectionError
        elif target == "/none":
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        else:
            body = await self.body(fields, reader)
            self.received += len(body)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body[:100]) + body[:100])
        await writer.drain()


@pytest.fixture
async def worker(front, tmp_path: Path) -> AsyncIterator[Worker]:
    running = Worker(tmp_path / "rest.sock")
    await running.start()
    yield running
    await running.stop()


async def test_requests_share_connections_and_carry_the_address(front, worker):
    connection = await Connection.open(front.endpoint)
    for number in range(5):
        answer = await connection.request("POST", f"/echo?n={number}", ["x-pbs-client-address: 6.6.6.6"], b"x" * number)
        assert (answer.status, answer.body) == (200, b"x" * number)
    assert worker.connections == 1
    for head in worker.heads:
        assert [line for line in head if line.startswith("x-pbs-client-address")] == ["x-pbs-client-address: 127.0.0.1"]
        assert not any(line.startswith("connection") for line in head)
    await connection.close()


@pytest.mark.parametrize("method", ["BREW", "get", "PATCH"])
async def test_methods_that_nobody_knows_reach_the_worker(front, worker, method):
    """What its parser would not read is PATCH to it, which means nothing either."""
    connection = await Connection.open(front.endpoint)
    connection.send_raw(f"{method} /echo HTTP/1.1\r\ncontent-length: 2\r\n\r\nok".encode())
    assert (await connection._read_answer(method)).body == b"ok"
    assert worker.heads[-1][0] == "patch /echo http/1.1"
    await connection.close()


async def test_letters_that_were_not_encoded_reach_the_worker_encoded(front, worker):
    """As curl sends what it is given: notes with an umlaut in the query."""
    connection = await Connection.open(front.endpoint)
    connection.send_raw("GET /echo?notes=ä+b HTTP/1.1\r\n\r\n".encode())
    assert (await connection._read_answer("GET")).status == 200
    assert worker.heads[-1][0] == "get /echo?notes=%c3%a4+b http/1.1"
    await connection.close()


async def test_streams_in_both_directions(front, worker):
    connection = await Connection.open(front.endpoint)
    assert (await connection.request("GET", "/chunked")).body == b"one" + b"two" * 50_000
    assert len((await connection.request("GET", "/large")).body) == 32 * MIB
    answer = await connection.request("POST", "/sink", [], bytes(32 * MIB))
    assert answer.status == 200 and worker.received == 32 * MIB
    assert (await connection.request("GET", "/none")).status == 204
    assert (await connection.request("GET", "/once")).body == b"ok"
    assert (await connection.request("GET", "/echo")).status == 200
    await connection.close()


async def test_chunked_request_and_expect_continue(front, worker):
    connection = await Connection.open(front.endpoint)
    connection.send_raw(b"POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    assert (await connection._read_answer("POST")).body == b"abcde"
    connection.send_raw(b"POST /echo HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n")
    assert (await connection.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
    connection.send_raw(b"abc")
    assert (await connection._read_answer("POST")).body == b"abc"
    assert not any("expect" in line for head in worker.heads for line in head)
    await connection.close()


async def test_early_answer_keeps_the_connection(front, worker):
    """Refused before the body was read: the body is thrown away, the next request works."""
    connection = await Connection.open(front.endpoint)
    answer = await connection.request("POST", "/early", [], bytes(600_000))
    assert (answer.status, answer.body) == (400, b"early")
    assert (await connection.request("POST", "/echo", [], b"next")).body == b"next"
    await connection.close()


async def test_answer_that_breaks_off_is_cut_for_the_client_too(front, worker):
    connection = await Connection.open(front.endpoint)
    with pytest.raises(ConnectionError):
        await connection.request("GET", "/cut")
    await connection.close()


async def test_pipelined_requests_are_answered_in_order(front, worker):
    connection = await Connection.open(front.endpoint)
    connection.send_raw(b"".join(b"POST /echo HTTP/1.1\r\ncontent-length: 1\r\n\r\n%d" % n for n in range(9)))
    assert [(await connection._read_answer("POST")).body for _ in range(9)] == [b"%d" % n for n in range(9)]
    await connection.close()


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 70_000, 431),
        (b"POST /echo HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        (b"POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET /echo HTTP/1.0\r\n\r\n", 200),
        (b"GET /chunked HTTP/1.0\r\n\r\n", 200),
        (b"GET /echo HTTP/1.1\r\nconnection: close\r\n\r\n", 200),
    ],
)
async def test_connections_that_end(front, worker, raw, status):
    connection = await Connection.open(front.endpoint)
    connection.send_raw(raw)
    received = b""
    while piece := await asyncio.wait_for(connection.reader.read(1 << 20), 10):
        received += piece
    assert received.startswith(b"HTTP/1.1 %d " % status), received[:200]
    if b"/chunked" in raw:
        assert received.endswith(b"one" + b"two" * 50_000)
    await connection.close()


async def test_worker_that_was_restarted(front, worker, tmp_path):
    """A connection of the pool that died is replaced without an error."""
    connection = await Connection.open(front.endpoint)
    await connection.request("GET", "/echo")
    await worker.stop()
    again = Worker(tmp_path / "rest.sock")
    await again.start()
    assert (await connection.request("GET", "/echo")).status == 200
    await again.stop()
    await connection.close()


async def test_worker_that_is_away(front, monkeypatch):
    monkeypatch.setattr("pbs_cloud.gateway.front.backend.CONNECT_SECONDS", 0.2)
    connection = await Connection.open(front.endpoint)
    answer = await connection.request("GET", "/api2/json/version")
    assert answer.status == 503 and answer.body
    await connection.close()


async def test_plain_http_on_the_tls_port(front):
    reader, writer = await asyncio.open_connection("127.0.0.1", front.endpoint.port)
    writer.write(b"GET /x HTTP/1.1\r\nHost: pbs.example:8007\r\n\r\n")
    received = await asyncio.wait_for(reader.read(), 10)
    assert received.startswith(b"HTTP/1.1 301 ") and b"location: https://pbs.example:8007\r\n" in received
    writer.close()


async def test_connections_without_a_word_end(front, monkeypatch):
    """Nothing at all, or half a head: closed when the time is over."""
    with monkeypatch.context() as soon:
        soon.setattr("pbs_cloud.gateway.front.listener.HANDSHAKE_SECONDS", 0.2)
        reader, writer = await asyncio.open_connection("127.0.0.1", front.endpoint.port)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
    monkeypatch.setattr("pbs_cloud.gateway.front.client.HEAD_SECONDS", 0.2)
    monkeypatch.setattr("pbs_cloud.gateway.front.client.IDLE_SECONDS", 0.4)
    for sent in (b"", b"GET / HTTP/1.1\r\nx: y"):
        connection = await Connection.open(front.endpoint)
        connection.send_raw(sent)
        assert await asyncio.wait_for(connection.reader.read(), 5) == b""
        await connection.close()
