"""Stories that once went wrong, in the services or in the simulator: they must not go wrong again."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulation.children import REGRESSIONS, simulate


@pytest.mark.parametrize("story", sorted(REGRESSIONS.glob("*.json")), ids=lambda path: path.stem)
def test_story(story: Path) -> None:
    done = simulate("--script", str(story))
    assert done.returncode == 0, done.stdout + done.stderr
