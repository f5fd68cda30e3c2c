"""A chunk store to test: rows in a real Postgres, files or objects in a real backend, one process that serves them."""

from __future__ import annotations

import hashlib
import os
import uuid
from dataclasses import dataclass
from typing import Any

from pbs_cloud.chunkstore.backends import StoreLocation
from pbs_cloud.chunkstore.chunks.intake import check_upload
from pbs_cloud.chunkstore.chunks.service import ChunkService
from pbs_cloud.chunkstore.chunks.store import Attempt, ChunkStore
from pbs_cloud.chunkstore.chunks.stores import StoreRegistry
from pbs_cloud.contracts.chunkstore.types import StoredChunk
from pbs_cloud.contracts.context import CallContext, Caller
from pbs_cloud.formats import blob
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.settings import Settings


@dataclass
class Chunk:
    """A chunk as a client makes it."""

    digest: bytes
    size: int
    data: bytes


def plain_chunk(size: int = 1000, *, compress: bool = False, content: bytes | None = None) -> Chunk:
    body = os.urandom(size) if content is None else content
    return Chunk(hashlib.sha256(body).digest(), len(body), blob.encode(body, compress))


def encrypted_chunk(size: int = 1000, *, compressed: bool = False, digest: bytes | None = None) -> Chunk:
    kind = blob.BlobKind.ENCRYPTED_ZSTD if compressed else blob.BlobKind.ENCRYPTED
    data = blob.assemble(kind, os.urandom(size), os.urandom(16), os.urandom(16))
    return Chunk(digest or os.urandom(32), size, data)


@dataclass
class World:
    """One datastore of a tenant, and the process that serves it."""

    database: Database
    settings: Settings
    tenant: str
    datastore: int
    location: StoreLocation
    registry: StoreRegistry
    service: ChunkService

    @property
    def ctx(self) -> CallContext:
        return CallContext(Caller(self.tenant, "root@pam"))

    async def store(self) -> ChunkStore:
        return await self.registry.get(self.datastore, self.tenant, self.location)

    async def session(self, *, kind: str = "backup", quota: int | None = None, lease: float = 60) -> str:
        async with self.database.tenant(self.tenant) as db:
            epoch = await db.fetchval("SELECT epoch FROM datastore WHERE id = $1", self.datastore)
            return str(
                await db.fetchval(
                    "INSERT INTO session (tenant_id, datastore_id, kind, auth_id, process_id, start_epoch, lease_until,"
                    " quota_bytes) VALUES ($1, $2, $3, 'root@pam', 'test', $4,"
                    " clock_timestamp() + make_interval(secs => $5), $6) RETURNING id",
                    self.tenant, self.datastore, kind, epoch, lease, quota,
                )
            )  # fmt: skip

    async def put(self, session: str, chunk: Chunk) -> StoredChunk:
        return await self.service.put(self.ctx, session, chunk.digest, chunk.size, memoryview(chunk.data))

    async def get(self, session: str, chunk: Chunk) -> bytes:
        return await self.service.get(self.ctx, session, chunk.digest)

    async def flush(self, session: str) -> None:
        await self.service.flush(self.ctx, session)

    async def row(self, chunk: Chunk) -> Any:
        async with self.database.tenant(self.tenant) as db:
            return await db.fetchrow(
                "SELECT * FROM chunk WHERE datastore_id = $1 AND digest = $2", self.datastore, chunk.digest
            )

    async def execute(self, sql: str, *args: Any) -> str:
        async with self.database.tenant(self.tenant) as db:
            return str(await db.execute(sql, *args))

    async def set_row(self, chunk: Chunk, **columns: Any) -> None:
        names = list(columns)
        sets = ", ".join(f"{name} = ${i + 3}" for i, name in enumerate(names))
        await self.execute(
            f"UPDATE chunk SET {sets} WHERE datastore_id = $1 AND digest = $2",
            self.datastore, chunk.digest, *columns.values(),
        )  # fmt: skip

    async def usage(self) -> int:
        async with self.database.tenant(self.tenant) as db:
            return int(
                await db.fetchval(
                    "SELECT coalesce(sum(bytes), 0) FROM usage_counter WHERE datastore_id = $1", self.datastore
                )
            )

    async def end_session(self, session: str, state: str = "expired") -> None:
        await self.execute("UPDATE session SET state = $2 WHERE id = $1::uuid", uuid.UUID(session), state)

    async def restart(self, *, crash: bool = False) -> None:
        """A new process on the same store; after a crash the old one does nothing more."""
        if crash:
            for task in self.registry._stores.values():
                store = task.result()
                if store._publisher._rounds is not None:
                    store._publisher._rounds.cancel()
                await store.backend.close()
        else:
            await self.registry.stop()
        self.registry = new_registry(self.settings, self.database)
        self.service = ChunkService(self.database, self.registry)


def new_registry(settings: Settings, database: Database) -> StoreRegistry:
    return StoreRegistry(settings, database, io_threads=4, check_threads=2)


def attempt(session: str, chunk: Chunk) -> Attempt:
    """What the service makes of an upload before it asks the store."""
    return Attempt(uuid.UUID(session), check_upload(chunk.digest, chunk.size, memoryview(chunk.data)))
