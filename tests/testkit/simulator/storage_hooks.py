"""How long the simulated Postgres takes, and when it loses a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import asyncpg
from testkit.simulator.loop import CURRENT, WORLD, Process, SimLoop
from testkit.simulator.patching import EPOCH


@dataclass(eq=False)
class Trap:
    """Springs when a process has come to a point of a transaction with a certain statement for the `count`-th time."""

    name: str
    kind: str
    title: str
    count: int
    spring: Callable[[Process], None]
    seen: bool = False


_SUSPENDED = {"statement": 0.3, "commit": 0.4, "committed": 0.1}
"""How often others come in between; a world is cheaper when it is not always."""


class DatabaseHooks:
    """`trouble`: probability that a connection breaks at a statement, before or after a commit."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop
        self.trouble = 0.0
        self.debug = False
        self.traps: list[Trap] = []
        self._read = (-1.0, datetime.fromtimestamp(EPOCH, UTC))

    def now(self) -> datetime:
        """The database's clock."""
        moment = self._loop.now
        if moment != self._read[0]:
            self._read = (moment, datetime.fromtimestamp(EPOCH + moment, UTC))
        return self._read[1]

    def point(self, kind: str, detail: str = "") -> Awaitable[None] | None:
        """Before each statement and commit, and after a commit: what to wait for, if anything."""
        process = CURRENT.get()
        if process is WORLD:
            return None
        if self.traps:
            return self._dangerous_point(process, kind, detail)
        rng = self._loop.rng
        if rng.random() < _SUSPENDED[kind]:
            pause = rng.random() * rng.random() * 0.02
            return self._break_off_later(pause) if self.trouble else self._loop.nap(pause)
        self._break_off_sometimes()
        return None

    async def _dangerous_point(self, process: Process, kind: str, detail: str) -> None:
        await self._step_into_traps(process, kind, detail)
        rng = self._loop.rng
        if rng.random() < _SUSPENDED[kind]:
            await self._loop.nap(rng.random() * rng.random() * 0.02)
        self._break_off_sometimes()

    async def _break_off_later(self, pause: float) -> None:
        await self._loop.nap(pause)
        self._break_off_sometimes()

    def _break_off_sometimes(self) -> None:
        if self.trouble and self._loop.rng.random() < self.trouble:
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

    async def _step_into_traps(self, process: Process, kind: str, detail: str) -> None:
        for trap in self.traps:
            if trap.name != process.name:
                continue
            if kind == "statement":
                trap.seen |= detail == trap.title
            if trap.seen and kind == trap.kind:
                trap.seen = False
                trap.count -= 1
                if trap.count == 0:
                    self.traps.remove(trap)
                    trap.spring(process)
                    await asyncio.sleep(0)
                    return
