"""A datastore with everything that garbage collection needs: real rows, real storage, real gRPC, in one process."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import shutil
import uuid
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from pbs_cloud.chunkstore.backends import StoreLocation, open_backend
from pbs_cloud.chunkstore.catalogue import rpc as catalogue_rpc
from pbs_cloud.chunkstore.catalogue.parts import Backends, FileWrites, Parts
from pbs_cloud.chunkstore.catalogue.services import Services
from pbs_cloud.chunkstore.chunks.rpc import ChunksRpc
from pbs_cloud.chunkstore.chunks.service import ChunkService
from pbs_cloud.chunkstore.chunks.stores import StoreRegistry
from pbs_cloud.chunkstore.collection import rpc as collection_rpc
from pbs_cloud.chunkstore.collection.condemning import Condemning
from pbs_cloud.chunkstore.collection.marking import Marking
from pbs_cloud.chunkstore.collection.orphans import Orphans
from pbs_cloud.chunkstore.collection.runs_service import Runs
from pbs_cloud.chunkstore.collection.sweeper_rpc import SweeperRpc
from pbs_cloud.chunkstore.collection.sweeping import Sweeping
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.chunkstore.collection import (
    CollectionRun,
    CondemnResult,
    MarkSummary,
    OrphanResult,
    SweepResult,
)
from pbs_cloud.contracts.context import CallContext, SystemContext
from pbs_cloud.formats import blob
from pbs_cloud.formats.index import dynamic_header
from pbs_cloud.proto.chunkstore.v1 import collection_pb2_grpc
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.grpc_server import GrpcServer
from pbs_cloud.runtime.settings import Settings
from testkit.chunk_world import Chunk, plain_chunk
from testkit.servers import temporary_folder

TIME = 1_700_000_000
STORE = "store"
PROCESS = "gw-0"
_times = itertools.count(TIME)


def dynamic_index(chunks: Sequence[Chunk]) -> tuple[bytes, bytes, int]:
    """File, csum and size of an index of these chunks, in this order."""
    ends = list(itertools.accumulate(chunk.size for chunk in chunks))
    body = b"".join(end.to_bytes(8, "little") + chunk.digest for end, chunk in zip(ends, chunks, strict=True))
    csum = hashlib.sha256(body).digest()
    return dynamic_header(uuid.uuid4().bytes, TIME, csum) + body, csum, ends[-1]


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    yield data


@dataclass
class Backup:
    """An open session and what it knows."""

    session: t.BackupSession
    group: t.GroupRef
    time: int
    files: list[dict[str, object]] = field(default_factory=list)

    @property
    def id(self) -> str:
        return self.session.session_id


@dataclass
class CollectionWorld:
    """One datastore of a tenant, the catalogue and the chunk process over it."""

    database: Database
    settings: Settings
    tenant: str
    datastore: int
    location: StoreLocation
    parts: Parts
    services: Services
    registry: StoreRegistry
    chunks: ChunkService
    late_seconds: float = 2100.0

    @property
    def ctx(self) -> CallContext:
        return SystemContext().for_tenant(self.tenant)

    @property
    def runs(self) -> Runs:
        return Runs(self.parts)

    @property
    def marking(self) -> Marking:
        return Marking(self.parts, self.services.closing)

    @property
    def sweeping(self) -> Sweeping:
        return Sweeping(self.database, self.registry, self.settings, late_seconds=self.late_seconds)

    @property
    def orphans(self) -> Orphans:
        return Orphans(self.database, self.sweeping, self.settings, self.registry)

    # ------------------------------------------------------------------------------------------------ backups

    async def open(self, name: str = "one", *, time: int | None = None, ns: str = "") -> Backup:
        group, at = t.GroupRef(STORE, ns, "host", name), next(_times) if time is None else time
        session = await self.services.opening.open(self.ctx, group, at, benchmark=False, process_id=PROCESS)
        return Backup(session, group, at)

    async def put(self, backup: Backup, *chunks: Chunk) -> None:
        for chunk in chunks:
            await self.chunks.put(self.ctx, backup.id, chunk.digest, chunk.size, memoryview(chunk.data))

    async def close_index(self, backup: Backup, chunks: Sequence[Chunk], name: str = "a.pxar.didx") -> None:
        await self.chunks.flush(self.ctx, backup.id)
        raw, csum, size = dynamic_index(chunks)
        await self.services.files.close_index(self.ctx, backup.id, name, csum, size, _pieces(raw))
        backup.files.append({"filename": name, "size": size, "csum": csum.hex()})

    async def finish(self, backup: Backup) -> None:
        await self.put_manifest(backup)
        await self.commit(backup)
        await self.services.closing.close(self.ctx, backup.id, error=None, bytes_sent=0)

    async def put_manifest(self, backup: Backup) -> None:
        manifest = {
            "backup-type": backup.group.backup_type,
            "backup-id": backup.group.backup_id,
            "backup-time": backup.time,
            "files": backup.files,
            "signature": None,
            "unprotected": {},
        }
        raw = blob.encode(json.dumps(manifest).encode())
        await self.services.files.put_blob(self.ctx, backup.id, "index.json.blob", raw)

    async def commit(self, backup: Backup) -> None:
        await self.services.finish.finish(self.ctx, backup.id, t.UploadStatistics(0, 0, 0, 0))

    async def backup(self, chunks: Sequence[Chunk], name: str = "one", *, inherit: Sequence[Chunk] = ()) -> Backup:
        """A whole backup; `inherit` stand in the index and are not uploaded."""
        backup = await self.open(name)
        await self.put(backup, *chunks)
        await self.close_index(backup, [*inherit, *chunks])
        await self.finish(backup)
        return backup

    async def forget(self, backup: Backup) -> None:
        await self.services.snapshots.delete(self.ctx, t.SnapshotKey(backup.group, backup.time))

    async def end_lease(self, backup: Backup, seconds: float = -1.0) -> None:
        """What time does to the session of a process that died; or does after so many seconds."""
        await self.execute(
            "UPDATE session SET lease_until = clock_timestamp() + make_interval(secs => $2) WHERE id = $1::uuid",
            uuid.UUID(backup.id),
            seconds,
        )

    # ------------------------------------------------------------------------------------------------ steps

    async def begin(self) -> CollectionRun:
        return await self.runs.begin(self.ctx, STORE, "test", dry_run=False)

    async def mark(self, run: CollectionRun) -> tuple[set[bytes], MarkSummary, list[str]]:
        digests, warnings = set[bytes](), list[str]()
        async for piece in self.marking.mark(self.ctx, uuid.UUID(run.token)):
            digests |= {piece.digests[start : start + 32] for start in range(0, len(piece.digests), 32)}
            warnings += piece.warnings
            if piece.summary is not None:
                return digests, piece.summary, warnings
        raise AssertionError("no summary")

    async def condemn(self, run: CollectionRun, digests: set[bytes], batch_rows: int = 3) -> CondemnResult:
        async def pieces() -> AsyncIterator[bytes]:
            ordered = sorted(digests)
            for start in range(0, len(ordered), 2):
                yield b"".join(ordered[start : start + 2])

        condemning = Condemning(self.parts, batch_rows=batch_rows)
        return await condemning.condemn(self.ctx, uuid.UUID(run.token), pieces())

    async def sweep(self, run: CollectionRun, limit: int = 1000) -> SweepResult:
        return await self.sweeping.sweep(self.ctx, uuid.UUID(run.token), limit)

    async def end(self, run: CollectionRun) -> dict[str, Any]:
        result: dict[str, Any] = json.loads(
            await self.runs.end(self.ctx, uuid.UUID(run.token), "UPID:x", "OK", complete=True)
        )
        return result

    async def collect(self, *, sweeps: bool = True) -> dict[str, Any]:
        """A whole run, step by step; its status."""
        run = await self.begin()
        digests, _, _ = await self.mark(run)
        await self.condemn(run, digests)
        while sweeps and (await self.sweep(run)).more:
            pass
        return await self.end(run)

    async def collect_orphans(self) -> tuple[int, int]:
        """A whole run with step F: objects without a row that it found, chunks that it removed."""
        run = await self.begin()
        digests, _, _ = await self.mark(run)
        await self.condemn(run, digests)
        found = await self.find_orphans(run)
        assert found.refused is None
        while (await self.sweep(run)).more:
            pass
        return found.found, (await self.end(run))["removed-chunks"]

    async def find_orphans(self, run: CollectionRun) -> OrphanResult:
        return await self.orphans.find(self.ctx, uuid.UUID(run.token))

    async def end_run_lease(self) -> None:
        await self.execute("UPDATE gc_run SET lease_until = clock_timestamp() - interval '1 second'")

    # ------------------------------------------------------------------------------------------------ state

    async def execute(self, sql: str, *args: Any) -> str:
        async with self.database.tenant(self.tenant) as db:
            return str(await db.execute(sql, *args))

    async def value(self, sql: str, *args: Any) -> Any:
        async with self.database.tenant(self.tenant) as db:
            return await db.fetchval(sql, *args)

    async def state(self, chunk: Chunk) -> int | None:
        """State of a chunk's row; None without one."""
        found = await self.value(
            "SELECT state FROM chunk WHERE datastore_id = $1 AND digest = $2", self.datastore, chunk.digest
        )
        return None if found is None else int(found)

    async def has_object(self, chunk: Chunk) -> bool:
        backend = (await self.registry.get(self.datastore, self.tenant, self.location)).backend
        try:
            return await backend.read_chunk(chunk.digest) == chunk.data
        except Exception:
            return False

    async def usage(self) -> tuple[int, int]:
        """The counters, and what they should say."""
        counted = await self.value("SELECT coalesce(sum(bytes), 0)::bigint FROM usage_counter")
        chunks = await self.value("SELECT coalesce(sum(size), 0)::bigint FROM chunk WHERE state <> 1")
        files = await self.value(
            "SELECT coalesce(sum(f.stored_size), 0)::bigint FROM snapshot_file f JOIN snapshot s"
            " ON s.id = f.snapshot_id WHERE s.state <> 'removing'"
        )
        return int(counted), int(chunks + files)

    async def restart_chunks(self) -> None:
        """A new chunk process after the end of the old one."""
        await self.registry.stop()
        self.registry = StoreRegistry(self.settings, self.database, io_threads=4, check_threads=2)
        self.chunks = ChunkService(self.database, self.registry)

    async def serve(self) -> list[GrpcServer]:
        """Both processes on their sockets."""
        catalogue = GrpcServer("catalogue", self.settings.services.catalogue, self.settings, grace=0)
        catalogue_rpc.serve(catalogue, self.services)
        collection_rpc.serve(catalogue, self.parts, self.services.closing)
        chunks = GrpcServer("chunks", self.settings.services.chunks, self.settings, grace=0)
        ChunksRpc(self.chunks, None).add_to(chunks)
        sweeper = SweeperRpc(self.sweeping, self.orphans)
        chunks.add_service(collection_pb2_grpc.add_SweeperServicer_to_server, sweeper)
        for server in (catalogue, chunks):
            await server.start()
        return [catalogue, chunks]

    async def close(self) -> None:
        """Stop, and leave the storage empty of snapshots for the next test."""
        await self.registry.stop()
        await self.parts.backends.close()
        if self.location.backend_type == "filesystem":
            root = self.settings.data_dir / self.location.location
            for name in ("vm", "ct", "host", "ns", "elsewhere"):
                shutil.rmtree(root / name, ignore_errors=True)
        await self.execute("UPDATE datastore SET state = 'removed'")


