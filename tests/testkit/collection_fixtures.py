"""Fixtures for tests that collect garbage in datastores; a `conftest.py` imports those it offers."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pbs_cloud.chunkstore.backends import StoreLocation, open_backend
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.settings import Settings
from testkit.collection_world import CollectionWorld, make_world, world_settings
from testkit.servers import PostgresServer, S3Server

NewWorld = Callable[..., Awaitable[CollectionWorld]]


@pytest.fixture(scope="session")
def data_dir() -> Iterator[Path]:
    """A data folder with one empty store in `stores/one`."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="pbs-collection-", dir=base))

    async def make() -> None:
        with ThreadPoolExecutor(1) as executor:
            place = StoreLocation("filesystem", "stores/one")
            await open_backend(Settings(data_dir=folder), place, executor).create()

    asyncio.run(make())
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def threads() -> Iterator[ThreadPoolExecutor]:
    """Threads that touch the storage."""
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture(scope="session")
def database_url(postgres: PostgresServer) -> str:
    """One migrated database for all tests here; they keep apart by tenants."""
    return asyncio.run(postgres.service_database("chunkstore"))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Connections to it."""
    made = Database(database_url, schema="chunkstore", application_name="tests", max_size=10)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def new_world(
    database: Database, threads: ThreadPoolExecutor, data_dir: Path, request: pytest.FixtureRequest
) -> AsyncIterator[NewWorld]:
    """`world = await new_world("s3", endpoint=..., lease_seconds=...)`: an empty datastore of a new tenant.

    `endpoint`: where the bucket is reached if not directly; `database`: other connections; the rest as `make_world`.
    """
    made: list[CollectionWorld] = []

    async def make(kind: str, *, endpoint: str | None = None, **options: object) -> CollectionWorld:
        chosen = options.pop("database", database)
        assert isinstance(chosen, Database)
        if kind == "local":
            world = await make_world(chosen, world_settings(data_dir), threads, "filesystem", "stores/one", **options)
        else:
            s3: S3Server = request.getfixturevalue("s3")
            settings = world_settings(
                data_dir,
                s3_bucket=s3.new_bucket(),
                s3_endpoint=endpoint or s3.endpoint,
                s3_region=s3.region,
                AWS_ACCESS_KEY_ID=s3.access_key,
                AWS_SECRET_ACCESS_KEY=s3.secret_key,
            )
            world = await make_world(chosen, settings, threads, "s3", "tenant/one", **options)
        made.append(world)
        return world

    yield make
    for world in made:
        await world.close()


@pytest.fixture
async def world(new_world: NewWorld) -> CollectionWorld:
    """A store in a directory."""
    return await new_world("local")


@pytest.fixture
async def s3_world(new_world: NewWorld) -> CollectionWorld:
    """A store in a bucket."""
    return await new_world("s3")


@pytest.fixture(params=["local", "s3"])
async def any_world(request: pytest.FixtureRequest, new_world: NewWorld) -> CollectionWorld:
    """Each backend in turn."""
    return await new_world(request.param)
