"""From received bytes to frames. Payload of DATA goes where its sink says, everything else through a small buffer."""

from __future__ import annotations

from typing import Final, Protocol

from pbs_cloud.gateway.http2.frames import (
    END_STREAM,
    FRAME_HEADER_SIZE,
    PADDED,
    PREFACE,
    ConnectionFault,
    ErrorCode,
    FrameType,
    parse_header,
)
from pbs_cloud.gateway.http2.sinks import DiscardSink, Sink

BUFFER_SIZE: Final = 32 * 1024
"""What every connection has; a larger frame that is no DATA makes it grow."""
LARGE_BUFFER_SIZE: Final = 80 * 1024
MAX_CONTROL_FRAME: Final = 64 * 1024
"""Payload of a frame that is no DATA; header blocks end earlier, the others are tiny."""
_KNOWN: Final = frozenset(FrameType) - {FrameType.DATA}


class Frames(Protocol):
    """What the reader tells."""

    def frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """A complete frame that is no DATA."""

    def data_start(self, stream_id: int, flags: int, length: int) -> Sink | None:
        """A DATA frame begins; None: its payload is thrown away."""

    def data_piece(self, payload: int, padding: int) -> None:
        """Bytes arrived: ``payload`` of them in the sink."""

    def data_end(self, ends: bool) -> None:
        """The DATA frame is complete."""


class FrameReader:
    """Parses one direction of a connection. Raises ConnectionFault for bytes that are no HTTP/2."""

    def __init__(self, max_frame_size: int, frames: Frames) -> None:
        self._max_frame_size = max_frame_size
        self._frames = frames
        self._buffer = memoryview(bytearray(BUFFER_SIZE))
        self._have = 0
        self._preface = False
        self._settings = False
        self._discard = DiscardSink()
        self._sink: Sink = self._discard
        self._in_data = False
        self._left = 0
        self._padding = 0
        self._pad_byte = False
        self._ends = False
        self._skip = 0

    def get_buffer(self) -> memoryview:
        """Memory for the next bytes; inside a DATA frame that of its sink."""
        if self._in_data and self._left and not self._pad_byte and not self._have:
            return self._sink.buffer(self._left)
        return self._buffer[self._have :]

    def buffer_updated(self, count: int) -> None:
        """``count`` bytes were received into the last buffer."""
        if self._in_data and self._left and not self._pad_byte and not self._have:
            self._took(count)
            return
        self._have += count
        used = self._parse()
        rest = self._have - used
        if used and rest:
            self._buffer[:rest] = bytes(self._buffer[used : self._have])
        elif rest == len(self._buffer):
            larger = memoryview(bytearray(LARGE_BUFFER_SIZE))
            larger[:rest] = self._buffer
            self._buffer = larger
        self._have = rest

    def _parse(self) -> int:
        """Consume what is complete; answers how many bytes of the buffer were used."""
        at = 0 if self._preface else self._check_preface()
        while self._preface:
            if self._in_data:
                used = self._buffered_data(at)
            elif self._skip:
                used = min(self._skip, self._have - at)
                self._skip -= used
            else:
                used = self._next_frame(at)
            if used == 0:
                break
            at += used
        return at

    def _check_preface(self) -> int:
        got = bytes(self._buffer[: min(self._have, len(PREFACE))])
        if got != PREFACE[: len(got)]:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "no HTTP/2 preface")
        self._preface = len(got) == len(PREFACE)
        return len(PREFACE) if self._preface else 0

    def _next_frame(self, at: int) -> int:
        have = self._have - at
        if have < FRAME_HEADER_SIZE:
            return 0
        length, kind, flags, stream_id = parse_header(self._buffer, at)
        if length > self._max_frame_size:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "frame too large")
        if not self._settings:
            if kind != FrameType.SETTINGS or flags & 1:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the first frame is no SETTINGS")
            self._settings = True
        if kind == FrameType.DATA:
            self._start_data(length, flags, stream_id)
            return FRAME_HEADER_SIZE
        if kind not in _KNOWN:
            self._frames.frame(kind, flags, stream_id, b"")
            self._skip = length
            return FRAME_HEADER_SIZE
        if length > MAX_CONTROL_FRAME:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "control frame too large")
        end = FRAME_HEADER_SIZE + length
        if have < end:
            return 0
        self._frames.frame(kind, flags, stream_id, bytes(self._buffer[at + FRAME_HEADER_SIZE : at + end]))
        return end

    def _start_data(self, length: int, flags: int, stream_id: int) -> None:
        sink = self._frames.data_start(stream_id, flags, length)
        self._sink = sink or self._discard
        self._in_data = True
        self._left = length
        self._padding = 0
        self._pad_byte = bool(flags & PADDED)
        self._ends = bool(flags & END_STREAM)
        if self._pad_byte and not length:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "no room for the padding length")
        if not length:
            self._end_data()

    def _buffered_data(self, at: int) -> int:
        """Take DATA bytes that lie in the buffer; at least one if there is any."""
        have = self._have - at
        if self._pad_byte:
            if not have:
                return 0
            self._start_padding(self._buffer[at])
            return 1
        if self._left:
            space = self._sink.buffer(min(self._left, have)) if have else self._buffer[:0]
            count = len(space)
            space[:] = self._buffer[at : at + count]
            self._took(count)
            return count
        count = min(self._padding, have)
        if count:
            self._padding -= count
            self._frames.data_piece(0, count)
            if not self._padding:
                self._end_data()
        return count

    def _start_padding(self, size: int) -> None:
        self._pad_byte = False
        self._left -= 1
        if size > self._left:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "padding longer than the frame")
        self._left -= size
        self._padding = size
        self._frames.data_piece(0, 1)
        if not self._left and not self._padding:
            self._end_data()

    def _took(self, count: int) -> None:
        if not count:
            return
        self._left -= count
        self._frames.data_piece(count, 0)
        if not self._left and not self._padding:
            self._end_data()

    def _end_data(self) -> None:
        self._in_data = False
        self._sink = self._discard
        self._frames.data_end(self._ends)
