"""Auth, catalogue, chunks and gc in one process, on real Postgres, NATS and a directory: a world for maintenance."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pbs_cloud.auth import component as auth_process
from pbs_cloud.chunkstore.catalogue import main as catalogue_process
from pbs_cloud.chunkstore.chunks import main as chunks_process
from pbs_cloud.contracts.auth import AuthClient
from pbs_cloud.contracts.chunkstore import CatalogueClient, ChunksClient
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import AclEntry, CallContext, Caller, SystemContext
from pbs_cloud.contracts.gc import GcClient
from pbs_cloud.formats import blob, layout
from pbs_cloud.formats.index import dynamic_header
from pbs_cloud.formats.names import BackupNamespace, SnapshotRef
from pbs_cloud.gc import component as gc_process
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.grpc_channel import open_channel
from pbs_cloud.runtime.lifecycle import Component
from pbs_cloud.runtime.settings import Settings
from testkit.chunk_world import Chunk
from testkit.servers import NatsServer, PostgresServer, temporary_folder

STORE = "tank"
TENANT = "default"
FIRST_TIME = 1_700_000_000


def member(auth_id: str, role: str, path: str = "/", tenant: str = TENANT) -> CallContext:
    """Somebody with one role at one path."""
    return CallContext(Caller(tenant, auth_id, (AclEntry(path, auth_id, role),)))


ADMIN = member("admin@pbs", "Admin")


@dataclass
class Archive:
    """A dynamic archive of chunks; ``mode`` is the manifest's crypt-mode."""

    chunks: Sequence[Chunk]
    mode: str = "none"

    def index(self) -> tuple[bytes, bytes, int]:
        """File, csum and size."""
        end, body = 0, b""
        for chunk in self.chunks:
            end += chunk.size
            body += end.to_bytes(8, "little") + chunk.digest
        csum = hashlib.sha256(body).digest()
        return dynamic_header(uuid.uuid4().bytes, FIRST_TIME, csum) + body, csum, end


