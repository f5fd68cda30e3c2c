"""Every frame but DATA: header blocks, settings, windows, resets (RFC 9113, 6)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

from pbs_cloud.gateway.http2 import frames as f
from pbs_cloud.gateway.http2.frames import ConnectionFault, ErrorCode, FrameType, Setting
from pbs_cloud.gateway.http2.headers import MAX_BLOCK, HeaderDecoder
from pbs_cloud.gateway.http2.outflow import Outflow
from pbs_cloud.gateway.http2.streams import Fields, Stream

MAX_CONTROL_BACKLOG: Final = 256 * 1024
"""Bytes of control frames that may wait for a client that does not read."""
MAX_MISBEHAVIOUR: Final = 1000
"""Resets, refused streams and empty frames that good requests do not outweigh."""


class ControlFrames(ABC):
    """Checks and applies control frames. Raises ConnectionFault for every breach of the connection's rules."""

    def __init__(self, outflow: Outflow) -> None:
        self.client_left = False
        self._outflow = outflow
        self._control: list[bytes] = []
        self._control_size = 0
        self._streams: dict[int, Stream] = {}
        self._last_id = 0
        self._misbehaviour = 0
        self._decoder = HeaderDecoder()
        self._block: tuple[int, int, bytearray] | None = None

    @abstractmethod
    def _queue(self, frame: bytes) -> None:
        """Send a control frame."""

    @abstractmethod
    def _header_block(self, stream_id: int, ends: bool, fields: Fields) -> None:
        """A complete header list arrived."""

    @abstractmethod
    def _drop(self, stream: Stream, code: ErrorCode | None) -> None:
        """End a stream; with ``code`` the client is told."""

    @abstractmethod
    def _settings_applied(self) -> None:
        """The client acknowledged SETTINGS."""

    def frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """A complete frame that is no DATA."""
        if self._control_size > MAX_CONTROL_BACKLOG:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "answers are not read")
        if self._block is not None and kind != FrameType.CONTINUATION:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "CONTINUATION expected")
        if kind == FrameType.HEADERS:
            self._headers(flags, stream_id, payload)
        elif kind == FrameType.CONTINUATION:
            self._continuation(flags, stream_id, payload)
        elif kind == FrameType.WINDOW_UPDATE:
            self._window_update(stream_id, payload)
        elif kind == FrameType.RST_STREAM:
            self._rst_stream(stream_id, payload)
        elif kind == FrameType.SETTINGS:
            self._settings(flags, stream_id, payload)
        elif kind == FrameType.PING:
            self._ping(flags, stream_id, payload)
        elif kind == FrameType.GOAWAY:
            self._goaway(stream_id, payload)
        elif kind == FrameType.PRIORITY:
            self._priority(stream_id, payload)
        elif kind == FrameType.PUSH_PROMISE:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "clients do not push")

    def _headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id % 2 == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "HEADERS on a stream that no client may open")
        start, end = 0, len(payload)
        if flags & f.PADDED:
            start, end = 1, end - (payload[0] if payload else end + 1)
        if flags & f.PRIORITY_FLAG:
            if end - start >= 5 and f.read_u32(payload, start) == stream_id:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "stream depends on itself")
            start += 5
        if start > end:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "padding longer than the frame")
        self._block = (stream_id, flags, bytearray(payload[start:end]))
        self._block_part(flags)

    def _continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is None or self._block[0] != stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        if not payload:
            self._misbehave(1)
        self._block[2].extend(payload)
        self._block_part(flags)

    def _block_part(self, flags: int) -> None:
        assert self._block is not None
        stream_id, first_flags, block = self._block
        if len(block) > MAX_BLOCK:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "header block too large")
        if flags & f.END_HEADERS:
            self._block = None
            self._header_block(stream_id, bool(first_flags & f.END_STREAM), self._decoder.decode(bytes(block)))

    def _window_update(self, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE has four bytes")
        increment = f.read_u32(payload)
        if stream_id == 0:
            if increment == 0:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "window update of 0")
            self._outflow.widen(increment)
            return
        self._require_known(stream_id)
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        if increment == 0:
            self._drop(stream, ErrorCode.PROTOCOL_ERROR)
        elif not self._outflow.widen_stream(stream_id, increment):
            self._drop(stream, ErrorCode.FLOW_CONTROL_ERROR)

    def _rst_stream(self, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM has four bytes")
        self._require_known(stream_id)
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._misbehave(0 if stream.answered else 1)
            self._drop(stream, None)

    def _settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & f.ACK:
            if payload:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS acknowledgement with content")
            self._settings_applied()
            return
        if len(payload) % 6 or len(payload) > 6 * 100:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "bad length of SETTINGS")
        for identifier, value in f.parse_settings(payload):
            self._setting(identifier, value)
        self._queue(f.SETTINGS_ACK)

    def _setting(self, identifier: int, value: int) -> None:
        if identifier == Setting.INITIAL_WINDOW_SIZE:
            if value > f.MAX_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "initial window too large")
            self._outflow.apply_initial_window(value)
        elif identifier == Setting.MAX_FRAME_SIZE:
            if not f.DEFAULT_FRAME_SIZE <= value < 1 << 24:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "bad maximum frame size")
            self._outflow.apply_frame_size(value)
        elif identifier == Setting.ENABLE_PUSH and value > 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "ENABLE_PUSH is 0 or 1")

    def _ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "PING has eight bytes")
        if not flags & f.ACK:
            self._queue(f.ping_ack(payload))

    def _goaway(self, stream_id: int, payload: bytes) -> None:
        if stream_id or len(payload) < 8:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "bad GOAWAY")
        self.client_left = True

    def _priority(self, stream_id: int, payload: bytes) -> None:
        if stream_id == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PRIORITY without a stream")
        if len(payload) != 5 or f.read_u32(payload) == stream_id:
            self._queue(f.rst_stream(stream_id, ErrorCode.FRAME_SIZE_ERROR))

    def _require_known(self, stream_id: int) -> None:
        if stream_id == 0 or stream_id % 2 == 0 or stream_id > self._last_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "frame for an idle stream")

    def _misbehave(self, weight: int) -> None:
        self._misbehaviour += weight
        if self._misbehaviour > MAX_MISBEHAVIOUR:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many useless frames")
