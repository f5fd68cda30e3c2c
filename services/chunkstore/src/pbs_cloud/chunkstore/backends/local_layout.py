"""The directory as a whole: made, checked, marked and locked so that a real PBS can take it over (formats 7.1, 7.4)."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import shutil
import stat
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from pbs_cloud.chunkstore.backends import prefix_folders
from pbs_cloud.chunkstore.backends.local_files import FILE_MODE, Ownership, set_owner, set_owner_at, sync_filesystem
from pbs_cloud.contracts.errors import AlreadyExists, Conflict, DataCorrupt, Locked, NotFound
from pbs_cloud.formats.layout import CHUNK_DIR, GC_STATUS_NAME, LOCK_NAME

ROOT_MODE = 0o755
CHUNK_DIRECTORY_MODE = prefix_folders.MODE
MARK_NAME = ".pbs-cloud"
"""Hidden from a real PBS; says whose the directory is, and its flock is what the writing process holds."""

PENDING_NAME = ".pbs-cloud-pending"
"""There until all folders in `.chunks` are made."""

OWNER_NAME = "backup"
CONTENT_NAMES = ("vm", "ct", "host", "ns")
_IGNORED_NAMES = ("lost+found",)


def store_owner() -> Ownership | None:
    """User and group `backup` when we may give files away and it exists, else None (our own user)."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(OWNER_NAME)
    except KeyError:
        return None
    return Ownership(entry.pw_uid, entry.pw_gid)


def create_layout(path: Path, owner: Ownership | None, mark: str) -> None:
    """Formats 7.4 "Create" in an empty or new directory, durable on return, without the folders in `.chunks`."""
    path.mkdir(mode=ROOT_MODE, parents=True, exist_ok=True)
    names = {entry.name for entry in path.iterdir()}
    if CHUNK_DIR in names:
        raise AlreadyExists("the directory holds a datastore already")
    if any(not name.startswith(".") and name not in _IGNORED_NAMES for name in names):
        raise AlreadyExists("the directory is not empty")
    root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        set_owner(root, ROOT_MODE, owner)
        make_file(root, LOCK_NAME, b"", owner)
        os.mkdir(CHUNK_DIR, CHUNK_DIRECTORY_MODE, dir_fd=root)
        set_owner_at(root, CHUNK_DIR, CHUNK_DIRECTORY_MODE, owner)
        make_file(root, PENDING_NAME, b"", owner)
        write_mark(root, owner, mark)
        sync_filesystem(root)
    finally:
        os.close(root)


def write_mark(root: int, owner: Ownership | None, mark: str) -> None:
    """Say that the directory is ours."""
    make_file(root, MARK_NAME, json.dumps({"hostname": mark}).encode() + b"\n", owner)


def read_mark(path: Path) -> str | None:
    """Whose the directory is; empty when that cannot be read, None without a mark."""
    try:
        return str(json.loads((path / MARK_NAME).read_bytes())["hostname"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return ""


def is_pending(path: Path) -> bool:
    """Whether the directory was made by `create_layout` and its folders in `.chunks` are still to be made."""
    return (path / PENDING_NAME).exists()


def check_layout(path: Path, owner: Ownership | None) -> None:
    """Require what an adopting PBS requires, row by row of formats 7.4.

    Raises:
        NotFound: no datastore there. DataCorrupt: a part is missing, or has the wrong mode or owner.
    """
    if not (path / CHUNK_DIR).is_dir():
        raise NotFound("the datastore's directory does not exist")
    for problem in layout_problems(path, owner):
        raise DataCorrupt(problem)


def layout_problems(path: Path, owner: Ownership | None) -> Iterator[str]:
    """What an adopting PBS would refuse, row by row of formats 7.4."""
    entries = [
        (str(path), "the directory", stat.S_IFDIR, ROOT_MODE),
        (f"{path}/{CHUNK_DIR}", CHUNK_DIR, stat.S_IFDIR, CHUNK_DIRECTORY_MODE),
        (f"{path}/{LOCK_NAME}", LOCK_NAME, stat.S_IFREG, FILE_MODE),
    ]
    folders = (f"{CHUNK_DIR}/{number:04x}" for number in range(prefix_folders.COUNT))
    each_folder = ((f"{path}/{name}", name, stat.S_IFDIR, CHUNK_DIRECTORY_MODE) for name in folders)
    for place, name, kind, mode in chain(entries, each_folder):
        problem = _entry_problem(place, name, kind, mode, owner)
        if problem is not None:
            yield problem


def make_prefix_folder(root: int, folder: str, owner: Ownership | None) -> None:
    """One folder below `.chunks`, for a chunk that came before its folder."""
    prefix_folders.make_one(folder, root)
    set_owner_at(root, folder, CHUNK_DIRECTORY_MODE, owner)


def require_mark(path: Path, mark: str | None) -> None:
    """Refuse a directory that carries another mark than `mark`, or none."""
    found = read_mark(path)
    if found is None:
        raise Conflict(f"the directory has no {MARK_NAME} mark: another server may be using it")
    if found != mark:
        raise Conflict(f"the directory is in use by {found or 'another server'}")


class DirectoryLock:
    """Held by the one process that writes chunks: exclusive on our mark, shared on `.lock` against the GC of a PBS."""

    def __init__(self, path: Path) -> None:
        self._files = [os.open(path / MARK_NAME, os.O_RDWR | os.O_CLOEXEC)]
        try:
            fcntl.flock(self._files[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._files.append(os.open(path / LOCK_NAME, os.O_RDWR | os.O_CLOEXEC))
            fcntl.lockf(self._files[1], fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            whose = "another chunk store process" if len(self._files) == 1 else "another server"
            self.release()
            if isinstance(error, BlockingIOError | PermissionError):
                raise Locked(f"the directory {path} is in use: {whose} holds its lock") from error
            raise

    def release(self) -> None:
        for descriptor in self._files:
            os.close(descriptor)
        self._files.clear()


def destroy_layout(path: Path) -> None:
    """Remove contents, then chunks, then locks, then the directory if nothing else is in it (formats 7.8).

    May be begun again, also while another process is still at it.
    """
    for name in (*CONTENT_NAMES, CHUNK_DIR):
        while (path / name).exists():
            with contextlib.suppress(FileNotFoundError):  # the other one was faster
                shutil.rmtree(path / name)
    for name in (GC_STATUS_NAME, LOCK_NAME, PENDING_NAME, MARK_NAME):
        (path / name).unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if not any(path.iterdir()):
            path.rmdir()


def make_file(root: int, name: str, content: bytes, owner: Ownership | None) -> None:
    opened = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE, dir_fd=root)
    try:
        set_owner(opened, FILE_MODE, owner)
        os.write(opened, content)
        os.fsync(opened)
    finally:
        os.close(opened)


def _entry_problem(path: str, name: str, kind: int, mode: int, owner: Ownership | None) -> str | None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return f"{name} is missing"
    if stat.S_IFMT(found.st_mode) != kind or found.st_mode & 0o777 != mode:
        return f"{name}: permissions not correct ({found.st_mode & 0o777:o}, must be {mode:o})"
    if owner is not None and (found.st_uid, found.st_gid) != (owner.uid, owner.gid):
        return f"{name}: owner not correct (must be {OWNER_NAME}:{OWNER_NAME})"
    return None
