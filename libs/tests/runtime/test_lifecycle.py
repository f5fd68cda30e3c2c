"""Components: order of start and stop, readiness on the socket, background tasks."""

import asyncio
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from testkit.servers import temporary_folder

from pbs_cloud.runtime.health import fetch
from pbs_cloud.runtime.lifecycle import BackgroundTask, Component, run_components
from pbs_cloud.runtime.settings import Settings, load_settings


class Part(Component):
    def __init__(self, name: str, log: list[str], *, start: float = 0.0, fails: bool = False) -> None:
        self.name, self._log, self._start, self._fails = name, log, start, fails
        self.is_ready = True

    async def start(self) -> None:
        self._log.append(f"start {self.name}")
        await asyncio.sleep(self._start)
        if self._fails:
            raise RuntimeError(self.name)

    async def stop(self) -> None:
        self._log.append(f"stop {self.name}")

    def ready(self) -> bool:
        return self.is_ready


@pytest.fixture
def settings() -> Iterator[Settings]:
    folder = temporary_folder("lifecycle")
    yield load_settings(data_dir=folder, process_name="probe")
    shutil.rmtree(folder, ignore_errors=True)


async def status(settings: Settings, what: str = "/ready") -> tuple[int, bytes]:
    path: Path = settings.run_path / "health-probe.sock"
    async with asyncio.timeout(5):
        while not path.exists():
            await asyncio.sleep(0.01)
    return await fetch(path, what)


async def test_start_in_order_readiness_and_stop_in_reverse(settings: Settings) -> None:
    log: list[str] = []
    parts = [Part("database", log, start=0.2), Part("server", log)]
    run = asyncio.create_task(run_components(settings, parts))
    assert (await status(settings))[0] == 503
    assert (await status(settings, "/health"))[0] == 200
    async with asyncio.timeout(5):
        while (await status(settings))[0] != 200:
            await asyncio.sleep(0.02)
    parts[0].is_ready = False
    assert await status(settings) == (503, b'{"status": "not_ready", "reason": "database"}')
    assert (await status(settings, "/nothing"))[0] == 404
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(run, 5)
    assert log == ["start database", "start server", "stop server", "stop database"]
    assert not (settings.run_path / "health-probe.sock").exists()


async def test_a_stop_while_something_still_waits(settings: Settings) -> None:
    log: list[str] = []
    stop = asyncio.Event()
    parts = [Part("one", log), Part("waits", log, start=60), Part("never", log)]
    run = asyncio.create_task(run_components(settings, parts, stop=stop))
    await asyncio.sleep(0.1)
    stop.set()
    await asyncio.wait_for(run, 5)
    assert log == ["start one", "start waits", "stop waits", "stop one"]


async def test_a_failing_start_ends_the_process_and_stops_the_rest(settings: Settings) -> None:
    log: list[str] = []
    with pytest.raises(RuntimeError, match="bad"):
        await run_components(settings, [Part("one", log), Part("bad", log, fails=True)])
    assert log == ["start one", "start bad", "stop bad", "stop one"]


async def test_a_background_task_is_started_again() -> None:
    runs: list[int] = []

    async def body() -> None:
        runs.append(1)
        if len(runs) < 3:
            raise RuntimeError("passing")
        await asyncio.sleep(60)

    task = BackgroundTask("sweep", body)
    await task.start()
    async with asyncio.timeout(5):
        while len(runs) < 3:
            await asyncio.sleep(0.02)
    await task.stop()
