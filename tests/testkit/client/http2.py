"""Client half of HTTP/2 as far as a backup session needs it: bytes in, answers out, no sockets.

It behaves as the stock client: windows of 2^31-2, frames up to 4 MiB accepted, no PING, no push, requests before
the server's SETTINGS. Bodies are cut by the server's frame size and wait for its windows, stream by stream.
"""

import struct
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

import hpack

CLIENT_START = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex(
    "00000c04000000000000047ffffffe000500400000000004080000000000" + "7ffeffff"
)
"""Preface, SETTINGS (window 2147483646, frames 4194304), WINDOW_UPDATE of the connection."""

DATA, HEADERS, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 5, 6, 7, 8, 9
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY = 0x20
_CREDIT_AFTER = 64 << 20


class ProtocolFault(Exception):
    """The peer broke HTTP/2."""


@dataclass(slots=True)
class Answer:
    """A complete answer; header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes = b""


@dataclass(slots=True)
class StreamReset(Exception):
    """The server reset a stream."""

    code: int


@dataclass(slots=True)
class _Stream:
    window: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=list)


def frame_header(size: int, kind: int, flags: int, stream: int) -> bytes:
    """The nine bytes before a payload of ``size`` bytes."""
    return struct.pack(">I", size)[1:] + bytes((kind, flags)) + struct.pack(">I", stream)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame; the payload's length is not checked against any limit."""
    return frame_header(len(payload), kind, flags, stream) + payload


