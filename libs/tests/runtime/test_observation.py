"""Logs hide secrets; metrics of several processes are one, and go on after a restart."""

import json
import os
import subprocess
import sys
from pathlib import Path

from pbs_cloud.runtime.clock import ManualClock
from pbs_cloud.runtime.telemetry import forget_process

LOG = """
from pbs_cloud.runtime.logging import configure_logging, get_logger
configure_logging(level="info", format="json", process="auth")
log = get_logger("pbs_cloud.auth.thing")
log.debug("not shown")
log.info("token made", token_secret="hunter2", password="hunter2", tenant="one")
import logging
logging.getLogger("library").warning("careful %s", 7)
"""
METRICS = """
import sys
from pbs_cloud.runtime.telemetry import configure_metrics, Counter, Gauge, render_metrics
configure_metrics(sys.argv[1])
Counter("pbs_things", "Things").inc(int(sys.argv[2]))
Gauge("pbs_open", "Open", multiprocess_mode="livesum").inc()
sys.stdout.buffer.write(render_metrics())
"""


def run(script: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=True,
    )


def test_lines_are_json_and_hide_secrets() -> None:
    lines = [json.loads(line) for line in run(LOG).stderr.splitlines()]
    assert [line["event"] for line in lines] == ["token made", "careful 7"]
    assert lines[0]["process"] == "auth"
    assert lines[0]["source"] == "auth.thing"
    assert lines[0]["tenant"] == "one"
    assert "hunter2" not in json.dumps(lines)


def test_metrics_add_up_over_processes_and_restarts(tmp_path: Path) -> None:
    env = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    run(METRICS, "front-0", "1", **env)
    run(METRICS, "front-1", "10", **env)
    text = run(METRICS, "front-0", "100", **env).stdout
    assert "pbs_things_total 111.0" in text
    assert len(list(tmp_path.glob("counter_*.db"))) == 2
    assert "pbs_open 3.0" in text
    forget_process(tmp_path, "front-0")
    assert "pbs_open 2.0" in run(METRICS, "front-1", "0", **env).stdout


async def test_manual_clock_moves_only_when_told() -> None:
    import asyncio

    clock = ManualClock(1000.0)
    sleeper = asyncio.create_task(clock.sleep(10))
    await asyncio.sleep(0)
    await clock.advance(9.9)
    assert not sleeper.done()
    await clock.advance(0.2)
    await asyncio.wait_for(sleeper, 1)
    assert clock.time() == 1010.1
