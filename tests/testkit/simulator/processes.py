"""The processes of the product, composed by their own modules, in one event loop (see `loop.Process`)."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from testkit.simulator.bucket import BatchClient, Bucket, obstore_of
from testkit.simulator.directory import Directory, DirectoryBackend, chunk_objects, index_files
from testkit.simulator.loop import CURRENT, Process, SimLoop
from testkit.simulator.network import Network, Server

from pbs_cloud.chunkstore.backends import local as local_module
from pbs_cloud.chunkstore.backends import s3 as s3_module
from pbs_cloud.chunkstore.backends.opening import MARK_PREFIX, open_backend
from pbs_cloud.chunkstore.catalogue import main as catalogue_main
from pbs_cloud.chunkstore.catalogue import upkeep
from pbs_cloud.chunkstore.chunks import main as chunks_main
from pbs_cloud.chunkstore.chunks import stores
from pbs_cloud.chunkstore.collection import deleting, index_list, orphans, strays
from pbs_cloud.chunkstore.maintenance import objects, reimport
from pbs_cloud.contracts.auth import Tenant
from pbs_cloud.contracts.chunkstore.catalogue import CatalogueClient
from pbs_cloud.contracts.chunkstore.chunks import ChunksClient
from pbs_cloud.contracts.chunkstore.collection import CollectionClient, SweeperClient
from pbs_cloud.contracts.chunkstore.verifier import VerifierClient
from pbs_cloud.contracts.errors import NotFound, PbsError
from pbs_cloud.formats import layout
from pbs_cloud.gc import mark_set
from pbs_cloud.gc import tasks as gc_tasks
from pbs_cloud.gc.collection import Collection
from pbs_cloud.gc.collection_schedule import CollectionSchedule
from pbs_cloud.gc.prune import Prune
from pbs_cloud.gc.tasks import TaskRunner
from pbs_cloud.gc.verification.verify import Verify
from pbs_cloud.runtime.lifecycle import BackgroundTask, Component
from pbs_cloud.runtime.settings import Settings

TENANT = "tenant"
LEASE_RENEWAL_SECONDS = 15.0
_RESTING = ("removed datastores", "relay", "bus")


@lru_cache(maxsize=64)
def settings_for(backend_type: str, grace: float) -> Settings:
    """Settings of all processes of a world."""
    bucket = {"s3_bucket": "bucket", "s3_endpoint": "http://nowhere"} if backend_type == "s3" else {}
    return Settings(
        data_dir=Path("/nonexistent-simulated"),
        run_dir=Path("/nonexistent-simulated/run"),
        database_url="postgresql://nowhere/pbs",
        nats_url="nats://nowhere",
        gc_grace_seconds=grace,
        gc_disabled=True,
        **bucket,
    )


class _Auth:
    """The one call that the schedule of collections makes."""

    async def list_tenants(self, _ctx: Any) -> tuple[Tenant, ...]:
        return (Tenant(TENANT, TENANT, TENANT, 0, True),)


class _ServerPart(Component):
    """`GrpcServer` of a simulated process."""

    def __init__(self, network: Network, address: str) -> None:
        self.name = f"server {address}"
        self._network = network
        self._address = address
        self._server = Server(CURRENT.get())
        self.add_service = self._server.add_service

    async def start(self) -> None:
        self._network.serve(self._address, self._server)


class _Idle(Component):
    """Takes the place of what a world has no use for."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.name = "bus"


@dataclass(eq=False)
class Gateway:
    """What a worker of the gateway has: clients, and the sessions whose leases it renews."""

    process: Process
    id: str
    chunks: ChunksClient
    catalogue: CatalogueClient
    sessions: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)


@dataclass(eq=False)
class Worker:
    """A replica of the gc service."""

    process: Process
    catalogue: CatalogueClient
    tasks: TaskRunner
    collection: Collection
    prune: Prune
    verify: Verify


