"""One writer per digest in this process: held from the claim until the row is `live` (formats 9.9)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class DigestLocks:
    """Locks by digest, in order of arrival. `contended` is called when somebody has to wait."""

    def __init__(self, contended: Callable[[], None] = lambda: None) -> None:
        self._waiting: dict[bytes, deque[asyncio.Future[None]]] = {}
        self._contended = contended

    def is_held(self, digest: bytes) -> bool:
        """Whether somebody has the lock."""
        return digest in self._waiting

    async def acquire(self, digest: bytes) -> None:
        """Get the lock; cancelling the wait leaves nothing behind."""
        queue = self._waiting.get(digest)
        if queue is None:
            self._waiting[digest] = deque()
            return
        turn = asyncio.get_running_loop().create_future()
        queue.append(turn)
        self._contended()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(digest)
            raise

    def release(self, digest: bytes) -> None:
        """Hand the lock to the next in line."""
        queue = self._waiting[digest]
        while queue:
            turn = queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._waiting[digest]
