"""The golden directory, a database, settings, and the services of the product on a datastore."""

import asyncio
import os
import shutil
import tarfile
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from testkit.collection_world import STORE, CollectionWorld, world_settings
from testkit.golden import GOLDEN
from testkit.servers import PostgresServer, S3Server

from pbs_cloud.chunkstore.backends import StoreLocation, local_layout, open_backend, prefix_folders
from pbs_cloud.chunkstore.catalogue.parts import Backends, FileWrites, Parts
from pbs_cloud.chunkstore.catalogue.rows import find_store
from pbs_cloud.chunkstore.catalogue.services import Services
from pbs_cloud.chunkstore.catalogue.store_config import new_config
from pbs_cloud.chunkstore.chunks.service import ChunkService
from pbs_cloud.chunkstore.chunks.stores import StoreRegistry
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.settings import Settings


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A folder on a fast file system."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    made = Path(tempfile.mkdtemp(prefix="pbs-maintenance-", dir=base))
    yield made
    shutil.rmtree(made)


def unpack(target: Path) -> Path:
    """The golden directory with all its chunk folders, as a real PBS leaves it."""
    with tarfile.open(GOLDEN / "datastore.tar.gz") as tar:
        tar.extractall(target, filter="data")
    made = target / "golden"
    (made / ".chunks").chmod(prefix_folders.MODE)
    prefix_folders_of(made)
    owner = local_layout.store_owner()
    for path in (made, *made.rglob("*")):
        if owner is not None:
            os.chown(path, owner.uid, owner.gid, follow_symlinks=False)
    return made


def prefix_folders_of(path: Path) -> None:
    there = {entry.name for entry in os.scandir(path / ".chunks")}
    for number in range(prefix_folders.COUNT):
        if f"{number:04x}" not in there:
            os.mkdir(path / ".chunks" / f"{number:04x}", prefix_folders.MODE)
    for number in range(prefix_folders.COUNT):
        os.chmod(path / ".chunks" / f"{number:04x}", prefix_folders.MODE)


@pytest.fixture(scope="session")
def golden(folder: Path) -> Iterator[Path]:
    """The directory of a real PBS; tests that change it put it back."""
    target = folder / uuid.uuid4().hex
    target.mkdir()
    yield unpack(target)
    shutil.rmtree(target)


@pytest.fixture
def unmarked(golden: Path) -> Iterator[Path]:
    """The golden directory, which nobody has adopted yet."""
    yield golden
    for name in (".pbs-cloud", ".pbs-cloud-adopting"):
        (golden / name).unlink(missing_ok=True)


@pytest.fixture(scope="session")
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture(scope="session")
def database_url(postgres: PostgresServer) -> str:
    return asyncio.run(postgres.service_database("chunkstore"))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    made = Database(database_url, schema="chunkstore", application_name="tests", max_size=6)
    await made.start()
    yield made
    await forget_all(made)
    await made.stop()


async def forget_all(database: Database) -> None:
    """What the loss of the database is: no row is left."""
    async with database.system() as connection:
        await connection.execute("DELETE FROM pin")
        for table in ("snapshot", "chunk", "backup_group", "namespace", "session", "task", "outbox", "datastore"):
            await connection.execute(f"DELETE FROM {table}")


@pytest.fixture
def settings(folder: Path) -> Iterator[Settings]:
    data = folder / f"data-{uuid.uuid4().hex[:8]}"
    data.mkdir()
    yield world_settings(data)
    shutil.rmtree(data)


@pytest.fixture
def s3_settings(settings: Settings, s3: S3Server) -> Settings:
    """With a bucket of its own."""
    return world_settings(
        settings.data_dir,
        s3_bucket=s3.new_bucket(),
        s3_endpoint=s3.endpoint,
        s3_region=s3.region,
        AWS_ACCESS_KEY_ID=s3.access_key,
        AWS_SECRET_ACCESS_KEY=s3.secret_key,
    )


@asynccontextmanager
async def services_on(
    database: Database, settings: Settings, threads: ThreadPoolExecutor, tenant: str, name: str
) -> AsyncIterator[CollectionWorld]:
    """The services of the product on a datastore of the catalogue."""
    async with database.tenant(tenant) as connection:
        store = await find_store(connection, tenant, name)
    backends = Backends(lambda place: open_backend(settings, place, threads))
    parts = Parts(database, backends, settings, FileWrites())
    registry = StoreRegistry(settings, database, io_threads=4, check_threads=2)
    yield CollectionWorld(
        database, settings, tenant, store.id, store.place, parts, Services.build(parts), registry,
        ChunkService(database, registry),
    )  # fmt: skip
    await registry.stop()
    await backends.close()


async def new_store(database: Database, settings: Settings, threads: ThreadPoolExecutor, tenant: str) -> None:
    """An empty datastore of the name that the services use, as the product makes it."""
    backend_type = "s3" if settings.s3_bucket else "filesystem"
    location = f"{tenant}/{STORE}" if settings.s3_bucket else f"datastores/{tenant}/{STORE}"
    async with database.tenant(tenant) as connection:
        row = await connection.fetchrow(
            "INSERT INTO datastore (tenant_id, name, backend_type, location, config) VALUES ($1, $2, $3, $4, $5)"
            " RETURNING id, uuid",
            tenant, STORE, backend_type, location, new_config(STORE, {}),
        )  # fmt: skip
        await connection.execute(
            "INSERT INTO namespace (tenant_id, datastore_id, path) VALUES ($1, $2, '')", tenant, row["id"]
        )
    backend = open_backend(settings, StoreLocation(backend_type, location, str(row["uuid"])), threads)
    await backend.create()
    await backend.close()
