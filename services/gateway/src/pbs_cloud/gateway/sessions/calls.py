"""What the requests of one session ask of chunkstore."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pbs_cloud.contracts.chunkstore.catalogue import CatalogueClient
from pbs_cloud.contracts.chunkstore.chunks import ChunksClient
from pbs_cloud.contracts.chunkstore.types import StoredChunk
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import Internal, NotFound
from pbs_cloud.formats.index import DynamicIndex, FixedIndex
from pbs_cloud.gateway.errors import HttpError
from pbs_cloud.gateway.http2.sinks import MemorySink, Sink, SlotSink
from pbs_cloud.gateway.protocol import effects as do
from pbs_cloud.gateway.sessions.metrics import BACKUP_BYTES
from pbs_cloud.gateway.sessions.prefetch import Prefetcher
from pbs_cloud.gateway.sessions.spool import SpooledIndex, load_index
from pbs_cloud.gateway.sessions.transfer import ChunkTransfer, ReceivedChunk


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What sessions of a process share. ``spool_folder``: where large indexes may be mapped from, None: the default."""

    catalogue: CatalogueClient
    chunks: ChunksClient
    transfer: ChunkTransfer
    spool_folder: Path | None = None


class SessionCalls:
    """The calls of one session."""

    def __init__(self, around: Surroundings, ctx: CallContext, session_id: str) -> None:
        self.around = around
        self.ctx = ctx
        self.session_id = session_id
        self.prefetcher: Prefetcher | None = None

    def read_ahead(self) -> None:
        """From now on chunks are read ahead of a client that follows its indexes."""
        arena = self.around.transfer.arena
        self.prefetcher = Prefetcher(self._get_chunk, lambda: arena.free_bytes * 2 > len(arena.memory))

    def index_sent(self, index: FixedIndex | DynamicIndex) -> None:
        """The client gets an index and will ask for its chunks."""
        if self.prefetcher is not None:
            self.prefetcher.opened(index)

    def close(self) -> None:
        """The session ended."""
        if self.prefetcher is not None:
            self.prefetcher.close()

    async def perform(self, effect: do.Effect, sink: Sink) -> Any:
        """Do what a request asked for; ``sink`` holds its body. Raises PbsError, FormatError."""
        if isinstance(effect, do.PutChunk):
            return await self._put_chunk(effect, sink)
        if isinstance(effect, do.LoadIndex):
            return await self._load_index(effect.name)
        if isinstance(effect, do.Compute):
            return await asyncio.to_thread(effect.call)
        if isinstance(effect, do.PutBlob):
            return await self._put_blob(effect.name, sink)
        if isinstance(effect, do.Flush):
            return await self.around.chunks.flush(self.ctx, self.session_id)
        if isinstance(effect, do.CloseIndex):
            return await self.around.catalogue.close_index(
                self.ctx, self.session_id, effect.name, effect.csum, effect.size, _pieces(effect.pieces)
            )
        return await self.around.catalogue.finish(self.ctx, self.session_id, effect.statistics)

    async def read_blob(self, name: str) -> AsyncIterator[bytes]:
        """Pieces of a file. Raises HttpError 404 before the first one: a missing blob is not an index."""
        try:
            async for piece in self.around.catalogue.read_session_file(self.ctx, self.session_id, name):
                yield piece
        except NotFound:
            raise HttpError(404, f"file '{name}' not found") from None

    async def get_chunk(self, digest: bytes, capacity: int) -> ReceivedChunk:
        """A stored chunk of at most ``capacity`` bytes."""
        if self.prefetcher is not None:
            return await self.prefetcher.get(digest, capacity)
        return await self._get_chunk(digest, capacity)

    async def _get_chunk(self, digest: bytes, capacity: int) -> ReceivedChunk:
        return await self.around.transfer.get(self.ctx, self.session_id, digest, capacity)

    async def _put_chunk(self, effect: do.PutChunk, sink: Sink) -> StoredChunk:
        if not isinstance(sink, SlotSink) or sink.memory is None:
            raise Internal("chunk without a body")
        stored = await self.around.transfer.put(
            self.ctx, self.session_id, effect.digest, effect.size, sink.memory, sink.length
        )
        BACKUP_BYTES.inc(sink.length)
        return stored

    async def _put_blob(self, name: str, sink: Sink) -> None:
        content = sink.content() if isinstance(sink, MemorySink) else b""
        await self.around.catalogue.put_blob(self.ctx, self.session_id, name, content)
        BACKUP_BYTES.inc(len(content))

    async def _load_index(self, name: str) -> SpooledIndex:
        pieces = self.around.catalogue.read_session_file(self.ctx, self.session_id, name)
        return await load_index(name, pieces, self.around.spool_folder)


async def _pieces(pieces: Iterable[bytes | memoryview]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield bytes(piece)
