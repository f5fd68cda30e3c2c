"""Worlds drawn from seeds: no data is lost, garbage goes, nothing hangs (docs/simulation.md)."""

from __future__ import annotations

import pytest
from simulation.children import simulate

SEEDS = 2000
_PARTS = 4


@pytest.mark.parametrize("part", range(_PARTS))
def test_worlds_keep_their_invariants(part: int) -> None:
    count = SEEDS // _PARTS
    done = simulate("--first", str(1 + part * count), "--count", str(count))
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert f"{count} seeds, 0 failures" in done.stdout
