"""Time as something that is passed in, so that tests can own it."""

import asyncio
import time
from datetime import UTC, datetime


class Clock:
    """The machine's clock. Leases and grace periods use the database clock instead (formats 9.9)."""

    def time(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def now(self) -> datetime:
        """The current time, with zone UTC."""
        return datetime.fromtimestamp(self.time(), UTC)

    def monotonic(self) -> float:
        """Seconds that never go backwards, for deadlines and durations."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Suspend the calling task."""
        await asyncio.sleep(seconds)


class ManualClock(Clock):
    """A clock that moves only by `advance`; sleepers wake when their time has come."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._start = start
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def time(self) -> float:
        return self._start + self._elapsed

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._elapsed + seconds, wake))
        await wake

    async def advance(self, seconds: float) -> None:
        """Move the time and let every sleeper that is due run."""
        self._elapsed += seconds
        due = [wake for at, wake in self._sleepers if at <= self._elapsed]
        self._sleepers = [entry for entry in self._sleepers if entry[0] > self._elapsed]
        for wake in due:
            if not wake.done():
                wake.set_result(None)
        await asyncio.sleep(0)


SYSTEM_CLOCK = Clock()
