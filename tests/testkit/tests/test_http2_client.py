"""The driver's HTTP/2 machine against a server made of the library `h2`, byte by byte in memory."""

import random

import h2.config
import h2.connection
import h2.events
import pytest
from h2.settings import SettingCodes, Settings
from testkit.client.http2 import Answer, Http2Client, ProtocolFault, StreamReset, frame

HEADERS = ((":method", "POST"), (":scheme", "https"), (":authority", "localhost:8007"), (":path", "/x"))


class Peer:
    """A server that collects request bodies and answers each with its length."""

    def __init__(self, window: int, frame_size: int) -> None:
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        values = {SettingCodes.INITIAL_WINDOW_SIZE: window, SettingCodes.MAX_FRAME_SIZE: frame_size}
        self.h2.local_settings = Settings(client=False, initial_values=values)
        self.h2.max_inbound_frame_size = frame_size
        self.h2.initiate_connection()
        self.bodies: dict[int, bytearray] = {}

    def exchange(self, data: bytes) -> bytes:
        """Feed bytes, get the bytes to answer with."""
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                self.bodies[event.stream_id] = bytearray()
            elif isinstance(event, h2.events.DataReceived):
                self.bodies[event.stream_id] += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                self.h2.send_headers(event.stream_id, [(":status", "200"), ("x-kind", "length")])
                body = str(len(self.bodies[event.stream_id])).encode()
                self.h2.send_data(event.stream_id, body, end_stream=True)
        return self.h2.data_to_send()


def _talk(client: Http2Client, peer: Peer, piece: int = 1 << 20) -> list[tuple[int, Answer | StreamReset]]:
    """Carry bytes to and fro, the server's in pieces, until nobody has anything to say."""
    while output := client.take_output():
        answer = peer.exchange(output)
        for start in range(0, len(answer), piece):
            client.receive(answer[start : start + piece])
    return client.done


@pytest.mark.parametrize(("window", "frame_size"), [(65_535, 16_384), (1 << 20, 1 << 20), (100_000, 20_000)])
def test_bodies_arrive_whole_within_any_window(window: int, frame_size: int) -> None:
    """More data than the windows hold, on several streams; the server's bytes come one at a time."""
    client, peer = Http2Client(), Peer(window, frame_size)
    source = random.Random(1)
    bodies = [source.randbytes(size) for size in (0, 1, 70_000, 1_500_000, 16_384, 300_000)]
    streams = [client.request(HEADERS, body) for body in bodies]
    answers = dict(_talk(client, peer, piece=1))
    for stream, body in zip(streams, bodies, strict=True):
        assert bytes(peer.bodies[stream]) == body
        assert answers[stream] == Answer(200, {"x-kind": "length"}, str(len(body)).encode())
    assert (client.open_streams, client.unsent_bytes) == (0, 0)


def test_large_answers_and_continuations() -> None:
    """Answers of several frames, padding, header blocks in pieces."""
    client, peer = Http2Client(), Peer(1 << 20, 1 << 20)
    stream = client.request(HEADERS)
    peer.h2.receive_data(client.take_output())
    peer.h2.send_headers(stream, [(":status", "404"), ("x-long", "v" * 30_000)])
    peer.h2.send_data(stream, b"a" * 10_000, pad_length=100)
    peer.h2.send_data(stream, b"b" * 10_000, end_stream=True)
    client.receive(peer.h2.data_to_send())
    assert client.done == [(stream, Answer(404, {"x-long": "v" * 30_000}, b"a" * 10_000 + b"b" * 10_000))]


def test_resets_and_pings() -> None:
    """A reset by either side ends one request; a PING is answered."""
    client, peer = Http2Client(), Peer(65_535, 16_384)
    first, second = client.request(HEADERS, b"x" * 100_000), client.request(HEADERS)
    client.reset(first)
    peer.h2.receive_data(client.take_output())
    peer.h2.reset_stream(second, 7)
    peer.h2.ping(b"12345678")
    client.receive(peer.h2.data_to_send())
    assert client.done == [(second, StreamReset(7))]
    assert any(isinstance(event, h2.events.PingAckReceived) for event in peer.h2.receive_data(client.take_output()))


def test_faults_of_the_server_are_noticed() -> None:
    """A header block that is interrupted, and a push."""
    for broken in (frame(1, 0, 1, b"\x88") + frame(6, 0, 0, bytes(8)), frame(5, 4, 1, bytes(8)), frame(9, 4, 1, b"")):
        client = Http2Client()
        client.request(HEADERS)
        with pytest.raises(ProtocolFault):
            client.receive(broken)
