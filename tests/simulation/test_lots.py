"""Lots of seeds in forked children: what fails there is counted, and no broken child is taken for a good one."""

from __future__ import annotations

import subprocess
import sys

from simulation.children import TESTS

_CODE = """
from testkit.simulator.lots import WARM, LOT, in_child, lots
print([list(seeds) for seeds in lots(7, WARM + LOT + 2)] == [list(range(7 + WARM, 7 + WARM + LOT)),
      [7 + WARM + LOT, 8 + WARM + LOT]])
print(in_child(range(5), lambda seed: seed % 2 == 0, 5))
print(in_child(range(50), lambda seed: False, 3))
try:
    in_child(range(5), lambda seed: 1 // (seed - 3) < 5, 5)
except RuntimeError as error:
    print(error)
"""


def test_failures_in_children_are_counted() -> None:
    done = subprocess.run([sys.executable, "-c", _CODE], cwd=TESTS, capture_output=True, text=True, timeout=120)
    assert done.stdout.split("\n")[:4] == ["True", "2", "3", "a lot of seeds ended with 125"], done.stderr
    assert "ZeroDivisionError" in done.stderr
