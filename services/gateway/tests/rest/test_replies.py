"""Sending: streamed lists, errors in the middle, clients that leave, compression."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pbs_cloud.contracts.errors import NotFound, Unavailable
from pbs_cloud.gateway.rest.calls import Content, Data, Rows
from pbs_cloud.gateway.rest.exchange import Exchange
from pbs_cloud.gateway.rest.replies import BUFFER_BYTES, deflated, success_reply, wants_deflate


class Wire:
    """The ASGI side of one request."""

    def __init__(self, body: list[bytes] | None = None) -> None:
        self.sent: list[dict[str, Any]] = []
        self._body = list(body or [b""])
        self.gone = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        if self._body:
            piece = self._body.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(self._body)}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)
        await asyncio.sleep(0)

    def exchange(self, *headers: tuple[bytes, bytes]) -> Exchange:
        scope = {"method": "GET", "raw_path": b"/x", "path": "/x", "query_string": b"", "headers": list(headers)}
        return Exchange(scope, self.receive, self.send)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def is_complete(self) -> bool:
        return not self.sent[-1].get("more_body", False)

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])


async def rows(count: int, error: Exception | None = None, size: int = 10) -> AsyncIterator[Any]:
    for number in range(count):
        yield {"n": number, "x": "y" * size}
    if error is not None:
        raise error


async def test_streamed_lists_have_no_length_and_carry_attributes() -> None:
    wire, attributes = Wire(), {}

    async def counted() -> AsyncIterator[Any]:
        async for row in rows(3):
            yield row
        attributes["total"] = 3

    await wire.exchange().send(await success_reply(Rows(counted(), attributes=attributes), "extjs"))
    assert b"content-length" not in wire.headers
    found = json.loads(wire.body)
    assert [row["n"] for row in found.pop("data")] == [0, 1, 2]
    assert found == {"total": 3, "success": True, "status": 200}


async def test_empty_lists() -> None:
    wire = Wire()
    await wire.exchange().send(await success_reply(Rows(rows(0)), "json"))
    assert wire.body == b'{"data":[]}'


async def test_short_lists_have_a_length_and_long_ones_do_not() -> None:
    short, long = Wire(), Wire()
    await short.exchange().send(await success_reply(Rows(rows(3), chunked=False), "json"))
    assert int(short.headers[b"content-length"]) == len(short.body)
    count = BUFFER_BYTES // 1000 + 200
    await long.exchange().send(await success_reply(Rows(rows(count, size=1000), chunked=False), "json"))
    assert b"content-length" not in long.headers
    assert len(json.loads(long.body)["data"]) == count


async def test_errors_before_the_first_piece_are_errors() -> None:
    with pytest.raises(NotFound):
        await success_reply(Rows(rows(5, NotFound("x"))), "json")

    async def nothing() -> AsyncIterator[bytes]:
        raise NotFound("x")
        yield b""

    with pytest.raises(NotFound):
        await success_reply(Content(nothing()), "json")


async def test_errors_in_the_middle_cut_the_stream() -> None:
    wire = Wire()
    reply = await success_reply(Rows(rows(500, Unavailable("x"), size=1000)), "json")
    with pytest.raises(Unavailable):
        await wire.exchange().send(reply)
    assert wire.sent[0]["status"] == 200
    assert not wire.is_complete


async def test_a_client_that_leaves_stops_the_stream_and_closes_it() -> None:
    wire, closed = Wire(), asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 1000
                await asyncio.sleep(0)
        finally:
            closed.set()

    reply = await success_reply(Content(endless()), "json")
    sending = asyncio.create_task(wire.exchange().send(reply))
    await asyncio.sleep(0.01)
    wire.gone.set()
    await asyncio.wait_for(sending, 1)
    assert closed.is_set()
    assert not wire.is_complete


async def test_deflate_of_bodies_and_streams() -> None:
    plain, streamed = Wire(), Wire()
    await plain.exchange().send(deflated(await success_reply(Data({"a": 1}), "json")))
    assert (plain.headers[b"content-encoding"], zlib.decompress(plain.body)) == (b"deflate", b'{"data":{"a":1}}')
    await streamed.exchange().send(deflated(await success_reply(Rows(rows(1000)), "json")))
    assert len(json.loads(zlib.decompress(streamed.body))["data"]) == 1000


@pytest.mark.parametrize(
    ("header", "wanted"),
    [(b"deflate", True), (b"gzip, deflate", True), (b"br deflate;q=0.1", True), (b"gzip", False), (None, False)],
)
def test_only_deflate_is_offered(header: bytes | None, wanted: bool) -> None:
    assert wants_deflate(header) is wanted


async def test_text_is_always_utf_8() -> None:
    wire = Wire()
    await wire.exchange().send(await success_reply(Data("ä\ud800"), "json"))
    assert json.loads(wire.body.decode())["data"] == "ä?"


async def test_bodies_arrive_in_pieces() -> None:
    assert await Wire([b"ab", b"", b"cd"]).exchange().read_body() == b"abcd"


def test_the_client_address_is_the_one_that_the_front_worker_saw() -> None:
    assert Wire().exchange((b"x-pbs-client-address", b"192.0.2.7")).client_address == "192.0.2.7"
