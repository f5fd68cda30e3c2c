"""A compiled query and how it runs, without locks at once, with locks row by row as `LockRows` does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from testkit.simulator.postgres.failures import not_serializable, postgres_error
from testkit.simulator.postgres.joins import Join
from testkit.simulator.postgres.locks import lock
from testkit.simulator.postgres.rows import Version
from testkit.simulator.postgres.scope import CONTEXT, Compute, Context, Frame
from testkit.simulator.postgres.sorting import SortKey, sort_by

Values = tuple[Any, ...]
Prepare = Callable[[Iterator[None], Frame], list[Frame]]


@dataclass(slots=True)
class RowLock:
    """Lock the rows of one source."""

    slot: int
    mode: int
    policy: int


async def lock_newest(context: Context, version: Version, mode: int, policy: int) -> Version | None:
    """Lock a row that the statement sees as `version`.

    Answers:
        its newest version (another one: look at the conditions again); None: skipped, gone, or changed by this command.

    Raises:
        asyncpg.SerializationError: repeatable read, and the row was changed after the snapshot.
    """
    who, row = context.transaction, version.row
    if not row.take(who, mode) and not await lock(row, who, mode, policy):
        return None
    newest = row.newest(who)
    if newest is version:
        return version
    if newest is None:
        if version.ended_by is not who and who.isolated:
            raise not_serializable("delete")
        return None
    if newest.by is who:
        return None
    if who.isolated:
        raise not_serializable("update")
    return newest


@dataclass(slots=True)
class Query:
    """`columns`: names and types of what it gives; `outside`: slots of queries around it that it reads."""

    columns: list[tuple[str, str | None]]
    computes: list[Compute]
    join: Join
    outside: frozenset[int] = frozenset()
    order: list[SortKey] = field(default_factory=list)
    limit: Compute | None = None
    offset: Compute | None = None
    locks: list[RowLock] = field(default_factory=list)
    prepare: Prepare | None = None
    """Aggregates and window functions: from the rows of the join the frames that the result is computed of."""
    rest: list[Query] = field(default_factory=list)
    """Further parts of a UNION ALL."""

    def run(self, frame: Frame) -> list[Values]:
        """All rows; must not be asked of a query with locks."""
        computes = self.computes
        if self.prepare is not None:
            found = self._sorted_frames(frame)
        elif self.order:
            found = self._sorted(frame)
        elif len(computes) == 1:
            only = computes[0]
            found = [(only(frame),) for _ in self.join.scan(frame)]
        else:
            found = [tuple([compute(frame) for compute in computes]) for _ in self.join.scan(frame)]
        if self.limit is not None or self.offset is not None:
            first, last = self._bounds(frame)
            found = found[first:last]
        for other in self.rest:
            found += other.run(frame)
        return found

    def finds_any(self, frame: Frame) -> bool:
        """Whether there is a row."""
        if self.prepare is None and self.limit is None and self.offset is None and not self.rest:
            return next(iter(self.join.scan(frame)), self) is None
        return bool(self.run(frame))

    async def run_locking(self, frame: Frame) -> list[Values]:
        """All rows, locked in their order; those that are gone or no longer fit after a wait are left out."""
        candidates: list[tuple[list[Any], Values, Frame]] = []
        for _ in self.join.scan(frame):
            keys = [key.compute(frame) for key in self.order]
            candidates.append((keys, tuple([compute(frame) for compute in self.computes]), frame[:]))
        sort_by(candidates, self.order, lambda row: row[0])
        first, last = self._bounds(frame)
        found: list[Values] = []
        passed = 0
        for _, values, saved in candidates:
            if last is not None and passed >= last:
                break
            locked = await self._lock(frame[CONTEXT], values, saved)
            if locked is not None:
                passed += 1
                if passed > first:
                    found.append(locked)
        return found

    async def _lock(self, context: Context, values: Values, saved: Frame) -> Values | None:
        changed = False
        for wanted in self.locks:
            version = saved[wanted.slot + 1]
            if version is None:  # an outer join found nothing
                continue
            newest = await lock_newest(context, version, wanted.mode, wanted.policy)
            if newest is None:
                return None
            if newest is not version:
                changed = True
                saved[wanted.slot], saved[wanted.slot + 1] = newest.values, newest
        if not changed:
            return values
        if not self.join.still_true(saved):
            return None
        return tuple([compute(saved) for compute in self.computes])

    def _sorted(self, frame: Frame) -> list[Values]:
        computes, order = self.computes, self.order
        keyed: list[tuple[Sequence[Any], Values]] = []
        for _ in self.join.scan(frame):
            values = tuple([compute(frame) for compute in computes])
            keyed.append(([key.compute(frame) for key in order], values))
        sort_by(keyed, order, lambda row: row[0])
        return [values for _, values in keyed]

    def _sorted_frames(self, frame: Frame) -> list[Values]:
        assert self.prepare is not None
        frames = self.prepare(self.join.scan(frame), frame)
        keyed = [([key.compute(item) for key in self.order], item) for item in frames]
        sort_by(keyed, self.order, lambda row: row[0])
        return [tuple([compute(item) for compute in self.computes]) for _, item in keyed]

    def _bounds(self, frame: Frame) -> tuple[int, int | None]:
        offset = 0 if self.offset is None else self.offset(frame) or 0
        limit = None if self.limit is None else self.limit(frame)
        if offset < 0 or (limit is not None and limit < 0):
            raise postgres_error(asyncpg.InvalidRowCountInLimitClauseError, "LIMIT must not be negative")
        return offset, None if limit is None else offset + limit
