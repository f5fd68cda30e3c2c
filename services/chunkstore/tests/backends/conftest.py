"""One backend of each kind, made once: 65536 directories take a second."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from testkit.servers import S3Server

from pbs_cloud.chunkstore.backends.local import LocalBackend
from pbs_cloud.chunkstore.backends.port import ChunkBackend
from pbs_cloud.chunkstore.backends.s3 import S3Backend
from pbs_cloud.chunkstore.backends.s3_client import S3Settings

MARK = "pbs-cloud-test"


@pytest.fixture(scope="session")
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as made:
        yield made


@pytest.fixture(scope="session")
def s3_settings(s3: S3Server) -> S3Settings:
    return S3Settings(s3.new_bucket(), s3.region, s3.endpoint, s3.access_key, s3.secret_key)


@pytest.fixture(scope="session")
def store_folder() -> Iterator[Path]:
    """A folder on a fast file system."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="pbs-store-", dir=base))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def local_path(store_folder: Path, executor: ThreadPoolExecutor) -> Path:
    """A directory with a store in it."""
    path = store_folder / "local"
    asyncio.run(make_whole(LocalBackend(path, executor, mark=MARK)))
    return path


async def make_whole(backend: ChunkBackend) -> None:
    """A new store with everything that `create` leaves for later."""
    await backend.create()
    await backend.complete()


@pytest.fixture(scope="session")
def s3_prefix(s3_settings: S3Settings, executor: ThreadPoolExecutor) -> str:
    """A key prefix with a store below it."""
    prefix = "conformance/store"
    asyncio.run(S3Backend(s3_settings, prefix, executor, mark=MARK).create())
    return prefix


@pytest.fixture(params=["local", "s3"])
def backend(request: pytest.FixtureRequest, executor: ThreadPoolExecutor) -> ChunkBackend:
    if request.param == "local":
        return LocalBackend(request.getfixturevalue("local_path"), executor, mark=MARK)
    settings, prefix = request.getfixturevalue("s3_settings"), request.getfixturevalue("s3_prefix")
    return S3Backend(settings, prefix, executor, mark=MARK)
