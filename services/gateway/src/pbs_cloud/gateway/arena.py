"""Memory for chunk bodies: slots of one region that chunkstore shares, and private memory when there is no slot.

The region stays mapped and warm for the life of the process, so slots cost no page faults (data-plane.md).
"""

from __future__ import annotations

import asyncio
import mmap
from bisect import insort
from collections import deque
from typing import Final

GRANULE: Final = 64 * 1024
QUARANTINE_SECONDS: Final = 130.0
"""How long a slot rests whose call had no answer: longer than the other side may still use it."""


class PrivateMemory:
    """Anonymous memory of its own; pages that were never written cost nothing."""

    def __init__(self, size: int) -> None:
        self._map = mmap.mmap(-1, max(1, size), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.view = memoryview(self._map)

    def free(self) -> None:
        """Unmap."""
        self.view.release()
        try:
            self._map.close()
        except BufferError:
            return  # a slice is still being sent; the mapping goes with its last user


class Slot:
    """``size`` bytes at ``offset`` of the arena's region."""

    __slots__ = ("_arena", "extent", "offset", "size", "view")

    def __init__(self, arena: Arena, offset: int, size: int, extent: int) -> None:
        self._arena: Arena | None = arena
        self.offset = offset
        self.size = size
        self.extent = extent
        self.view = arena.memory[offset : offset + size]

    def free(self) -> None:
        """Give the slot back; idempotent."""
        arena, self._arena = self._arena, None
        if arena is not None:
            arena.give_back(self.offset, self.extent)

    def quarantine(self) -> None:
        """Give the slot back later: the other side may still use it."""
        arena, self._arena = self._arena, None
        if arena is not None:
            arena.let_rest(self.offset, self.extent)


class Arena:
    """First-fit allocator over ``memory``; ``region`` is the name chunkstore knows it by, None if it is private."""

    def __init__(self, memory: memoryview, region: bytes | None = None) -> None:
        self.memory = memory
        self.region = region
        self._free: list[tuple[int, int]] = [(0, len(memory))]
        self._waiting: deque[tuple[int, asyncio.Future[Slot]]] = deque()
        self._resting: dict[tuple[int, int], asyncio.TimerHandle] = {}

    @property
    def free_bytes(self) -> int:
        """Bytes that no slot uses."""
        return sum(size for _, size in self._free)

    def allocate(self, size: int) -> Slot | None:
        """A slot of at least ``size`` bytes, None if there is no room or others wait for it."""
        return None if self._waiting else self._allocate(size)

    async def acquire(self, size: int) -> Slot:
        """A slot of ``size`` bytes, in the order of asking. Raises ValueError if it can never fit."""
        if size > len(self.memory):
            raise ValueError(f"{size} bytes do not fit an arena of {len(self.memory)}")
        slot = self.allocate(size)
        if slot is not None:
            return slot
        future: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, future))
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                future.result().free()
            raise

    def let_rest(self, offset: int, extent: int) -> None:
        """Free an extent when nobody can use it any more."""
        timer = asyncio.get_running_loop().call_later(QUARANTINE_SECONDS, self._rested, offset, extent)
        self._resting[offset, extent] = timer

    def free_resting(self) -> None:
        """The other process is dead: free what waited for it."""
        for (offset, extent), timer in list(self._resting.items()):
            timer.cancel()
            self._rested(offset, extent)

    def _rested(self, offset: int, extent: int) -> None:
        del self._resting[offset, extent]
        self.give_back(offset, extent)

    def give_back(self, offset: int, extent: int) -> None:
        """Free an extent and serve who waits."""
        insort(self._free, (offset, extent))
        at = self._free.index((offset, extent))
        for left in (at, at - 1):
            if 0 <= left < len(self._free) - 1:
                (start, size), (following, more) = self._free[left], self._free[left + 1]
                if start + size == following:
                    self._free[left : left + 2] = [(start, size + more)]
        self._serve()

    def _serve(self) -> None:
        while self._waiting:
            size, future = self._waiting[0]
            if not future.cancelled():
                slot = self._allocate(size)
                if slot is None:
                    return
                future.set_result(slot)
            self._waiting.popleft()

    def _allocate(self, size: int) -> Slot | None:
        extent = -(-max(1, size) // GRANULE) * GRANULE
        for at, (offset, room) in enumerate(self._free):
            if room >= extent:
                if room == extent:
                    del self._free[at]
                else:
                    self._free[at] = (offset + extent, room - extent)
                return Slot(self, offset, size, extent)
        return None
