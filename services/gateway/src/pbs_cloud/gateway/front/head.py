"""HTTP/1.1 heads: strict and bounded parsing, framing of bodies (RFC 9112)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

MAX_HEAD: Final = 64 * 1024
MAX_FIELDS: Final = 128

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([\x21-\x7e\x80-\xff]+) HTTP/1\.([01])")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
HOP_BY_HOP: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"expect"}
)

Fields = list[tuple[bytes, bytes]]


class BadHead(Exception):
    """The head is no valid HTTP/1.x: answer ``status`` and close."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(slots=True)
class Head:
    """Fields in order, names in lower case. ``minor``: of HTTP/1.``minor``."""

    minor: int
    fields: Fields = field(default_factory=list)

    def get(self, name: bytes) -> bytes | None:
        """Value of the first field of that name."""
        return next((value for key, value in self.fields if key == name), None)

    def tokens(self, name: bytes) -> set[bytes]:
        """Comma-separated items of all fields of that name, in lower case."""
        return {
            item.strip().lower()
            for key, value in self.fields
            if key == name
            for item in value.split(b",")
            if item.strip()
        }

    @property
    def chunked(self) -> bool:
        """Whether the body is chunked. Raises BadHead for any other transfer coding."""
        codings = self.tokens(b"transfer-encoding")
        if not codings:
            return False
        if (
            codings != {b"chunked"}
            or self.minor == 0
            or sum(1 for k, _ in self.fields if k == b"transfer-encoding") > 1
        ):
            raise BadHead(501, "unsupported transfer coding")
        return True

    @property
    def content_length(self) -> int | None:
        """The announced length. Raises BadHead when it is ambiguous."""
        values = {value for key, value in self.fields if key == b"content-length"}
        if not values:
            return None
        value = values.pop()
        if values or not value.isdigit() or len(value) > 18:
            raise BadHead(400, "bad content-length")
        return int(value)


@dataclass(slots=True)
class RequestHead(Head):
    """A request line and its fields; ``target`` as it was sent."""

    method: str = "GET"
    target: bytes = b"/"

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition(b"?")[0].decode("latin-1")

    @property
    def query(self) -> bytes:
        """The query without its ``?``."""
        return self.target.partition(b"?")[2]

    @property
    def keeps_alive(self) -> bool:
        """Whether the client wants to go on with this connection."""
        options = self.tokens(b"connection")
        return b"close" not in options and (self.minor == 1 or b"keep-alive" in options)

    @property
    def has_body(self) -> bool:
        """Whether body bytes follow."""
        return self.chunked or bool(self.content_length)


@dataclass(slots=True)
class ResponseHead(Head):
    """A status line and its fields."""

    status: int = 200


def _fields(lines: list[bytes]) -> Fields:
    if len(lines) > MAX_FIELDS:
        raise BadHead(431, "too many header fields")
    found: Fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        value = value.strip(b" \t")
        if not colon or not _NAME.fullmatch(name) or _BAD_VALUE.search(value):
            raise BadHead(400, "malformed header field")
        found.append((name.lower(), value))
    return found


def parse_request_head(raw: bytes) -> RequestHead:
    """A request head without its final blank line. Raises BadHead."""
    lines = raw.split(b"\r\n")
    match = _REQUEST_LINE.fullmatch(lines[0])
    if match is None:
        raise BadHead(400, "malformed request line")
    head = RequestHead(int(match[3]), _fields(lines[1:]), match[1].decode(), match[2])
    if not head.target.startswith(b"/"):
        raise BadHead(400, "the request target must be a path")
    if head.chunked and head.content_length is not None:
        raise BadHead(400, "both content-length and transfer-encoding")
    if sum(1 for name, _ in head.fields if name == b"host") > 1:
        raise BadHead(400, "more than one host")
    return head


def parse_response_head(raw: bytes) -> ResponseHead:
    """A response head without its final blank line. Raises BadHead."""
    lines = raw.split(b"\r\n")
    match = _STATUS_LINE.fullmatch(lines[0])
    if match is None:
        raise BadHead(502, "malformed status line")
    return ResponseHead(int(match[1]), _fields(lines[1:]), int(match[2]))


def serialize(first_line: bytes, fields: Fields) -> bytes:
    """A head with its final blank line."""
    return b"\r\n".join((first_line, *(name + b": " + value for name, value in fields))) + b"\r\n\r\n"
