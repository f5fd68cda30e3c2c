"""Frames in, frames out: the start, requests, windows, and every breach that RFC 9113 names."""

import random
import struct

import pytest

from pbs_cloud.gateway.http2 import frames as f
from pbs_cloud.gateway.http2.connection import MAX_STREAMS
from pbs_cloud.gateway.http2.frames import ErrorCode, FrameType

CLIENT_START = f.PREFACE + bytes.fromhex("00000c04000000000000047ffffffe0005004000000000040800000000007ffeffff")


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return f.frame_header(len(payload), kind, flags, stream) + payload


def data(stream: int, payload: bytes, end: bool = True, flags: int = 0) -> bytes:
    return frame(FrameType.DATA, flags | (1 if end else 0), stream, payload)


def test_first_bytes_of_both_sides(peer_factory):
    """B.1: SETTINGS before the client said anything; acknowledgement after its start."""
    peer = peer_factory()
    first = peer.read()
    assert first[0][0] == FrameType.SETTINGS
    settings = dict(struct.iter_unpack(">HI", first[0][3]))
    assert settings == {3: 200, 4: 32 << 20, 5: 4 << 20, 6: 16384}
    assert (FrameType.SETTINGS, 1, 0, b"") in peer.feed(CLIENT_START)


def test_start_in_single_bytes(peer_factory):
    peer = peer_factory()
    block = peer.headers(1)
    for byte in CLIENT_START + block:
        peer.server.receive(bytes((byte,)))
    peer.read()
    assert peer.answers() == {1: b"ok"}


@pytest.mark.parametrize("cut", [1, 10, 1000, 16384])
def test_body_in_pieces_of_any_size(peer, cut):
    """The body is whole, however frames and reads are cut."""
    body = random.Random(1).randbytes(200_000)
    stream = peer.headers(1, ("x-size", str(len(body))), end=False)
    stream += b"".join(data(1, body[at : at + 70_000], at + 70_000 >= len(body)) for at in range(0, len(body), 70_000))
    for at in range(0, len(stream), cut):
        peer.server.receive(stream[at : at + cut])
    peer.read()
    assert peer.handler.bodies == {1: body}
    assert peer.answers() == {1: b"ok"}
    assert peer.server.held == 0


def test_empty_frames_and_end_in_a_frame_of_its_own(peer):
    peer.feed(peer.headers(1, ("x-size", "3"), end=False), data(1, b"", False), data(1, b"abc", False), data(1, b""))
    peer.feed(peer.headers(3))
    assert peer.handler.bodies == {1: b"abc"}
    assert peer.answers() == {1: b"ok", 3: b"ok"}


def test_padding_is_not_part_of_the_body(peer):
    padded = bytes((5,)) + b"hello" + bytes(5)
    only_padding = bytes((3,)) + bytes(3)
    peer.feed(
        peer.headers(1, ("x-size", "5"), end=False),
        data(1, padded, False, f.PADDED),
        data(1, only_padding, False, f.PADDED),
        data(1, b"\0", True, f.PADDED),
    )
    assert peer.handler.bodies == {1: b"hello"}
    assert peer.server.held == 0


def test_body_longer_than_announced_is_dropped_and_answered(peer):
    peer.feed(peer.headers(1, ("x-size", "10"), end=False), data(1, bytes(8), False), data(1, bytes(8), False))
    stream = peer.handler.requests[0]
    assert stream.sink.too_long and peer.server.held == 0
    for _ in range(20):
        peer.feed(data(1, bytes(16_384), False))
    peer.feed(data(1, bytes(5)))
    assert peer.answers() == {1: b"ok"} and peer.server.held == 0


def test_interleaved_bodies(peer):
    bodies = {stream: random.Random(stream).randbytes(50_000) for stream in range(1, 41, 2)}
    peer.feed(*(peer.headers(s, ("x-size", "50000"), end=False) for s in bodies))
    for at in range(0, 50_000, 5_000):
        peer.feed(*(data(s, body[at : at + 5_000], at == 45_000) for s, body in bodies.items()))
    assert peer.handler.bodies == bodies


