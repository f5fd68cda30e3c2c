"""The arena's memory, given to chunkstore on the same host and given again when chunkstore was restarted."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from pbs_cloud.contracts.errors import Unavailable
from pbs_cloud.gateway.arena import Arena
from pbs_cloud.runtime.cancelling import cancel_and_wait
from pbs_cloud.runtime.lifecycle import Component
from pbs_cloud.runtime.logging import get_logger
from pbs_cloud.runtime.shared_region import SharedRegion

log = get_logger(__name__)

CHECK_SECONDS: Final = 0.5
SETTLE_SECONDS: Final = 5.0
"""After a new hand-over the former receiver is gone; slots that waited for it are free then."""


class RegionKeeper(Component):
    """Keeps ``arena.region`` set while chunkstore has the region; without it chunks cross as raw messages."""

    name = "shared memory"

    def __init__(self, arena: Arena, region: SharedRegion, path: Path) -> None:
        self._arena = arena
        self._region = region
        self._path = path
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._check()
        self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        if self._task is not None:
            await cancel_and_wait([self._task])
        self._arena.region = None
        self._region.close()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await self._check()

    async def _check(self) -> None:
        if self._region.is_handed_over():
            self._arena.region = self._region.id
            return
        self._arena.region = None
        try:
            await self._region.hand_over(self._path)
        except (Unavailable, OSError, TimeoutError):
            return  # chunkstore is away; the next check tries again
        self._arena.region = self._region.id
        asyncio.get_running_loop().call_later(SETTLE_SECONDS, self._arena.free_resting)
        log.info("shared memory handed over", bytes=self._region.size)