@dataclass
class Maintained:
    """The three processes and short forms for what tests do over and over."""

    settings: Settings
    running: list[Component] = field(default_factory=list)

    @property
    def database(self) -> Database:
        """The database of the chunkstore service."""
        return self._databases()[1]

    @property
    def gc_database(self) -> Database:
        """The database of the gc service."""
        return self._databases()[-1]

    def _databases(self) -> list[Database]:
        """Of auth, catalogue, chunks and gc."""
        return [part for part in self.running if isinstance(part, Database)]

    async def start(self) -> Maintained:
        parts = [
            *auth_process.components(self.settings),
            *catalogue_process.components(self.settings),
            *chunks_process.components(self.settings),
            *gc_process.components(self.settings),
        ]
        for part in parts:
            await part.start()
            self.running.append(part)
        services = self.settings.services
        addresses = (services.catalogue, services.chunks, services.gc, services.auth)
        self._channels = [open_channel(address, self.settings) for address in addresses]
        self.auth = AuthClient(self._channels[3])
        self.catalogue = CatalogueClient(self._channels[0])
        self.chunks = ChunksClient(self._channels[1])
        self.gc = GcClient(self._channels[2])
        return self

    async def stop(self) -> None:
        for channel in self._channels:
            await channel.close()
        for part in reversed(self.running):
            await part.stop()
        shutil.rmtree(self.settings.data_dir, ignore_errors=True)

    # ------------------------------------------------------------------------------------------------ backups

    async def open(self, group: t.GroupRef, backup_time: int, ctx: CallContext = ADMIN) -> t.BackupSession:
        return await self.catalogue.open_backup(ctx, group, backup_time, benchmark=False, process_id="test")

    async def upload(self, session: t.BackupSession, chunks: Sequence[Chunk], ctx: CallContext = ADMIN) -> None:
        for chunk in chunks:
            await self.chunks.put_chunk(ctx, session.session_id, chunk.digest, chunk.size, chunk.data)
        await self.chunks.flush(ctx, session.session_id)

    async def backup(
        self,
        group: t.GroupRef,
        backup_time: int = FIRST_TIME,
        files: dict[str, Archive | bytes] | None = None,
        ctx: CallContext = ADMIN,
        **manifest: Any,
    ) -> t.SnapshotKey:
        """A whole backup; ``manifest``: members that replace those of the right one."""
        session = await self.open(group, backup_time, ctx)
        listed = []
        for name, content in (files or {}).items():
            if isinstance(content, Archive):
                await self.upload(session, content.chunks, ctx)
                raw, csum, size = content.index()
                await self.catalogue.close_index(ctx, session.session_id, name, csum, size, _pieces(raw))
                listed.append({"filename": name, "size": size, "csum": csum.hex(), "crypt-mode": content.mode})
            else:
                await self.catalogue.put_blob(ctx, session.session_id, name, content)
                csum = hashlib.sha256(content).digest()
                listed.append({"filename": name, "size": len(content), "csum": csum.hex(), "crypt-mode": "none"})
        members: dict[str, Any] = {
            "backup-type": group.backup_type,
            "backup-id": group.backup_id,
            "backup-time": backup_time,
            "files": listed,
            "signature": None,
            "unprotected": {},
        }
        edit = manifest.pop("edit", None)
        members |= manifest
        if edit is not None:
            edit(members)
        raw = blob.encode(json.dumps(members).encode())
        await self.catalogue.put_blob(ctx, session.session_id, "index.json.blob", raw)
        await self.catalogue.finish(ctx, session.session_id, t.UploadStatistics(1, 1, 1, 0))
        await self.catalogue.close_session(ctx, session.session_id)
        return t.SnapshotKey(group, backup_time)

    async def snapshots(self, ns: str = "", store: str = STORE, **only: str) -> list[t.Snapshot]:
        return [item async for item in self.catalogue.list_snapshots(ADMIN, store, ns, **only)]

    async def verdict(self, key: t.SnapshotKey) -> str | None:
        """The stored state of a snapshot."""
        group = key.group
        found = await self.snapshots(group.ns, group.store, backup_type=group.backup_type, backup_id=group.backup_id)
        verification = next(item for item in found if item.backup_time == key.backup_time).verification
        return None if verification is None else verification.state

    # ------------------------------------------------------------------------------------------------ tasks

    async def ended(self, upid: str, ctx: CallContext = ADMIN, seconds: float = 30) -> str:
        """How a task ended."""
        async with asyncio.timeout(seconds):
            while (task := await self.catalogue.get_task(ctx, upid)).endtime is None:
                await asyncio.sleep(0.03)
        return task.status or ""

    async def log(self, upid: str, ctx: CallContext = ADMIN) -> str:
        page = await self.catalogue.read_task_log(ctx, upid, start=1, limit=0)
        return "\n".join(line.text for line in page.lines)

    # ------------------------------------------------------------------------------------------------ files

    @property
    def folder(self) -> Path:
        """The datastore's directory."""
        return self.settings.data_dir / "datastores" / TENANT / STORE

    def file(self, key: t.SnapshotKey, name: str) -> Path:
        group = key.group
        ref = SnapshotRef.of(group.backup_type, group.backup_id, key.backup_time)
        return self.folder / layout.snapshot_file_path(BackupNamespace.parse(group.ns), ref, name)

    def chunk_file(self, chunk: Chunk) -> Path:
        return self.folder / layout.chunk_path(chunk.digest)

    def bad_files(self, chunk: Chunk) -> int:
        return sum((self.folder / layout.bad_chunk_path(chunk.digest, number)).exists() for number in range(10))


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 1 << 20):
        yield data[start : start + (1 << 20)]


async def start_maintained(postgres: PostgresServer, nats: NatsServer, **more: Any) -> Maintained:
    """The processes with one datastore `tank`."""
    data = temporary_folder("keep")
    settings = Settings(
        auth_database_url=await postgres.service_database("auth"),
        chunkstore_database_url=await postgres.service_database("chunkstore"),
        gc_database_url=await postgres.service_database("gc"),
        nats_url=nats.url,
        data_dir=data,
        run_dir=data / "run",
        **more,
    )
    (data / "run").mkdir()
    world = await Maintained(settings).start()
    await world.auth.ensure_root(TENANT)
    system = SystemContext().for_tenant(TENANT)
    await world.ended(await world.catalogue.create_datastore(system, STORE, {}), system)
    return world