def test_surplus_streams_are_refused_one_by_one(peer_factory):
    peer = peer_factory(auto=False).start()
    peer.feed(*(peer.headers(1 + 2 * number) for number in range(MAX_STREAMS + 60)))
    assert set(peer.resets().values()) == {ErrorCode.REFUSED_STREAM}
    assert len(peer.resets()) == 60
    for stream in list(peer.handler.complete):
        peer.handler.answer(stream)
    peer.read()
    assert len(peer.answers()) == MAX_STREAMS and peer.code() is None


def test_large_header_list_is_told_to_the_handler(peer):
    peer.feed(peer.headers(1, ("x-large", "v" * 20_000)), peer.headers(3))
    assert [stream.head.too_large for stream in peer.handler.requests] == [True, False]


def test_answers_respect_both_windows(peer_factory):
    peer = peer_factory(auto=False)
    peer.feed(f.PREFACE + f.settings_frame([(4, 10)]), peer.headers(1), peer.headers(3))
    for stream in peer.handler.complete:
        peer.server.answer(stream, 200, [], b"x" * 70_000)
    peer.read()
    assert {s: len(b) for s, b in peer.answers().items()} == {1: 10, 3: 10}
    peer.feed(f.window_update(1, 100_000), f.window_update(3, 100_000))
    assert sum(map(len, peer.answers().values())) == 65_535
    peer.feed(f.window_update(0, 100_000))
    assert {s: len(b) for s, b in peer.answers().items()} == {1: 70_000, 3: 70_000}
    assert peer.server.streams == 0


def test_window_made_smaller_becomes_negative(peer_factory):
    peer = peer_factory(auto=False)
    peer.feed(f.PREFACE + f.settings_frame([(4, 100)]), peer.headers(1))
    peer.server.answer(peer.handler.complete[0], 200, [], b"x" * 150)
    peer.feed(f.settings_frame([(4, 0)]), f.window_update(1, 100))
    assert len(peer.answers()[1]) == 100
    peer.feed(f.window_update(1, 50))
    assert len(peer.answers()[1]) == 150


def test_reset_by_the_client_ends_one_request(peer):
    peer.feed(
        peer.headers(1, ("x-size", "100000"), end=False),
        data(1, bytes(50_000), False),
        frame(FrameType.RST_STREAM, 0, 1, struct.pack(">I", 8)),
        data(1, bytes(50_000)),
        peer.headers(3),
    )
    assert [stream.id for stream in peer.handler.resets] == [1]
    assert peer.answers() == {3: b"ok"} and peer.server.held == 0 and peer.code() is None


def test_ping_settings_unknown_frames_and_priority(peer):
    out = peer.feed(
        frame(FrameType.PING, 0, 0, b"12345678"),
        frame(FrameType.PING, 1, 0, b"12345678"),
        frame(0x2A, 0xFF, 7, bytes(100_000)),
        frame(FrameType.PRIORITY, 0, 9, bytes(4) + b"\x10"),
        peer.headers(1),
    )
    assert [(k, fl, p) for k, fl, _, p in out if k == FrameType.PING] == [(FrameType.PING, 1, b"12345678")]
    assert peer.answers() == {1: b"ok"}


def test_trailers_end_a_body(peer):
    trailers = frame(FrameType.HEADERS, f.END_HEADERS | f.END_STREAM, 1, peer.encoder.encode([("x-sum", "1")]))
    peer.feed(peer.headers(1, ("x-size", "3"), end=False), data(1, b"abc", False), trailers)
    assert peer.handler.bodies == {1: b"abc"}


def test_goaway_of_the_client(peer):
    peer.feed(frame(FrameType.GOAWAY, 0, 0, bytes(8)))
    assert peer.server.client_left and peer.code() is None


def _block(peer, *fields):
    pseudo = [(":method", "GET"), (":scheme", "https"), (":authority", "x"), (":path", "/")]
    return peer.encoder.encode([*pseudo, *fields])


