"""Frame types, error codes and the bytes of the frames that a server sends (RFC 9113, 4 and 6)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_HEADER_SIZE: Final = 9
DEFAULT_WINDOW: Final = 65_535
MAX_WINDOW: Final = 2**31 - 1
DEFAULT_FRAME_SIZE: Final = 16_384

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITY_FLAG: Final = 0x20

_HEADER = struct.Struct(">HBBBI")
_SETTING = struct.Struct(">HI")
_U32 = struct.Struct(">I")


class FrameType(IntEnum):
    """Frame types of RFC 9113; unknown ones are skipped."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Setting(IntEnum):
    """Identifiers of settings."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class ErrorCode(IntEnum):
    """Error codes of RST_STREAM and GOAWAY."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class ConnectionFault(Exception):
    """The peer broke the connection's rules: GOAWAY with ``code``, then the connection ends."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def parse_header(buffer: bytearray | memoryview, offset: int) -> tuple[int, int, int, int]:
    """``(payload length, type, flags, stream id)`` of the nine bytes at ``offset``."""
    high, low, kind, flags, stream_id = _HEADER.unpack_from(buffer, offset)
    return high << 8 | low, kind, flags, stream_id & MAX_WINDOW


def frame_header(length: int, kind: int, flags: int, stream_id: int) -> bytes:
    """The nine bytes before a payload of ``length`` bytes."""
    return _HEADER.pack(length >> 8, length & 0xFF, kind, flags, stream_id)


def settings_frame(values: Sequence[tuple[int, int]]) -> bytes:
    """SETTINGS with the given values, in their order."""
    payload = b"".join(_SETTING.pack(identifier, value) for identifier, value in values)
    return frame_header(len(payload), FrameType.SETTINGS, 0, 0) + payload


def parse_settings(payload: bytes) -> list[tuple[int, int]]:
    """Identifier and value of each entry of a SETTINGS payload (its length is a multiple of six)."""
    return list(_SETTING.iter_unpack(payload))


SETTINGS_ACK: Final = frame_header(0, FrameType.SETTINGS, ACK, 0)


def window_update(stream_id: int, increment: int) -> bytes:
    """WINDOW_UPDATE for a stream, or for the connection with id 0."""
    return frame_header(4, FrameType.WINDOW_UPDATE, 0, stream_id) + _U32.pack(increment)


def rst_stream(stream_id: int, code: int) -> bytes:
    """RST_STREAM."""
    return frame_header(4, FrameType.RST_STREAM, 0, stream_id) + _U32.pack(code)


def goaway(last_stream_id: int, code: int) -> bytes:
    """GOAWAY without debug data."""
    return frame_header(8, FrameType.GOAWAY, 0, 0) + _U32.pack(last_stream_id) + _U32.pack(code)


def ping_ack(payload: bytes) -> bytes:
    """The answer to a PING."""
    return frame_header(8, FrameType.PING, ACK, 0) + payload


def read_u32(payload: bytes, offset: int = 0) -> int:
    """A 31-bit number; the reserved bit is ignored."""
    return int(_U32.unpack_from(payload, offset)[0]) & MAX_WINDOW


def read_full_u32(payload: bytes, offset: int = 0) -> int:
    """A 32-bit number."""
    return int(_U32.unpack_from(payload, offset)[0])
