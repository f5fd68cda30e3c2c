"""What lies in a directory or bucket besides files of snapshots: chunks, set-aside copies, namespaces, the mark."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import obstore
from obstore.exceptions import BaseError

from pbs_cloud.chunkstore.backends import local_layout
from pbs_cloud.chunkstore.backends.local import LocalBackend
from pbs_cloud.chunkstore.backends.opening import MARK_PREFIX
from pbs_cloud.chunkstore.backends.port import ChunkBackend
from pbs_cloud.chunkstore.backends.s3 import S3Backend
from pbs_cloud.chunkstore.backends.s3_client import S3Settings, as_pbs_error, attempts, data_client
from pbs_cloud.contracts.errors import Internal, NotFound, Unavailable
from pbs_cloud.formats import layout
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.names import parse_safe_id
from pbs_cloud.runtime.settings import Settings

_FOLDERS_AT_ONCE = 256
_PAGE = 1000


@dataclass(slots=True)
class ChunkBatch:
    """Chunks with their sizes in the order of digests; `bad`: digests with a set-aside copy; `misplaced`: paths that a
    reader never looks at (wrong folder, upper case)."""

    chunks: list[tuple[bytes, int]] = field(default_factory=list)
    bad: set[bytes] = field(default_factory=set)
    misplaced: list[str] = field(default_factory=list)

    def add(self, folder: str, name: str, size: int) -> None:
        """Sort an entry of `.chunks/<folder>` in; a name that is no chunk's is ignored (formats 7.2)."""
        found = layout.parse_chunk_name(name)
        if found is None or found.using:
            return
        if found.bad_number is not None:
            self.bad.add(found.digest)
        elif layout.chunk_path(found.digest) == f"{layout.CHUNK_DIR}/{folder}/{name}":
            self.chunks.append((found.digest, size))
        else:
            self.misplaced.append(f"{layout.CHUNK_DIR}/{folder}/{name}")


async def chunk_batches(backend: ChunkBackend, settings: Settings) -> AsyncIterator[ChunkBatch]:
    """All chunk objects, in bounded memory. Raises Unavailable: nothing is left out silently."""
    if isinstance(backend, LocalBackend):
        for start in range(0, 0x10000, _FOLDERS_AT_ONCE):
            yield await asyncio.to_thread(_scan, backend.path / layout.CHUNK_DIR, start)
        return
    if not isinstance(backend, S3Backend):
        raise Internal("the storage cannot be listed")
    listing = obstore.list(data_client(S3Settings.of(settings)), layout.chunk_prefix(backend.prefix), chunk_size=_PAGE)
    try:
        async for page in listing:
            batch = ChunkBatch()
            for entry in page:
                folder, _, name = entry["path"].removeprefix(layout.chunk_prefix(backend.prefix)).partition("/")
                batch.add(folder, name, entry["size"])
            yield batch
    except (BaseError, OSError) as error:
        raise as_pbs_error(error, "the list of objects") from error


def _scan(root: Path, start: int) -> ChunkBatch:
    batch = ChunkBatch()
    for number in range(start, start + _FOLDERS_AT_ONCE):
        folder = f"{number:04x}"
        try:
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    if entry.is_file(follow_symlinks=False):
                        batch.add(folder, entry.name, entry.stat(follow_symlinks=False).st_size)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise Unavailable(f"{layout.CHUNK_DIR}/{folder} cannot be read") from error
    batch.chunks.sort()
    return batch


@dataclass(slots=True)
class Namespaces:
    """Paths like `a/b` without the root; `unusable`: what lies below `ns/` under a name that no namespace can have."""

    paths: set[str] = field(default_factory=set)
    unusable: list[str] = field(default_factory=list)


async def namespaces(backend: ChunkBackend, settings: Settings) -> Namespaces:
    """Namespaces that exist, empty ones too."""
    found = Namespaces()
    if isinstance(backend, LocalBackend):
        for path in await asyncio.to_thread(lambda: list(_namespace_folders(backend.path))):
            _add(found, path)
    elif isinstance(backend, S3Backend):
        prefix = layout.content_prefix(backend.prefix, "ns")
        try:
            async for page in obstore.list(data_client(S3Settings.of(settings)), prefix, chunk_size=_PAGE):
                for entry in page:
                    folder, _, name = entry["path"].rpartition("/")
                    if name == layout.NAMESPACE_MARKER_NAME:
                        _add(found, folder.removeprefix(layout.content_prefix(backend.prefix)))
        except (BaseError, OSError) as error:
            raise as_pbs_error(error, "the list of objects") from error
    return found


def _add(found: Namespaces, folder: str) -> None:
    try:
        place = layout.parse_content_path(f"{folder}/{layout.NAMESPACE_MARKER_NAME}")
    except FormatError:
        found.unusable.append(folder)
    else:
        found.paths.add(str(place.ns))


def _namespace_folders(root: Path) -> Iterator[str]:
    waiting = ["ns"]
    while waiting:
        parent = waiting.pop()
        try:
            with os.scandir(root / parent) as entries:
                folders = [f"{parent}/{entry.name}" for entry in entries if entry.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            continue
        except OSError as error:
            raise Unavailable(f"{parent} cannot be read") from error
        for folder in folders:
            yield folder
            if _is_safe(folder.rpartition("/")[2]):
                waiting.append(f"{folder}/ns")


def _is_safe(name: str) -> bool:
    try:
        parse_safe_id(name, "ns")
    except FormatError:
        return False
    return True


async def marked_by(backend: ChunkBackend, settings: Settings) -> str | None:
    """Whose the place is; empty when that cannot be read, None without a mark."""
    if isinstance(backend, LocalBackend):
        return await asyncio.to_thread(local_layout.read_mark, backend.path)
    if not isinstance(backend, S3Backend):
        raise Internal("the storage has no mark")
    store, key = data_client(S3Settings.of(settings)), layout.in_use_key(backend.prefix)
    try:
        answer = await attempts("mark", "the mark", lambda: obstore.get_async(store, key))
        return str(json.loads(bytes(await answer.bytes_async()))["hostname"])
    except NotFound:
        return None
    except (ValueError, KeyError, TypeError):
        return ""


def uuid_of(mark: str | None) -> str | None:
    """The datastore's uuid if the mark is one of ours."""
    return mark.removeprefix(MARK_PREFIX) if mark is not None and mark.startswith(MARK_PREFIX) else None
