"""The server side of one HTTP/2 connection, without IO (RFC 9113; wire-protocol 4.4)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

from pbs_cloud.gateway.http2 import frames as f
from pbs_cloud.gateway.http2.frames import ConnectionFault, ErrorCode, FrameType, Setting
from pbs_cloud.gateway.http2.headers import (
    MAX_BLOCK,
    MAX_HEADER_LIST,
    HeaderDecoder,
    MalformedRequest,
    RequestHead,
    encode_answer,
    parse_request,
)
from pbs_cloud.gateway.http2.inflow import STREAM_WINDOW, CreditPool, Incoming, Inflow
from pbs_cloud.gateway.http2.outflow import Outflow
from pbs_cloud.gateway.http2.reader import FrameReader
from pbs_cloud.gateway.http2.sinks import DiscardSink, Sink

MAX_STREAMS: Final = 200
MAX_FRAME_SIZE: Final = 4 * 1024 * 1024
MAX_CONTROL_BACKLOG: Final = 256 * 1024
"""Bytes of control frames that may wait for a client that does not read."""
MAX_MISBEHAVIOUR: Final = 1000
"""Resets, refused streams and empty frames that good requests do not outweigh."""

SETTINGS: Final = (
    (Setting.MAX_CONCURRENT_STREAMS, MAX_STREAMS),
    (Setting.INITIAL_WINDOW_SIZE, STREAM_WINDOW),
    (Setting.MAX_FRAME_SIZE, MAX_FRAME_SIZE),
    (Setting.MAX_HEADER_LIST_SIZE, MAX_HEADER_LIST),
)
Fields = list[tuple[bytes, bytes]]


class Stream:
    """A request that is not answered yet. ``sink`` takes its body; the handler replaces it at the start."""

    __slots__ = ("answered", "body", "complete", "head", "id", "sent", "sink")

    def __init__(self, stream_id: int, head: RequestHead) -> None:
        self.id = stream_id
        self.head = head
        self.sink: Sink = DiscardSink()
        self.body: Incoming | None = None
        self.complete = False
        self.answered = False
        self.sent = False


class Handler(ABC):
    """What lives on a connection: gets requests, sends answers with ``Connection.answer`` and ``send``."""

    @abstractmethod
    def request(self, stream: Stream) -> None:
        """A request began. With a body, ``stream.sink`` may be set now; ``complete`` tells that there is none."""

    @abstractmethod
    def body_complete(self, stream: Stream) -> None:
        """The last byte of the body is in the sink (also called right after ``request`` when there is no body)."""

    @abstractmethod
    def reset(self, stream: Stream) -> None:
        """The client gave the request up; nothing can be answered any more. The sink is the handler's to close."""

    @property
    @abstractmethod
    def busy(self) -> int:
        """Requests being worked on, those that were reset included."""


