"""A session that costs little: one non-blocking TLS socket, bodies sent from where they lie, answers only counted."""

import select
import socket
import ssl
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

import hpack

from benchmarks.frames import (
    CLIENT_START,
    DATA,
    GOAWAY,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame_header,
)

_READ = 256 << 10
_CREDIT_AFTER = 256 << 20


_EMPTY = memoryview(b"")


@dataclass(frozen=True, slots=True)
class Request:
    """A header block and a body that is sent as it lies in memory."""

    block: bytes
    body: memoryview = _EMPTY


@dataclass(slots=True)
class Counts:
    """What a run moved: body bytes out and in, answers."""

    sent: int = 0
    received: int = 0
    answers: int = 0
    bodies: dict[int, bytearray] = field(default_factory=dict)


class LoadError(Exception):
    """The server refused or ended the session."""


def connect(host: str, port: int) -> ssl.SSLSocket:
    """A TLS connection without certificate checks (the server is our own)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    raw = socket.create_connection((host, port))
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(raw)


class LoadSession:
    """An upgraded connection that pipelines :class:`Request` objects."""

    def __init__(self, host: str, port: int, target: str, protocol: str, authorization: str) -> None:
        self._socket = connect(host, port)
        lines = [f"GET {target} HTTP/1.1", f"authorization: {authorization}", "connection: upgrade"]
        lines += [f"upgrade: {protocol}", f"host: {host}:{port}", "", ""]
        self._socket.sendall("\r\n".join(lines).encode())
        received = b""
        while b"\r\n\r\n" not in received:
            piece = self._socket.recv(65536)
            if not piece:
                raise LoadError(f"closed after {received!r}")
            received += piece
        head, _, rest = received.partition(b"\r\n\r\n")
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise LoadError(f"{head.decode()} {rest.decode()}")
        self._socket.sendall(CLIENT_START)
        self._socket.setblocking(False)
        self._poll = select.poll()
        self._incoming = memoryview(bytearray(_READ))
        self._decoder = hpack.Decoder()
        self._head, self._payload, self._skip = bytearray(), bytearray(), 0
        self._kind, self._flags, self._stream, self._missing = 0, 0, 0, 0
        self._window, self._initial_window, self._frame_size = 65535, 65535, 16384
        self._stream_window = 0
        self._sending, self._next_stream, self._uncredited = 0, 1, 0
        self._open: set[int] = set()
        self._capture = False
        self.counts = Counts()
        self._feed(memoryview(rest))
        while self._frame_size == 16384 and self._initial_window == 65535:
            self._wait(select.POLLIN)

    # --- sending ----------------------------------------------------------------------------------------------------
    def run(self, requests: Iterable[Request], in_flight: int = 16) -> Counts:
        """Send all requests, at most ``in_flight`` unanswered, and wait for the answers."""
        self.counts = Counts()
        for request in requests:
            while len(self._open) >= in_flight:
                self._wait(select.POLLIN)
            self._send(request)
        while self._open:
            self._wait(select.POLLIN)
        return self.counts

    def one(self, request: Request) -> bytes:
        """One request; its answer's body."""
        self._capture = True
        counts = self.run([request])
        self._capture = False
        return bytes(b"".join(counts.bodies.values()))

    def _send(self, request: Request) -> None:
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        body = request.body
        self._open.add(stream)
        self._sending, self._stream_window = stream, self._initial_window
        flags = 4 if len(body) else 5
        self._write(memoryview(frame_header(len(request.block), HEADERS, flags, stream) + request.block))
        self.counts.sent += len(body)
        while len(body) and stream in self._open:
            size = min(len(body), self._frame_size, self._window, self._stream_window)
            if size <= 0:
                self._wait(select.POLLIN)
                continue
            self._window -= size
            self._stream_window -= size
            self._write(memoryview(frame_header(size, DATA, int(size == len(body)), stream)))
            self._write(body[:size])
            body = body[size:]
            self._read()

    def _write(self, view: memoryview) -> None:
        send = self._socket.send
        while len(view):
            try:
                view = view[send(view) :]
            except ssl.SSLWantWriteError:
                self._wait(select.POLLIN | select.POLLOUT)

    # --- receiving --------------------------------------------------------------------------------------------------
    def _wait(self, events: int) -> None:
        if not self._socket.pending():
            self._poll.register(self._socket, events)
            if not self._poll.poll(60_000):
                raise LoadError(f"nothing for 60 s; {len(self._open)} open, window {self._window}")
        self._read()

    def _read(self) -> None:
        while True:
            try:
                count = self._socket.recv_into(self._incoming)
            except ssl.SSLWantReadError:
                return
            if not count:
                raise LoadError("closed by the server")
            self._feed(self._incoming[:count])

    def _feed(self, view: memoryview) -> None:
        position, size = 0, len(view)
        while position < size:
            if self._skip:
                step = min(self._skip, size - position)
                if self._capture:
                    self.counts.bodies.setdefault(self._stream, bytearray()).extend(view[position : position + step])
                self._skip -= step
                position += step
                if not self._skip:
                    self._data_done()
            elif self._missing:
                step = min(self._missing, size - position)
                self._payload += view[position : position + step]
                self._missing -= step
                position += step
                if not self._missing:
                    self._control()
            else:
                step = min(9 - len(self._head), size - position)
                self._head += view[position : position + step]
                position += step
                if len(self._head) == 9:
                    self._frame_begins()

    def _frame_begins(self) -> None:
        length = int.from_bytes(self._head[:3], "big")
        self._kind, self._flags = self._head[3], self._head[4]
        self._stream = int.from_bytes(self._head[5:9], "big")
        self._head.clear()
        if self._kind == DATA:
            self._skip = length
            self.counts.received += length
            self._uncredited += length
            if self._uncredited >= _CREDIT_AFTER:
                credit = struct.pack(">I", self._uncredited)
                self._uncredited = 0
                self._write(memoryview(frame_header(4, WINDOW_UPDATE, 0, 0) + credit))
            if not length:
                self._data_done()
        else:
            self._payload.clear()
            self._missing = length
            if not length:
                self._control()

    def _data_done(self) -> None:
        if self._flags & 1:
            self._answered()

    def _answered(self) -> None:
        self._open.discard(self._stream)
        self.counts.answers += 1

    def _control(self) -> None:
        kind, flags, payload = self._kind, self._flags, bytes(self._payload)
        if kind == HEADERS:
            fields = {str(name): str(value) for name, value in self._decoder.decode(payload)}
            if fields.get(":status") != "200":
                raise LoadError(f"stream {self._stream}: {fields}")
            if flags & 1:
                self._answered()
        elif kind == WINDOW_UPDATE:
            increment = int.from_bytes(payload, "big")
            if self._stream == 0:
                self._window += increment
            elif self._stream == self._sending:
                self._stream_window += increment
        elif kind == SETTINGS and not flags & 1:
            self._settings(payload)
        elif kind == PING and not flags & 1:
            self._write(memoryview(frame_header(8, PING, 1, 0) + payload))
        elif kind in (RST_STREAM, GOAWAY):
            raise LoadError(f"frame {kind} {payload!r}")

    def _settings(self, payload: bytes) -> None:
        for key, value in struct.iter_unpack(">HI", payload):
            if key == 4:
                self._stream_window += value - self._initial_window
                self._initial_window = value
            elif key == 5:
                self._frame_size = value
        self._write(memoryview(frame_header(0, SETTINGS, 1, 0)))

    def close(self) -> None:
        """Drop the connection."""
        self._socket.close()
