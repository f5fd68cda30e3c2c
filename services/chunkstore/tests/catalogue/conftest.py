"""The services of the catalogue on a real database and a real directory."""

import asyncio
import dataclasses
import hashlib
import itertools
import json
import os
import secrets
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from testkit.servers import PostgresServer

from pbs_cloud.chunkstore.backends.opening import open_backend
from pbs_cloud.chunkstore.catalogue.parts import Backends, FileWrites, Parts
from pbs_cloud.chunkstore.catalogue.services import Services
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import AclEntry, CallContext, Caller
from pbs_cloud.formats import blob
from pbs_cloud.formats.index import dynamic_header
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.settings import Settings

STORE = "tank"
_numbers = itertools.count(1)


def caller(
    tenant: str, auth_id: str = "admin@pbs", role: str = "Admin", path: str = "/", quota: int | None = None
) -> CallContext:
    """Somebody with one role at one path."""
    acl = [AclEntry(path, auth_id, role)]
    if "!" in auth_id:
        acl.append(AclEntry("/", auth_id.partition("!")[0], "Admin"))
    return CallContext(Caller(tenant, auth_id, tuple(acl), quota_bytes=quota))


def with_caller(ctx: CallContext, **changes: object) -> CallContext:
    return dataclasses.replace(ctx, caller=dataclasses.replace(ctx.caller, **changes))


def manifest_blob(
    ref: t.GroupRef, backup_time: int, files: list[dict[str, object]] | None = None, **more: object
) -> bytes:
    return blob.encode(
        json.dumps(
            {
                "backup-type": ref.backup_type,
                "backup-id": ref.backup_id,
                "backup-time": backup_time,
                "files": files or [],
                "signature": None,
                "unprotected": {},
                **more,
            }
        ).encode()
    )


def dynamic_index(entries: list[tuple[int, bytes]]) -> tuple[bytes, bytes, int]:
    """File, csum and size of an index of (end, digest)."""
    body = b"".join(end.to_bytes(8, "little") + digest for end, digest in entries)
    csum = hashlib.sha256(body).digest()
    return dynamic_header(uuid.uuid4().bytes, 1_700_000_000, csum) + body, csum, entries[-1][0]


