"""One auth process on a database of its own for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from testkit.auth_service import AuthWorld, start_auth
from testkit.servers import temporary_folder


@pytest.fixture
def run_dir() -> Path:
    """A folder with a short path, for sockets."""
    return temporary_folder("auth")


@pytest.fixture
async def world(service_database: Callable[[str], Awaitable[str]], run_dir: Path) -> AsyncIterator[AuthWorld]:
    """The service after its first start."""
    process = await start_auth(await service_database("auth"), run_dir)
    yield await AuthWorld.create(process)
    await process.stop()
