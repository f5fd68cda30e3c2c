"""Small indexes are fetched before their turn: a bucket answers many requests at once as fast as one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator

from pbs_cloud.chunkstore.backends.port import ChunkBackend
from pbs_cloud.chunkstore.collection.index_list import IndexEntry

AT_ONCE = 8
SMALL = 4 * 1024 * 1024


async def read_ahead(
    entries: Iterator[IndexEntry], backend: ChunkBackend
) -> AsyncIterator[tuple[IndexEntry, asyncio.Task[bytes] | None]]:
    """Entries in order, each with the task that has its bytes; None for one that is better streamed."""
    waiting: deque[tuple[IndexEntry, asyncio.Task[bytes] | None]] = deque()
    try:
        while True:
            while len(waiting) < AT_ONCE and (entry := next(entries, None)) is not None:
                small = 0 < entry.stored_size <= SMALL
                task = asyncio.create_task(_whole(backend, entry.file_key)) if small else None
                waiting.append((entry, task))
            if not waiting:
                return
            yield waiting.popleft()
    finally:
        left = [task for _, task in waiting if task is not None]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _whole(backend: ChunkBackend, key: str) -> bytes:
    content = bytearray()
    async for piece in backend.read_file(key):
        content += piece
        if len(content) > SMALL:
            break  # longer than its row says: whoever checks it will see
    return bytes(content)
