"""Seeds in lots, each in a forked child: it has the parent's compiled statements, and leaves its memory behind at once.

What a world leaves hangs together in circles. To look for them costs a tenth of a seed; a process that ends does not.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator

from testkit.simulator.run import settle

WARM = 100
"""So many seeds the parent runs itself: in them most statements are met, and compiled."""
LOT = 100
_BROKEN = 125


def lots(first: int, count: int) -> Iterator[range]:
    """The seeds after the parent's own."""
    end = first + count
    for start in range(first + WARM, end, LOT):
        yield range(start, min(start + LOT, end))


def in_child(seeds: Iterable[int], work: Callable[[int], bool], at_most: int) -> int:
    """How many seeds failed `work`, which prints what is to be told; `at_most` so many are looked for.

    Raises RuntimeError if the child did not come to its end.
    """
    settle()
    sys.stdout.flush()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        failures = _BROKEN
        try:
            failures = _count(seeds, work, at_most, parent)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(failures)
    failures = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if not 0 <= failures < _BROKEN:
        raise RuntimeError(f"a lot of seeds ended with {failures}")
    return failures


def _count(seeds: Iterable[int], work: Callable[[int], bool], at_most: int, parent: int) -> int:
    failures = 0
    for seed in seeds:
        if failures >= at_most or os.getppid() != parent:
            break
        failures += not work(seed)
    return failures
