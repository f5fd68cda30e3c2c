"""The walk: at each place in the sources where something outside is called, each fault, and what must hold after it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import time
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import asyncpg
import structlog

from pbs_cloud.contracts.errors import PbsError
from testkit.faults.acts import ACTS, Act
from testkit.faults.bucket_layer import BucketLayer
from testkit.faults.layer import Layer
from testkit.faults.modes import Mode, Plan
from testkit.faults.places import Storage
from testkit.faults.sites import Kind, Site
from testkit.faults.world import FaultWorld

_RUN_SECONDS = 60.0
_STRIKE_SECONDS = 120.0
_THOROUGH_SECONDS = 400.0
_TRIES = 6
_PAUSE = 0.15
_MOST_ACTS = 4
_MOST_PROMISES = 60
_MOST_ACTS_OF_A_REQUEST = 6
_LATER_SECONDS = 3.0
_KNOWN_WAYS = (
    ("billing/db.py:tenant_usage", "usage"),
    ("gc/verification/new_backups.py", "new_backups"),
    ("billing/webhooks/", "webhook_delivery"),
    ("billing/", "event"),
    ("runtime/", "event"),
)
# What a call inside of a process raises; over gRPC only a `PbsError` comes.
HONEST = (PbsError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)


@dataclass
class Route:
    """Which acts come by which place, cheapest first."""

    acts: dict[Site, list[str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def towards(self, site: Site) -> list[str]:
        """Acts to try, the best first. What others did in the background may have been taken for an act's way."""
        found = self.acts[site]
        first = [name for start, name in _KNOWN_WAYS if str(site).startswith(start) and name in found]
        return [*first, *(name for name in found if name not in first)][:_MOST_ACTS]


async def record(world: FaultWorld, names: Collection[str] = ()) -> Route:
    """Do everything, or the acts of those names, once without a fault and note where it came by."""
    found: dict[Site, list[str]] = defaultdict(list)
    route = Route()
    for name in names or ACTS:
        act = await ACTS[name](world)
        before = dict(world.layer.reached)
        began = time.process_time()
        answer = await _in_time(act)
        route.seconds[name] = time.process_time() - began
        assert not act.reads or answer == act.expected, f"{name}: {answer!r}"
        for site, count in world.layer.reached.items():
            if count > before.get(site, 0):
                found[site].append(name)
        if act.check is not None:
            await act.check()
    route.acts = {site: sorted(names, key=lambda name: route.seconds[name]) for site, names in found.items()}
    return route


async def problem_after(
    world: FaultWorld, route: Route, site: Site, mode: Mode, *, thorough: bool = False
) -> str | None:
    """`strike`; what does not hold as text, None if all does."""
    try:
        async with asyncio.timeout(_THOROUGH_SECONDS if thorough else _STRIKE_SECONDS):
            await strike(world, route, site, mode, thorough=thorough)
    except (AssertionError, TimeoutError) as error:
        return f"{site} {site.method} {mode}: {error}"
    return None


async def strike(world: FaultWorld, route: Route, site: Site, mode: Mode, *, thorough: bool = False) -> None:
    """One fault at one place: the answer is honest, and afterwards everything works.

    Args:
        thorough: a request to object storage, which all kinds of calls send, is struck in one act after the other.

    Raises AssertionError naming what does not hold.
    """
    if len(world.promised) > _MOST_PROMISES:
        await world.tidy()
    every = thorough and site.kind is Kind.BUCKET
    names = route.acts[site][:_MOST_ACTS_OF_A_REQUEST] if every else route.towards(site)
    struck = 0
    for name in names:
        struck += await _strike_with(world, site, mode, name)
        if struck and not every:
            break
    assert struck, f"none of {names} came by"


