"""Sixteen backup sessions, each with 66 chunk uploads in flight whose DATA frames are interleaved.

    interleaving_client.py HOST PORT STORE CREDENTIAL SESSIONS STREAMS BYTES

All bodies are encrypted chunks with the same few digests. Prints one JSON object: answers per status, seconds.
"""

import asyncio
import collections
import json
import os
import ssl
import struct
import sys
import time

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex(
    "00000c04000000000000047ffffffe000500400000000004080000000000" + "7ffeffff"
)
QUANTUM = 16 << 10


def _frame(size: int, kind: int, flags: int, stream: int) -> bytes:
    return struct.pack(">I", size)[1:] + bytes((kind, flags)) + struct.pack(">I", stream)


class Interleaver(asyncio.Protocol):
    """One upgraded connection; sends a piece of each unfinished body in turn, as far as the windows allow."""

    def __init__(self) -> None:
        self.buffer, self.window, self.initial = bytearray(), 65535, 65535
        self.windows: dict[int, int] = {}
        self.left: dict[int, memoryview] = {}
        self.statuses: collections.Counter[str] = collections.Counter()
        self.bodies: dict[int, bytearray] = collections.defaultdict(bytearray)
        self.waiting: dict[int, asyncio.Future[bytes]] = {}
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.stream, self.paused, self.transport = 1, False, None

    def connection_made(self, transport) -> None:
        self.transport = transport

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self.pump()

    def connection_lost(self, error) -> None:
        for future in self.waiting.values():
            if not future.done():
                future.set_exception(ConnectionError(f"lost: {error}"))

    def request(self, method: str, path: str, body: bytes = b"", kind: str = "application/octet-stream"):
        stream, self.stream = self.stream, self.stream + 2
        pseudo = [(":method", method), (":scheme", "https"), (":authority", "localhost:8007"), (":path", path)]
        block = self.encoder.encode([*pseudo, ("content-type", kind)])
        self.transport.write(_frame(len(block), 1, 4 if body else 5, stream) + block)
        self.waiting[stream] = asyncio.get_running_loop().create_future()
        if body:
            self.windows[stream], self.left[stream] = self.initial, memoryview(body)
        return self.waiting[stream]

    def pump(self) -> None:
        progress = True
        while progress and not self.paused:
            progress = False
            for stream, body in list(self.left.items()):
                size = min(len(body), QUANTUM, self.window, self.windows[stream])
                if size <= 0 or self.paused:
                    continue
                progress = True
                self.window -= size
                self.windows[stream] -= size
                self.transport.write(_frame(size, 0, int(size == len(body)), stream) + bytes(body[:size]))
                self.left[stream] = body[size:]
                if size == len(body):
                    del self.left[stream]

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while len(self.buffer) >= 9:
            size = int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < 9 + size:
                break
            kind, flags, stream = self.buffer[3], self.buffer[4], int.from_bytes(self.buffer[5:9], "big")
            payload = bytes(self.buffer[9 : 9 + size])
            del self.buffer[: 9 + size]
            self.on_frame(kind, flags, stream, payload)
        self.pump()

    def on_frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == 4 and not flags & 1:
            for key, value in struct.iter_unpack(">HI", payload):
                if key == 4:
                    self.windows = {s: w + value - self.initial for s, w in self.windows.items()}
                    self.initial = value
            self.transport.write(_frame(0, 4, 1, 0))
        elif kind == 8:
            increment = int.from_bytes(payload, "big")
            if stream == 0:
                self.window += increment
            elif stream in self.windows:
                self.windows[stream] += increment
        elif kind == 1:
            self.statuses[str(dict(self.decoder.decode(payload))[":status"])] += 1
        elif kind == 3:
            self.statuses["reset"] += 1
            self.end(stream)
        elif kind == 0:
            self.bodies[stream] += payload
        if kind in (0, 1) and flags & 1:
            self.end(stream)

    def end(self, stream: int) -> None:
        self.left.pop(stream, None)
        future = self.waiting.pop(stream, None)
        if future and not future.done():
            future.set_result(bytes(self.bodies.pop(stream, b"")))


async def _session(number: int, chunk: bytes, digests: list[str], streams: int) -> collections.Counter[str]:
    host, port, store, credential = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    query = f"store={store}&backup-type=host&backup-id=mem{number}&backup-time=1767139200"
    head = f"GET /api2/json/backup?{query} HTTP/1.1\r\nauthorization: PBSAPIToken {credential}\r\n"
    writer.write(f"{head}connection: upgrade\r\nupgrade: proxmox-backup-protocol-v1\r\nhost: x\r\n\r\n".encode())
    answer = await reader.readuntil(b"\r\n\r\n")
    if b" 101 " not in answer:
        raise RuntimeError(answer.decode() + (await reader.read(1000)).decode())
    protocol, transport = Interleaver(), writer.transport
    protocol.connection_made(transport)
    transport.set_protocol(protocol)
    transport.write(PREFACE)
    early = bytes(reader._buffer)
    if early:
        protocol.data_received(early)
    form = "application/x-www-form-urlencoded"
    created = await protocol.request("POST", "/dynamic_index?archive-name=a.pxar.didx", kind=form)
    if json.loads(created) != {"data": 1}:
        raise RuntimeError(created.decode())
    size = len(chunk)
    uploads = [
        protocol.request("POST", f"/dynamic_chunk?digest={digest}&encoded-size={size}&size={size - 44}&wid=1", chunk)
        for digest in digests[:streams]
    ]
    protocol.pump()
    await asyncio.gather(*uploads)
    transport.abort()
    return protocol.statuses


async def main() -> None:
    """See the module."""
    sessions, streams, size = (int(argument) for argument in sys.argv[5:8])
    chunk = bytes.fromhex("7b6785be222d4cf0") + os.urandom(36 + size)
    digests = [os.urandom(32).hex() for _ in range(streams)]
    started = time.monotonic()
    results = await asyncio.gather(*(_session(number, chunk, digests, streams) for number in range(sessions)))
    total = sum(results, collections.Counter())
    print(json.dumps({"statuses": dict(total), "seconds": time.monotonic() - started}), flush=True)


asyncio.run(main())
