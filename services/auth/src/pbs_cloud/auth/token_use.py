"""When tokens were used last: collected in memory, written every few seconds, at most once a minute for each token."""

from __future__ import annotations

import uuid

from pbs_cloud.auth.db import principals
from pbs_cloud.contracts.errors import Unavailable
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.lifecycle import BackgroundTask

_FLUSH_SECONDS = 5.0
_RECORD_SECONDS = 60


class TokenUse(BackgroundTask):
    """Times that a crash may lose; they only inform."""

    def __init__(self, database: Database, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__("token use", self._flush_for_ever)
        self._database = database
        self._clock = clock
        self._used: dict[uuid.UUID, int] = {}

    def seen(self, token: uuid.UUID, last_recorded: int | None) -> None:
        """The token was used just now; ``last_recorded`` is what its row says."""
        now = int(self._clock.time())
        if now - (last_recorded or 0) >= _RECORD_SECONDS:
            self._used[token] = now

    async def flush(self) -> None:
        """Write what was collected."""
        used, self._used = self._used, {}
        if not used:
            return
        async with self._database.system() as connection:
            await principals.record_use(connection, used)

    async def stop(self) -> None:
        await super().stop()
        await self._flush_quietly()

    async def _flush_for_ever(self) -> None:
        while True:
            await self._clock.sleep(_FLUSH_SECONDS)
            await self._flush_quietly()

    async def _flush_quietly(self) -> None:
        try:
            await self.flush()
        except Unavailable:
            self._used.clear()
