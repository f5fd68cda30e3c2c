"""Receive memory: bounded for the whole process, and no client that goes on sending waits for ever."""

import random
import struct
import time
from collections import deque

import pytest

from pbs_cloud.gateway.http2 import frames as f
from pbs_cloud.gateway.http2.frames import FrameType
from pbs_cloud.gateway.http2.inflow import CreditPool

MIB = 1 << 20


class Client:
    """A client that keeps the windows and sends its bodies in turns of ``quantum`` bytes (0: one after the other)."""

    def __init__(self, peer, bodies: dict[int, int], quantum: int) -> None:
        self.peer, self.left, self.quantum = peer, dict(bodies), quantum
        self.window, self.initial = 65_535, 32 * MIB
        self.windows = dict.fromkeys(bodies, self.initial)
        self.turn = deque(bodies)
        for sent in peer.start().sent:
            self.apply(*sent)
        for stream, size in bodies.items():
            peer.server.receive(peer.headers(stream, ("x-size", str(size)), end=False))
        self.control()

    def control(self) -> None:
        """Apply what the server says, until it says nothing more."""
        while frames := self.peer.read():
            for kind, flags, stream, payload in frames:
                self.apply(kind, flags, stream, payload)

    def apply(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == FrameType.WINDOW_UPDATE:
            increment = struct.unpack(">I", payload)[0]
            if not stream:
                self.window += increment
            elif stream in self.windows:
                self.windows[stream] += increment
        elif kind == FrameType.SETTINGS and not flags & 1:
            for key, value in struct.iter_unpack(">HI", payload):
                if key == 4:
                    self.windows = {s: w + value - self.initial for s, w in self.windows.items()}
                    self.initial = value
            self.peer.server.receive(f.SETTINGS_ACK)

    def step(self) -> bool:
        """Send one frame; whether there was one that the windows allow."""
        for _ in range(len(self.turn)):
            stream = self.turn[0]
            size = min(self.left[stream], self.window, self.windows[stream], self.quantum or 4 * MIB)
            if size > 0:
                self.send(stream, size)
                return True
            self.turn.rotate(-1)
        return False

    def send(self, stream: int, size: int) -> None:
        self.left[stream] -= size
        self.window -= size
        self.windows[stream] -= size
        last = self.left[stream] == 0
        self.peer.server.receive(f.frame_header(size, FrameType.DATA, int(last), stream) + bytes(size))
        if last:
            self.turn.popleft()
        elif self.quantum:
            self.turn.rotate(-1)
        self.control()


def run(peer_factory, connections: int, streams: int, size: int, quantum: int, pool: CreditPool) -> int:
    """All bodies of all connections; answers the most memory that was reserved. Stores are answered a little later."""
    dice = random.Random(3)
    clients = []
    for _ in range(connections):
        peer = peer_factory(auto=False, pool=pool)
        clients.append(Client(peer, {1 + 2 * n: size for n in range(streams)}, quantum))
    most, idle = 0, 0
    while any(client.turn or client.peer.handler.complete for client in clients):
        moved = False
        for client in clients:
            client.control()
            for _ in range(4):
                moved |= client.step()
            complete = client.peer.handler.complete
            if complete and (dice.random() < 0.5 or not moved):
                client.peer.handler.answer(complete.popleft())
                client.control()
                moved = True
            most = max(most, pool.used)
        idle = 0 if moved else idle + 1
        assert idle < 50, "the clients wait for ever"
    for client in clients:
        assert client.peer.code() is None
        client.peer.server.close()
    assert pool.used == 0
    return most


@pytest.mark.parametrize("quantum", [0, 16_384])
@pytest.mark.parametrize("connections", [1, 4, 16])
def test_many_uploads_in_any_order_end_within_the_budget(peer_factory, connections, quantum):
    """The figures of the product, 16 times smaller."""
    pool = CreditPool(6 * MIB, 4 * MIB)
    most = run(peer_factory, connections, 20, 200_000, quantum, pool)
    assert most <= pool.budget + pool.reserve + connections * f.DEFAULT_WINDOW


def test_single_client_gets_large_windows(peer_factory):
    """Without others a client that sends one body after the other is never restricted."""
    pool = CreditPool(96 * MIB, 64 * MIB)
    peer = peer_factory(auto=False, pool=pool)
    client = Client(peer, {1 + 2 * n: 4 * MIB for n in range(9)}, 0)
    assert client.window >= 30 * MIB
    while client.step() or peer.handler.complete:
        if peer.handler.complete:
            peer.handler.answer(peer.handler.complete.popleft())
            client.control()
    assert not client.turn and client.initial == 32 * MIB
    peer.server.close()
    assert pool.used == 0


def test_idle_connections_keep_little(peer_factory):
    pool = CreditPool(96 * MIB, 64 * MIB)
    peers = [peer_factory(pool=pool, slack=MIB).start() for _ in range(20)]
    assert pool.used <= 20 * (MIB + 65_535)
    for peer in peers:
        peer.server.close()
    assert pool.used == 0


def test_stalled_bodies_are_expelled_only_while_others_wait(peer_factory):
    """A client that goes away in the middle of its bodies keeps its memory until somebody else needs it."""
    pool = CreditPool(MIB, 0)
    lazy = peer_factory(auto=False, pool=pool)
    first = Client(lazy, {1: 700_000}, 0)
    lazy.server.receive(f.frame_header(600_000, FrameType.DATA, 0, 1) + bytes(600_000))
    assert pool.expel_stalled(time.monotonic() + 100, 60) == 0
    eager = peer_factory(auto=False, pool=pool)
    second = Client(eager, {1: 900_000}, 0)
    while second.step():
        pass
    assert second.turn, "no memory is left"
    assert pool.expel_stalled(time.monotonic() + 30, 60) == 0
    assert pool.expel_stalled(time.monotonic() + 100, 60) >= 1
    first.control()
    assert lazy.code() == 11
