"""A removed datastore is let go: its directory may be taken by somebody else."""

from __future__ import annotations

import asyncio

import pytest
from testkit.chunk_world import World

from pbs_cloud.chunkstore.chunks import stores


async def test_the_directory_of_a_removed_datastore_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "_RELEASE_SECONDS", 0.05)
    opened = await world.store()
    release = asyncio.create_task(world.registry.release_removed())
    await asyncio.sleep(0.2)
    assert await world.store() is opened
    await world.execute("UPDATE datastore SET state = 'removed' WHERE id = $1", world.datastore)
    async with asyncio.timeout(5):
        while world.datastore in world.registry._stores:
            await asyncio.sleep(0.05)
    release.cancel()
