"""Everything that differs from run to run is taken from the seed while a world runs: clocks, ids, random bytes."""

from __future__ import annotations

import asyncio
import os
import random
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from testkit.simulator.loop import CURRENT, SimLoop

EPOCH = 1_800_000_000.0
"""The true time at which every world begins."""


@contextmanager
def patched(*changes: tuple[Any, str, Any]) -> Iterator[None]:
    """Replace attributes for as long as the block lasts."""
    before = [(holder, name, holder.__dict__.get(name)) for holder, name, _ in changes]
    try:
        for holder, name, value in changes:
            setattr(holder, name, value)
        yield
    finally:
        for holder, name, value in reversed(before):
            setattr(holder, name, value)


def deterministic(loop: SimLoop, seed: int) -> Any:
    """A context in which the standard library tells the loop's time and draws from the seed."""
    numbers = random.Random(seed ^ 0x5EED)

    def randbytes(count: int) -> bytes:
        return numbers.getrandbits(8 * count).to_bytes(count, "little") if count else b""

    def uuid4() -> uuid.UUID:
        return uuid.UUID(int=numbers.getrandbits(128), version=4)

    def sleep(seconds: float) -> None:
        loop.blocking_seconds += seconds

    return patched(
        (asyncio, "sleep", loop.sleep),
        (time, "sleep", sleep),
        (time, "time", lambda: EPOCH + loop.now + CURRENT.get().skew),
        (time, "monotonic", lambda: 1000.0 + loop.now),
        (time, "clock_gettime", lambda _clock: 5000.0 + loop.now),
        (os, "urandom", randbytes),
        (random, "_urandom", randbytes),
        (uuid, "uuid4", uuid4),
    )


async def wait_until(condition: Callable[[], bool], *, every: float, at_most: float) -> bool:
    """Whether `condition` held within `at_most` seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + at_most
    while not condition():
        if loop.time() >= deadline:
            return False
        await asyncio.sleep(every)
    return True
