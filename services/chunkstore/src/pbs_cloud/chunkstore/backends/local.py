"""A datastore in a directory, byte-compatible with a real PBS (formats 7)."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import ParamSpec, TypeVar

from pbs_cloud.chunkstore.backends import local_files as files
from pbs_cloud.chunkstore.backends import local_layout, prefix_folders
from pbs_cloud.chunkstore.backends.paths import check_key, directory_of, holds_snapshots
from pbs_cloud.chunkstore.backends.port import READ_PIECE, Buffer, Space
from pbs_cloud.contracts.errors import AlreadyExists, Unavailable
from pbs_cloud.formats import layout

P = ParamSpec("P")
T = TypeVar("T")


class LocalBackend:
    """`ChunkBackend` on a directory. One descriptor of the root stays open, so write errors are seen by `sync`."""

    kind = "filesystem"
    immediate = False

    def __init__(self, path: Path, executor: Executor, *, mark: str) -> None:
        self.path = path
        self._executor = executor
        self._mark = mark
        self._owner = local_layout.store_owner()
        self._root_descriptor: int | None = None
        self._lock: local_layout.DirectoryLock | None = None

    # ------------------------------------------------------------------------------------------------ the store

    async def create(self, *, reuse: bool = False) -> None:
        await self._run("the datastore", self._create, reuse)

    async def complete(self) -> None:
        if not await self._run("the datastore", local_layout.is_pending, self.path):
            return
        ids = () if self._owner is None else (str(self._owner.uid), str(self._owner.gid))
        maker = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            prefix_folders.__name__,
            str(self.path),
            *ids,
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            _, reason = await maker.communicate()
        except asyncio.CancelledError:
            maker.kill()
            raise
        if maker.returncode:
            why = reason.decode(errors="replace").strip()[-200:] or f"exit code {maker.returncode}"
            raise Unavailable(f"the folders of the datastore could not be made: {why}")
        await self._run("the datastore", self._mark_complete)

    async def check(self) -> None:
        await self._run("the datastore", self._check)

    async def is_marked(self) -> bool:
        return await self._run("the datastore", local_layout.read_mark, self.path) == self._mark

    async def own(self) -> None:
        if self._lock is None:
            self._lock = await self._run("the datastore", local_layout.DirectoryLock, self.path)

    async def close(self) -> None:
        if self._root_descriptor is not None:
            os.close(self._root_descriptor)
            self._root_descriptor = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    async def destroy(self) -> None:
        await self._run("the datastore", local_layout.destroy_layout, self.path)
        await self.close()

    async def release(self) -> None:
        await self._run("the datastore", self._unmark)
        await self.close()

    async def space(self) -> Space | None:
        found = await self._run("the datastore", os.fstatvfs, self._root())
        return Space(total=found.f_blocks * found.f_frsize, available=found.f_bavail * found.f_frsize)

    # ------------------------------------------------------------------------------------------------ chunks

    async def write_chunk(
        self, digest: bytes, parts: Sequence[Buffer], *, only_new: bool, durable: bool = False
    ) -> bool:
        return await self._run(f"chunk {digest.hex()}", self._write_chunk, digest, parts, only_new, durable)

    async def read_chunk(self, digest: bytes, location: str | None = None) -> bytes:
        path = location or layout.chunk_path(digest)
        return await self._run(f"chunk {digest.hex()}", files.read_whole, self._root(), path)

    async def read_chunk_into(self, digest: bytes, location: str | None, target: memoryview) -> int:
        path = location or layout.chunk_path(digest)
        return await self._run(f"chunk {digest.hex()}", files.read_into, self._root(), path, target)

    async def chunk_size(self, digest: bytes, location: str | None = None) -> int:
        return await self._run(f"chunk {digest.hex()}", self._size, location or layout.chunk_path(digest))

    async def sync(self) -> None:
        await self._run("the datastore", files.sync_filesystem, self._root())

    async def set_aside_chunk(self, digest: bytes) -> None:
        await self._run(f"chunk {digest.hex()}", self._set_aside, digest)

    async def delete_chunks(self, digests: Sequence[bytes]) -> list[bytes]:
        return await self._run("chunks", self._delete_chunks, digests)

    # ------------------------------------------------------------------------------------------------ files

    async def put_file(self, key: str, pieces: AsyncIterable[bytes] | bytes, *, only_new: bool = False) -> int:
        opened, temporary = await self._run(key, self._open_temporary, check_key(key))
        size, done = 0, False
        try:
            async for piece in _as_pieces(pieces):
                await self._run(key, files.write_all, opened, (piece,))
                size += len(piece)
            await self._run(key, os.fsync, opened)
            done = True
        finally:
            os.close(opened)
            if not done:
                files.unlink_if_there(self._root(), temporary)
        if not await self._run(key, self._publish, temporary, key, not only_new):
            raise AlreadyExists(f"{key} exists already")
        return size

    async def read_file(self, key: str) -> AsyncIterator[bytes]:
        opened = await self._run(key, files.open_for_reading, self._root(), check_key(key))
        try:
            while piece := await self._run(key, os.read, opened, READ_PIECE):
                yield piece
        finally:
            os.close(opened)

    async def file_size(self, key: str) -> int:
        return await self._run(key, self._size, check_key(key))

    async def copy_file(self, source: str, target: str) -> None:
        await self._run(source, self._link, check_key(source), check_key(target))

    async def delete_file(self, key: str) -> None:
        await self._run(key, self._delete_file, check_key(key))

    async def delete_tree(self, prefix: str) -> bool:
        await self._run(prefix, self._delete_tree, directory_of(prefix))
        return False

    async def list_files(self, prefix: str = "") -> AsyncIterator[tuple[str, int]]:
        folders = [directory_of(prefix)] if prefix else list(local_layout.CONTENT_NAMES)
        while folders:
            folder = folders.pop()
            below, found = await self._run(folder, self._list_folder, folder)
            folders += below
            for entry in found:
                yield entry

    async def make_namespace(self, path: str) -> None:
        await self._run(path, files.make_directories, self._root(), directory_of(path), self._owner)

    async def remove_namespace(self, path: str) -> None:
        await self.delete_tree(path)

    # ------------------------------------------------------------------------------------------------ blocking parts

    async def _run(self, what: str, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`work` in the executor; an `OSError` becomes an error of the taxonomy that names `what`."""

        def call() -> T:
            return work(*args, **kwargs)

        running = asyncio.get_running_loop().run_in_executor(self._executor, call)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])  # descriptors stay open, and locks held, while the thread works with them
            raise
        except OSError as error:
            raise files.as_pbs_error(error, what) from error

    def _root(self) -> int:
        if self._root_descriptor is None:
            try:
                self._root_descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as error:
                raise Unavailable("the datastore's directory is not there") from error
        return self._root_descriptor

    def _create(self, reuse: bool) -> None:
        if not reuse or not (self.path / layout.CHUNK_DIR).is_dir():
            local_layout.create_layout(self.path, self._owner, self._mark)
            return
        marked = local_layout.read_mark(self.path) is not None
        if marked:
            local_layout.require_mark(self.path, self._mark)
        if not local_layout.is_pending(self.path):
            local_layout.check_layout(self.path, self._owner)
        if not marked:
            local_layout.write_mark(self._root(), self._owner, self._mark)

    def _mark_complete(self) -> None:
        files.sync_filesystem(self._root())
        files.unlink_if_there(self._root(), local_layout.PENDING_NAME)

    def _check(self) -> None:
        local_layout.check_layout(self.path, self._owner)
        local_layout.require_mark(self.path, self._mark)
        opened, temporary = files.open_temporary(self._root(), local_layout.MARK_NAME, self._owner)
        os.close(opened)
        os.unlink(temporary, dir_fd=self._root())

    def _unmark(self) -> None:
        (self.path / local_layout.MARK_NAME).unlink(missing_ok=True)

    def _write_chunk(self, digest: bytes, parts: Sequence[Buffer], only_new: bool, durable: bool) -> bool:
        write = files.write_new if only_new else files.write_replacing
        path = layout.chunk_path(digest)
        try:
            done = write(self._root(), path, parts, self._owner, durable=durable)
        except FileNotFoundError as error:
            if not local_layout.is_pending(self.path):
                raise Unavailable(f"{layout.chunk_dir(digest)} is missing") from error
            local_layout.make_prefix_folder(self._root(), layout.chunk_dir(digest), self._owner)
            done = write(self._root(), path, parts, self._owner, durable=durable)
        return done is not False

    def _size(self, path: str) -> int:
        opened = files.open_for_reading(self._root(), path)
        try:
            return os.fstat(opened).st_size
        finally:
            os.close(opened)

    def _set_aside(self, digest: bytes) -> None:
        root, path = self._root(), layout.chunk_path(digest)
        bad = layout.bad_chunk_path(digest, layout.MAX_BAD_COPIES - 1)
        for number in range(layout.MAX_BAD_COPIES):
            if not files.exists(root, layout.bad_chunk_path(digest, number)):
                bad = layout.bad_chunk_path(digest, number)
                break
        os.rename(path, bad, src_dir_fd=root, dst_dir_fd=root)
        files.sync_directory_of(root, path)

    def _delete_chunks(self, digests: Sequence[bytes]) -> list[bytes]:
        failed = []
        for digest in digests:
            try:
                files.unlink_if_there(self._root(), layout.chunk_path(digest))
            except OSError:
                failed.append(digest)
        return failed

    def _open_temporary(self, key: str) -> tuple[int, str]:
        files.make_directories(self._root(), key.rpartition("/")[0], self._owner)
        return files.open_temporary(self._root(), key, self._owner)

    def _publish(self, temporary: str, key: str, replace: bool) -> bool:
        try:
            done = files.publish(self._root(), temporary, key, replace=replace)
        except OSError:
            files.unlink_if_there(self._root(), temporary)
            raise
        files.sync_directory_of(self._root(), key)
        return done

    def _link(self, source: str, target: str) -> None:
        """A second name: files are replaced, never written again, so both stay what they are."""
        root = self._root()
        files.make_directories(root, target.rpartition("/")[0], self._owner)
        files.unlink_if_there(root, target)
        os.link(source, target, src_dir_fd=root, dst_dir_fd=root, follow_symlinks=False)
        files.sync_directory_of(root, target)

    def _delete_file(self, key: str) -> None:
        if files.unlink_if_there(self._root(), key):
            files.sync_directory_of(self._root(), key)

    def _delete_tree(self, folder: str) -> None:
        if files.exists(self._root(), folder):
            if layout.is_folder_of_snapshots(folder) and self._holds_snapshots(folder):
                raise holds_snapshots(folder)
            shutil.rmtree(folder, dir_fd=self._root())
            files.sync_directory_of(self._root(), folder)

    def _holds_snapshots(self, folder: str) -> bool:
        folders = [folder]
        while folders:
            below, found = self._list_folder(folders.pop())
            if any(layout.is_snapshot_file(key.rpartition("/")[2]) for key, _size in found):
                return True
            folders += below
        return False

    def _list_folder(self, folder: str) -> tuple[list[str], list[tuple[str, int]]]:
        """Folders and files (with sizes) of one folder; a folder that vanishes meanwhile is empty."""
        below: list[str] = []
        found: list[tuple[str, int]] = []
        try:
            opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._root())
        except FileNotFoundError:
            return below, found
        try:
            with os.scandir(opened) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        below.append(f"{folder}/{entry.name}")
                    elif entry.is_file(follow_symlinks=False) and not layout.is_temporary(entry.name):
                        found.append((f"{folder}/{entry.name}", entry.stat(follow_symlinks=False).st_size))
        finally:
            os.close(opened)
        return below, found


async def _as_pieces(pieces: AsyncIterable[bytes] | bytes) -> AsyncIterator[bytes]:
    if isinstance(pieces, bytes | bytearray | memoryview):
        yield bytes(pieces)
        return
    async for piece in pieces:
        yield piece
