"""From a list of components to a process that starts in order, says when it is ready, and drains on SIGTERM."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pbs_cloud.runtime.cancelling import cancel_and_wait
from pbs_cloud.runtime.health import HealthServer
from pbs_cloud.runtime.logging import get_logger
from pbs_cloud.runtime.settings import Settings

log = get_logger(__name__)
_RESTART_DELAYS = (0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One kind of process of a service.

    `name`: unique in the product, e.g. `chunks`; replica i of several is called `name-i`.
    `target`: `module:function`, an `async def main(settings: Settings) -> None` that returns after SIGTERM.
    `replicas`: how many; each gets its number in `PBS_WORKER_INDEX` (`settings.worker_index`).
    `env`: further variables of its environment.
    `stop_first`: for what takes new work from outside (gateway): stopped before everything else.
    """

    name: str
    target: str
    replicas: int = 1
    env: dict[str, str] = field(default_factory=dict)
    stop_first: bool = False


class Component:
    """Something a process starts, watches and stops. Database, Bus, GrpcServer and OutboxRelay are components."""

    name = "component"

    async def start(self) -> None:
        """Get ready to work; may wait for what it depends on."""

    async def stop(self) -> None:
        """Finish running work and release everything; called also after a failed start."""

    def ready(self) -> bool:
        """Whether it can do its work right now."""
        return True


class BackgroundTask(Component):
    """A loop that runs as long as the process. It is restarted with a growing pause when it raises."""

    def __init__(self, name: str, body: Callable[[], Awaitable[None]]) -> None:
        self.name = name
        self._body = body
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=self.name)

    async def stop(self) -> None:
        if self._task is not None:
            await cancel_and_wait([self._task])

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                await self._body()
                return
            except Exception:
                log.exception("background task failed", task=self.name)
                await asyncio.sleep(_RESTART_DELAYS[min(failures, len(_RESTART_DELAYS) - 1)])
                failures += 1


async def run_components(
    settings: Settings, components: Sequence[Component], *, stop: asyncio.Event | None = None
) -> None:
    """Start `components` in order, serve until SIGTERM or SIGINT, stop them in the opposite order.

    The process's `/ready` (unix socket `health-<process>.sock` in the run directory) answers 200 once all are started
    and every `ready()` is true, and 503 again from the moment the stop begins. A component that fails to start ends
    the process.
    """
    stopping = stop or asyncio.Event()
    _install_signals(stopping)
    health = HealthServer(settings.run_path / f"health-{settings.process_name}.sock")
    await health.start()
    started: list[Component] = []
    try:
        if await _start_all(components, started, stopping):
            health.serve_readiness(lambda: [part.name for part in components if not part.ready()])
            log.info("ready")
            await stopping.wait()
    finally:
        health.refuse("shutting down")
        log.info("stopping")
        for part in reversed(started):
            await _stop_one(part)
        await health.stop()


async def _start_all(components: Sequence[Component], started: list[Component], stopping: asyncio.Event) -> bool:
    """Whether all were started; False when the stop came first."""
    halt = asyncio.create_task(stopping.wait())
    try:
        for part in components:
            started.append(part)
            start = asyncio.create_task(part.start())
            await asyncio.wait({start, halt}, return_when=asyncio.FIRST_COMPLETED)
            if not start.done():
                start.cancel()
                await asyncio.gather(start, return_exceptions=True)
                return False
            start.result()
        return not stopping.is_set()
    finally:
        halt.cancel()


async def _stop_one(part: Component) -> None:
    try:
        await part.stop()
    except Exception:
        log.exception("stop failed", component=part.name)


def _install_signals(stopping: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)


def run_main(main: Callable[[Settings], Awaitable[Any]], settings: Settings) -> None:
    """Run a process's entry on uvloop; returns when it has stopped."""
    import uvloop

    os.umask(0o077)
    uvloop.run(_as_coroutine(main, settings))


async def _as_coroutine(main: Callable[[Settings], Awaitable[Any]], settings: Settings) -> None:
    await main(settings)
