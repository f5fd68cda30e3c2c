"""Random access to archives for the synchronous readers of ``formats``, which run in worker threads."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from types import TracebackType
from typing import Final, Self

from pbs_cloud.contracts.errors import Unavailable
from pbs_cloud.formats.index import ChunkInfo
from pbs_cloud.formats.pxar_reader import PxarReader
from pbs_cloud.gateway.rest.reading import Index, OpenSnapshot

CACHED_CHUNKS: Final = 8
READ_SECONDS: Final = 90.0


class ArchiveSource:
    """One archive as bytes; the last few chunks stay in memory. ``read`` must be called from a worker thread."""

    def __init__(self, snapshot: OpenSnapshot, index: Index) -> None:
        self._snapshot = snapshot
        self._index = index
        self._loop = asyncio.get_running_loop()
        self._cache: OrderedDict[bytes, bytes] = OrderedDict()
        self.size = index.size

    def read(self, offset: int, length: int) -> bytes:
        """Bytes ``[offset, offset + length)``, fewer at the end. Raises DataCorrupt, Unavailable."""
        length = max(0, min(length, self.size - offset))
        parts = []
        for info in self._index.chunks_of(offset, length) if length else ():
            content = self._chunk(info)
            first, last = max(offset, info.start), min(offset + length, info.end)
            parts.append(memoryview(content)[first - info.start : last - info.start])
        return b"".join(parts)

    def _chunk(self, info: ChunkInfo) -> bytes:
        content = self._cache.get(info.digest)
        if content is None:
            waiting = asyncio.run_coroutine_threadsafe(self._snapshot.chunk(info), self._loop)
            try:
                content = waiting.result(READ_SECONDS)
            except TimeoutError:
                waiting.cancel()
                raise Unavailable("the storage does not answer") from None
            self._cache[info.digest] = content
            if len(self._cache) > CACHED_CHUNKS:
                self._cache.popitem(last=False)
        self._cache.move_to_end(info.digest)
        return content


class ArchiveAccess:
    """The archives of one snapshot that are open; leaving the block closes them."""

    def __init__(self, snapshot: OpenSnapshot) -> None:
        self._snapshot = snapshot
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def open(self, name: str) -> ArchiveSource:
        """An archive by the name of its index."""
        return ArchiveSource(self._snapshot, await self._stack.enter_async_context(self._snapshot.index(name)))

    async def pxar(self, archive: str, payload: str | None) -> PxarReader:
        """Reader of a pxar archive, with its payload archive if it is a split one."""
        source = await self.open(archive)
        second = await self.open(payload) if payload else None
        return await asyncio.to_thread(
            PxarReader,
            source.read,
            source.size,
            second.read if second else None,
            second.size if second else 0,
        )
