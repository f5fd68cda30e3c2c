"""The process ``catalogue``."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from pbs_cloud.chunkstore.backends.opening import open_backend
from pbs_cloud.chunkstore.backends.port import ChunkBackend, StoreLocation
from pbs_cloud.chunkstore.catalogue import rpc
from pbs_cloud.chunkstore.catalogue.announce import PRODUCER
from pbs_cloud.chunkstore.catalogue.parts import Backends, FileWrites, Parts
from pbs_cloud.chunkstore.catalogue.services import Services
from pbs_cloud.chunkstore.collection import rpc as collection_rpc
from pbs_cloud.runtime.bus import Bus
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.grpc_server import GrpcServer
from pbs_cloud.runtime.lifecycle import BackgroundTask, Component, run_components
from pbs_cloud.runtime.outbox import OutboxRelay
from pbs_cloud.runtime.settings import Settings

_CONNECTIONS = 20
_THREADS = max(8, 2 * (os.cpu_count() or 2))


class _Storage(Component):
    """Backends and the threads that they block."""

    name = "storage"

    def __init__(self, settings: Settings) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="storage")
        opener = partial(_open, settings, self._threads)
        self.backends = Backends(opener)

    async def stop(self) -> None:
        await self.backends.close()
        self._threads.shutdown(wait=False, cancel_futures=True)


def _open(settings: Settings, threads: ThreadPoolExecutor, place: StoreLocation) -> ChunkBackend:
    return open_backend(settings, place, threads)


async def main(settings: Settings) -> None:
    """Serve ``Catalogue`` until SIGTERM."""
    await run_components(settings, components(settings))


def components(settings: Settings) -> list[Component]:
    """The parts of the process in the order of their start."""
    url = settings.database_url_for("chunkstore")
    database = Database(url, schema="chunkstore", application_name="catalogue", max_size=_CONNECTIONS)
    bus = Bus(settings.required_nats_url, name="catalogue")
    storage = _Storage(settings)
    parts = Parts(database, storage.backends, settings, FileWrites())
    services = Services.build(parts)
    server = GrpcServer("catalogue", settings.services.catalogue, settings, ready=database.ready)
    rpc.serve(server, services)
    collection_rpc.serve(server, parts, services.closing)
    upkeep = BackgroundTask("upkeep", services.upkeep.run)
    relay = OutboxRelay(database, bus, producer=PRODUCER)
    return [database, bus, relay, storage, services.background, upkeep, server]
