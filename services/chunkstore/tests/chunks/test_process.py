"""The process itself: killed in the middle of uploads, started twice, and storage that is away for a while."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from testkit.chunk_world import World, plain_chunk
from testkit.servers import S3Server

from pbs_cloud.chunkstore.backends.s3 import S3Backend
from pbs_cloud.chunkstore.backends.s3_client import S3Settings
from pbs_cloud.chunkstore.states import ChunkState
from pbs_cloud.contracts.chunkstore import ChunksClient
from pbs_cloud.contracts.chunkstore.types import StoredChunk
from pbs_cloud.contracts.errors import Unavailable
from pbs_cloud.runtime.grpc_channel import open_channel
from pbs_cloud.runtime.settings import Settings

_RUN = (
    "from pbs_cloud.runtime.lifecycle import run_main; from pbs_cloud.runtime.settings import load_settings;"
    "from pbs_cloud.chunkstore.chunks.main import main; run_main(main, load_settings())"
)


class Process:
    """A real `chunks` process on the world's store."""

    def __init__(self, world: World, url: str, run: Path, name: str = "chunks") -> None:
        self.settings = Settings(data_dir=world.settings.data_dir, run_dir=run, chunkstore_database_url=url)
        variables = {
            "PBS_DATA_DIR": str(world.settings.data_dir),
            "PBS_RUN_DIR": str(run),
            "PBS_CHUNKSTORE_DATABASE_URL": url,
            "PBS_PROCESS_NAME": name,
        }
        self.running = subprocess.Popen(
            [sys.executable, "-c", _RUN], env=os.environ | variables, stderr=subprocess.PIPE
        )
        self.channel = open_channel(self.settings.services.chunks, self.settings, retry=False)
        self.client = ChunksClient(self.channel)

    async def end(self, number: signal.Signals) -> str:
        self.running.send_signal(number)
        _out, errors = await asyncio.to_thread(self.running.communicate, timeout=60)
        await self.channel.close()
        return errors.decode()


@pytest.fixture
async def start(world: World, database_url: str) -> AsyncIterator[Callable[..., Process]]:
    """Starts processes in a run folder of their own; whatever the test did, none of them stays."""
    run, started = Path(tempfile.mkdtemp(prefix="pbs-run-")), []

    def start_one(name: str = "chunks") -> Process:
        started.append(Process(world, database_url, run, name))
        return started[-1]

    yield start_one
    for process in started:
        if process.running.poll() is None:
            await process.end(signal.SIGKILL)
    shutil.rmtree(run)


async def test_killed_with_uploads_on_their_way(world: World, start: Callable[..., Process]) -> None:
    """What was answered survives kill -9; what was not can be sent again; nothing is live without its file."""
    session = await world.session()
    chunks = [plain_chunk(1_000_000) for _ in range(40)]
    first = start()
    await first.client.put_chunk(world.ctx, session, chunks[0].digest, chunks[0].size, chunks[0].data)
    uploads = [
        asyncio.create_task(first.client.put_chunk(world.ctx, session, chunk.digest, chunk.size, chunk.data))
        for chunk in chunks[1:]
    ]
    await asyncio.wait(uploads, return_when=asyncio.FIRST_COMPLETED)
    first.running.kill()
    answers = await asyncio.gather(*uploads, return_exceptions=True)
    await first.end(signal.SIGKILL)
    assert [answer for answer in answers if not isinstance(answer, Unavailable | StoredChunk)] == []
    failed = [chunk for chunk, answer in zip(chunks[1:], answers, strict=True) if isinstance(answer, Unavailable)]

    second = start()
    for chunk in failed:
        await second.client.put_chunk(world.ctx, session, chunk.digest, chunk.size, chunk.data)
    await second.client.flush(world.ctx, session)
    for chunk in chunks:
        assert (await world.row(chunk))["state"] == ChunkState.LIVE
        assert await second.client.get_chunk(world.ctx, session, chunk.digest) == chunk.data
    assert await world.usage() == sum(len(chunk.data) for chunk in chunks)
    last = plain_chunk()
    await second.client.put_chunk(world.ctx, session, last.digest, last.size, last.data)
    await second.end(signal.SIGTERM)
    assert second.running.returncode == 0
    assert (await world.row(last))["state"] == ChunkState.LIVE


async def test_a_second_process_on_the_directory_is_refused_at_its_start(
    world: World, start: Callable[..., Process]
) -> None:
    await world.store()
    second = start("second")
    _out, errors = await asyncio.to_thread(second.running.communicate, timeout=60)
    await second.channel.close()
    assert second.running.returncode != 0
    assert b"another chunk store process holds its lock" in errors
    await world.put(await world.session(), plain_chunk())


async def test_object_storage_that_is_away_for_a_while(s3: S3Server, s3_world: World) -> None:
    session, chunk = await s3_world.session(), plain_chunk()
    await s3_world.put(session, plain_chunk())
    s3.pause()
    try:
        upload = asyncio.create_task(s3_world.put(session, chunk))
        await asyncio.sleep(3)
        assert not upload.done()
    finally:
        s3.resume()
    async with asyncio.timeout(40):
        assert not (await upload).duplicate
    assert await s3_world.get(session, chunk) == chunk.data


async def test_object_storage_that_is_not_there_fails_in_time_and_clearly(
    free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from pbs_cloud.chunkstore.backends import s3_client

    monkeypatch.setattr(s3_client, "TOTAL_SECONDS", 2.0)
    settings = S3Settings("bucket", "us-east-1", f"http://127.0.0.1:{free_port}", "key", "secret")
    with ThreadPoolExecutor(1) as executor:
        backend = S3Backend(settings, "x", executor, mark="m")
        async with asyncio.timeout(20):
            with pytest.raises(Unavailable, match="object storage does not answer"):
                await backend.write_chunk(bytes(32), [b"x"], only_new=True)
            with pytest.raises(Unavailable):
                await backend.read_chunk(bytes(32))
            with pytest.raises(Unavailable):
                [entry async for entry in backend.list_files()]
            assert await backend.delete_chunks([bytes(32)]) == [bytes(32)]


@pytest.fixture
def free_port() -> int:
    """A port where nobody listens."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
