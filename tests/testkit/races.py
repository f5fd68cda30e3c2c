"""What tests of interleavings do over and over (formats 9.10)."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pbs_cloud.chunkstore.collection import deleting, sweeping
from pbs_cloud.chunkstore.collection.deleting import Deleter, Doomed, Outcome
from pbs_cloud.chunkstore.states import ChunkState
from pbs_cloud.contracts.chunkstore.collection import CollectionRun
from testkit.chunk_world import Chunk
from testkit.collection_world import Backup, CollectionWorld, some_chunks
from testkit.late_requests import LateRequests
from testkit.servers import S3Server

UPLOADING, LIVE, CORRUPT = int(ChunkState.UPLOADING), int(ChunkState.LIVE), int(ChunkState.CORRUPT)
CONDEMNED, DELETING = int(ChunkState.CONDEMNED), int(ChunkState.DELETING)


async def condemned_chunk(world: CollectionWorld) -> Chunk:
    """A chunk that a run has condemned and not deleted."""
    (chunk,) = some_chunks(1)
    await world.forget(await world.backup([chunk], "old"))
    await world.collect(sweeps=False)
    assert await world.state(chunk) == CONDEMNED
    return chunk


async def in_phase_delete(world: CollectionWorld) -> CollectionRun:
    """A run that may delete; its own marks condemned nothing more."""
    run = await world.begin()
    digests, _, _ = await world.mark(run)
    await world.condemn(run, digests)
    return run


async def is_state(world: CollectionWorld, chunk: Chunk, state: int | None) -> bool:
    """For `soon`."""
    return await world.state(chunk) == state


async def sound(world: CollectionWorld, *chunks: Chunk) -> bool:
    """Whether rows and objects of all chunks are what a committed backup needs."""
    return all([await world.state(chunk) == LIVE and await world.has_object(chunk) for chunk in chunks])


async def complete(world: CollectionWorld, backup: Backup, *chunks: Chunk) -> None:
    """Close an index over chunks that the session claimed, and commit."""
    await world.close_index(backup, list(chunks))
    await world.finish(backup)


class Gate:
    """A deleter that waits before it deletes."""

    def __init__(self, inner: Deleter) -> None:
        self._inner = inner
        self.reached, self.open = asyncio.Event(), asyncio.Event()

    async def delete(self, chunks: list[Doomed], began: float) -> Outcome:
        self.reached.set()
        await self.open.wait()
        return await self._inner.delete(chunks, began)


@pytest.fixture
def gates(monkeypatch: pytest.MonkeyPatch) -> list[Gate]:
    """Every deletion waits at a gate."""
    made: list[Gate] = []

    def gated(*args: Any) -> Gate:
        made.append(Gate(deleting.deleter_for(*args)))
        return made[-1]

    monkeypatch.setattr(sweeping, "deleter_for", gated)
    return made


async def all_reached(gates: list[Gate], count: int) -> bool:
    """For `soon`."""
    return len(gates) == count and all(gate.reached.is_set() for gate in gates)


@pytest.fixture
async def late(s3: S3Server) -> AsyncIterator[LateRequests]:
    """A proxy in front of the object store."""
    proxy = await LateRequests(s3.endpoint, functools.partial(_delete, s3)).start()
    yield proxy
    await proxy.stop()


def _delete(s3: S3Server, bucket: str, keys: list[str]) -> None:
    for key in keys:
        s3.client().delete_object(Bucket=bucket, Key=key)