BREACHES = {
    "no preface": (lambda p: b"GET / HTTP/1.1\r\n\r\n", ErrorCode.PROTOCOL_ERROR),
    "DATA on stream 0": (lambda p: data(0, b"x"), ErrorCode.PROTOCOL_ERROR),
    "DATA on an idle stream": (lambda p: data(101, b"x"), ErrorCode.PROTOCOL_ERROR),
    "frame too large": (lambda p: f.frame_header((4 << 20) + 1, 0, 0, 1), ErrorCode.FRAME_SIZE_ERROR),
    "control frame too large": (lambda p: f.frame_header(1 << 20, 1, 4, 1), ErrorCode.ENHANCE_YOUR_CALM),
    "even stream": (lambda p: frame(1, 5, 2, _block(p)), ErrorCode.PROTOCOL_ERROR),
    "bad compression": (lambda p: frame(1, 5, 1, b"\xff\x80\x80\x01"), ErrorCode.COMPRESSION_ERROR),
    "bad Huffman": (lambda p: frame(1, 5, 1, b"\x04\x84\xff\xff\xff\xff"), ErrorCode.COMPRESSION_ERROR),
    "interrupted block": (lambda p: frame(1, 1, 1, _block(p)) + frame(6, 0, 0, bytes(8)), ErrorCode.PROTOCOL_ERROR),
    "DATA inside a block": (lambda p: frame(1, 0, 1, _block(p)) + data(1, b"x"), ErrorCode.PROTOCOL_ERROR),
    "stray CONTINUATION": (lambda p: frame(9, 4, 1, b""), ErrorCode.PROTOCOL_ERROR),
    "CONTINUATION of another stream": (
        lambda p: frame(1, 1, 1, _block(p)) + frame(9, 4, 3, b""),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "odd SETTINGS": (lambda p: frame(4, 0, 0, bytes(5)), ErrorCode.FRAME_SIZE_ERROR),
    "SETTINGS on a stream": (lambda p: frame(4, 0, 1, b""), ErrorCode.PROTOCOL_ERROR),
    "SETTINGS ACK with content": (lambda p: frame(4, 1, 0, bytes(6)), ErrorCode.FRAME_SIZE_ERROR),
    "window too large": (lambda p: f.settings_frame([(4, 1 << 31)]), ErrorCode.FLOW_CONTROL_ERROR),
    "bad frame size": (lambda p: f.settings_frame([(5, 100)]), ErrorCode.PROTOCOL_ERROR),
    "bad push": (lambda p: f.settings_frame([(2, 2)]), ErrorCode.PROTOCOL_ERROR),
    "PING of 7 bytes": (lambda p: frame(6, 0, 0, bytes(7)), ErrorCode.FRAME_SIZE_ERROR),
    "PING on a stream": (lambda p: frame(6, 0, 1, bytes(8)), ErrorCode.PROTOCOL_ERROR),
    "WINDOW_UPDATE of 3 bytes": (lambda p: frame(8, 0, 0, bytes(3)), ErrorCode.FRAME_SIZE_ERROR),
    "WINDOW_UPDATE of 0": (lambda p: f.window_update(0, 0), ErrorCode.PROTOCOL_ERROR),
    "WINDOW_UPDATE of an idle stream": (lambda p: f.window_update(99, 1), ErrorCode.PROTOCOL_ERROR),
    "window overflow": (lambda p: f.window_update(0, 2**31 - 1) * 2, ErrorCode.FLOW_CONTROL_ERROR),
    "RST of an idle stream": (lambda p: frame(3, 0, 99, bytes(4)), ErrorCode.PROTOCOL_ERROR),
    "RST of 3 bytes": (lambda p: frame(3, 0, 1, bytes(3)), ErrorCode.FRAME_SIZE_ERROR),
    "padding longer than HEADERS": (lambda p: frame(1, 13, 1, b"\xff" + _block(p)), ErrorCode.PROTOCOL_ERROR),
    "padding longer than DATA": (
        lambda p: p.headers(1, end=False) + data(1, b"\xffabc", flags=f.PADDED),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "short GOAWAY": (lambda p: frame(7, 0, 0, bytes(3)), ErrorCode.PROTOCOL_ERROR),
    "PUSH_PROMISE": (lambda p: frame(5, 4, 1, bytes(4)), ErrorCode.PROTOCOL_ERROR),
    "HEADERS on a closed stream": (lambda p: p.headers(3) + p.headers(1), ErrorCode.STREAM_CLOSED),
    "more than the window": (
        lambda p: p.headers(1, end=False) + data(1, bytes(4 << 20), False),
        ErrorCode.FLOW_CONTROL_ERROR,
    ),
}


@pytest.mark.parametrize("what", BREACHES)
def test_breaches_end_the_connection(peer_factory, what):
    """GOAWAY with the right code; further bytes are ignored."""
    make, code = BREACHES[what]
    peer = peer_factory() if what == "no preface" else peer_factory().start()
    peer.feed(make(peer), bytes(1000))
    assert peer.code() == code


def test_credit_of_kept_bytes_is_not_renewed(peer_factory):
    """What a client may send in all is what its bodies need, until a body is free again."""
    peer = peer_factory(auto=False).start()
    size = 300_000
    peer.feed(peer.headers(1, ("x-size", str(size)), end=False))
    peer.feed(*(data(1, bytes(30_000), at == 9) for at in range(10)))
    assert peer.server.held == size
    granted = sum(struct.unpack(">I", p)[0] for k, _, s, p in peer.sent if k == FrameType.WINDOW_UPDATE and s == 0)
    assert 65_535 + granted < size + 65_535 + (1 << 20)
    peer.handler.answer(peer.handler.complete[0])
    assert peer.server.held == 0


@pytest.mark.parametrize(
    "flood",
    [
        lambda p: b"".join(
            p.headers(stream) + frame(FrameType.RST_STREAM, 0, stream, bytes(4)) for stream in range(1, 6001, 2)
        ),
        lambda p: p.headers(1, end=False) + data(1, b"", False) * 3000,
        lambda p: frame(1, 1, 1, b"\x82") + frame(9, 0, 1, b"") * 3000,
        lambda p: frame(1, 1, 1, b"\x82") + frame(9, 0, 1, b"\x00\x01a\x01b" * 3000) * 20,
        lambda p: frame(FrameType.PING, 0, 0, bytes(8)) * 40_000,
    ],
    ids=["rapid reset", "empty DATA", "empty CONTINUATION", "endless block", "PING"],
)
def test_floods_end_the_connection(peer_factory, flood):
    peer = peer_factory(auto=False).start()
    peer.server.receive(flood(peer))
    peer.read()
    assert peer.code() == ErrorCode.ENHANCE_YOUR_CALM


def test_header_bomb(peer):
    """15,000 references to an entry of 3 KB."""
    peer.feed(peer.headers(1, ("x-bomb", "b" * 3000)))
    peer.feed(frame(FrameType.HEADERS, 5, 3, _block(peer) + b"\xbe" * 15_000))
    assert peer.code() == ErrorCode.ENHANCE_YOUR_CALM


def test_malformed_requests_are_reset(peer):
    encode = peer.encoder.encode
    bad = [
        encode([(":method", "GET"), (":path", "/")]),
        encode([(":method", "GET"), (":scheme", "https"), (":path", "x")]),
        _block(peer, ("connection", "close")),
        _block(peer, ("X-Upper", "1")),
        _block(peer, ("x", "a\r\nb")),
        _block(peer, (":path", "/again")),
    ]
    peer.feed(*(frame(FrameType.HEADERS, 5, 1 + 2 * at, block) for at, block in enumerate(bad)), peer.headers(21))
    assert peer.resets() == {1 + 2 * at: ErrorCode.PROTOCOL_ERROR for at in range(len(bad))}
    assert peer.answers() == {21: b"ok"}


def test_random_bytes_never_raise(peer_factory):
    """800 broken streams: each ends with a GOAWAY or waits for more, and gives all its credit back."""
    dice = random.Random(7)
    pool = None
    for _ in range(800):
        peer = peer_factory(pool=pool)
        pool = peer.pool
        good = CLIENT_START + peer.headers(1, ("x-size", "2000"), end=False) + data(1, bytes(2000)) + peer.headers(3)
        broken = bytearray(good)
        for _ in range(dice.randint(1, 6)):
            at = dice.randrange(len(CLIENT_START), len(broken)) if dice.random() < 0.9 else dice.randrange(len(broken))
            broken[at] = dice.randrange(256)
        if dice.random() < 0.3:
            broken[dice.randrange(24, len(broken)) :] = dice.randbytes(dice.randint(0, 300))
        peer.server.receive(broken)
        peer.read()
        peer.server.close()
    assert pool.used == 0
