"""HTTP/1.1 heads and bodies: strict parsing, exact framing."""

import pytest

from pbs_cloud.gateway.front.framing import ByteSource, body_of_length, chunked_body
from pbs_cloud.gateway.front.head import BadHead, parse_request_head, parse_response_head
from pbs_cloud.gateway.front.redirect import redirect
from pbs_cloud.gateway.front.upgrade import upgrade_target


class Source(ByteSource):
    """Bytes that come in pieces of ``step``."""

    def __init__(self, data: bytes, step: int = 3) -> None:
        self.data, self.step = data, step

    async def read(self, limit: int) -> bytes:
        count = min(limit, self.step)
        found, self.data = self.data[:count], self.data[count:]
        return found

    async def line(self, limit: int) -> bytes:
        found, end, rest = self.data.partition(b"\r\n")
        if not end or len(found) > limit:
            raise BadHead(400, "line")
        self.data = rest
        return found


def test_request_head():
    head = parse_request_head(
        b"GET //api2/json/backup?store=a&ns= HTTP/1.1\r\nHost: h\r\nUpgrade:  proxmox \r\nConnection: Upgrade, close"
    )
    assert (head.method, head.path, head.query) == ("GET", "//api2/json/backup", b"store=a&ns=")
    assert head.get(b"upgrade") == b"proxmox"
    assert not head.keeps_alive and not head.has_body


@pytest.mark.parametrize(
    ("lines", "keeps"),
    [(b"GET / HTTP/1.1", True), (b"GET / HTTP/1.0", False), (b"GET / HTTP/1.0\r\nConnection: keep-alive", True)],
)
def test_keep_alive(lines, keeps):
    assert parse_request_head(lines).keeps_alive is keeps


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"GET /",
        b"GET / HTTP/2.0",
        b"GET  / HTTP/1.1",
        b"GET /a b HTTP/1.1",
        b"GET http://h/ HTTP/1.1",
        b"GET / HTTP/1.1\nHost: h",
        b"GET / HTTP/1.1\r\nHost : h",
        b"GET / HTTP/1.1\r\n folded",
        b"GET / HTTP/1.1\r\nno colon",
        b"GET / HTTP/1.1\r\nx: a\0b",
        b"GET / HTTP/1.1\r\nx: a\nb: c",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6",
        b"POST / HTTP/1.1\r\nContent-Length: +5",
        b"POST / HTTP/1.1\r\nContent-Length: 5, 5",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked",
        b"GET / HTTP/1.1\r\n" + b"\r\n".join(b"x: y" for _ in range(200)),
    ],
)
def test_bad_heads(raw):
    with pytest.raises(BadHead):
        head = parse_request_head(raw)
        assert head.content_length is None and not head.chunked


def test_missing_host_is_accepted():
    assert parse_request_head(b"GET / HTTP/1.1").get(b"host") is None


def test_response_head():
    head = parse_response_head(b"HTTP/1.1 507 Insufficient Storage\r\ncontent-length: 3")
    assert (head.status, head.content_length) == (507, 3)
    with pytest.raises(BadHead):
        parse_response_head(b"HTTP/1.1 99 No")


@pytest.mark.parametrize("step", [1, 3, 1000])
async def test_bodies(step):
    source = Source(b"hello world", step)
    assert b"".join([piece async for piece in body_of_length(source, 5)]) == b"hello"
    chunked = b"5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nx-trailer: 1\r\n\r\nnext"
    source = Source(chunked, step)
    assert b"".join([piece async for piece in chunked_body(source)]) == b"hello world"
    assert source.data == b"next"


@pytest.mark.parametrize(
    "raw", [b"x\r\n", b"5\r\nhelloX\r\n0\r\n\r\n", b"-5\r\n", b"5\r\nhe", b"0x5\r\nhello\r\n", b"f" * 16 + b"\r\n"]
)
async def test_bad_chunked_bodies(raw):
    with pytest.raises(BadHead):
        async for _ in chunked_body(Source(raw)):
            pass


@pytest.mark.parametrize(
    ("method", "target", "kind"),
    [
        ("GET", b"//api2/json/backup?x=1", "backup"),
        ("GET", b"/api2/json//reader/", "reader"),
        ("GET", b"/api2/extjs/backup", "backup"),
        ("GET", b"/api2/%6Ason/back%75p", "backup"),
        ("POST", b"/api2/json/backup", None),
        ("GET", b"/api2/xml/backup", None),
        ("GET", b"/api2/json/backup/x", None),
        ("GET", b"/api2/json/.x/backup", None),
    ],
)
def test_upgrade_targets(method, target, kind):
    head = parse_request_head(b"%b %b HTTP/1.1" % (method.encode(), target))
    found = upgrade_target(head)
    assert (found.kind if found else None) == kind


def test_redirects():
    assert redirect(b"GET /x?y HTTP/1.1\r\nHost: pbs:8007").startswith(b"HTTP/1.1 301")
    assert b"location: https://pbs:8007\r\n" in redirect(b"POST /x HTTP/1.1\r\nHost: pbs:8007")
    assert redirect(b"POST /x HTTP/1.1\r\nHost: pbs:8007").startswith(b"HTTP/1.1 308")
    assert redirect(b"GET / HTTP/1.1").startswith(b"HTTP/1.1 400")
    assert redirect(b"garbage").startswith(b"HTTP/1.1 400")
