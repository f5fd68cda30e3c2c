"""How long the simulated Postgres takes, and when it loses a connection."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import asyncpg
from testkit.simulator.loop import CURRENT, WORLD, SimLoop
from testkit.simulator.patching import EPOCH


class DatabaseHooks:
    """`trouble`: probability that a connection breaks at a statement, before or after a commit."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop
        self.trouble = 0.0
        self.debug = False

    def now(self) -> datetime:
        """The database's clock."""
        return datetime.fromtimestamp(EPOCH + self._loop.now, UTC)

    async def point(self, kind: str, detail: str = "") -> None:
        """Before each statement and commit, and after a commit."""
        if CURRENT.get() is WORLD:
            return
        rng = self._loop.rng
        if rng.random() < 0.7:
            await asyncio.sleep(rng.random() * rng.random() * 0.02)
        if self.trouble and rng.random() < self.trouble:
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
