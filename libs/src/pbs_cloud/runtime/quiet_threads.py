"""A thread for long work in the background that gives way to whatever somebody waits for.

One for each process: such work takes one core at most, and its large buffers are there once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_NICENESS = 10


async def quietly(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Like `asyncio.to_thread`, at low priority: for numpy and IO, which leave the GIL to others."""
    return await asyncio.get_running_loop().run_in_executor(_pool(), lambda: function(*args, **kwargs))


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="quiet", initializer=_step_back)


def _step_back() -> None:
    """On Linux a thread has a niceness of its own; elsewhere nothing happens."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
