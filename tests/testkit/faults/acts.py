"""What the product is asked to do while a fault strikes: the smallest call for each place in the sources."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.errors import AlreadyExists, Conflict, NotFound, PbsError
from testkit.chunk_world import Chunk, plain_chunk
from testkit.faults.world import FaultWorld
from testkit.maintenance import FIRST_TIME, STORE

_numbers = itertools.count(1)


def fresh(prefix: str = "g") -> str:
    """A name that nobody else uses."""
    return f"{prefix}{next(_numbers)}"


@dataclass
class Act:
    """One call, prepared.

    Args:
        run: does it and answers what was seen; raises a `PbsError` for whatever did not work.
        check: what must be true once `run` has succeeded.
        reads: `run` only looks: whenever it answers, the answer is ``expected``.
        done: errors with which a repeated `run` says that the first one had its effect.
        between: what must be true after a failed `run`, before anybody tries again.
        background: nobody waits for an answer; the work is done sooner or later.
    """

    run: Callable[[], Awaitable[Any]]
    check: Callable[[], Awaitable[Any]] | None = None
    reads: bool = False
    expected: Any = None
    done: tuple[type[PbsError], ...] = ()
    between: Callable[[], Awaitable[Any]] | None = None
    background: bool = False


Prepare = Callable[[FaultWorld], Awaitable[Act]]
ACTS: dict[str, Prepare] = {}


def act(prepare: Prepare) -> Prepare:
    """Register an act under the name of its function."""
    ACTS[prepare.__name__] = prepare
    return prepare


async def reading(run: Callable[[], Awaitable[Any]]) -> Act:
    """An act that only looks."""
    return Act(run, reads=True, expected=await run())


def group(ns: str = "", backup_id: str | None = None) -> t.GroupRef:
    """A group that nobody else uses."""
    return t.GroupRef(STORE, ns, "host", backup_id or fresh())


def key_of(ref: t.GroupRef, number: int = 0) -> t.SnapshotKey:
    """Its snapshot number ``number``."""
    return t.SnapshotKey(ref, FIRST_TIME + number)


def chunks(count: int = 2) -> list[Chunk]:
    """New chunks."""
    return [plain_chunk(200) for _ in range(count)]


async def snapshot(world: FaultWorld, ref: t.GroupRef | None = None, number: int = 0, count: int = 2) -> t.SnapshotKey:
    """A committed snapshot of its own group with one archive and one blob."""
    from pbs_cloud.formats import blob

    key = key_of(ref or group(), number)
    await world.back_up(key, {"a.pxar.didx": chunks(count)}, {"c.conf.blob": blob.encode(b"configuration")})
    return key


async def gone(world: FaultWorld, key: t.SnapshotKey) -> None:
    """A snapshot that was deleted is not listed; nothing is promised about it any more."""
    world.promised.pop(key, None)
    assert key.backup_time not in await times(world, key.group)


async def times(world: FaultWorld, ref: t.GroupRef) -> list[int]:
    """Finished snapshots of a group as they are listed."""
    found = await world.snapshots(ref.ns, ref.store, backup_type=ref.backup_type, backup_id=ref.backup_id)
    return sorted(item.backup_time for item in found if item.size is not None)


MISSING = (NotFound, Conflict)
EXISTS = (AlreadyExists, Conflict)
