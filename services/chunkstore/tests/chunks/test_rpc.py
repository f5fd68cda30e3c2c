"""The process through its sockets: raw messages, shared memory, errors by class."""

import asyncio
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from testkit.chunk_world import World, plain_chunk

from pbs_cloud.chunkstore.chunks.main import components
from pbs_cloud.contracts.chunkstore import ChunksClient
from pbs_cloud.contracts.chunkstore.types import StoredChunk
from pbs_cloud.contracts.errors import InvalidArgument, SessionLost, Unavailable
from pbs_cloud.runtime.grpc_channel import open_channel
from pbs_cloud.runtime.settings import Settings
from pbs_cloud.runtime.shared_region import SharedRegion


@dataclass
class Served:
    world: World
    client: ChunksClient
    shm: Path


@pytest.fixture
async def served(world: World, database_url: str, data_dir: Path) -> AsyncIterator[Served]:
    run = Path(tempfile.mkdtemp(prefix="pbs-run-"))
    settings = Settings(data_dir=data_dir, run_dir=run, chunkstore_database_url=database_url)
    parts = components(settings)
    for part in parts:
        await part.start()
    channel = open_channel(settings.services.chunks, settings)
    assert settings.services.chunks_shm is not None
    yield Served(world, ChunksClient(channel), settings.services.chunks_shm)
    await channel.close()
    for part in reversed(parts):
        await part.stop()
    shutil.rmtree(run)


async def test_raw_messages(served: Served) -> None:
    world, client = served.world, served.client
    session, chunk = await world.session(), plain_chunk(5_000_000)
    stored = await client.put_chunk(world.ctx, session, chunk.digest, chunk.size, chunk.data)
    assert stored == StoredChunk(duplicate=False, stored_size=len(chunk.data))
    await client.flush(world.ctx, session)
    assert await client.get_chunk(world.ctx, session, chunk.digest) == chunk.data
    again = await client.put_chunk(world.ctx, session, chunk.digest, chunk.size, memoryview(chunk.data))
    assert again == StoredChunk(duplicate=True, stored_size=len(chunk.data))


async def test_errors_keep_their_class(served: Served) -> None:
    world, client = served.world, served.client
    session, chunk = await world.session(), plain_chunk()
    with pytest.raises(InvalidArgument, match="wrong digest") as caught:
        await client.put_chunk(world.ctx, session, bytes(32), chunk.size, chunk.data)
    assert caught.value.field == "chunk"
    await world.end_session(session)
    await asyncio.sleep(0)
    with pytest.raises(SessionLost):
        await client.put_chunk(world.ctx, session, chunk.digest, chunk.size, chunk.data)


async def test_shared_memory(served: Served) -> None:
    world, client = served.world, served.client
    session, chunk = await world.session(), plain_chunk(3_000_000)
    region = SharedRegion(8_000_000)
    await region.hand_over(served.shm)
    assert region.is_handed_over()
    region.memory[100 : 100 + len(chunk.data)] = chunk.data
    stored = await client.put_shared_chunk(
        world.ctx, session, chunk.digest, chunk.size, region.id, 100, len(chunk.data)
    )
    assert stored == StoredChunk(duplicate=False, stored_size=len(chunk.data))
    await client.flush(world.ctx, session)
    length = await client.get_shared_chunk(world.ctx, session, chunk.digest, region.id, 4_000_000, 4_000_000)
    assert bytes(region.memory[4_000_000 : 4_000_000 + length]) == chunk.data
    with pytest.raises(InvalidArgument, match="capacity"):
        await client.get_shared_chunk(world.ctx, session, chunk.digest, region.id, 0, 2_999_999)
    region.close()


@pytest.mark.parametrize(("offset", "length"), [(0, 4097), (4096, 1), (-1, 20), (20, -1), (2**62, 2**62), (1, 4096)])
async def test_slots_stay_inside_their_region(served: Served, offset: int, length: int) -> None:
    world, client = served.world, served.client
    session, region = await world.session(), SharedRegion(4096)
    await region.hand_over(served.shm)
    with pytest.raises(InvalidArgument, match="region"):
        await client.put_shared_chunk(world.ctx, session, bytes(32), 100, region.id, offset, length)
    with pytest.raises(InvalidArgument, match="region"):
        await client.get_shared_chunk(world.ctx, session, bytes(32), region.id, offset, length)
    region.close()


async def test_a_region_dies_with_its_connection(served: Served) -> None:
    world, client = served.world, served.client
    session, region = await world.session(), SharedRegion(4096)
    with pytest.raises(InvalidArgument, match="hand it over again"):
        await client.put_shared_chunk(world.ctx, session, bytes(32), 100, region.id, 0, 100)
    await region.hand_over(served.shm)
    await region.hand_over(served.shm)
    region.close()
    async with asyncio.timeout(5):
        while True:
            with pytest.raises(InvalidArgument) as caught:
                await client.put_shared_chunk(world.ctx, session, bytes(32), 100, region.id, 0, 100)
            if caught.value.field == "region":
                return
            await asyncio.sleep(0.01)


async def test_memory_that_could_shrink_is_refused(served: Served) -> None:
    descriptor = os.memfd_create("loose", os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, 4096)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(connection, str(served.shm))
        socket.send_fds(connection, [os.urandom(16)], [descriptor])
        assert await loop.sock_recv(connection, 1) == b""
    os.close(descriptor)


async def test_nonsense_on_the_socket_is_refused(served: Served) -> None:
    loop = asyncio.get_running_loop()
    for message in (b"x" * 16, b"short"):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.setblocking(False)
            await loop.sock_connect(connection, str(served.shm))
            await loop.sock_sendall(connection, message)
            assert await loop.sock_recv(connection, 1) == b""
    assert served.shm.stat().st_mode & 0o777 == 0o600


async def test_nobody_listens(tmp_path: Path) -> None:
    region = SharedRegion(4096)
    with pytest.raises(Unavailable):
        await region.hand_over(tmp_path / "none.sock")
    assert not region.is_handed_over()