async def _strike_with(world: FaultWorld, site: Site, mode: Mode, name: str) -> bool:
    """False if the act did not come by the place this time."""
    act = await ACTS[name](world)
    plan = world.layer.arm(site, mode)
    try:
        failed = await _struck(world, act, plan)
    finally:
        world.layer.disarm()
    try:
        if plan.struck and site.kind in (Kind.STORAGE, Kind.BUCKET):
            await world.nothing_is_late()
        if act.between is not None and failed is not None:
            await _patiently(world, act.between)
        if failed is not None or act.background:
            await _again(world, act)
        if act.check is not None:
            await _patiently(world, act.check)
    except AssertionError as error:
        raise AssertionError(f"{name}: {error}; the first answer: {failed!r}") from error
    return plan.struck


async def _struck(world: FaultWorld, act: Act, plan: Plan) -> Exception | None:
    """The act under the fault; the error that it answered."""
    running = asyncio.ensure_future(_in_time(act))
    if plan.mode in (Mode.CRASH_BEFORE, Mode.CRASH_AFTER):
        return await _crashed(world, running, act, plan)
    try:
        _judge(act, await running)
    except HONEST as error:
        return error
    if act.background and not plan.struck:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(plan.fired.wait(), _LATER_SECONDS)
    return None


async def _crashed(world: FaultWorld, running: asyncio.Future[object], act: Act, plan: Plan) -> Exception | None:
    """As the supervisor does, the process is started again; who waited for it gets an error or the right answer."""
    struck = asyncio.ensure_future(plan.fired.wait())
    await asyncio.wait({running, struck}, return_when=asyncio.FIRST_COMPLETED)
    if act.background and not plan.struck:
        await asyncio.wait({struck}, timeout=_LATER_SECONDS)
    struck.cancel()
    failed: Exception | None = None
    if plan.struck and plan.process in world.parts:
        await asyncio.sleep(0.02)
        await world.restart(plan.process)
        await world.a_minute_passes()
    try:
        _judge(act, await running)
    except HONEST as error:
        failed = error
    if plan.struck and plan.process not in world.parts:  # a command: nobody starts it again but who called it
        world.layer.revive(plan.process)
    return failed


async def _in_time(act: Act) -> object:
    """What `run` answers. Raises AssertionError when it hangs."""
    running = asyncio.ensure_future(act.run())
    await asyncio.wait({running}, timeout=_RUN_SECONDS)
    if not running.done():
        running.cancel()
        raise AssertionError(f"no answer in {_RUN_SECONDS} s")
    return await running


def _judge(act: Act, answer: object) -> None:
    if act.reads:
        assert answer == act.expected, f"a wrong answer without an error: {answer!r}, right is {act.expected!r}"


async def _again(world: FaultWorld, act: Act) -> None:
    """The same call once more, as a user does."""

    async def run() -> None:
        try:
            answer = await _in_time(act)
        except act.done:
            return
        _judge(act, answer)

    await _patiently(world, run)


async def _patiently(world: FaultWorld, work: object) -> None:
    """Work that may meet the lease of what the fault has cut off, for a while."""
    for attempt in range(_TRIES):
        try:
            await work()  # type: ignore[operator]
        except HONEST as error:
            if attempt == _TRIES - 1:
                raise AssertionError(f"does not recover: {type(error).__name__}: {error}") from error
            await asyncio.sleep(_PAUSE)
            if attempt == 1:
                await world.a_minute_passes()
        else:
            return


def load_acts() -> None:
    """Register all acts."""
    for name in (
        "sessions",
        "snapshots",
        "chunks",
        "stores",
        "namespaces",
        "collection",
        "keeping",
        "metering",
        "accounts",
        "others",
        "commands",
    ):
        importlib.import_module(f"testkit.faults.acts_{name}")


@contextlib.contextmanager
def installed(storage: Storage = Storage.DIRECTORY) -> Iterator[Layer]:
    """The layer, in place; the services' logs, which would tell of each fault at length, are silent meanwhile."""
    layer = Layer().install()
    if storage is Storage.BUCKET:
        BucketLayer(layer)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield layer
    finally:
        structlog.reset_defaults()
        layer.remove()
