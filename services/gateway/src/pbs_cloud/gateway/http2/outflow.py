"""Sending answers: flow control of the client, fair turns of the streams, backpressure of the transport."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from pbs_cloud.gateway.http2.frames import (
    DEFAULT_FRAME_SIZE,
    DEFAULT_WINDOW,
    END_STREAM,
    MAX_WINDOW,
    ConnectionFault,
    ErrorCode,
    FrameType,
    frame_header,
)

MAX_DATA_FRAME: Final = 256 * 1024
BATCH: Final = 1024 * 1024
"""Bytes framed at once before the transport is asked whether it wants more."""


class Outgoing:
    """The body of one answer on its way."""

    __slots__ = ("drained", "ended", "pieces", "queued", "sent", "stream_id", "window")

    def __init__(self, stream_id: int, window: int) -> None:
        self.stream_id = stream_id
        self.window = window
        self.pieces: deque[memoryview] = deque()
        self.queued = 0
        self.sent = 0
        self.ended = False
        self.drained: Callable[[], None] | None = None


class Outflow:
    """Send windows of one connection. ``finished`` is told when the last byte of a stream's answer was framed."""

    def __init__(self, finished: Callable[[int], None]) -> None:
        self._finished = finished
        self.window = DEFAULT_WINDOW
        self._initial = DEFAULT_WINDOW
        self._frame_size = DEFAULT_FRAME_SIZE
        self._streams: dict[int, Outgoing] = {}
        self._ready: deque[Outgoing] = deque()
        self._queued_ready: set[int] = set()

    def open(self, stream_id: int) -> None:
        """A stream exists; its window may be changed from now on."""
        self._streams[stream_id] = Outgoing(stream_id, self._initial)

    def close(self, stream_id: int) -> None:
        """The stream is gone; what was queued is dropped."""
        gone = self._streams.pop(stream_id, None)
        if gone is not None:
            gone.pieces.clear()
            gone.queued = 0
            gone.ended = False
            self._notify(gone)

    def apply_initial_window(self, value: int) -> None:
        """The client's SETTINGS_INITIAL_WINDOW_SIZE; windows may become negative."""
        delta, self._initial = value - self._initial, value
        for stream in self._streams.values():
            stream.window += delta
            if stream.window > MAX_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "stream window overflow")
            self._make_ready(stream)

    def apply_frame_size(self, value: int) -> None:
        """The client's SETTINGS_MAX_FRAME_SIZE."""
        self._frame_size = value

    def widen(self, increment: int) -> None:
        """WINDOW_UPDATE for the connection."""
        self.window += increment
        if self.window > MAX_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "connection window overflow")

    def widen_stream(self, stream_id: int, increment: int) -> bool:
        """WINDOW_UPDATE for a stream; False when its window overflows."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return True
        stream.window += increment
        if stream.window > MAX_WINDOW:
            return False
        self._make_ready(stream)
        return True

    def queue(self, stream_id: int, piece: bytes | bytearray | memoryview, *, end: bool) -> bool:
        """Add a piece of a body; False when the stream is gone. The piece must not change until it was framed."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.ended:
            return False
        if len(piece):
            stream.pieces.append(memoryview(piece))
            stream.queued += len(piece)
        stream.ended = end
        self._make_ready(stream)
        return True

    def on_drained(self, stream_id: int, call: Callable[[], None]) -> None:
        """Call once when everything queued for the stream was framed, or the stream is gone."""
        stream = self._streams.get(stream_id)
        if stream is None or (not stream.queued and not stream.ended):
            call()
        else:
            stream.drained = call

    @property
    def has_work(self) -> bool:
        """Whether a call of :meth:`frames` would produce something."""
        return any(self._sendable(stream) for stream in self._ready)

    def frames(self, out: list[bytes]) -> int:
        """Append frames of up to about ``BATCH`` bytes to ``out``; answers their size."""
        total = 0
        while self._ready and total < BATCH:
            stream = self._ready.popleft()
            self._queued_ready.discard(stream.stream_id)
            if self._streams.get(stream.stream_id) is not stream:
                continue
            if not self._sendable(stream):
                if stream.queued and self.window <= 0 < stream.window:
                    self._make_ready(stream, front=True)
                    break
                continue
            total += self._frame(stream, out)
            if stream.queued or stream.ended:
                self._make_ready(stream)
        return total

    def _sendable(self, stream: Outgoing) -> bool:
        if stream.queued:
            return stream.window > 0 and self.window > 0
        return stream.ended

    def _make_ready(self, stream: Outgoing, front: bool = False) -> None:
        if not (stream.queued or stream.ended) or stream.stream_id in self._queued_ready:
            return
        self._queued_ready.add(stream.stream_id)
        (self._ready.appendleft if front else self._ready.append)(stream)

    def _frame(self, stream: Outgoing, out: list[bytes]) -> int:
        """One DATA frame; its bytes are copied, so that the piece's memory is free afterwards."""
        count = 0
        if stream.pieces:
            piece = stream.pieces[0]
            count = min(len(piece), stream.window, self.window, self._frame_size, MAX_DATA_FRAME)
            rest = piece[count:]
            if len(rest):
                stream.pieces[0] = rest
            else:
                stream.pieces.popleft()
            stream.queued -= count
            stream.window -= count
            self.window -= count
        last = stream.ended and not stream.queued
        header = frame_header(count, FrameType.DATA, END_STREAM if last else 0, stream.stream_id)
        out.append(b"".join((header, piece[:count])) if count else header)
        stream.sent += count
        if not stream.queued:
            self._notify(stream)
        if last:
            stream.ended = False
            self._streams.pop(stream.stream_id, None)
            self._finished(stream.stream_id)
        return count + len(header)

    @staticmethod
    def _notify(stream: Outgoing) -> None:
        call, stream.drained = stream.drained, None
        if call is not None:
            call()
