"""Work that returns regularly and that one replica at a time does.

Every job is a row of `component.jobs`: a name, how often, and a function. Collection, prune and verification join here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pbs_cloud.contracts.errors import PbsError
from pbs_cloud.gc import db
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.lifecycle import BackgroundTask
from pbs_cloud.runtime.logging import get_logger
from pbs_cloud.runtime.telemetry import Counter

_RUNS = Counter("pbs_gc_jobs", "Runs of maintenance jobs", ["job", "result"])
_AFFECTED = Counter("pbs_gc_affected", "Objects that maintenance jobs dealt with", ["job"])
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """``work`` answers how many objects it dealt with; it must be repeatable at any point."""

    name: str
    every_seconds: float
    work: Callable[[], Awaitable[int]]


class JobRunner(BackgroundTask):
    """Runs one job for ever. Replicas take turns: whoever finds the job's lock free and the job due runs it."""

    def __init__(self, database: Database, job: Job, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(job.name, self._run_for_ever)
        self._database = database
        self._job = job
        self._clock = clock

    async def run_once(self) -> bool:
        """Run the job if it is due and nobody else runs it: whether it ran. Raises ``PbsError``."""
        async with self._database.system() as connection:
            if not await db.try_lock(connection, self._job.name):
                return False
            passed = await db.seconds_since(connection, self._job.name)
            if passed is not None and 0 <= passed < self._job.every_seconds / 2:
                return False
            affected = await self._job.work()
            await db.record(connection, self._job.name, affected)
        _RUNS.labels(self._job.name, "success").inc()
        _AFFECTED.labels(self._job.name).inc(affected)
        if affected:
            _log.info("job done", job=self._job.name, affected=affected)
        return True

    async def _run_for_ever(self) -> None:
        while True:
            try:
                await self.run_once()
            except PbsError as error:
                _RUNS.labels(self._job.name, "failure").inc()
                _log.info("job waits", job=self._job.name, reason=error.message)
            await self._clock.sleep(self._job.every_seconds)
