"""What nobody asks for but somebody must do: dead leases, removals and deletions that were cut off."""

from __future__ import annotations

from pbs_cloud.chunkstore.catalogue.closing import Closing
from pbs_cloud.chunkstore.catalogue.datastores import Datastores
from pbs_cloud.chunkstore.catalogue.parts import Parts
from pbs_cloud.chunkstore.catalogue.removal import Removal
from pbs_cloud.chunkstore.catalogue.retention import Retention
from pbs_cloud.contracts.errors import PbsError
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.logging import get_logger

EVERY_SECONDS = 15.0
LEFTOVER_SECONDS = 600.0
OLD_TASK_DAYS = 90
_log = get_logger(__name__)


class Upkeep:
    """Runs at the start of the process and then at intervals."""

    def __init__(
        self, parts: Parts, closing: Closing, removal: Removal, datastores: Datastores, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._parts = parts
        self._closing = closing
        self._removal = removal
        self._datastores = datastores
        self._retention = Retention(parts)
        self._clock = clock

    async def run(self) -> None:
        """For ever; what cannot be done now is tried again the next time."""
        while True:
            try:
                await self.once()
            except PbsError as error:
                _log.warning("upkeep waits", reason=error.message)
            await self._clock.sleep(EVERY_SECONDS)

    async def once(self) -> None:
        """One round."""
        await self._closing.expire_dead()
        await self._removal.resume()
        await self._datastores.resume(LEFTOVER_SECONDS)
        await self._retention.lift()
        await self._forget_old_tasks()

    async def _forget_old_tasks(self) -> None:
        """Drop tasks that ended long ago, with their logs, and the rows of sessions that did."""
        async with self._parts.database.system() as connection:
            await connection.execute(
                "DELETE FROM task WHERE id IN (SELECT id FROM task"
                " WHERE endtime < extract(epoch FROM clock_timestamp()) - $1::bigint LIMIT 1000)",
                OLD_TASK_DAYS * 86400,
            )
            await connection.execute(
                "DELETE FROM session WHERE id IN (SELECT id FROM session WHERE state <> 'active'"
                " AND ended_at < clock_timestamp() - make_interval(days => $1) LIMIT 1000)",
                OLD_TASK_DAYS,
            )
