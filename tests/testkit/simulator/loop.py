"""An event loop without an outside world: time jumps, and the seed decides which process goes on next.

Every handle belongs to the simulated process of its context. Inside a process handles run in their order, as asyncio
does it; between processes, and between everything that takes time, the order is drawn.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import random
import sys
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

MOST_STEPS = 2_000_000
"""A run that needs more has gone astray."""


class Stuck(Exception):
    """Nothing can ever happen again, or too much has happened, and somebody still waits."""


@dataclass(eq=False, slots=True)
class Process:
    """A process of the simulated product; `skew`: its wall clock minus the true time."""

    name: str
    skew: float = 0.0
    dead: bool = False
    paused_until: float = 0.0
    ready: deque[events.Handle] = field(default_factory=deque)
    at_death: list[Callable[[], None]] = field(default_factory=list)


WORLD = Process("world")
CURRENT: contextvars.ContextVar[Process] = contextvars.ContextVar("simulated_process", default=WORLD)


class SimLoop(asyncio.BaseEventLoop):
    """`run(main)` drives everything until `main` has ended."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.rng = random.Random(seed)
        self.now = 0.0
        self.steps = 0
        self.errors: list[dict[str, Any]] = []
        self.blocking_seconds = 0.0
        """Set by blocking work to say how long it took."""
        self.blocking_wait = 0.002
        """Most seconds that blocking work waits for its thread."""
        self._timers: list[tuple[float, int, events.TimerHandle]] = []
        self._count = 0
        self._active: list[Process] = []
        self._graveyard: list[Any] = []
        self._ended = False
        WORLD.ready.clear()
        WORLD.at_death.clear()
        self.set_exception_handler(lambda _loop, found: self.errors.append(found))

    # ------------------------------------------------------------------------------------------------ asyncio's side

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> events.Handle:
        handle = events.Handle(callback, args, self, contextvars.copy_context() if context is None else context)
        self._put(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> events.TimerHandle:
        timer = events.TimerHandle(
            when, callback, args, self, contextvars.copy_context() if context is None else context
        )
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, timer))
        timer._scheduled = True
        return timer

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> events.TimerHandle:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: Any) -> None:
        """Cancelled timers are dropped when their time comes."""

    def _write_to_self(self) -> None:
        """There is nobody to wake up."""

    def get_debug(self) -> bool:
        return False

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Blocking work happens at one moment, a little later; what it needs longer is up to `blocking_seconds`."""
        future = self.create_future()
        self.call_later(self.rng.random() * self.blocking_wait, self._block, future, func, args)
        return future

    def _block(self, future: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        if future.cancelled() and self.rng.random() < 0.5:
            return  # it was still in the queue
        self.blocking_seconds = 0.0
        try:
            result, error = func(*args), None
        except BaseException as found:
            result, error = None, found
        if self.blocking_seconds:
            self.call_later(self.blocking_seconds, _resolve, future, result, error)
        else:
            _resolve(future, result, error)

    # ------------------------------------------------------------------------------------------------ processes

    def spawn(self, process: Process, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task in another process."""
        context = contextvars.copy_context()
        context.run(CURRENT.set, process)
        return self.create_task(work, context=context)

    def kill(self, process: Process) -> None:
        """The process ends between two steps: nothing of it runs again, not even its `finally` blocks."""
        process.dead = True
        self._graveyard.append(list(process.ready))
        process.ready.clear()
        for callback in process.at_death:
            callback()
        process.at_death.clear()

    def pause(self, process: Process, seconds: float) -> None:
        """The process stands still; time passes for everybody else."""
        process.paused_until = max(process.paused_until, self.now + seconds)
        self.call_later(process.paused_until - self.now + 1e-6, _nothing, context=_context_of(process))

    # ------------------------------------------------------------------------------------------------ running

    def run(self, main: Coroutine[Any, Any, Any]) -> Any:
        """The result of `main`. Raises Stuck."""
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=None, finalizer=self._finish_generator)
        events._set_running_loop(self)
        try:
            task = self.create_task(main)
            while not task.done():
                self._step()
            return task.result()
        finally:
            events._set_running_loop(None)
            sys.set_asyncgen_hooks(*hooks)

    def end(self) -> None:
        """What is left over is dropped without a word."""
        self._ended = True
        self.set_exception_handler(lambda _loop, _found: None)
        for _, _, timer in self._timers:
            timer._callback = timer._args = None  # type: ignore[assignment]
        self._timers.clear()
        self._graveyard.clear()
        for process in self._active:
            process.ready.clear()
        self._active.clear()

    def _put(self, handle: events.Handle) -> None:
        process = handle._context.get(CURRENT, WORLD)  # type: ignore[attr-defined]
        if self._ended:
            return
        if process.dead:
            self._graveyard.append(handle)
            return
        if not process.ready:
            self._active.append(process)
        process.ready.append(handle)

    def _step(self) -> None:
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise Stuck(f"no end after {MOST_STEPS} steps, at {self.now:.0f} s")
        active = self._active
        if len(active) > 1:
            place = int(self.rng.random() * len(active))
            active[place], active[-1] = active[-1], active[place]
        while active:
            process = active[-1]
            if process.paused_until <= self.now and process.ready:
                break
            active.pop()
        else:
            self._advance()
            return
        handle = process.ready.popleft()
        if not process.ready:
            active.pop()
        if not handle._cancelled:
            handle._run()

    def _advance(self) -> None:
        """To the next timer that somebody still wants."""
        while self._timers:
            when, _, timer = heapq.heappop(self._timers)
            if timer._cancelled:
                continue
            self.now = max(self.now, when)
            process = timer._context.get(CURRENT, WORLD)  # type: ignore[attr-defined]
            if process.dead:
                self._graveyard.append(timer)
                continue
            if process.ready and process not in self._active:
                self._active.append(process)  # it was paused
            self._put(timer)
            return
        raise Stuck(f"nothing can happen any more, at {self.now:.0f} s")

    def _finish_generator(self, generator: Any) -> None:
        self.call_soon(self.create_task, generator.aclose())


def _context_of(process: Process) -> contextvars.Context:
    context = contextvars.copy_context()
    context.run(CURRENT.set, process)
    return context


def _nothing() -> None:
    """Wakes a process that was paused."""


def _resolve(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
