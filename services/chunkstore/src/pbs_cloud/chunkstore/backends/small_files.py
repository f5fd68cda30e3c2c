"""Whole files of a group or snapshot that are never large: owner, notes, manifest."""

from __future__ import annotations

from pbs_cloud.chunkstore.backends.port import ChunkBackend
from pbs_cloud.contracts.errors import DataCorrupt
from pbs_cloud.formats.identity import AuthId

MAX_SMALL_FILE = 64 * 1024 * 1024


async def read_small(backend: ChunkBackend, key: str) -> bytes:
    """A whole file. Raises NotFound, DataCorrupt (too large), Unavailable."""
    content = bytearray()
    async for piece in backend.read_file(key):
        content += piece
        if len(content) > MAX_SMALL_FILE:
            raise DataCorrupt(f"{key} is too large")
    return bytes(content)


async def read_owner(backend: ChunkBackend, key: str) -> str | None:
    """Whom an owner file names (formats 8.2); None if that is nobody. Raises NotFound, DataCorrupt, Unavailable."""
    try:
        return str(AuthId.parse((await read_small(backend, key)).decode().split("\n", 1)[0].rstrip()))
    except ValueError:
        return None
