"""Chunk bytes between this process and chunkstore: in slots of the shared region, or as raw messages."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from pbs_cloud.contracts.chunkstore.chunks import ChunksClient
from pbs_cloud.contracts.chunkstore.types import StoredChunk
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import Internal, InvalidArgument, Unavailable
from pbs_cloud.gateway.arena import Arena, PrivateMemory, Slot
from pbs_cloud.gateway.http2.sinks import Memory
from pbs_cloud.runtime.logging import get_logger

RAW_BYTES: Final = 16 * 1024 * 1024
"""Bytes of raw messages under way at once: each exists several times inside gRPC."""
SLOT_SECONDS: Final = 3.0
"""How long a chunk to send waits for a slot before it crosses as a raw message."""

log = get_logger(__name__)


@dataclass(slots=True)
class ReceivedChunk:
    """A chunk to send: ``length`` bytes of ``view``; ``free`` when they were sent."""

    view: memoryview
    slot: Slot | None = None

    def free(self) -> None:
        """Give the memory back."""
        if self.slot is not None:
            self.slot.free()


class _RegionGone(Exception):
    """Chunkstore does not know the region (any more)."""


class _Larger(Exception):
    """The chunk is stored in more bytes than its index lets expect."""


class _ByteLimit:
    """Lets callers with a weight in, as long as the sum stays below a limit; a single one always gets in."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._condition = asyncio.Condition()

    async def enter(self, weight: int) -> None:
        async with self._condition:
            await self._condition.wait_for(lambda: not self._used or self._used + weight <= self._limit)
            self._used += weight

    async def leave(self, weight: int) -> None:
        async with self._condition:
            self._used -= weight
            self._condition.notify_all()


class ChunkTransfer:
    """Memory for bodies and the two directions of the way."""

    def __init__(self, client: ChunksClient, arena: Arena) -> None:
        self._client = client
        self.arena = arena
        self._raw = _ByteLimit(RAW_BYTES)

    def take(self, size: int, *, slot_allowed: bool) -> Slot | PrivateMemory:
        """Memory for a body of ``size`` bytes, now."""
        slot = self.arena.allocate(size) if slot_allowed and self.arena.region is not None else None
        return slot if slot is not None else PrivateMemory(size)

    async def put(
        self, ctx: CallContext, session_id: str, digest: bytes, size: int, memory: Memory, length: int
    ) -> StoredChunk:
        """Store ``length`` bytes of ``memory`` (from :meth:`take`)."""
        if isinstance(memory, Slot):
            try:
                return await self._put_shared(ctx, session_id, digest, size, memory, length)
            except _RegionGone:
                self.arena.region = None  # chunkstore was restarted
        await self._raw.enter(length)
        try:
            return await self._client.put_chunk(ctx, session_id, digest, size, memory.view[:length])
        finally:
            await asyncio.shield(self._raw.leave(length))

    async def _put_shared(
        self, ctx: CallContext, session_id: str, digest: bytes, size: int, slot: Slot, length: int
    ) -> StoredChunk:
        region = self.arena.region
        if region is None:
            raise _RegionGone
        try:
            return await self._client.put_shared_chunk(ctx, session_id, digest, size, region, slot.offset, length)
        except InvalidArgument as error:
            if error.field == "region":
                raise _RegionGone from None
            raise
        except (Unavailable, Internal, asyncio.CancelledError):
            slot.quarantine()
            raise

    async def get(self, ctx: CallContext, session_id: str, digest: bytes, capacity: int) -> ReceivedChunk:
        """A stored chunk of at most ``capacity`` bytes."""
        if self.arena.region is not None:
            try:
                return await self._get_shared(ctx, session_id, digest, capacity)
            except _RegionGone:
                self.arena.region = None
            except TimeoutError:
                log.warning("no slot for a chunk to send", free=self.arena.free_bytes)
            except _Larger:
                pass  # an encrypted chunk's announced size is taken on trust: only its object says how long it is
        await self._raw.enter(capacity)
        try:
            return ReceivedChunk(memoryview(await self._client.get_chunk(ctx, session_id, digest)))
        finally:
            await asyncio.shield(self._raw.leave(capacity))

    async def _get_shared(self, ctx: CallContext, session_id: str, digest: bytes, capacity: int) -> ReceivedChunk:
        async with asyncio.timeout(SLOT_SECONDS):
            slot = await self.arena.acquire(capacity)
        try:
            region = self.arena.region
            if region is None:
                raise _RegionGone
            length = await self._client.get_shared_chunk(ctx, session_id, digest, region, slot.offset, capacity)
        except (Unavailable, Internal, asyncio.CancelledError):
            slot.quarantine()
            raise
        except InvalidArgument as error:
            slot.free()
            raise (_Larger if error.field == "capacity" else _RegionGone) from error
        except BaseException:
            slot.free()
            raise
        return ReceivedChunk(slot.view[:length], slot)
