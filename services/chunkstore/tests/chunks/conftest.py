"""Stores with real rows in Postgres and real files or objects."""

import asyncio
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from testkit.chunk_world import World, new_registry
from testkit.servers import PostgresServer, S3Server

from pbs_cloud.chunkstore.backends import StoreLocation, open_backend
from pbs_cloud.chunkstore.chunks.service import ChunkService
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.settings import Settings


@pytest.fixture(scope="session")
def data_dir() -> Iterator[Path]:
    """A data folder with one empty store in `stores/one`."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="pbs-chunks-", dir=base))
    settings = Settings(data_dir=folder)

    async def make() -> None:
        with ThreadPoolExecutor(1) as executor:
            await open_backend(settings, StoreLocation("filesystem", "stores/one"), executor).create()

    asyncio.run(make())
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def database_url(postgres: PostgresServer) -> str:
    """One migrated database for all tests here; they keep apart by tenants."""
    return asyncio.run(postgres.service_database("chunkstore"))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    made = Database(database_url, schema="chunkstore", application_name="tests", max_size=8)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def make_world(database: Database) -> AsyncIterator[Callable[..., Awaitable[World]]]:
    made: list[World] = []

    async def make(settings: Settings, backend_type: str, location: str) -> World:
        tenant = f"tenant-{uuid.uuid4().hex[:8]}"
        async with database.tenant(tenant) as db:
            datastore = await db.fetchval(
                "INSERT INTO datastore (tenant_id, name, backend_type, location) VALUES ($1, 'store', $2, $3)"
                " RETURNING id",
                tenant, backend_type, location,
            )  # fmt: skip
        registry = new_registry(settings, database)
        place = StoreLocation(backend_type, location)
        world = World(database, settings, tenant, datastore, place, registry, ChunkService(database, registry))
        made.append(world)
        return world

    yield make
    for world in made:
        await world.registry.stop()
        await world.execute("UPDATE datastore SET state = 'removed'")


@pytest.fixture
async def world(make_world: Callable[..., Awaitable[World]], data_dir: Path) -> World:
    """A store in a directory."""
    return await make_world(Settings(data_dir=data_dir), "filesystem", "stores/one")


def s3_settings(s3: S3Server, data_dir: Path) -> Settings:
    """Settings with a fresh bucket."""
    return Settings(
        data_dir=data_dir,
        s3_bucket=s3.new_bucket(),
        s3_endpoint=s3.endpoint,
        s3_region=s3.region,
        AWS_ACCESS_KEY_ID=s3.access_key,
        AWS_SECRET_ACCESS_KEY=s3.secret_key,
    )


@pytest.fixture
async def s3_world(make_world: Callable[..., Awaitable[World]], s3: S3Server, data_dir: Path) -> World:
    """A store in a bucket."""
    return await make_world(s3_settings(s3, data_dir), "s3", "tenant/one")


@pytest.fixture(params=["local", "s3"])
async def any_world(
    request: pytest.FixtureRequest, make_world: Callable[..., Awaitable[World]], data_dir: Path
) -> World:
    """Each backend in turn."""
    if request.param == "local":
        return await make_world(Settings(data_dir=data_dir), "filesystem", "stores/one")
    return await make_world(s3_settings(request.getfixturevalue("s3"), data_dir), "s3", "tenant/one")
