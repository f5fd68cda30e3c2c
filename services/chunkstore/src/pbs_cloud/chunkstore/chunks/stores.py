"""The open datastores of this process; each local directory is locked for as long as it is open."""

from __future__ import annotations

import asyncio
import uuid
from concurrent.futures import ThreadPoolExecutor

from pbs_cloud.chunkstore.backends import StoreLocation, open_backend, store_location
from pbs_cloud.chunkstore.chunks.publishing import StoreIds
from pbs_cloud.chunkstore.chunks.quota import QuotaLedger
from pbs_cloud.chunkstore.chunks.store import ChunkStore
from pbs_cloud.contracts.errors import Locked, PbsError
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.lifecycle import Component
from pbs_cloud.runtime.logging import get_logger
from pbs_cloud.runtime.settings import Settings

_ALL_LOCAL = """
SELECT id, tenant_id, backend_type, location, config, uuid FROM datastore
WHERE state = 'active' AND backend_type = 'filesystem' ORDER BY id
"""
_STILL_THERE = "SELECT id FROM datastore WHERE id = ANY($1::int[]) AND state IN ('creating', 'active')"
_RELEASE_SECONDS = 30.0
_log = get_logger(__name__)


class StoreRegistry(Component):
    """Opens datastores at the start (local ones, to own their directories) or when they are first used.

    `start` fails with `Locked` when another process owns one of the directories: two must never write into one.
    """

    name = "datastores"

    def __init__(self, settings: Settings, database: Database, *, io_threads: int, check_threads: int) -> None:
        self._settings = settings
        self._database = database
        self._writer = uuid.uuid4()
        self._quota = QuotaLedger()
        self._stores: dict[int, asyncio.Task[ChunkStore]] = {}
        self._places: dict[tuple[str, str], int] = {}
        self.io = ThreadPoolExecutor(io_threads, thread_name_prefix="io")
        self.checks = ThreadPoolExecutor(check_threads, thread_name_prefix="check")

    async def start(self) -> None:
        async with self._database.system() as db:
            rows = await db.fetch(_ALL_LOCAL)
        for row in rows:
            try:
                await self.get(row["id"], row["tenant_id"], store_location(row))
            except Locked:
                raise
            except PbsError as error:
                _log.error("datastore cannot be opened", datastore=row["id"], error=error.message)

    async def stop(self) -> None:
        for task in self._stores.values():
            if task.done() and not task.cancelled() and task.exception() is None:
                await task.result().close()
        self.checks.shutdown()
        self.io.shutdown()

    async def release_removed(self) -> None:
        """For ever: let go of directories whose datastore was removed; open descriptors would keep their bytes."""
        while True:
            await asyncio.sleep(_RELEASE_SECONDS)
            async with self._database.system() as db:
                kept = {row["id"] for row in await db.fetch(_STILL_THERE, list(self._stores))}
            for datastore in self._stores.keys() - kept:
                task = self._stores.pop(datastore)
                if task.done() and not task.cancelled() and task.exception() is None:
                    await task.result().close()

    async def get(self, datastore: int, tenant: str, location: StoreLocation) -> ChunkStore:
        """The open datastore; opens it once, however many ask."""
        task = self._stores.get(datastore)
        if task is None:
            task = self._stores[datastore] = asyncio.create_task(self._open(datastore, tenant, location))
        try:
            return await asyncio.shield(task)
        except PbsError:
            if self._stores.get(datastore) is task:
                del self._stores[datastore]
            raise

    async def _open(self, datastore: int, tenant: str, location: StoreLocation) -> ChunkStore:
        await self._close_predecessor(datastore, location)
        backend = open_backend(self._settings, location, self.io)
        await backend.own()
        self._places[location.backend_type, location.location] = datastore
        ids = StoreIds(datastore, tenant, self._writer)
        return ChunkStore(self._database, backend, ids, self._quota, self.checks)

    async def _close_predecessor(self, datastore: int, location: StoreLocation) -> None:
        """Let go of a place whose datastore was removed, when a new one has been made there."""
        previous = self._places.get((location.backend_type, location.location))
        task = None if previous in (None, datastore) else self._stores.pop(previous or 0, None)
        if task is not None:
            await (await task).close()