class Http2Client:
    """State of one connection. Feed :meth:`receive`, send what :meth:`take_output` gives, read ``done``."""

    def __init__(self) -> None:
        self._out: list[bytes | memoryview] = [CLIENT_START]
        self._buffer = bytearray()
        self._encoder, self._decoder = hpack.Encoder(), hpack.Decoder(max_header_list_size=1 << 20)
        self._next_stream = 1
        self._streams: dict[int, _Stream] = {}
        self._unsent: OrderedDict[int, memoryview] = OrderedDict()
        self._block: tuple[int, int, bytearray] | None = None
        self._window, self._initial_window, self._received = 65535, 65535, 0
        self.max_frame_size, self.max_streams = 16384, None
        self.settings_seen = False
        self.goaway: int | None = None
        self.done: list[tuple[int, Answer | StreamReset]] = []

    @property
    def open_streams(self) -> int:
        """Requests without a complete answer."""
        return len(self._streams)

    @property
    def unsent_bytes(self) -> int:
        """Body bytes that wait for the server's windows."""
        return sum(map(len, self._unsent.values()))

    def take_output(self) -> bytes:
        """Bytes for the server, in order; empties the queue."""
        out = b"".join(self._out)
        self._out.clear()
        return out

    def request(self, headers: Iterable[tuple[str, str]], body: bytes | memoryview = b"") -> int:
        """Queue a request; returns its stream."""
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        self._streams[stream] = _Stream(self._initial_window)
        block = self._encoder.encode(list(headers), huffman=True)
        flags = END_HEADERS | (0 if len(body) else END_STREAM)
        self._out.append(frame(HEADERS, flags, stream, block))
        if len(body):
            self._unsent[stream] = memoryview(body)
            self._pump()
        return stream

    def reset(self, stream: int, code: int = 8) -> None:
        """Give up a request (CANCEL); it will not appear in ``done``."""
        self._streams.pop(stream, None)
        self._unsent.pop(stream, None)
        self._out.append(frame(RST_STREAM, 0, stream, struct.pack(">I", code)))

    def ping(self, payload: bytes = bytes(8)) -> None:
        """Queue a PING."""
        self._out.append(frame(PING, 0, 0, payload))

    def receive(self, data: bytes) -> None:
        """Feed bytes from the server."""
        self._buffer += data
        position, buffer = 0, self._buffer
        while len(buffer) - position >= 9:
            size = int.from_bytes(buffer[position : position + 3], "big")
            if len(buffer) - position < 9 + size:
                break
            kind, flags = buffer[position + 3], buffer[position + 4]
            stream = int.from_bytes(buffer[position + 5 : position + 9], "big") & 0x7FFFFFFF
            self._frame(kind, flags, stream, bytes(memoryview(buffer)[position + 9 : position + 9 + size]))
            position += 9 + size
        del buffer[:position]

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if self._block and kind != CONTINUATION:
            raise ProtocolFault("header block interrupted")
        if kind == DATA:
            self._data(flags, stream, payload)
        elif kind == HEADERS:
            self._headers(flags, stream, payload)
        elif kind == CONTINUATION:
            self._continuation(flags, stream, payload)
        elif kind == SETTINGS and not flags & ACK:
            self._settings(payload)
        elif kind == PING and not flags & ACK:
            self._out.append(frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE:
            self._credit(stream, int.from_bytes(payload, "big") & 0x7FFFFFFF)
        elif kind == RST_STREAM:
            self._unsent.pop(stream, None)
            if self._streams.pop(stream, None):
                self.done.append((stream, StreamReset(int.from_bytes(payload, "big"))))
        elif kind == GOAWAY:
            self.goaway = int.from_bytes(payload[4:8], "big")
        elif kind == PUSH:
            raise ProtocolFault("push")

    def _data(self, flags: int, stream: int, payload: bytes) -> None:
        self._received += len(payload)
        if self._received >= _CREDIT_AFTER:
            self._out.append(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", self._received)))
            self._received = 0
        if flags & PADDED:
            payload = payload[1 : len(payload) - payload[0]]
        state = self._streams.get(stream)
        if state:
            state.pieces.append(payload)
            if flags & END_STREAM:
                self._complete(stream)

    def _headers(self, flags: int, stream: int, payload: bytes) -> None:
        if flags & PADDED:
            payload = payload[1 : len(payload) - payload[0]]
        if flags & PRIORITY:
            payload = payload[5:]
        self._block = (stream, flags, bytearray(payload))
        if flags & END_HEADERS:
            self._header_block()

    def _continuation(self, flags: int, stream: int, payload: bytes) -> None:
        if not self._block or self._block[0] != stream:
            raise ProtocolFault("stray CONTINUATION")
        self._block[2].extend(payload)
        if flags & END_HEADERS:
            self._header_block()

    def _header_block(self) -> None:
        if not self._block:
            return
        stream, flags, block = self._block
        self._block = None
        decoded = [(str(name), str(value)) for name, value in self._decoder.decode(bytes(block))]
        state = self._streams.get(stream)
        if state:
            state.headers += decoded
            if flags & END_STREAM:
                self._complete(stream)

    def _complete(self, stream: int) -> None:
        state = self._streams.pop(stream)
        self._unsent.pop(stream, None)
        fields = dict(state.headers)
        self.done.append((stream, Answer(int(fields.pop(":status")), fields, b"".join(state.pieces))))

    def _settings(self, payload: bytes) -> None:
        for position in range(0, len(payload), 6):
            key, value = struct.unpack_from(">HI", payload, position)
            if key == 4:
                for state in self._streams.values():
                    state.window += value - self._initial_window
                self._initial_window = value
            elif key == 5:
                self.max_frame_size = value
            elif key == 3:
                self.max_streams = value
        self.settings_seen = True
        self._out.append(frame(SETTINGS, ACK, 0))
        self._pump()

    def _credit(self, stream: int, increment: int) -> None:
        if stream == 0:
            self._window += increment
        elif stream in self._streams:
            self._streams[stream].window += increment
        self._pump()

    def _pump(self) -> None:
        for stream in list(self._unsent):
            body, state = self._unsent[stream], self._streams[stream]
            while body:
                size = min(len(body), self._window, state.window, self.max_frame_size)
                if size <= 0:
                    break
                self._window -= size
                state.window -= size
                self._out += (frame_header(size, DATA, END_STREAM if size == len(body) else 0, stream), body[:size])
                body = body[size:]
            if body:
                self._unsent[stream] = body
            else:
                del self._unsent[stream]
            if self._window <= 0:
                return
