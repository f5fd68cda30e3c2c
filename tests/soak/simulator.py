"""The simulator on all cores: worlds of ever new seeds, each in a process of its own kind (docs/simulation.md)."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import time
from pathlib import Path

from soak.parts import Allowance

BATCH = 500
_TESTS = Path(__file__).parent.parent


async def run(allowance: Allowance) -> list[str]:
    """Failing seeds, each minimised and printed with its script."""
    began, done, failures = time.monotonic(), 0, list[str]()

    async def worker() -> None:
        nonlocal done
        while not allowance.over:
            first = secrets.randbelow(1 << 40)
            status, output = await _batch(first, allowance)
            done += output.count("\nok ") if status < 0 else BATCH
            if status > 0:
                print(output, flush=True)
                failures.append(f"seeds {first} to {first + BATCH - 1}, see above")
            rate = done / (time.monotonic() - began) * 3600
            print(f"simulator: {done} seeds, {rate:,.0f} an hour, {len(failures)} failures", flush=True)

    await asyncio.gather(*(worker() for _ in range(allowance.cores)))
    return failures


async def _batch(first: int, allowance: Allowance) -> tuple[int, str]:
    """Exit code (negative: stopped) and output of one process that runs `BATCH` seeds."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "testkit.simulator", "--first", str(first), "--count", str(BATCH),
        env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(_TESTS)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    reading = asyncio.ensure_future(process.communicate())
    while not reading.done():
        await asyncio.wait([reading], timeout=0.5)
        if allowance.over and not reading.done():
            process.kill()
            await reading
            return -1, ""
    return process.returncode or 0, reading.result()[0].decode()