@dataclass(eq=False)
class Product:
    """Everything that runs, and what it runs on. `database_of`: a database for the current process."""

    loop: SimLoop
    network: Network
    settings: Settings
    bucket: Bucket
    directory: Directory
    database_of: Callable[[], Any]
    pace: float = 60.0
    """Seconds between two rounds of everything that runs by itself."""
    skews: dict[str, float] = field(default_factory=dict)
    running: dict[str, Process] = field(default_factory=dict)
    parts: dict[str, Any] = field(default_factory=dict)
    stopped: bool = False

    # ------------------------------------------------------------------------------------------------ processes

    def start(self, name: str) -> None:
        """Start a process, again after it was killed: `chunks-0`, `catalogue-1`, `gc-0`, `gateway-1`, …"""
        if self.stopped:
            return
        process = Process(name, self.skews.get(name, 0.0))
        self.running[name] = process
        boot: dict[str, Callable[[str], Coroutine[Any, Any, None]]] = {
            "chunks": self._boot_chunks,
            "catalogue": self._boot_catalogue,
            "gc": self._boot_gc,
            "gateway": self._boot_gateway,
        }
        self.loop.spawn(process, self._until_it_runs(boot[name.partition("-")[0]], name))

    async def _until_it_runs(self, boot: Callable[[str], Coroutine[Any, Any, None]], name: str) -> None:
        """A supervisor starts a process again that ends because of an error."""
        while True:
            try:
                return await boot(name)
            except PbsError:
                await asyncio.sleep(1.0)

    def kill(self, name: str) -> None:
        """kill -9."""
        process = self.running.pop(name, None)
        self.parts.pop(name, None)
        if process is not None:
            self.loop.kill(process)

    def stop(self) -> None:
        """All of it, until `stopped` is taken back: nobody starts a process meanwhile."""
        self.stopped = True
        for name in list(self.running):
            self.kill(name)

    def restart(self, name: str) -> None:
        self.kill(name)
        self.start(name)

    def new_database(self) -> Any:
        """A pool of the current process; its transactions end with it."""
        database = self.database_of()
        CURRENT.get().at_death.append(database.crash)
        return database

    async def _start_parts(self, parts: list[Component]) -> None:
        for part in parts:
            if part.name not in _RESTING:
                await part.start()

    async def _boot_chunks(self, _name: str) -> None:
        await self._start_parts(chunks_main.components(self.settings))

    async def _boot_catalogue(self, _name: str) -> None:
        await self._start_parts(catalogue_main.components(self.settings))

    async def _boot_gc(self, name: str) -> None:
        settings = self.settings
        channel = self.network.channel("catalogue")
        chunks = self.network.channel("chunks")
        catalogue = CatalogueClient(channel)  # type: ignore[arg-type]
        tasks = TaskRunner(catalogue, name)
        collections = CollectionClient(channel)  # type: ignore[arg-type]
        collection = Collection(collections, SweeperClient(chunks), tasks, name)  # type: ignore[arg-type]
        schedule = CollectionSchedule(collections, _Auth(), collection, settings)  # type: ignore[arg-type]
        prune, verify = Prune(catalogue, tasks), Verify(catalogue, VerifierClient(chunks), tasks)  # type: ignore[arg-type]
        await tasks.start()
        await BackgroundTask("take over", schedule.take_over).start()
        await BackgroundTask("collections", lambda: _every(self.pace, schedule.run)).start()
        await BackgroundTask("sweep", lambda: _every(self.pace, catalogue.expire_dead_sessions)).start()
        self.parts[name] = Worker(CURRENT.get(), catalogue, tasks, collection, prune, verify)

    async def _boot_gateway(self, name: str) -> None:
        chunks, catalogue = self.network.channel("chunks"), self.network.channel("catalogue")
        gateway = Gateway(CURRENT.get(), name, ChunksClient(chunks), CatalogueClient(catalogue))  # type: ignore[arg-type]
        await gateway.catalogue.expire_process(name)
        await BackgroundTask("leases", lambda: _renew(gateway)).start()
        self.parts[name] = gateway

    # ------------------------------------------------------------------------------------------------ stand-ins

    def stand_ins(self) -> list[tuple[Any, str, Any]]:
        """What is replaced in the services' modules while a world runs: names at the rim, no rules."""
        obstore = obstore_of(self.bucket)

        def database(_url: str, **_: Any) -> Any:
            return self.new_database()

        def server(name: str, _address: str, _settings: Settings, **_: Any) -> _ServerPart:
            return _ServerPart(self.network, name)

        def backend(settings: Settings, place: Any, threads: Any) -> Any:
            if place.backend_type == "filesystem":
                return DirectoryBackend(self.directory, threads, f"{MARK_PREFIX}{place.uuid}")
            return open_backend(settings, place, threads)

        async def marked_by(backend: Any, settings: Settings) -> str | None:
            if isinstance(backend, DirectoryBackend):
                return self.directory.mark
            return await objects.marked_by(backend, settings)

        def once(_settings: Any) -> BatchClient:
            return BatchClient(self.bucket, fence=deleting._refuse_late)

        def control(_settings: Any) -> BatchClient:
            return BatchClient(self.bucket)

        return [
            (chunks_main, "Database", database),
            (chunks_main, "GrpcServer", server),
            (chunks_main, "shared_regions_supported", lambda: False),
            (catalogue_main, "Database", database),
            (catalogue_main, "GrpcServer", server),
            (catalogue_main, "Bus", _Idle),
            (catalogue_main, "OutboxRelay", _Idle),
            (catalogue_main, "open_backend", backend),
            (stores, "open_backend", backend),
            (reimport, "open_backend", backend),
            (reimport, "marked_by", marked_by),
            (strays, "_list_folder", lambda _root, _folder: ([], index_files(self.directory))),
            (strays.Strays, "read", lambda _strays, key: self._stray(key)),
            (s3_module, "obstore", obstore),
            (s3_module, "data_client", lambda *_, **__: None),
            (s3_module, "control_client", control),
            (orphans, "obstore", obstore),
            (orphans, "data_client", lambda *_, **__: None),
            (orphans, "_local_objects", self._local_objects),
            (objects, "obstore", obstore),
            (objects, "data_client", lambda *_, **__: None),
            (objects, "_FOLDERS_AT_ONCE", 0x10000),
            (objects, "_scan", self._all_chunks),
            (deleting, "_client", once),
            (deleting.LocalDeleter, "_unlink_bad", self._unlink_bad),
            (mark_set, "_nameless_file", io.BytesIO),
            (index_list, "tempfile", SimpleNamespace(TemporaryFile=lambda *_, **__: io.StringIO())),
            (local_module.local_layout, "store_owner", lambda: None),
            (gc_tasks, "RENEW_SECONDS", 15.0),
            (upkeep, "EVERY_SECONDS", self.pace),
        ]

    async def _stray(self, key: str) -> AsyncIterator[bytes]:
        await asyncio.sleep(0)
        try:
            yield self.directory.read(key)
        except FileNotFoundError as error:
            raise NotFound(f"{key} does not exist") from error

    async def _local_objects(self, _backend: Any) -> Any:
        from testkit.simulator.patching import EPOCH

        for digest, bad, size, changed in list(chunk_objects(self.directory)):
            yield orphans.StoredObject(digest, bad, size, EPOCH + changed)

    def _all_chunks(self, _root: Path, _start: int) -> objects.ChunkBatch:
        batch = objects.ChunkBatch()
        for path in self.directory.below(layout.CHUNK_DIR + "/"):
            _, folder, name = path.split("/")
            batch.add(folder, name, len(self.directory.files[path]))
        batch.chunks.sort()
        return batch

    def _unlink_bad(self, digests: Any) -> None:
        for digest in digests:
            for number in range(layout.MAX_BAD_COPIES):
                self.directory.unlink(layout.bad_chunk_path(digest, number), synced=False)


async def _every(seconds: float, work: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    while True:
        with contextlib.suppress(PbsError):
            await work()
        await asyncio.sleep(seconds)


async def _renew(gateway: Gateway) -> None:
    """As the gateway does it: one call for all sessions; what is lost is told to its connection."""
    while True:
        await asyncio.sleep(LEASE_RENEWAL_SECONDS)
        if not gateway.sessions:
            continue
        with contextlib.suppress(PbsError):
            leases = await gateway.catalogue.renew_leases(gateway.id, tuple(gateway.sessions))
            gateway.lost.update(leases.lost_session_ids)
