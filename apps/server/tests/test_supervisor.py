"""The supervisor with small shell processes: restart, order, failure."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from pbs_cloud.server.supervisor import Job, Supervisor


def job(name: str, script: str, group: int = 0, **options: float) -> Job:
    async def spawn() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec("/bin/sh", "-c", script)

    return Job(name, spawn, group, **options)  # type: ignore[arg-type]


async def running(supervisor: Supervisor, name: str, *, not_pid: int | None = None) -> int:
    async with asyncio.timeout(10):
        while (pid := supervisor.pid(name)) in (None, not_pid):
            await asyncio.sleep(0.01)
    assert pid is not None
    return pid


async def test_a_killed_process_comes_back_within_a_second() -> None:
    supervisor = Supervisor()
    supervisor.run(job("one", "exec sleep 60"))
    first = await running(supervisor, "one")
    began = time.monotonic()
    os.kill(first, signal.SIGKILL)
    await running(supervisor, "one", not_pid=first)
    assert time.monotonic() - began < 1.0
    await supervisor.stop()
    assert supervisor.pids == {}


async def test_a_process_that_keeps_failing_is_started_ever_more_slowly(tmp_path: Path) -> None:
    supervisor = Supervisor()
    supervisor.run(job("one", f"echo x >>{tmp_path}/starts; exit 1"))
    await asyncio.sleep(2.0)
    assert 2 <= len((tmp_path / "starts").read_text().split()) <= 4
    await supervisor.stop()


async def test_a_refused_setting_is_no_reason_to_start_again(tmp_path: Path) -> None:
    supervisor = Supervisor()
    supervisor.run(job("one", f"echo x >>{tmp_path}/starts; exit 2"))
    await asyncio.wait_for(supervisor.failed.wait(), 5)
    assert "one" in supervisor.failure
    assert (tmp_path / "starts").read_text() == "x\n"
    await supervisor.stop()


async def test_groups_stop_one_after_the_other(tmp_path: Path) -> None:
    log = tmp_path / "log"
    supervisor = Supervisor()
    for name, group in (("database", 3), ("service", 1), ("entrance", 0)):
        script = f"trap 'sleep 0.1; echo {name} >>{log}; exit 0' TERM; echo up >>{log}; while :; do sleep 0.02; done"
        supervisor.run(job(name, script, group))
    async with asyncio.timeout(10):
        while not log.exists() or log.read_text().count("up") < 3:
            await asyncio.sleep(0.02)
    await supervisor.stop()
    assert log.read_text().split()[3:] == ["entrance", "service", "database"]


async def test_what_does_not_stop_is_killed_in_time_or_at_once_in_a_hurry() -> None:
    for hurried in (False, True):
        supervisor = Supervisor()
        stubborn = "trap '' TERM; while :; do sleep 0.05; done"
        supervisor.run(job("one", stubborn, stop_seconds=0.3 if not hurried else 60.0))
        await running(supervisor, "one")
        await asyncio.sleep(0.1)
        hurry = asyncio.Event()
        if hurried:
            hurry.set()
        await asyncio.wait_for(supervisor.stop(hurry=hurry), 5)
        assert supervisor.pids == {}


@pytest.mark.parametrize("code", [0, 1])
async def test_a_stop_during_the_pause_starts_nothing(code: int) -> None:
    supervisor = Supervisor()
    supervisor.run(job("one", f"exit {code}"))
    await asyncio.sleep(0.7)
    await asyncio.wait_for(supervisor.stop(), 2)
    assert supervisor.pids == {}
