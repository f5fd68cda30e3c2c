"""What every part of the catalogue works with."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from pbs_cloud.chunkstore.backends.port import ChunkBackend, StoreLocation
from pbs_cloud.chunkstore.catalogue.rows import Store
from pbs_cloud.contracts.errors import Conflict, Unavailable
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.settings import Settings

T = TypeVar("T")

LEASE_SECONDS = 60.0
SETTLE_SECONDS = 30.0
LATE_WRITE_SECONDS = 35 * 60.0
"""Q of formats 9.9: after this no request of a dead process can reach an object store any more."""


class Backends:
    """The open backend of each datastore."""

    def __init__(self, open_one: Callable[[StoreLocation], ChunkBackend]) -> None:
        self._open_one = open_one
        self._opened: dict[int, ChunkBackend] = {}

    def of(self, store: Store) -> ChunkBackend:
        """The backend of a datastore, opened at its first use."""
        found = self._opened.get(store.id)
        if found is None:
            found = self._opened[store.id] = self._open_one(store.place)
        return found

    async def forget(self, store: Store) -> None:
        """Close the backend of a datastore that is gone."""
        found = self._opened.pop(store.id, None)
        if found is not None:
            await found.close()

    async def close(self) -> None:
        """Close all."""
        for backend in self._opened.values():
            await backend.close()
        self._opened.clear()


class FileWrites:
    """Writes into snapshots that run in this process, so that a removal comes after the last of them.

    A write registers before it looks at the snapshot's state and leaves after its row is in the database. So it either
    sees that the snapshot is being removed, or the removal waits for it.
    """

    def __init__(self) -> None:
        self._running: defaultdict[int, int] = defaultdict(int)
        self._finishing: set[int] = set()
        self._names: set[tuple[int, str]] = set()
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def into(self, snapshot_id: int) -> AsyncIterator[None]:
        """A write into a snapshot. Raises Conflict while the snapshot is being finished."""
        if snapshot_id in self._finishing:
            raise Conflict("the backup is being finished")
        self._running[snapshot_id] += 1
        try:
            yield
        finally:
            await self._leave(snapshot_id)

    async def _leave(self, snapshot_id: int) -> None:
        self._running[snapshot_id] -= 1
        if not self._running[snapshot_id]:
            del self._running[snapshot_id]
        async with self._changed:
            self._changed.notify_all()

    @asynccontextmanager
    async def of_file(self, snapshot_id: int, name: str) -> AsyncIterator[None]:
        """`into`, and for one file after the other: bytes and row of a name come from the same write."""
        async with self.into(snapshot_id):
            async with self._changed:
                await self._changed.wait_for(lambda: (snapshot_id, name) not in self._names)
                self._names.add((snapshot_id, name))
            try:
                yield
            finally:
                self._names.discard((snapshot_id, name))

    @asynccontextmanager
    async def alone(self, snapshot_id: int) -> AsyncIterator[None]:
        """The last write into a snapshot: waits for all others, also of its kind, and lets no new one in."""
        async with self._changed:
            await self._changed.wait_for(lambda: snapshot_id not in self._finishing)
            self._finishing.add(snapshot_id)
        try:
            async with self._changed:
                await self._changed.wait_for(lambda: snapshot_id not in self._running)
            self._running[snapshot_id] += 1
            try:
                yield
            finally:
                await self._leave(snapshot_id)
        finally:
            self._finishing.discard(snapshot_id)
            async with self._changed:
                self._changed.notify_all()

    async def settled(self, snapshot_id: int) -> None:
        """Wait until no write into the snapshot runs. Raises Unavailable if that takes too long."""
        try:
            async with asyncio.timeout(SETTLE_SECONDS), self._changed:
                await self._changed.wait_for(lambda: snapshot_id not in self._running)
        except TimeoutError as error:
            raise Unavailable("files of the snapshot are still being written") from error


@dataclass(frozen=True, slots=True)
class Parts:
    """Shared by all services of the process; the two times differ only in tests."""

    database: Database
    backends: Backends
    settings: Settings
    writes: FileWrites
    lease_seconds: float = LEASE_SECONDS
    late_write_seconds: float = LATE_WRITE_SECONDS


_unattended: set[asyncio.Task[Any]] = set()


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` to its end also when the caller goes away in between.

    A call that is cancelled while a thread writes or deletes would leave that thread behind, to strike later at files
    that somebody else has made in the meantime.
    """
    task = asyncio.create_task(work)
    _unattended.add(task)
    task.add_done_callback(_done)
    return await asyncio.shield(task)


def _done(task: asyncio.Task[Any]) -> None:
    _unattended.discard(task)
    if not task.cancelled():
        task.exception()
