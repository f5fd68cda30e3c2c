"""A model of a local directory: what was written and not synced is lost when the power fails."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testkit.simulator.loop import CURRENT, Process, SimLoop

from pbs_cloud.chunkstore.backends.local import LocalBackend
from pbs_cloud.chunkstore.backends.paths import holds_snapshots
from pbs_cloud.chunkstore.backends.port import Buffer, Space
from pbs_cloud.contracts.errors import AlreadyExists, Locked
from pbs_cloud.formats import layout

NOWHERE = Path("/nonexistent-simulated")


@dataclass(eq=False)
class Directory:
    """Files by relative path: as processes see them, and as they would be after a power failure."""

    loop: SimLoop
    files: dict[str, bytes] = field(default_factory=dict)
    durable: dict[str, bytes] = field(default_factory=dict)
    changed: dict[str, float] = field(default_factory=dict)
    dirty: set[str] = field(default_factory=set)
    holder: Process | None = None
    full: bool = False
    mark: str | None = None

    def write(self, path: str, data: bytes, *, synced: bool) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.files[path] = data
        self.changed[path] = self.loop.now
        self._settle(path, synced)

    def read(self, path: str) -> bytes:
        if path not in self.files:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        return self.files[path]

    def unlink(self, path: str, *, synced: bool) -> None:
        if self.files.pop(path, None) is not None:
            self._settle(path, synced)

    def below(self, prefix: str) -> list[str]:
        return sorted(path for path in self.files if path.startswith(prefix))

    def sync(self) -> None:
        for path in self.dirty:
            self._keep(path)
        self.dirty.clear()

    def power_failure(self) -> None:
        """Of what was not synced, the disk has some and lacks some."""
        for path in sorted(self.dirty):
            if self.loop.rng.random() < 0.5:
                self._keep(path)
        self.dirty.clear()
        self.files = dict(self.durable)

    def _settle(self, path: str, synced: bool) -> None:
        if synced:
            self._keep(path)
            self.dirty.discard(path)
        else:
            self.dirty.add(path)

    def _keep(self, path: str) -> None:
        if path in self.files:
            self.durable[path] = self.files[path]
        else:
            self.durable.pop(path, None)


class DirectoryBackend(LocalBackend):
    """`LocalBackend` with its blocking parts on the model; threads, cancellation and errors are the real ones."""

    def __init__(self, directory: Directory, executor: Any, mark: str = "simulated") -> None:
        super().__init__(NOWHERE, executor, mark=mark)
        self.directory = directory

    def _create(self, reuse: bool) -> None:
        self.directory.mark = self.directory.mark or self._mark

    async def own(self) -> None:
        holder = self.directory.holder
        if holder is not None and not holder.dead and holder is not CURRENT.get():
            raise Locked("the directory is in use: another chunk store process holds its lock")
        self.directory.holder = CURRENT.get()

    async def close(self) -> None:
        if self.directory.holder is CURRENT.get():
            self.directory.holder = None

    async def check(self) -> None:
        """It is always there."""

    async def space(self) -> Space | None:
        return Space(1 << 40, 1 << 39)

    async def write_chunk(
        self, digest: bytes, parts: Sequence[Buffer], *, only_new: bool, durable: bool = False
    ) -> bool:
        path, data = layout.chunk_path(digest), b"".join(parts)

        def work() -> bool:
            if only_new and path in self.directory.files:
                return False
            self.directory.write(path, data, synced=durable)
            return True

        return await self._run(f"chunk {digest.hex()}", work)

    async def read_chunk(self, digest: bytes, location: str | None = None) -> bytes:
        path = location or layout.chunk_path(digest)
        return await self._run(f"chunk {digest.hex()}", self.directory.read, path)

    async def chunk_size(self, digest: bytes, location: str | None = None) -> int:
        return len(await self.read_chunk(digest, location))

    async def sync(self) -> None:
        await self._run("the datastore", self.directory.sync)

    def _set_aside(self, digest: bytes) -> None:
        number = 0
        while layout.bad_chunk_path(digest, number) in self.directory.files and number < layout.MAX_BAD_COPIES - 1:
            number += 1
        data = self.directory.read(layout.chunk_path(digest))
        self.directory.write(layout.bad_chunk_path(digest, number), data, synced=True)
        self.directory.unlink(layout.chunk_path(digest), synced=True)

    def _delete_chunks(self, digests: Sequence[bytes]) -> list[bytes]:
        for digest in digests:
            self.directory.unlink(layout.chunk_path(digest), synced=False)
        return []

    async def put_file(self, key: str, pieces: AsyncIterable[bytes] | bytes, *, only_new: bool = False) -> int:
        given = isinstance(pieces, bytes | bytearray | memoryview)
        data = bytes(pieces) if given else b"".join([piece async for piece in pieces])  # type: ignore[union-attr, arg-type]
        if only_new and key in self.directory.files:
            raise AlreadyExists(f"{key} exists already")
        await self._run(key, lambda: None)
        await self._run(key, lambda: self.directory.write(key, data, synced=True))
        return len(data)

    async def read_file(self, key: str) -> AsyncIterator[bytes]:
        yield await self._run(key, self.directory.read, key)

    async def file_size(self, key: str) -> int:
        return len(await self._run(key, self.directory.read, key))

    async def copy_file(self, source: str, target: str) -> None:
        await self._run(source, lambda: self.directory.write(target, self.directory.read(source), synced=True))

    async def delete_file(self, key: str) -> None:
        await self._run(key, lambda: self.directory.unlink(key, synced=True))

    async def delete_tree(self, prefix: str) -> None:
        """One file after the other: the process may die in between. Raises Conflict, as the real one."""
        found = await self._run(prefix, self.directory.below, prefix)
        folder = prefix.rstrip("/")
        left = any(layout.is_snapshot_file(path.rpartition("/")[2]) for path in found)
        if left and layout.is_folder_of_snapshots(folder):
            raise holds_snapshots(folder)
        for path in found:
            await self._run(prefix, lambda path=path: self.directory.unlink(path, synced=True))

    async def list_files(self, prefix: str = "") -> AsyncIterator[tuple[str, int]]:
        for path in await self._run(prefix, self.directory.below, prefix):
            if not path.startswith(layout.CHUNK_DIR) and path in self.directory.files:
                yield path, len(self.directory.files[path])

    async def has_folder(self, prefix: str) -> bool:
        return bool(await self._run(prefix, self.directory.below, prefix.rstrip("/") + "/"))

    def _root(self) -> int:
        raise AssertionError("a part of LocalBackend that the model does not replace")

    async def make_namespace(self, path: str) -> None:
        await self._run(path, lambda: None)

    async def remove_namespace(self, path: str) -> None:
        await self.delete_tree(path)


def index_files(directory: Directory) -> list[str]:
    """Paths of all indexes."""
    return [path for path in directory.below("") if path.endswith((".didx", ".fidx"))]


def chunk_objects(directory: Directory) -> Iterator[tuple[bytes, int | None, int, float]]:
    """Digest, number of a set-aside copy, size, time of change of everything in the chunk folder."""
    for path in directory.below(layout.CHUNK_DIR + "/"):
        name = layout.parse_chunk_name(path.rpartition("/")[2])
        if name is not None:
            yield name.digest, name.bad_number, len(directory.files[path]), directory.changed.get(path, 0.0)
