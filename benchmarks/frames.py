"""HTTP/2 frames made once, before the clock starts: header blocks without compression state, plain integers."""

import struct

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
CLIENT_START = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex(
    "00000c04000000000000047ffffffe000500400000000004080000000000" + "7ffeffff"
)
_METHODS = {"GET": b"\x82", "POST": b"\x83"}


def frame_header(size: int, kind: int, flags: int, stream: int) -> bytes:
    """The nine bytes before a payload."""
    return struct.pack(">I", size)[1:] + bytes((kind, flags)) + struct.pack(">I", stream)


def _string(text: str) -> bytes:
    raw = text.encode()
    if len(raw) < 127:
        return bytes((len(raw),)) + raw
    rest, length = len(raw) - 127, bytearray(b"\x7f")
    while rest >= 128:
        length.append(rest % 128 | 128)
        rest //= 128
    length.append(rest)
    return bytes(length) + raw


def header_block(method: str, path: str, content_type: str = "application/octet-stream") -> bytes:
    """Header block of a session request: literals that leave no trace in the server's table."""
    start = _METHODS.get(method) or b"\x02" + _string(method)
    return b"".join((
        start, b"\x87", b"\x04", _string(path), b"\x01", _string("localhost:8007"), b"\x0f\x10", _string(content_type)
    ))  # fmt: skip
