"""The parts of `make soak`, by name. A part runs until its time is over and answers its failures."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable

Part = Callable[["Allowance"], Awaitable[list[str]]]

PARTS: dict[str, str] = {
    "simulator": "soak.simulator:run",
    "faults": "soak.faults:walk",
    "faults-bucket": "soak.faults:walk_over_a_bucket",
    "kills": "soak.faults:kills",
}
"""Name -> `module:function`; the function is a `Part`. Parts run one after the other, each with its share of time."""


class Allowance:
    """How long a part may go on. `stop` is set by Ctrl-C.

    Args:
        seconds: None: until it is stopped.
        cores: processes that it should keep busy.
        rounds: how many rounds a part of rounds does; None: as many as it holds for right.
    """

    def __init__(self, seconds: float | None, cores: int, rounds: int | None = None) -> None:
        self.seconds = seconds
        self.cores = cores
        self.rounds = rounds
        self.stop = asyncio.Event()
        self._began = asyncio.get_running_loop().time()

    @property
    def over(self) -> bool:
        """Whether to come to an end now."""
        late = self.seconds is not None and asyncio.get_running_loop().time() - self._began >= self.seconds
        return late or self.stop.is_set()


def load(name: str) -> Part:
    """The part of that name; KeyError for another."""
    module, _, function = PARTS[name].partition(":")
    found: Part = getattr(importlib.import_module(module), function)
    return found
