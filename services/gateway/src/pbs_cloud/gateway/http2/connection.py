"""The server side of one HTTP/2 connection, without IO (RFC 9113; wire-protocol 4.4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pbs_cloud.gateway.http2 import frames as f
from pbs_cloud.gateway.http2.control import ControlFrames
from pbs_cloud.gateway.http2.frames import ConnectionFault, ErrorCode, FrameType, Setting
from pbs_cloud.gateway.http2.headers import (
    MAX_HEADER_LIST,
    MalformedRequest,
    encode_answer,
    parse_request,
)
from pbs_cloud.gateway.http2.inflow import STREAM_WINDOW, CreditPool, Inflow
from pbs_cloud.gateway.http2.outflow import Outflow
from pbs_cloud.gateway.http2.reader import FrameReader
from pbs_cloud.gateway.http2.sinks import Sink
from pbs_cloud.gateway.http2.streams import Fields, Handler, Stream

MAX_STREAMS: Final = 200
MAX_FRAME_SIZE: Final = 4 * 1024 * 1024

SETTINGS: Final = (
    (Setting.MAX_CONCURRENT_STREAMS, MAX_STREAMS),
    (Setting.INITIAL_WINDOW_SIZE, STREAM_WINDOW),
    (Setting.MAX_FRAME_SIZE, MAX_FRAME_SIZE),
    (Setting.MAX_HEADER_LIST_SIZE, MAX_HEADER_LIST),
)


class Connection(ControlFrames):
    """Frames in (``get_buffer``/``buffer_updated`` or ``receive``), frames out (``take_output``).

    ``fault`` is set when the connection has to end: write what ``take_output`` gives, then close.
    """

    def __init__(self, pool: CreditPool, slack: int = 0) -> None:
        super().__init__(Outflow(self._sent))
        self.fault: ConnectionFault | None = None
        self.handler: Handler | None = None
        self._wake: Callable[[], None] | None = None
        self._reader = FrameReader(MAX_FRAME_SIZE, self)
        self._data_stream: Stream | None = None
        self._queue(f.settings_frame(SETTINGS))
        self._inflow = Inflow(pool, self._queue, slack, self._expel)

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

    # -------------------------------------------------------------------------------------------------- frames in
    def _queue(self, frame: bytes) -> None:
        self._control.append(frame)
        self._control_size += len(frame)
        if self._wake is not None:
            self._wake()

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

    def _settings_applied(self) -> None:
        self._inflow.acknowledged()

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
