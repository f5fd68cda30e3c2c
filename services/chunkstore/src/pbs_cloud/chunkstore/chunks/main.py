"""Entry of the `chunks` process. Nothing else runs in it: its interpreter moves chunk bytes (data-plane.md)."""

from __future__ import annotations

import os

from pbs_cloud.chunkstore.chunks.rpc import ChunksRpc
from pbs_cloud.chunkstore.chunks.service import ChunkService
from pbs_cloud.chunkstore.chunks.stores import StoreRegistry
from pbs_cloud.chunkstore.chunks.verification import Verification
from pbs_cloud.chunkstore.chunks.verification_rpc import VerifierRpc
from pbs_cloud.chunkstore.collection import sweeper_rpc
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.grpc_server import GrpcServer
from pbs_cloud.runtime.lifecycle import BackgroundTask, Component, run_components
from pbs_cloud.runtime.settings import Settings
from pbs_cloud.runtime.shared_region import SharedRegionServer, shared_regions_supported

_IO_THREADS = 8
_CONNECTIONS = 8


async def main(settings: Settings) -> None:
    """Serve `Chunks` and `Verifier` until SIGTERM."""
    await run_components(settings, components(settings))


def components(settings: Settings) -> list[Component]:
    """The parts of the process in the order of their start."""
    database = Database(
        settings.database_url_for("chunkstore"), schema="chunkstore", application_name="chunks", max_size=_CONNECTIONS
    )
    threads = min(max(os.cpu_count() or 2, 2), 4)
    stores = StoreRegistry(settings, database, io_threads=_IO_THREADS, check_threads=threads)
    parts: list[Component] = [database, stores, BackgroundTask("removed datastores", stores.release_removed)]
    regions = None
    path = settings.services.chunks_shm
    if path is not None and shared_regions_supported():
        regions = SharedRegionServer(path)
        parts.append(regions)
    server = GrpcServer("chunks", settings.services.chunks, settings, ready=database.ready)
    ChunksRpc(ChunkService(database, stores), regions).add_to(server)
    sweeper_rpc.serve(server, database, stores, settings)
    VerifierRpc(Verification(database, stores)).add_to(server)
    return [*parts, server]