async def make_world(
    database: Database,
    settings: Settings,
    threads: ThreadPoolExecutor,
    backend_type: str,
    location: str,
    *,
    lease_seconds: float = 60.0,
    late_seconds: float = 2100.0,
) -> CollectionWorld:
    """A datastore of a new tenant at a place that exists; `late_seconds`: Q of formats 9.9 for chunks and files."""
    tenant = f"tenant-{uuid.uuid4().hex[:8]}"
    async with database.tenant(tenant) as db:
        row = await db.fetchrow(
            "INSERT INTO datastore (tenant_id, name, backend_type, location) VALUES ($1, $2, $3, $4)"
            " RETURNING id, uuid",
            tenant, STORE, backend_type, location,
        )  # fmt: skip
        await db.execute("INSERT INTO namespace (tenant_id, datastore_id, path) VALUES ($1, $2, '')", tenant, row["id"])
    backends = Backends(lambda place: open_backend(settings, place, threads))
    parts = Parts(database, backends, settings, FileWrites(), lease_seconds, late_seconds)
    registry = StoreRegistry(settings, database, io_threads=4, check_threads=2)
    return CollectionWorld(
        database,
        settings,
        tenant,
        row["id"],
        StoreLocation(backend_type, location, str(row["uuid"])),
        parts,
        Services.build(parts),
        registry,
        ChunkService(database, registry),
        late_seconds,
    )


def world_settings(data_dir: Any, **more: Any) -> Settings:
    """Settings with sockets of their own and no grace."""
    return Settings(data_dir=data_dir, run_dir=temporary_folder("run"), gc_grace_seconds=0.0, **more)


def some_chunks(count: int) -> list[Chunk]:
    return [plain_chunk(200 + number) for number in range(count)]


async def soon(condition: Any, seconds: float = 10.0) -> None:
    """Wait until an async condition holds."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)
