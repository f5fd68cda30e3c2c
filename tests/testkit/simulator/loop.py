"""An event loop without an outside world: time jumps, and the seed decides which process goes on next.

Every handle belongs to the simulated process of its context. Inside a process handles run in their order, as asyncio
does it; between processes, and between everything that takes time, the order is drawn.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
import sys
import types
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import copy_context
from dataclasses import dataclass, field
from heapq import heappop, heappush
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
    ready: deque[Handle] = field(default_factory=deque)
    at_death: list[Callable[[], None]] = field(default_factory=list)
    _context: contextvars.Context | None = None

    @property
    def context(self) -> contextvars.Context:
        """What its tasks begin with, each with a copy."""
        if self._context is None:
            self._context = contextvars.Context()
            self._context.run(CURRENT.set, self)
        return self._context


WORLD = Process("world")
CURRENT: contextvars.ContextVar[Process] = contextvars.ContextVar("simulated_process", default=WORLD)


class Handle:
    """What asyncio's handles are, without what nobody asks them here; `when`: the time of a timer."""

    __slots__ = ("_args", "_callback", "_cancelled", "_context", "_process", "_when")

    def __init__(self, callback: Any, args: tuple[Any, ...], context: contextvars.Context, when: float = 0.0) -> None:
        self._callback = callback
        self._args = args
        self._context = context
        self._process = context.get(CURRENT, WORLD)
        self._cancelled = False
        self._when = when

    def cancel(self) -> None:
        """A cancelled timer is dropped when its time comes."""
        self._cancelled = True
        self._callback = self._args = None

    def cancelled(self) -> bool:
        return self._cancelled

    def when(self) -> float:
        return self._when


class Nap(Handle):
    """What a task waits for that sleeps: a future and its timer in one, which wakes the task itself."""

    __slots__ = ("_asyncio_future_blocking", "_loop")

    def __init__(self, loop: SimLoop, when: float) -> None:
        self._loop = loop
        self._when = when
        self._cancelled = False
        self._asyncio_future_blocking = False

    def __await__(self) -> Generator[Any, None, None]:
        self._asyncio_future_blocking = True
        yield self

    def get_loop(self) -> SimLoop:
        return self._loop

    def add_done_callback(self, wake: Callable[[Any], Any], *, context: contextvars.Context) -> None:
        self._callback, self._args, self._context = wake, (self,), context
        self._process = context.get(CURRENT, WORLD)
        self._loop.at(self._when, self)

    def cancel(self, msg: Any = None) -> bool:  # type: ignore[override]
        """The task is woken at once, by an error."""
        self._cancelled = True
        self._loop.call_soon(self._callback, self, context=self._context)
        return True

    def result(self) -> None:
        """The task is awake; nothing may hold what holds it, or it would stay until the next look for circles."""
        self._callback = self._args = None
        if self._cancelled:
            raise asyncio.CancelledError


@types.coroutine
def _one_turn() -> Generator[None, None, None]:
    yield


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
        self._timers: list[tuple[float, int, Handle]] = []
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

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:
        handle = Handle(callback, args, copy_context() if context is None else context)
        self._put(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:
        timer = Handle(callback, args, copy_context() if context is None else context, when)
        self.at(when, timer)
        return timer

    def at(self, when: float, timer: Handle) -> None:
        self._count += 1
        heappush(self._timers, (when, self._count, timer))

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> Any:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def _write_to_self(self) -> None:
        """There is nobody to wake up."""

    def get_debug(self) -> bool:
        return False

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None) -> Any:
        return asyncio.Task(coro, loop=self, name=name or "task", context=context)

    def nap(self, seconds: float) -> Nap:
        """To be awaited at once."""
        return Nap(self, self.now + seconds)

    async def sleep(self, seconds: float, result: Any = None) -> Any:
        """In the place of `asyncio.sleep`."""
        if seconds <= 0:
            await _one_turn()
        else:
            await Nap(self, self.now + seconds)
        return result

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
        return self.create_task(work, context=process.context.copy())

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
        self.call_later(process.paused_until - self.now + 1e-6, _nothing, context=process.context)

    # ------------------------------------------------------------------------------------------------ running

    def run(self, main: Coroutine[Any, Any, Any]) -> Any:
        """The result of `main`. Raises Stuck."""
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=None, finalizer=self._finish_generator)
        events._set_running_loop(self)
        everybody: Any = asyncio.tasks._all_tasks  # type: ignore[attr-defined]
        everybody.add = _nothing  # nobody asks for all tasks, and to list them costs as much as to make them
        try:
            task = self.create_task(main)
            self._go_on(task.done)
            return task.result()
        finally:
            del everybody.add
            events._set_running_loop(None)
            sys.set_asyncgen_hooks(*hooks)

    def end(self) -> None:
        """What is left over is dropped without a word."""
        self._ended = True
        self.set_exception_handler(lambda _loop, _found: None)
        for _, _, timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._graveyard.clear()
        for process in self._active:
            process.ready.clear()
        self._active.clear()

    def _put(self, handle: Handle) -> None:
        process = handle._process
        if self._ended:
            return
        if process.dead:
            self._graveyard.append(handle)
            return
        if not process.ready:
            self._active.append(process)
        process.ready.append(handle)

    def _go_on(self, done: Callable[[], bool]) -> None:
        """Step by step until `done`. Raises Stuck.

        A handle is not held longer than it runs: what ends with it (a generator) is finished at once.
        """
        active, draw = self._active, self.rng.random
        while not done():
            if len(active) > 1:
                place = int(draw() * len(active))
                active[place], active[-1] = active[-1], active[place]
            while active:
                process = active[-1]
                ready = process.ready
                if ready and process.paused_until <= self.now:
                    break
                active.pop()
            else:
                self._advance()
                continue
            self.steps += 1
            if self.steps > MOST_STEPS:
                raise Stuck(f"no end after {MOST_STEPS} steps, at {self.now:.0f} s")
            handle: Handle | None = ready.popleft()
            if not ready:
                active.pop()
            assert handle is not None
            if not handle._cancelled:
                try:
                    handle._context.run(handle._callback, *handle._args)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as error:
                    self.call_exception_handler({"message": f"exception in {handle._callback}", "exception": error})
            handle = None

    def _advance(self) -> None:
        """To the next timer that somebody still wants."""
        while self._timers:
            when, _, timer = heappop(self._timers)
            if timer._cancelled:
                continue
            if when > self.now:
                self.now = when
            process = timer._process
            if process.dead:
                self._graveyard.append(timer)
                continue
            if not process.ready or process not in self._active:  # with something ready it was paused
                self._active.append(process)
            process.ready.append(timer)
            return
        raise Stuck(f"nothing can happen any more, at {self.now:.0f} s")

    def _finish_generator(self, generator: Any) -> None:
        self.call_soon(self.create_task, generator.aclose())


def _nothing(*_: Any) -> None:
    """Wakes a process that was paused."""


def _resolve(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