async def pieces(data: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


class Bench:
    """The services and short forms for what tests do over and over."""

    def __init__(self, parts: Parts, folder: Path) -> None:
        self.parts = parts
        self.services = Services.build(parts)
        self.database = parts.database
        self.folder = folder

    def with_lease(self, seconds: float) -> "Bench":
        return Bench(dataclasses.replace(self.parts, lease_seconds=seconds), self.folder)

    async def open(
        self, ctx: CallContext, ref: t.GroupRef, backup_time: int, *, benchmark: bool = False, process: str = "gw-0"
    ) -> t.BackupSession:
        return await self.services.opening.open(ctx, ref, backup_time, benchmark=benchmark, process_id=process)

    async def read(self, ctx: CallContext, ref: t.GroupRef, backup_time: int, *, task: bool = True) -> t.ReaderSession:
        key = t.SnapshotKey(ref, backup_time)
        return await self.services.readers.open(ctx, key, process_id="gw-0", with_task=task)

    async def finish(self, ctx: CallContext, session: t.BackupSession) -> None:
        await self.services.finish.finish(ctx, session.session_id, t.UploadStatistics(2, 335, 35, 0))

    async def close(self, ctx: CallContext, session_id: str, error: str | None = None, sent: int = 0) -> None:
        await self.services.closing.close(ctx, session_id, error=error, bytes_sent=sent)

    async def backup(
        self, ctx: CallContext, ref: t.GroupRef, backup_time: int, files: dict[str, bytes] | None = None, **more: object
    ) -> t.BackupSession:
        """A whole backup of some blobs."""
        session = await self.open(ctx, ref, backup_time)
        listed = []
        for name, content in (files or {}).items():
            raw = blob.encode(content)
            await self.services.files.put_blob(ctx, session.session_id, name, raw)
            listed.append({"filename": name, "size": len(raw), "csum": hashlib.sha256(raw).hexdigest()})
        raw = manifest_blob(ref, backup_time, listed, **more)
        await self.services.files.put_blob(ctx, session.session_id, "index.json.blob", raw)
        await self.finish(ctx, session)
        await self.close(ctx, session.session_id)
        return session

    async def snapshots(self, ctx: CallContext, store: str, ns: str = "", **more: str) -> list[t.Snapshot]:
        listed = self.services.listings.snapshots(ctx, store, ns, more.get("backup_type"), more.get("backup_id"))
        return [item async for item in listed]

    async def groups(self, ctx: CallContext, store: str, ns: str = "") -> list[t.Group]:
        return [item async for item in self.services.listings.groups(ctx, store, ns)]

    def files_of(self, ctx: CallContext, path: str, store: str = STORE) -> list[str]:
        """Names in a directory of the datastore; empty if there is none."""
        found = self.folder / "datastores" / ctx.tenant_id / store / path
        return sorted(entry.name for entry in found.iterdir()) if found.is_dir() else []

    async def task(self, ctx: CallContext, upid: str) -> t.Task:
        return await self.services.tasks.get(ctx, upid)

    async def ended(self, ctx: CallContext, upid: str) -> t.Task:
        """The task, once it has ended."""
        for _ in range(600):
            task = await self.task(ctx, upid)
            if task.status is not None:
                return task
            await asyncio.sleep(0.1)
        raise AssertionError(f"{upid} does not end")

    async def log(self, ctx: CallContext, upid: str) -> list[str]:
        log = await self.services.tasks.read_log(ctx, upid, 0, 0)
        return [line.text for line in log.lines]

    async def end_lease(self, ctx: CallContext, session: t.BackupSession | t.ReaderSession) -> None:
        """What time does to the lease of a process that died."""
        async with self.database.tenant(ctx.tenant_id) as connection:
            past = "lease_until = clock_timestamp() - interval '1 second'"
            await connection.execute(f"UPDATE session SET {past} WHERE id::text = $1", session.session_id)
            await connection.execute(f"UPDATE task SET {past} WHERE upid = $1", session.upid)

    async def counted(self, ctx: CallContext) -> tuple[int, int]:
        """The usage counter of the catalogue, and what it should be."""
        async with self.database.tenant(ctx.tenant_id) as connection:
            counter = await connection.fetchval("SELECT coalesce(sum(bytes), 0)::bigint FROM usage_counter")
            stored = await connection.fetchval(
                "SELECT coalesce(sum(f.stored_size), 0)::bigint FROM snapshot_file f JOIN snapshot s"
                " ON s.id = f.snapshot_id WHERE s.state <> 'removing'"
            )
        return counter, stored

    async def events(self, ctx: CallContext) -> list[dict[str, Any]]:
        async with self.database.tenant(ctx.tenant_id) as connection:
            return [row["payload"] for row in await connection.fetch("SELECT payload FROM outbox ORDER BY id")]


@pytest.fixture(scope="session")
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


@pytest.fixture(scope="session")
def data_folder() -> Iterator[Path]:
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="pbs-catalogue-", dir=base))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def database_url(postgres: PostgresServer) -> str:
    """One migrated database for all tests here; they keep apart by tenants and groups."""
    return asyncio.run(postgres.service_database("chunkstore"))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    made = Database(database_url, schema="chunkstore", application_name="tests", max_size=8)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def bench(database: Database, threads: ThreadPoolExecutor, data_folder: Path) -> AsyncIterator[Bench]:
    settings = Settings(data_dir=data_folder)
    backends = Backends(lambda place: open_backend(settings, place, threads))
    yield Bench(Parts(database, backends, settings, FileWrites()), data_folder)
    await backends.close()


@pytest.fixture(scope="session")
def tenant() -> str:
    """The tenant whose datastore the tests share; each test works in groups of its own."""
    return "shared"


@pytest.fixture
async def admin(bench: Bench, tenant: str) -> CallContext:
    """An administrator of the shared tenant, whose datastore exists."""
    await bench.services.datastores.ensure(tenant, STORE)
    return caller(tenant)


@pytest.fixture
def group() -> t.GroupRef:
    """A group that no other test uses."""
    return t.GroupRef(STORE, "", "host", f"h{next(_numbers)}x{secrets.token_hex(3)}")
