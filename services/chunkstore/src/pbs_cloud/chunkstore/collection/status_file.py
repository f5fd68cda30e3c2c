"""`.gc-status` in a directory: a real PBS that takes the directory back shows the last run's figures (formats 9.8)."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pbs_cloud.chunkstore.backends import local_layout
from pbs_cloud.chunkstore.backends.local import LocalBackend
from pbs_cloud.chunkstore.backends.port import ChunkBackend
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.gc_status import GcStatus
from pbs_cloud.formats.layout import GC_STATUS_NAME
from pbs_cloud.runtime.logging import get_logger

_TEMPORARY = f"{GC_STATUS_NAME}.tmp"
_log = get_logger(__name__)


async def write(backend: ChunkBackend, status: Mapping[str, Any]) -> None:
    """Store the status beside the chunks. A bucket holds none; what cannot be written is left out, as stock does."""
    if not isinstance(backend, LocalBackend):
        return
    content = json.dumps(status, separators=(",", ":")).encode()
    try:
        await asyncio.to_thread(_replace, backend.path, content)
    except OSError as error:
        _log.warning("the status of a collection was not written", reason=os.strerror(error.errno or 0))


async def read(backend: ChunkBackend) -> dict[str, Any] | None:
    """The status that lies there; None without a usable one."""
    if not isinstance(backend, LocalBackend):
        return None
    try:
        content = await asyncio.to_thread((backend.path / GC_STATUS_NAME).read_bytes)
        return GcStatus.parse(json.loads(content)).to_dict()
    except (OSError, ValueError, FormatError):
        return None


def _replace(path: Path, content: bytes) -> None:
    root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        local_layout.make_file(root, _TEMPORARY, content, local_layout.store_owner())
        os.rename(_TEMPORARY, GC_STATUS_NAME, src_dir_fd=root, dst_dir_fd=root)
        os.fsync(root)
    finally:
        os.close(root)
