"""Receiving under one memory budget for the process (data-plane.md, HTTP/2 engines).

What a client may send is memory that this process must have. So credit is given out of one :class:`CreditPool`: each
connection holds a *reservation*, the sum of the credit its client has not used yet and of the received bytes that are
not free again. Two modes of a connection:

* **open**: streams start with a window of 32 MiB, the connection window alone bounds what comes. It is enough for
  clients that send one body after the other.
* **restricted**: when the window is used up by unfinished bodies (a client that interleaves its streams) and nothing
  more can be reserved, the initial stream window becomes 0, and streams get windows one by one, the oldest first. The
  oldest unfinished body of a connection may draw on the pool's reserve, so it always ends, and so do all.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

from pbs_cloud.gateway.http2.frames import DEFAULT_WINDOW, MAX_WINDOW, Setting, settings_frame, window_update

STREAM_WINDOW: Final = 32 * 1024 * 1024
MAX_SHARE: Final = 32 * 1024 * 1024
MIN_SHARE: Final = 1024 * 1024
MIN_GRANT: Final = 256 * 1024
STEP: Final = 2 * 1024 * 1024
"""Credit is renewed in steps of this size, so that window updates are few; below it, as soon as some is missing."""
UNKNOWN_BODY: Final = 1024 * 1024
"""Credit at a time for a body of unknown length."""
EXCESS: Final = 16 * 1024
"""Credit beyond the announced length in restricted mode, so that a body that is too long gets its answer."""


class CreditPool:
    """The process's budget of receive memory in bytes; ``reserve`` is only for oldest bodies."""

    def __init__(self, budget: int, reserve: int) -> None:
        self.budget = budget
        self.reserve = reserve
        self.used = 0
        self.active: set[Inflow] = set()
        self._waiting: deque[Inflow] = deque()
        self._waking = False

    @property
    def share(self) -> int:
        """What one connection may reserve."""
        return max(MIN_SHARE, min(MAX_SHARE, self.budget // max(1, len(self.active))))

    def take(self, wanted: int, least: int) -> int:
        """Reserve up to ``wanted`` bytes; 0 if not even ``least`` are there."""
        got = min(wanted, self.budget - self.used)
        if got < least or got <= 0:
            return 0
        self.used += got
        return got

    def force(self, count: int) -> bool:
        """Reserve for an oldest body, out of the reserve too."""
        if self.used + count > self.budget + self.reserve:
            return False
        self.used += count
        return True

    def give(self, count: int) -> None:
        """Return reserved bytes; connections that wait get their turn."""
        self.used -= count
        if self._waking:
            return
        self._waking = True
        try:
            for _ in range(len(self._waiting)):
                if self.used >= self.budget + self.reserve:
                    break
                inflow = self._waiting.popleft()
                inflow.waiting = False
                inflow.pump()
        finally:
            self._waking = False

    def wait(self, inflow: Inflow) -> None:
        """Let ``inflow`` pump again when something is given back."""
        if not inflow.waiting:
            inflow.waiting = True
            self._waiting.append(inflow)

    def expel_stalled(self, now: float, seconds: float) -> int:
        """End connections that keep others waiting: they hold parts of bodies and send nothing; answers how many."""
        if not self._waiting:
            return 0
        stalled = [found for found in self.active if found.unfinished and now - found.last_received >= seconds]
        for inflow in stalled:
            inflow.expel()
        return len(stalled)

    def forget(self, inflow: Inflow) -> None:
        """A connection ended."""
        self.active.discard(inflow)
        if inflow.waiting:
            inflow.waiting = False
            self._waiting.remove(inflow)


class Incoming:
    """A request body on its way: what is still expected, and what its stream may send."""

    __slots__ = ("allowed", "announced", "granted", "received", "remaining", "stream_id", "topped_up")

    def __init__(self, stream_id: int, announced: int | None) -> None:
        self.stream_id = stream_id
        self.announced = announced
        self.remaining = announced if announced is not None else UNKNOWN_BODY
        self.received = 0
        self.granted = False
        self.allowed = 0
        self.topped_up = 0


class Inflow:
    """Receive windows of one connection. ``send`` queues a control frame, ``expel`` ends the connection."""

    def __init__(
        self,
        pool: CreditPool,
        send: Callable[[bytes], None],
        slack: int = 0,
        expel: Callable[[], None] = lambda: None,
    ) -> None:
        self._pool = pool
        self._send = send
        self._slack = slack
        self.expel = expel
        self.last_received = 0.0
        self.window = DEFAULT_WINDOW
        self.held = 0
        self.restricted = False
        self.waiting = False
        self.closed = False
        self._promised = 0
        self._unacked_settings = 1
        self._bodies: dict[int, Incoming] = {}
        self._expected = 0
        self._unfinished = 0
        pool.used += DEFAULT_WINDOW

    @property
    def unfinished(self) -> int:
        """Received bytes of bodies that are not complete."""
        return self._unfinished

    def acknowledged(self) -> None:
        """The client has applied a SETTINGS frame of ours."""
        self._unacked_settings = max(0, self._unacked_settings - 1)
        self.pump()

    def start(self, stream_id: int, announced: int | None) -> Incoming:
        """A request with a body began; ``announced`` is its length if known."""
        body = Incoming(stream_id, announced)
        self._bodies[stream_id] = body
        self._expected += body.remaining
        self._pool.active.add(self)
        self.pump()
        return body

    def received(self, body: Incoming, count: int, payload: int) -> None:
        """``count`` flow-controlled bytes of a DATA frame (``payload`` of the body, the rest padding) are held now."""
        self.window -= count
        self.held += count
        self.last_received = time.monotonic()
        self._unfinished += payload
        body.received += payload
        used = min(body.remaining, payload)
        body.remaining -= used
        self._expected -= used
        used = min(body.allowed, count)
        body.allowed -= used
        self._promised -= used

    def received_unknown(self, count: int) -> None:
        """DATA of a stream that is not open any more: used and free again."""
        self.window -= count
        self.held += count
        self.release(count)

    def progress(self, body: Incoming) -> None:
        """After a piece of a body: ask for more where more is expected."""
        if body.remaining == 0 and body.stream_id in self._bodies:
            more = UNKNOWN_BODY if body.announced is None else EXCESS
            body.remaining += more
            self._expected += more
            body.granted = False
        self._top_up(body)
        if self.window < self._expected:
            self.pump()

    def end(self, body: Incoming) -> None:
        """The body is complete or its stream is gone; its bytes stay held until they are released."""
        if self._bodies.pop(body.stream_id, None) is None:
            return
        self._expected -= body.remaining
        self._unfinished -= body.received
        self._promised -= body.allowed
        body.remaining = body.allowed = 0
        if not self._bodies:
            self._pool.active.discard(self)
        self.pump()

    def discarded(self, body: Incoming, count: int) -> None:
        """Bytes of an unfinished body were thrown away at once; they are released separately."""
        self._unfinished -= count
        body.received -= count
        body.topped_up -= count

    def release(self, count: int) -> None:
        """Held bytes are free again."""
        if count <= 0 or self.closed:
            return
        self.held -= count
        self._pool.give(count)
        self.pump()

    def close(self) -> None:
        """The connection ended: everything returns to the pool."""
        if not self.closed:
            self.closed = True
            self._pool.forget(self)
            self._pool.give(self.window + self.held)

    def _top_up(self, body: Incoming) -> None:
        """Long bodies that are thrown away use their stream's window up; renew it (open mode only)."""
        if self.restricted:
            return
        sent = body.received - body.topped_up
        if sent >= STREAM_WINDOW // 2:
            body.topped_up += sent
            self._send(window_update(body.stream_id, sent))

    def pump(self) -> None:
        """Give the client the credit that it needs and the pool has."""
        if self.closed:
            return
        if self.restricted:
            self._schedule()
            return
        share = self._pool.share
        wanted = min(self._expected + self._slack, share - self.held) - self.window
        if wanted >= STEP or (wanted > 0 and self.window < min(self._expected + self._slack, STEP)):
            self._grant(self._pool.take(wanted, min(wanted, MIN_GRANT)))
        if not self._bodies:
            return
        oldest = next(iter(self._bodies.values()))
        if self.window >= min(oldest.remaining, MIN_GRANT):
            return
        if self.held > self._unfinished:
            self._pool.wait(self)  # complete bodies are being stored: their bytes come back
            return
        self._restrict()

    def _grant(self, count: int) -> None:
        count = min(count, MAX_WINDOW - self.window)
        if count > 0:
            self.window += count
            self._send(window_update(0, count))

    def _restrict(self) -> None:
        """From now on only streams that were chosen may send."""
        self.restricted = True
        self._unacked_settings += 1
        self._send(settings_frame([(Setting.INITIAL_WINDOW_SIZE, 0)]))
        self._schedule()

    def _schedule(self) -> None:
        """Let bodies come, the oldest first, as far as the pool reaches; the oldest in any case."""
        chosen = any(body.granted for body in self._bodies.values())
        for body in self._bodies.values():
            if body.granted:
                continue
            allowed = body.remaining + EXCESS
            cost = max(0, allowed - self._spare)
            if chosen and self.window + self.held + cost > self._pool.share:
                return
            if cost and not self._pool.take(cost, cost) and (chosen or not self._pool.force(cost)):
                self._pool.wait(self)
                return
            self._choose(body, allowed, cost)
            chosen = True

    @property
    def _spare(self) -> int:
        """Credit that no chosen stream needs; unknown until the client has applied the restriction."""
        return 0 if self._unacked_settings else max(0, self.window - self._promised)

    def _choose(self, body: Incoming, allowed: int, cost: int) -> None:
        """The stream's window becomes ``allowed``: it was minus what came so far, since the initial window is 0."""
        body.granted = True
        update = body.received - body.topped_up + allowed
        body.topped_up += update
        self._promised += allowed - body.allowed
        body.allowed = allowed
        if update > 0:
            self._send(window_update(body.stream_id, update))
        self._grant(cost)
