"""The simulator on all cores: worlds of ever new seeds, each in a process of its own kind (docs/simulation.md)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from soak.parts import Allowance

BATCH = 40_000
_TESTS = Path(__file__).parent.parent


async def run(allowance: Allowance) -> list[str]:
    """Failing seeds, each minimised and printed with its script."""
    began, failures = time.monotonic(), list[str]()
    done = 0

    async def worker() -> None:
        nonlocal done
        while not allowance.over:
            first = secrets.randbelow(1 << 40)
            async for line in _batch(first, allowance):
                if line.startswith("done "):
                    done += 1
                    continue
                print(line, flush=True)
                if line.startswith("seed "):
                    failures.append(line)
            rate = done / (time.monotonic() - began) * 3600
            print(f"simulator: {done} seeds, {rate:,.0f} an hour, {len(failures)} failures", flush=True)

    await asyncio.gather(*(worker() for _ in range(allowance.cores)))
    return failures


async def _batch(first: int, allowance: Allowance) -> AsyncIterator[str]:
    """Lines of one process that runs `BATCH` seeds, until it ends or the time is over."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "testkit.simulator", "--first", str(first), "--count", str(BATCH), "--progress",
        env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(_TESTS)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True, limit=1 << 20,
    )  # fmt: skip
    assert process.stdout is not None
    reading = asyncio.ensure_future(process.stdout.readline())
    try:
        while not allowance.over:
            await asyncio.wait([reading], timeout=0.5)
            if not reading.done():
                continue
            line = reading.result().decode().rstrip()
            if not line:
                return
            yield line
            reading = asyncio.ensure_future(process.stdout.readline())
    finally:
        reading.cancel()
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await process.wait()