class Connection:
    """Frames in (``get_buffer``/``buffer_updated`` or ``receive``), frames out (``take_output``).

    ``fault`` is set when the connection has to end: write what ``take_output`` gives, then close.
    """

    def __init__(self, pool: CreditPool, slack: int = 0) -> None:
        self.fault: ConnectionFault | None = None
        self.client_left = False
        self.handler: Handler | None = None
        self._wake: Callable[[], None] | None = None
        self._control: list[bytes] = []
        self._control_size = 0
        self._streams: dict[int, Stream] = {}
        self._last_id = 0
        self._misbehaviour = 0
        self._decoder = HeaderDecoder()
        self._block: tuple[int, int, bytearray] | None = None
        self._reader = FrameReader(MAX_FRAME_SIZE, self)
        self._data_stream: Stream | None = None
        self._queue(f.settings_frame(SETTINGS))
        self._inflow = Inflow(pool, self._queue, slack, self._expel)
        self._outflow = Outflow(self._sent)

    # ------------------------------------------------------------------------------------------ bytes in, bytes out
    def start(self, handler: Handler, wake: Callable[[], None] | None = None) -> None:
        """Serve ``handler``; the connection window opens.

        ``wake`` is called when there is output: credit may also come when another connection gives some back.
        """
        self.handler = handler
        self._wake = wake
        self._inflow.pump()

    def get_buffer(self, _size_hint: int = -1) -> memoryview:
        """Memory for the next received bytes."""
        return self._reader.get_buffer()

    def buffer_updated(self, count: int) -> None:
        """``count`` bytes are in the memory that ``get_buffer`` gave."""
        if self.fault is not None:
            return
        try:
            self._reader.buffer_updated(count)
        except ConnectionFault as fault:
            self.fail(fault)

    def receive(self, data: bytes | bytearray | memoryview) -> None:
        """Received bytes that are somewhere else already."""
        view = memoryview(data)
        while len(view) and self.fault is None:
            space = self.get_buffer()
            count = min(len(space), len(view))
            space[:count] = view[:count]
            view = view[count:]
            self.buffer_updated(count)

    def take_output(self) -> list[bytes]:
        """Frames to write now: all control frames, and DATA up to a batch."""
        out, self._control, self._control_size = self._control, [], 0
        if self.fault is None:
            self._outflow.frames(out)
        return out

    @property
    def has_output(self) -> bool:
        """Whether ``take_output`` would give something."""
        return bool(self._control) or (self.fault is None and self._outflow.has_work)

    def fail(self, fault: ConnectionFault) -> None:
        """End the connection with GOAWAY."""
        if self.fault is None:
            self.fault = fault
            self._control.append(f.goaway(self._last_id, fault.code))

    def close(self) -> None:
        """The transport is gone: requests that were not complete end, credit returns to the pool."""
        for stream in list(self._streams.values()):
            self._streams.pop(stream.id, None)
            self._outflow.close(stream.id)
            if stream.body is not None:
                self._inflow.end(stream.body)
            if self.handler is not None:
                self.handler.reset(stream)
        self._inflow.close()

    def say_goodbye(self) -> None:
        """GOAWAY without an error: the answer to the client's."""
        self._queue(f.goaway(self._last_id, ErrorCode.NO_ERROR))

    @property
    def held(self) -> int:
        """Received bytes that are not free again."""
        return self._inflow.held

    @property
    def streams(self) -> int:
        """Open streams."""
        return len(self._streams)

    # ------------------------------------------------------------------------------------------------- for handlers
    def answer(self, stream: Stream, status: int, fields: Fields, body: bytes | memoryview | None) -> None:
        """Send the head and, unless it is None, the whole body. Nothing happens when the stream is gone."""
        if self._streams.get(stream.id) is not stream or stream.answered or self.fault is not None:
            return
        stream.answered = True
        block = encode_answer(status, fields)
        ended = body is not None and not len(body)
        flags = f.END_HEADERS | (f.END_STREAM if ended else 0)
        self._queue(f.frame_header(len(block), FrameType.HEADERS, flags, stream.id) + block)
        if ended:
            self._outflow.close(stream.id)
            self._sent(stream.id)
        elif body is not None:
            self._outflow.queue(stream.id, body, end=True)

    def send(self, stream: Stream, piece: bytes | memoryview, *, end: bool = False) -> bool:
        """A further piece of a streamed body; False when nobody waits for it any more."""
        return self._streams.get(stream.id) is stream and self._outflow.queue(stream.id, piece, end=end)

    def unsent(self, stream: Stream) -> int:
        """Bytes of the answer that were not framed yet."""
        return self._outflow.queued(stream.id)

    def is_open(self, stream: Stream) -> bool:
        """Whether the client still waits for the answer."""
        return self._streams.get(stream.id) is stream

    def on_drained(self, stream: Stream, call: object) -> None:
        """Call ``call`` once when the queued pieces were framed or the stream is gone."""
        assert callable(call)
        self._outflow.on_drained(stream.id, call)

    def abort(self, stream: Stream, code: ErrorCode = ErrorCode.INTERNAL_ERROR) -> None:
        """Reset a stream whose answer cannot be completed."""
        if self._streams.get(stream.id) is stream:
            self._drop(stream, code)

    def free(self, sink: Sink) -> None:
        """Close a sink whose bytes nobody needs any more: its memory and its credit are free again."""
        count = sink.length
        sink.close()
        self._inflow.release(count)

    def is_oldest(self, stream: Stream) -> bool:
        """Whether this stream's body is the oldest unfinished one."""
        return self._inflow.is_oldest(stream.id)

    # -------------------------------------------------------------------------------------------------- frames in
    def _queue(self, frame: bytes) -> None:
        self._control.append(frame)
        self._control_size += len(frame)
        if self._wake is not None:
            self._wake()

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

    def _header_block(self, stream_id: int, ends: bool, fields: Fields) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._trailers(stream, ends)
        elif stream_id <= self._last_id:
            raise ConnectionFault(ErrorCode.STREAM_CLOSED, "HEADERS on a closed stream")
        else:
            self._last_id = stream_id
            self._open(stream_id, ends, fields)

    def _trailers(self, stream: Stream, ends: bool) -> None:
        if stream.complete or not ends:
            self._drop(stream, ErrorCode.STREAM_CLOSED if stream.complete else ErrorCode.PROTOCOL_ERROR)
        else:
            self._body_ended(stream)

    def _open(self, stream_id: int, ends: bool, fields: Fields) -> None:
        assert self.handler is not None
        if self.client_left or max(len(self._streams), self.handler.busy) >= MAX_STREAMS:
            self._misbehave(1)
            self._queue(f.rst_stream(stream_id, ErrorCode.REFUSED_STREAM))
            return
        try:
            head = parse_request(fields)
        except MalformedRequest:
            self._misbehave(1)
            self._queue(f.rst_stream(stream_id, ErrorCode.PROTOCOL_ERROR))
            return
        stream = Stream(stream_id, head)
        stream.complete = ends
        self._streams[stream_id] = stream
        self._outflow.open(stream_id)
        self.handler.request(stream)
        if ends:
            self.handler.body_complete(stream)
        elif self._streams.get(stream_id) is stream:
            stream.body = self._inflow.start(stream_id, self._expected(stream))

    @staticmethod
    def _expected(stream: Stream) -> int | None:
        if stream.sink.announced is not None:
            return stream.sink.announced
        length = stream.head.headers.get("content-length", "")
        return int(length) if length.isdecimal() and len(length) < 12 else None

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
            self._inflow.acknowledged()
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

    # ---------------------------------------------------------------------------------------------------- DATA in
    def data_start(self, stream_id: int, flags: int, length: int) -> Sink | None:
        """A DATA frame begins; answers where its payload goes (None: thrown away)."""
        if self._block is not None:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "CONTINUATION expected")
        self._require_known(stream_id)
        if length > self._inflow.window:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more than the connection's window")
        stream = self._streams.get(stream_id)
        self._data_stream = stream
        if stream is None or stream.complete:
            if stream is not None:
                self._drop(stream, ErrorCode.STREAM_CLOSED)
            self._data_stream = None
            return None
        if length == 0 and not flags & f.END_STREAM:
            self._misbehave(1)
        return stream.sink

    def data_piece(self, payload: int, padding: int) -> None:
        """``payload`` bytes are in the sink, ``padding`` bytes of the frame were skipped."""
        stream = self._data_stream
        if stream is None or stream.body is None:
            self._inflow.received_unknown(payload + padding)
            return
        self._inflow.received(stream.body, payload + padding, payload)
        freed = stream.sink.wrote(payload) if payload else 0
        if freed:
            self._inflow.discarded(stream.body, freed)
        self._inflow.release(freed + padding)

    def data_end(self, ends: bool) -> None:
        """The DATA frame is complete."""
        stream, self._data_stream = self._data_stream, None
        if stream is None or stream.body is None or self._streams.get(stream.id) is not stream:
            return
        if ends:
            self._body_ended(stream)
        else:
            self._inflow.progress(stream.body)

    def _body_ended(self, stream: Stream) -> None:
        assert self.handler is not None
        stream.complete = True
        if stream.body is not None:
            self._inflow.end(stream.body)
        self._misbehaviour = max(0, self._misbehaviour - 1)
        if not stream.answered:
            self.handler.body_complete(stream)
        else:
            self._forget_if_done(stream)

    # -------------------------------------------------------------------------------------------------- stream ends
    def _sent(self, stream_id: int) -> None:
        """The answer of a stream was framed completely."""
        self._misbehaviour = max(0, self._misbehaviour - 1)
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.sent = True
            self._forget_if_done(stream)

    def _forget_if_done(self, stream: Stream) -> None:
        if stream.complete and stream.sent:
            self._streams.pop(stream.id, None)

    def _drop(self, stream: Stream, code: ErrorCode | None) -> None:
        """The stream ends now; with ``code`` the client is told."""
        assert self.handler is not None
        self._streams.pop(stream.id, None)
        self._outflow.close(stream.id)
        if stream.body is not None:
            self._inflow.end(stream.body)
        if code is not None:
            self._queue(f.rst_stream(stream.id, code))
        self.handler.reset(stream)

    def _expel(self) -> None:
        """Others wait for memory that this connection's unfinished bodies occupy."""
        self.fail(ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "unfinished bodies hold memory and nothing comes"))
        if self._wake is not None:
            self._wake()

    def _misbehave(self, weight: int) -> None:
        self._misbehaviour += weight
        if self._misbehaviour > MAX_MISBEHAVIOUR:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many useless frames")
