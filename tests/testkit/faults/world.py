"""All services in one process, each killable by itself, on real Postgres, NATS and a directory or a bucket."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pbs_cloud.auth import component as auth_process
from pbs_cloud.billing import component as billing_process
from pbs_cloud.chunkstore.backends import prefix_folders, s3_client
from pbs_cloud.chunkstore.backends.local import LocalBackend
from pbs_cloud.chunkstore.catalogue import main as catalogue_process
from pbs_cloud.chunkstore.chunks import main as chunks_process
from pbs_cloud.chunkstore.chunks import publishing
from pbs_cloud.chunkstore.chunks.stores import StoreRegistry
from pbs_cloud.chunkstore.collection import orphans, runs
from pbs_cloud.chunkstore.maintenance import objects, running
from pbs_cloud.contracts.auth import AuthClient
from pbs_cloud.contracts.billing import BillingClient
from pbs_cloud.contracts.chunkstore import CatalogueClient, ChunksClient
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.configuration import ConfigurationClient
from pbs_cloud.contracts.context import SystemContext
from pbs_cloud.contracts.errors import DataCorrupt, PbsError, Unavailable
from pbs_cloud.contracts.gc import GcClient
from pbs_cloud.formats import layout
from pbs_cloud.formats.names import BackupNamespace, SnapshotRef
from pbs_cloud.gc import collection, tasks
from pbs_cloud.gc import component as gc_process
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.grpc_channel import open_channel
from pbs_cloud.runtime.lifecycle import Component
from pbs_cloud.runtime.settings import Settings
from testkit.chunk_world import Chunk
from testkit.faults.layer import Layer
from testkit.faults.places import Directory, Place, Prefix, Storage
from testkit.maintenance import ADMIN, STORE, TENANT, Archive, Maintained
from testkit.servers import NatsServer, PostgresServer, S3Server, temporary_folder

PROCESSES: dict[str, Callable[[Settings], list[Component]]] = {
    "auth": auth_process.components,
    "catalogue": catalogue_process.components,
    "chunks": chunks_process.components,
    "gc": gc_process.components,
    "billing": billing_process.components,
}
_STOP_SECONDS = 5.0
# Pauses that only make a test wait; none of them decides what is right.
_SHORTER = (
    (publishing, "SYNC_SECONDS", 0.05),
    (publishing, "_RETRY_SECONDS", 0.05),
    (collection, "_RETRY_SECONDS", 0.05),
    (collection, "START_WAIT_SECONDS", 1.0),
    (tasks, "RENEW_SECONDS", 0.5),
    (runs, "LEASE_SECONDS", 20.0),
    (prefix_folders, "COUNT", 0),
    (s3_client, "TOTAL_SECONDS", 1.0),
    (s3_client, "_MAX_ATTEMPTS", 3),
)


class TaskFailed(PbsError):
    """A task of the product ended with an error, which is an honest answer."""


@dataclass
class Kept:
    """What a committed snapshot must give back: chunks of its archives by name, blobs by name."""

    archives: dict[str, list[Chunk]]
    blobs: dict[str, bytes]


class FaultWorld(Maintained):
    """The processes, the clients of their callers, and what they have promised so far."""

    def __init__(self, settings: Settings, layer: Layer, bucket: Any = None) -> None:
        super().__init__(settings)
        self.layer = layer
        self.storage = Storage.DIRECTORY if bucket is None else Storage.BUCKET
        self._bucket = bucket
        self.parts: dict[str, list[Component]] = {}
        self.promised: dict[t.SnapshotKey, Kept] = {}

    async def start(self) -> FaultWorld:
        for name in PROCESSES:
            await self.start_process(name)
        services = self.settings.services
        addresses = (services.catalogue, services.chunks, services.gc, services.auth, services.billing)
        self._channels = [open_channel(address, self.settings) for address in addresses]
        self.catalogue = CatalogueClient(self._channels[0])
        self.chunks = ChunksClient(self._channels[1])
        self.gc = GcClient(self._channels[2])
        self.auth = AuthClient(self._channels[3])
        self.billing = BillingClient(self._channels[4])
        self.configuration = ConfigurationClient(self._channels[2])
        return self

    async def stop(self) -> None:
        for channel in self._channels:
            await channel.close()
        for name in reversed(PROCESSES):
            await self.stop_process(name)
        shutil.rmtree(self.settings.data_dir, ignore_errors=True)

    async def start_process(self, name: str) -> None:
        """A new process of that name."""
        own = self.settings.model_copy(update={"process_name": name})
        self.parts[name] = PROCESSES[name](own)
        for part in self.parts[name]:
            await part.start()

    async def stop_process(self, name: str) -> None:
        """Its end; what does not end by itself is left behind like that of a killed process."""
        for part in reversed(self.parts.pop(name, [])):
            with contextlib.suppress(Exception):
                await asyncio.wait_for(part.stop(), _STOP_SECONDS)

    async def restart(self, name: str) -> None:
        """What the supervisor does after a kill: nothing of the old process has an effect any more."""
        self.part(name, Database)._closed = True  # the dead wait for nothing
        opened = [
            task for part in self.parts[name] if isinstance(part, StoreRegistry) for task in part._stores.values()
        ]
        await self.stop_process(name)
        for task in opened:
            if task.done() and not task.cancelled() and task.exception() is None:
                await task.result().backend.close()  # the kernel releases the locks of the dead
        self.layer.revive(name)
        await self.start_process(name)

    @property
    def channels(self) -> list[Any]:
        """To catalogue, chunks, gc, auth, billing."""
        return self._channels

    def part(self, process: str, kind: type[Any], name: str | None = None) -> Any:
        """A component of a process, by its class and name. Raises Unavailable while the process starts."""
        if process not in self.parts:
            raise Unavailable(f"{process} is starting")
        return next(
            part for part in self.parts[process] if isinstance(part, kind) and (name is None or part.name == name)
        )

    def _databases(self) -> list[Database]:
        return [self.part(name, Database) for name in ("auth", "catalogue", "chunks", "gc")]

    async def a_minute_passes(self) -> None:
        """Leases that nobody renews run out; gc and processes called `alive…` live."""
        async with self.database.system() as connection:
            for name, unfinished in (
                ("session", "state = 'active'"),
                ("task", "endtime IS NULL"),
                ("gc_run", "ended_at IS NULL"),
            ):
                await connection.execute(
                    f"UPDATE {name} SET lease_until = clock_timestamp()"
                    f" WHERE {unfinished} AND process_id NOT LIKE 'alive%' AND process_id NOT LIKE 'gc-%'"
                )
        await self.nothing_is_late()
        await self.catalogue.expire_dead_sessions()

    async def nothing_is_late(self) -> None:
        """In a bucket: whatever was sent without an answer has arrived or never will (Q of formats 9.9 is over)."""
        if self.storage is Storage.DIRECTORY:
            return
        async with self.database.system() as connection:
            await connection.execute(
                "UPDATE snapshot SET reusable_at = clock_timestamp() WHERE reusable_at > clock_timestamp()"
            )
            await connection.execute(
                "UPDATE chunk SET delete_sent_at = delete_sent_at - interval '1 hour' WHERE delete_sent_at IS NOT NULL"
            )

    # ------------------------------------------------------------------------------------------------ storage

    def location(self, name: str) -> str:
        """Where a datastore is made, as its row says."""
        return f"datastores/{TENANT}/{name}" if self.storage is Storage.DIRECTORY else f"{TENANT}/{name}"

    def place(self, name: str = STORE) -> Place:
        """What lies in a datastore."""
        if self.storage is Storage.DIRECTORY:
            return Directory(self.settings.data_dir / self.location(name))
        return self._prefix(self.location(name))

    def elsewhere(self, name: str) -> tuple[Place, str]:
        """A place that another server may have used, and how an operator calls it."""
        if self.storage is Storage.DIRECTORY:
            path = self.settings.data_dir.parent / f"{self.settings.data_dir.name}-{name}"
            return Directory(path), str(path)
        return self._prefix(f"elsewhere/{name}"), f"s3:elsewhere/{name}"

    def _prefix(self, prefix: str) -> Prefix:
        return Prefix(self._bucket, self.settings.s3_bucket or "", prefix)

    async def stored(self, chunk: Chunk) -> bytes | None:
        """The object of a chunk in the first datastore."""
        return await self.place().read(layout.chunk_path(chunk.digest))

    async def damage(self, chunk: Chunk) -> None:
        """One bit of its object is turned over."""
        damaged = chunk.data[:-1] + bytes([chunk.data[-1] ^ 1])
        await self.place().write(layout.chunk_path(chunk.digest), damaged)

    def path(self, key: t.SnapshotKey, name: str) -> str:
        """Path of a file of a snapshot in its datastore."""
        ref = SnapshotRef.of(key.group.backup_type, key.group.backup_id, key.backup_time)
        return layout.snapshot_file_path(BackupNamespace.parse(key.group.ns), ref, name)

    # ------------------------------------------------------------------------------------------------ work

    async def must(self, upid: str) -> None:
        """A task has to end well. Raises TaskFailed."""
        status = await self.ended(upid)
        if status != "OK" and not status.startswith("WARNINGS"):
            raise TaskFailed(status)

    async def back_up(
        self,
        key: t.SnapshotKey,
        archives: dict[str, list[Chunk]],
        blobs: dict[str, bytes] | None = None,
        *,
        inherit: Sequence[Chunk] = (),
        twice: bool = False,
    ) -> None:
        """A backup as a gateway drives it: promised once `finish` has answered."""
        kept = Kept(archives, blobs or {})
        session = await self.open(key.group, key.backup_time)
        try:
            for name, chunks in archives.items():
                fresh = [chunk for chunk in chunks if chunk not in inherit]
                await self.upload(session, fresh)
                if twice:
                    await self.upload(session, fresh)
                raw, csum, size = Archive(chunks).index()
                await self.catalogue.close_index(ADMIN, session.session_id, name, csum, size, _pieces(raw))
            for name, data in kept.blobs.items():
                await self.catalogue.put_blob(ADMIN, session.session_id, name, data)
            await self.catalogue.put_blob(ADMIN, session.session_id, "index.json.blob", _manifest(key, kept))
            await self.catalogue.finish(ADMIN, session.session_id, t.UploadStatistics(1, 1, 1, 0))
            self.promised[key] = kept
        finally:
            with contextlib.suppress(PbsError):
                await self.catalogue.close_session(ADMIN, session.session_id)

    async def restored(self, key: t.SnapshotKey) -> Kept:
        """What a reader gets of a snapshot, whole."""
        wanted = self.promised[key]
        session = await self.catalogue.open_reader(ADMIN, key, process_id="test")
        try:
            archives = {}
            for name, chunks in wanted.archives.items():
                raw = b"".join([p async for p in self.catalogue.read_session_file(ADMIN, session.session_id, name)])
                body = raw[4096:]
                if hashlib.sha256(body).digest() != raw[32:64]:
                    raise DataCorrupt(f"{name} is not whole, says the client")
                digests = [body[at + 8 : at + 40] for at in range(0, len(body), 40)]
                assert digests == [chunk.digest for chunk in chunks], f"index {name} of {key}"
                archives[name] = [
                    Chunk(d, c.size, await self.chunks.get_chunk(ADMIN, session.session_id, d))
                    for d, c in zip(digests, chunks, strict=True)
                ]
            blobs = {
                name: b"".join([p async for p in self.catalogue.read_session_file(ADMIN, session.session_id, name)])
                for name in wanted.blobs
            }
            return Kept(archives, blobs)
        finally:
            with contextlib.suppress(PbsError):
                await self.catalogue.close_session(ADMIN, session.session_id, bytes_sent=5)

    async def check_promises(self, only: t.GroupRef | None = None) -> None:
        """Every snapshot that was committed and not removed gives back what was put in."""
        for key, wanted in self.promised.items():
            if only is None or key.group == only:
                assert await self.restored(key) == wanted, key

    async def tidy(self) -> None:
        """Look at all promises, then redeem most of them: what is kept makes every collection slower."""
        await self.check_promises()
        for ns in reversed(await self.catalogue.list_namespaces(ADMIN, STORE, "", None)):
            for item in [item async for item in self.catalogue.list_groups(ADMIN, STORE, ns)]:
                group = t.GroupRef(STORE, ns, item.backup_type, item.backup_id)
                with contextlib.suppress(PbsError):
                    await self.catalogue.delete_group(ADMIN, group, error_on_protected=False)
            if ns:
                with contextlib.suppress(PbsError):
                    await self.catalogue.delete_namespace(
                        ADMIN, STORE, ns, delete_groups=False, error_on_protected=False
                    )
        left = {
            t.SnapshotKey(t.GroupRef(STORE, ns, item.backup_type, item.backup_id), item.backup_time)
            for ns in await self.catalogue.list_namespaces(ADMIN, STORE, "", None)
            for item in await self.snapshots(ns)
        }
        self.promised = {key: kept for key, kept in self.promised.items() if key.group.store != STORE or key in left}

    async def check_stores(self) -> None:
        """`fsck` finds nothing: rows, files, counters and indexes agree."""
        await self.catalogue.expire_dead_sessions()
        for report in await running.fsck(self.settings, name=None, tenant_id=None):
            assert report.sound, report.lines()


def _manifest(key: t.SnapshotKey, kept: Kept) -> bytes:
    import json

    from pbs_cloud.formats import blob

    files = []
    for name, chunks in kept.archives.items():
        _, csum, size = Archive(chunks).index()
        files.append({"filename": name, "size": size, "csum": csum.hex(), "crypt-mode": "none"})
    for name, data in kept.blobs.items():
        digest = hashlib.sha256(data).hexdigest()
        files.append({"filename": name, "size": len(data), "csum": digest, "crypt-mode": "none"})
    group = key.group
    members = {
        "backup-type": group.backup_type,
        "backup-id": group.backup_id,
        "backup-time": key.backup_time,
        "files": files,
        "signature": None,
        "unprotected": {},
    }
    return blob.encode(json.dumps(members).encode())


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _folders_come_with_their_chunks(_backend: LocalBackend) -> None:
    """65,536 folders are nothing that these tests are about."""


async def _objects_of_folders_that_are_there(backend: LocalBackend) -> AsyncIterator[orphans.StoredObject]:
    root = backend.path / layout.CHUNK_DIR
    for item in orphans._scan(lambda name: os.scandir(root / name), os.listdir(root)):
        yield item


def _all_at_once(root: Path, start: int) -> objects.ChunkBatch:
    """In place of `objects._scan`, which looks for each of the 65,536."""
    batch = objects.ChunkBatch()
    for folder in () if start else os.listdir(root):
        for entry in os.scandir(root / folder):
            batch.add(folder, entry.name, entry.stat().st_size)
    batch.chunks.sort()
    return batch


async def start_world(
    postgres: PostgresServer, nats: NatsServer, layer: Layer, monkeypatch: Any, s3: S3Server | None = None
) -> FaultWorld:
    """The processes with the datastore `tank`, grace 0; ``layer`` is installed already, for ``s3`` if it is given."""
    for module, name, value in _SHORTER:
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(LocalBackend, "complete", layer.wrapped_storage("complete", _folders_come_with_their_chunks))
    monkeypatch.setattr(orphans, "_local_objects", _objects_of_folders_that_are_there)
    monkeypatch.setattr(objects, "_scan", _all_at_once)
    data = temporary_folder("faults")
    (data / "run").mkdir()
    urls = {
        f"{name}_database_url": await postgres.service_database(name)
        for name in ("auth", "chunkstore", "gc", "billing")
    }
    if s3 is not None:
        urls |= {name.lower().removeprefix("pbs_"): value for name, value in s3.environment(s3.new_bucket()).items()}
    settings = Settings(
        nats_url=nats.url,
        data_dir=data,
        run_dir=data / "run",
        gc_grace_seconds=0.0,
        webhook_allow_internal=True,
        **urls,
    )
    world = await FaultWorld(settings, layer, s3 and s3.client()).start()
    await world.auth.ensure_root(TENANT)
    system = SystemContext().for_tenant(TENANT)
    await world.ended(await world.catalogue.create_datastore(system, STORE, {}), system)
    return world
