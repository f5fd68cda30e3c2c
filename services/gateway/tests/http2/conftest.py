"""A server connection in memory with a handler that collects bodies and answers when it is told."""

import struct
from collections import deque

import hpack
import pytest

from pbs_cloud.gateway.http2 import frames as f
from pbs_cloud.gateway.http2.connection import Connection
from pbs_cloud.gateway.http2.inflow import CreditPool
from pbs_cloud.gateway.http2.sinks import SlotSink
from pbs_cloud.gateway.http2.streams import Handler, Stream

MIB = 1 << 20


class HeapMemory:
    def __init__(self, size: int) -> None:
        self.view = memoryview(bytearray(size))

    def free(self) -> None:
        pass


class Collector(Handler):
    """Keeps every request; ``complete`` are those whose body is there. ``auto``: answer at once."""

    def __init__(self, auto: bool = True) -> None:
        self.connection: Connection | None = None
        self.requests: list[Stream] = []
        self.complete: deque[Stream] = deque()
        self.resets: list[Stream] = []
        self.bodies: dict[int, bytes] = {}
        self.auto = auto
        self.running = 0

    @property
    def busy(self) -> int:
        return self.running

    def request(self, stream: Stream) -> None:
        self.requests.append(stream)
        size = stream.head.headers.get("x-size")
        if size is not None and size.isdecimal():
            stream.sink = SlotSink(int(size), HeapMemory)

    def body_complete(self, stream: Stream) -> None:
        self.complete.append(stream)
        if self.auto:
            self.answer(stream)

    def answer(self, stream: Stream) -> None:
        if isinstance(stream.sink, SlotSink) and stream.sink.memory is not None:
            self.bodies[stream.id] = bytes(stream.sink.memory.view[: stream.sink.length])
        self.connection.free(stream.sink)
        self.connection.answer(stream, 200, [], b"ok")

    def reset(self, stream: Stream) -> None:
        self.resets.append(stream)
        self.connection.free(stream.sink)


class Peer:
    """The client's end: makes frames, reads what the server sends."""

    def __init__(self, pool: CreditPool | None = None, handler: Collector | None = None, slack: int = 0) -> None:
        self.pool = pool or CreditPool(64 * MIB, 32 * MIB)
        self.server = Connection(self.pool, slack)
        self.handler = handler or Collector()
        self.handler.connection = self.server
        self.server.start(self.handler)
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self.sent: list[tuple[int, int, int, bytes]] = []
        self._rest = b""

    def start(self) -> "Peer":
        self.server.receive(
            f.PREFACE + f.settings_frame([(4, 2**31 - 2), (5, 4 << 20)]) + f.window_update(0, 2**31 - 1 - 65535)
        )
        self.read()
        return self

    def headers(
        self, stream: int, *fields: tuple[str, str], path: str = "/x", end: bool = True, method: str = "POST"
    ) -> bytes:
        pseudo = [(":method", method), (":scheme", "https"), (":authority", "localhost:8007"), (":path", path)]
        block = self.encoder.encode([*pseudo, *fields])
        return frame(f.FrameType.HEADERS, f.END_HEADERS | (f.END_STREAM if end else 0), stream, block)

    def feed(self, *pieces: bytes) -> list[tuple[int, int, int, bytes]]:
        for piece in pieces:
            self.server.receive(piece)
        return self.read()

    def read(self) -> list[tuple[int, int, int, bytes]]:
        """Frames that the server sends now: type, flags, stream, payload."""
        while True:
            out = self.server.take_output()
            if not out:
                break
            self._rest += b"".join(out)
        found = []
        while len(self._rest) >= 9:
            length = int.from_bytes(self._rest[:3], "big")
            kind, flags, stream = self._rest[3], self._rest[4], int.from_bytes(self._rest[5:9], "big")
            found.append((kind, flags, stream, self._rest[9 : 9 + length]))
            self._rest = self._rest[9 + length :]
        self.sent += found
        return found

    def code(self) -> int | None:
        """Error code of the server's GOAWAY."""
        return next((struct.unpack(">I", p[4:8])[0] for k, _, _, p in self.sent if k == f.FrameType.GOAWAY), None)

    def resets(self) -> dict[int, int]:
        """Error code by reset stream."""
        return {s: struct.unpack(">I", p)[0] for k, _, s, p in self.sent if k == f.FrameType.RST_STREAM}

    def answers(self) -> dict[int, bytes]:
        """Bodies by stream."""
        found: dict[int, bytes] = {}
        for kind, _, stream, payload in self.sent:
            if kind == f.FrameType.DATA:
                found[stream] = found.get(stream, b"") + payload
        return found


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return f.frame_header(len(payload), kind, flags, stream) + payload


@pytest.fixture
def peer() -> Peer:
    return Peer().start()


@pytest.fixture
def peer_factory():
    """Makes peers that have not started yet."""

    def make(auto: bool = True, pool: CreditPool | None = None, slack: int = 0) -> Peer:
        return Peer(pool, Collector(auto), slack)

    return make
