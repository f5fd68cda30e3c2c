"""Simulations run in processes of their own: they take over clocks and ids, and need fixed hashes to be repeatable."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent.parent
REGRESSIONS = Path(__file__).parent / "regressions"
MUTANT_SEEDS = Path(__file__).parent / "mutant_seeds.json"
"""Mutant -> a script in which it loses data, as `python -m testkit.simulator --mutant NAME --keep FILE` finds it."""


def simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m testkit.simulator …`, with its output as text."""
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(TESTS)}
    return subprocess.run(
        [sys.executable, "-m", "testkit.simulator", *arguments],
        env=environment, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
