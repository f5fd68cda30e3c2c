"""From a seed to a verdict, and from a failing script to the least one that still fails."""

from __future__ import annotations

import gc
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from testkit.simulator.loop import SimLoop, Stuck
from testkit.simulator.mutants import MUTANTS, changes_of
from testkit.simulator.patching import deterministic, patched
from testkit.simulator.script import Script, draw
from testkit.simulator.world import Violation, World

_COLLECT_EVERY = 3
_STEADY = (1, 10, 50, 200, 1000)
_runs = 0
_settled = False


@dataclass(frozen=True, slots=True)
class Result:
    """The verdict on a script. `text`: what went wrong; `loss`: data was lost; `at`: when, in its own seconds."""

    script: Script
    text: str | None = None
    loss: bool = False
    at: float = 0.0
    steps: int = 0

    @property
    def ok(self) -> bool:
        return self.text is None


def run_seed(seed: int, mutant: str | None = None) -> Result:
    """Draw a script and run it. `mutant`: a rule of `mutants.MUTANTS` that is switched off."""
    return run_script(draw(seed), mutant)


def run_script(script: Script, mutant: str | None = None) -> Result:
    """Run a script in a world of its own."""
    _be_quiet()
    loop = SimLoop(script.seed)
    try:
        with deterministic(loop, script.seed):
            world = World(loop, script)
            with patched(*world.product.stand_ins()), patched(*(changes_of(MUTANTS[mutant]) if mutant else ())):
                return _judge(loop, world, script)
    finally:
        loop.end()
        _collect_sometimes()


def _judge(loop: SimLoop, world: World, script: Script) -> Result:
    text, loss = None, False
    try:
        loop.run(world.run())
    except Violation as violation:
        text, loss = str(violation), violation.loss
    except Stuck as stuck:
        text = f"stuck: {stuck}"
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        if world.hooks.debug:
            raise
    if world.verdict is not None:
        text, loss = str(world.verdict), world.verdict.loss
    return Result(script, text, loss, loop.now, loop.steps)


def _be_quiet() -> None:
    if structlog.is_configured():
        return
    least = 30 if "SIMULATOR_LOG" in os.environ else 50
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(least), cache_logger_on_first_use=True)
    warnings.simplefilter("ignore", RuntimeWarning)
    sys.unraisablehook = lambda _: None


def _collect_sometimes() -> None:
    """What dead processes left behind hangs together in circles; it is collected between worlds, never inside one.

    What stays for good (modules, compiled statements) is not looked at each time.
    """
    global _runs
    if _settled:
        return
    _runs += 1
    if _runs == 1:
        gc.disable()
    if _runs in _STEADY:
        while gc.collect():
            """What closes itself when it is collected may leave others behind."""
        gc.freeze()
    elif _runs % _COLLECT_EVERY == 0:
        gc.collect()


def settle() -> None:
    """Before a fork: what is there stays, and nothing is collected any more."""
    global _settled
    if not _settled:
        gc.disable()
        while gc.collect():
            """As above."""
        gc.freeze()
        _settled = True


def minimise(result: Result, mutant: str | None = None, *, attempts: int = 400) -> Result:
    """The least script found that still fails, a loss as a loss: operations are left out by halves, then singly."""
    best, left = result, attempts
    size = max(len(best.script.ops) // 2, 1)
    while size >= 1 and left > 0:
        start, shrunk = 0, False
        while start < len(best.script.ops) and left > 0:
            left -= 1
            tried = run_script(best.script.without(set(range(start, start + size))), mutant)
            if not tried.ok and tried.loss == result.loss:
                best, shrunk = tried, True
            else:
                start += size
        if size == 1 and not shrunk:
            break
        size = max(size // 2, 1) if size > 1 else (1 if shrunk else 0)
    return best


def seeds_needed(mutant: str, first: int, at_most: int, tell: Callable[[Result], Any] = lambda _: None) -> int | None:
    """How many seeds it takes until harm is done, a loss if the rule keeps data; None if none of them shows it."""
    for number in range(at_most):
        result = run_seed(first + number, mutant)
        if result.loss or (not result.ok and not MUTANTS[mutant].loses):
            tell(result)
            return number + 1
    return None
