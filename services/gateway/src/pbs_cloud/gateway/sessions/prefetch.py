"""Reading ahead of a restore: indexes say which chunks come next (architecture: the way of a restore).

A client that asks for one chunk at a time would otherwise wait for the backend each time. Only a client that follows an
index in its order is served ahead; one that jumps about costs nothing more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from pbs_cloud.formats.index import DynamicIndex, FixedIndex
from pbs_cloud.gateway.sessions.transfer import ReceivedChunk

DEPTH: Final = 4
MAX_BYTES: Final = 16 * 1024 * 1024
"""Plaintext bytes of chunks that are read ahead for one session."""
LOOK_AHEAD: Final = 16
"""Entries that may be left out (they are cached by the client) without losing the place."""
PROOF: Final = 2
"""Requests in index order before anything is read ahead."""
OVERHEAD: Final = 64

Fetch = Callable[[bytes, int], Coroutine[Any, Any, ReceivedChunk]]


@dataclass(slots=True)
class _Place:
    """Where a client is in an index."""

    index: FixedIndex | DynamicIndex
    position: int = 0
    hits: int = 0

    def follow(self, digest: bytes) -> bool:
        """Whether ``digest`` is what comes next; moves behind it."""
        for position in range(self.position, min(self.position + LOOK_AHEAD, len(self.index))):
            if self.index.digest(position) == digest:
                self.position = position + 1
                self.hits += 1
                return True
        return False


class Prefetcher:
    """Chunks of one session that were asked for before the client did. ``fetch(digest, capacity)`` reads one."""

    def __init__(self, fetch: Fetch, may_read: Callable[[], bool] = lambda: True) -> None:
        self._fetch = fetch
        self._may_read = may_read
        self._places: list[_Place] = []
        self._ahead: dict[bytes, tuple[asyncio.Task[ReceivedChunk], int]] = {}
        self._closed = False

    def opened(self, index: FixedIndex | DynamicIndex) -> None:
        """The client has an index."""
        self._places.append(_Place(index))
        del self._places[:-LOOK_AHEAD]

    async def get(self, digest: bytes, capacity: int) -> ReceivedChunk:
        """A chunk, perhaps one that is here already; reading ahead goes on behind it."""
        ahead = self._ahead.pop(digest, None)
        self._read_on(digest)
        if ahead is not None:
            try:
                return await ahead[0]
            except asyncio.CancelledError:
                _discard(ahead[0])
                raise
            except Exception:
                return await self._fetch(digest, capacity)  # its own failure, if there is one, is the answer
        return await self._fetch(digest, capacity)

    def close(self) -> None:
        """The session ended: what was read for nothing is given back."""
        self._closed = True
        for task, _ in self._ahead.values():
            _discard(task)
        self._ahead.clear()
        self._places.clear()

    def _read_on(self, digest: bytes) -> None:
        place = next((found for found in self._places if found.follow(digest)), None)
        if place is None or place.hits < PROOF or self._closed or not self._may_read():
            return
        self._drop_unused(place)
        end = min(place.position + LOOK_AHEAD, len(place.index))
        for position in range(place.position, end):
            start, stop = place.index.chunk_range(position)
            size = stop - start
            wanted = place.index.digest(position)
            if wanted in self._ahead or wanted == digest:
                continue
            if len(self._ahead) >= DEPTH or sum(held for _, held in self._ahead.values()) + size > MAX_BYTES:
                return
            self._ahead[wanted] = (asyncio.create_task(self._fetch(wanted, size + OVERHEAD)), size)

    def _drop_unused(self, place: _Place) -> None:
        """Chunks that the client passed by: it had them already."""
        end = min(place.position + LOOK_AHEAD, len(place.index))
        coming = {place.index.digest(position) for position in range(place.position, end)}
        for digest in [found for found in self._ahead if found not in coming]:
            _discard(self._ahead.pop(digest)[0])


def _discard(task: asyncio.Task[ReceivedChunk]) -> None:
    """Free a chunk when it is here; the call itself is not broken off, since its memory is being written."""

    def free(done: asyncio.Task[ReceivedChunk]) -> None:
        if not done.cancelled() and done.exception() is None:
            done.result().free()

    task.add_done_callback(free)
