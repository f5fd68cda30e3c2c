"""Keeping processes running: restart with back-off, stop in order."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pbs_cloud.runtime.errors import EXIT_CONFIG
from pbs_cloud.runtime.logging import get_logger

_log = get_logger(__name__)
_BACK_OFF = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
_STABLE_SECONDS = 10.0

Spawn = Callable[[], Awaitable[asyncio.subprocess.Process]]


@dataclass(frozen=True, slots=True)
class Job:
    """A process to keep alive.

    `group`: jobs are stopped group by group, the lowest first, all of a group at once.
    `ended`: called after each end with the job's name.
    """

    name: str
    spawn: Spawn
    group: int
    stop_signal: int = signal.SIGTERM
    stop_seconds: float = 5.0
    ended: Callable[[str], None] | None = None


class Supervisor:
    """Runs jobs until `stop`; `failed` is set when one says that it can never run (exit code 2)."""

    def __init__(self) -> None:
        self.failed = asyncio.Event()
        self.failure = ""
        self._jobs: list[Job] = []
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._stopping: set[str] = set()

    def run(self, job: Job) -> None:
        """Start `job` and keep it running."""
        self._jobs.append(job)
        self._keepers[job.name] = asyncio.create_task(self._keep(job), name=job.name)

    def pid(self, name: str) -> int | None:
        """Process id of a job that runs right now."""
        process = self._processes.get(name)
        return process.pid if process is not None and process.returncode is None else None

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of all jobs that run right now."""
        return {job.name: pid for job in self._jobs if (pid := self.pid(job.name)) is not None}

    async def stop(self, *, hurry: asyncio.Event | None = None) -> None:
        """Stop all jobs, group by group; what does not end in its time, or once `hurry` is set, is killed."""
        for group in sorted({job.group for job in self._jobs}):
            jobs = [job for job in self._jobs if job.group == group]
            await asyncio.gather(*(self._stop_job(job, hurry) for job in jobs))

    async def _keep(self, job: Job) -> None:
        failures = 0
        while job.name not in self._stopping:
            began = time.monotonic()
            process = await job.spawn()
            self._processes[job.name] = process
            code = await process.wait()
            if job.ended is not None:
                job.ended(job.name)
            if job.name in self._stopping:
                return
            if code == EXIT_CONFIG:
                self.failure = f"{job.name} refused to start"
                self.failed.set()
                return
            failures = 0 if time.monotonic() - began > _STABLE_SECONDS else failures + 1
            delay = _BACK_OFF[min(max(failures - 1, 0), len(_BACK_OFF) - 1)]
            _log.warning("process ended, starting it again", job=job.name, code=code, delay=delay)
            await asyncio.sleep(delay)

    async def _stop_job(self, job: Job, hurry: asyncio.Event | None) -> None:
        self._stopping.add(job.name)
        process = self._processes.get(job.name)
        if process is None or process.returncode is not None:
            self._keepers[job.name].cancel()
            await asyncio.gather(self._keepers[job.name], return_exceptions=True)
            process = self._processes.get(job.name)
        if process is None or process.returncode is not None:
            return
        process.send_signal(job.stop_signal)
        if not await _ends(process, job.stop_seconds, hurry):
            _log.warning("process does not stop, killing it", job=job.name)
            process.kill()
            await process.wait()


async def _ends(process: asyncio.subprocess.Process, seconds: float, hurry: asyncio.Event | None) -> bool:
    """Whether the process ends in time."""
    waits: set[asyncio.Task[object]] = {asyncio.create_task(_wait_for(process))}
    ended = next(iter(waits))
    if hurry is not None:
        waits.add(asyncio.create_task(_wait_for_event(hurry)))
    await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in waits:
        task.cancel()
    return ended.done() and not ended.cancelled()


async def _wait_for(process: asyncio.subprocess.Process) -> object:
    return await process.wait()


async def _wait_for_event(event: asyncio.Event) -> object:
    return await event.wait()
