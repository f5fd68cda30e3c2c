"""Row and advisory locks: modes, conflicts, first come first served, deadlocks.

Like Postgres: whoever asks for a mode that does not conflict with the holders gets it at once, even if others wait (so
a steady stream of KEY SHARE can starve an UPDATE); those who must wait are served in order. A deadlock is found when
the wait that closes the circle begins, and that transaction is its victim.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
from testkit.simulator.postgres.failures import postgres_error

if TYPE_CHECKING:
    from testkit.simulator.postgres.rows import Transaction

KEY_SHARE, SHARE, NO_KEY_UPDATE, UPDATE = range(4)
BLOCK, SKIP, FAIL = range(3)
"""What to do when a lock is not free: wait, SKIP LOCKED, NOWAIT."""

# for each mode a bit set of the modes it conflicts with
CONFLICTS = (0b1000, 0b1100, 0b1110, 0b1111)


class Wait:
    """A transaction that waits for a lock, or (`lock` None) for the end of `target`."""

    __slots__ = ("future", "lock", "mode", "target", "who")

    def __init__(
        self, who: Transaction, lock: Lockable | None, mode: int = UPDATE, target: Transaction | None = None
    ) -> None:
        self.who = who
        self.lock = lock
        self.mode = mode
        self.target = target
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def blockers(self) -> list[Transaction]:
        """Whom it waits for: holders, and earlier waiters that conflict; nobody once it has the lock."""
        if self.future.done():
            return []
        if self.lock is None:
            return [] if self.target is None else [self.target]
        conflicts = CONFLICTS[self.mode]
        found = [holder for holder, mode in self.lock.holders.items() if conflicts >> mode & 1]
        for other in self.lock.waiters:
            if other is self:
                break
            if conflicts >> other.mode & 1:
                found.append(other.who)
        return [who for who in found if who is not self.who]


class Lockable:
    """Something that transactions lock until they end."""

    __slots__ = ("holders", "waiters")

    def __init__(self) -> None:
        self.holders: dict[Transaction, int] = {}
        self.waiters: list[Wait] = []

    def take(self, who: Transaction, mode: int) -> bool:
        """Lock it if nobody else holds a conflicting mode."""
        holders = self.holders
        if holders:
            conflicts = CONFLICTS[mode]
            held = -1
            for holder, other in holders.items():
                if holder is who:
                    held = other
                elif conflicts >> other & 1:
                    return False
            if held >= 0:
                if mode > held:
                    holders[who] = mode
                return True
        holders[who] = mode
        who.locks.append(self)
        return True

    async def wait(self, who: Transaction, mode: int) -> None:
        """Lock it after `take` has failed. Raises asyncpg.DeadlockDetectedError."""
        waiting = Wait(who, self, mode)
        self.waiters.append(waiting)
        try:
            await wait_for(waiting)
        finally:
            if waiting in self.waiters:  # cancelled, a deadlock, or the connection was lost
                self.waiters.remove(waiting)
                self.grant()

    def free(self, who: Transaction) -> None:
        """`who` has ended."""
        self.holders.pop(who, None)
        if self.waiters:
            self.grant()

    def grant(self) -> None:
        """Give the lock to those waiters who can have it, in order."""
        passed = 0
        left: list[Wait] = []
        for waiting in self.waiters:
            mode = waiting.mode
            if not CONFLICTS[mode] & passed and not waiting.future.done() and self.take(waiting.who, mode):
                waiting.future.set_result(None)
            else:
                passed |= 1 << mode
                left.append(waiting)
        self.waiters = left


async def lock(what: Lockable, who: Transaction, mode: int, policy: int) -> bool:
    """Lock according to a policy; False: it is locked and was skipped.

    Raises asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError.
    """
    if what.take(who, mode):
        return True
    if policy == SKIP:
        return False
    if policy == FAIL:
        raise postgres_error(asyncpg.LockNotAvailableError, "could not obtain lock on row")
    await what.wait(who, mode)
    return True


async def wait_for_end(of: Transaction, who: Transaction) -> None:
    """Wait until another transaction has ended. Raises asyncpg.DeadlockDetectedError."""
    if of.ended:
        return
    waiting = Wait(who, None, target=of)
    of.watchers.append(waiting)
    try:
        await wait_for(waiting)
    finally:
        if waiting in of.watchers:
            of.watchers.remove(waiting)


async def wait_for(waiting: Wait) -> None:
    who = waiting.who
    who.waiting = waiting
    try:
        if _closes_circle(waiting):
            raise postgres_error(asyncpg.DeadlockDetectedError, "deadlock detected")
        await waiting.future
    finally:
        who.waiting = None


def _closes_circle(waiting: Wait) -> bool:
    known: list[Transaction] = []
    ahead = waiting.blockers()
    while ahead:
        who = ahead.pop()
        if who is waiting.who:
            return True
        if who not in known:
            known.append(who)
            if who.waiting is not None:
                ahead += who.waiting.blockers()
    return False
