"""Blocking file primitives below an open directory: atomic writes, durable renames, whole reads (formats 7.5, 7.6).

Paths are relative to a descriptor of the store's root, so nothing here can be led out of it by a moved parent. All
functions raise `OSError`; `as_pbs_error` says what it means.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import secrets
import string
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from pbs_cloud.chunkstore.backends import direct_io
from pbs_cloud.chunkstore.backends.port import Buffer
from pbs_cloud.contracts.errors import (
    AlreadyExists,
    DataCorrupt,
    InvalidArgument,
    NoSpace,
    NotFound,
    PbsError,
    Unavailable,
)
from pbs_cloud.formats import layout

FILE_MODE = 0o644
DIRECTORY_MODE = 0o755
_SUFFIX_ALPHABET = string.ascii_letters + string.digits
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_WRONG_TYPE = (errno.EISDIR, errno.ENOTDIR, errno.ELOOP)
_NO_TMPFILE = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Ownership:
    """Who new files and directories belong to; None = whoever runs this process."""

    uid: int
    gid: int


def as_pbs_error(error: OSError, what: str) -> PbsError:
    """The error of the taxonomy for a failed system call on `what` (never a path of this machine)."""
    if error.errno == errno.ENOENT:
        return NotFound(f"{what} does not exist")
    if error.errno == errno.EEXIST:
        return AlreadyExists(f"{what} exists already")
    if error.errno in _NO_ROOM:
        return NoSpace(f"no space left to store {what}")
    if error.errno in _WRONG_TYPE:
        return DataCorrupt(f"{what} is no regular file")
    return Unavailable(f"{what}: {os.strerror(error.errno) if error.errno else 'input/output failed'}")


def write_new(root: int, path: str, parts: Sequence[Buffer], owner: Ownership | None, *, durable: bool) -> bool:
    """Create `path` with the content of `parts`; False (and nothing changed) when it exists."""
    direct = direct_io.DIRECT_FLAG and sum(len(part) for part in parts) >= direct_io.SMALLEST
    opened = _open_unnamed(root, path.rpartition("/")[0], direct_io.DIRECT_FLAG if direct else 0)
    if opened is None:
        return _write_named(root, path, parts, owner, durable=durable, replace=False)
    try:
        _fill(opened, parts, owner, durable=durable)
        os.link(f"/proc/self/fd/{opened}", path, dst_dir_fd=root, follow_symlinks=True)
    except FileExistsError:
        return False
    finally:
        os.close(opened)
    if durable:
        sync_directory_of(root, path)
    return True


def write_replacing(root: int, path: str, parts: Sequence[Buffer], owner: Ownership | None, *, durable: bool) -> None:
    """Write `parts` under a temporary name and rename it over `path`."""
    _write_named(root, path, parts, owner, durable=durable, replace=True)


def open_temporary(root: int, path: str, owner: Ownership | None) -> tuple[int, str]:
    """A new file beside `path` with a name of formats 7.5, open for writing."""
    folder, _, name = path.rpartition("/")
    while True:
        suffix = "".join(secrets.choice(_SUFFIX_ALPHABET) for _ in range(6))
        temporary = f"{folder}/{layout.temporary_name(name, suffix)}" if folder else layout.temporary_name(name, suffix)
        try:
            opened = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE, dir_fd=root)
        except FileExistsError:
            continue
        set_owner(opened, FILE_MODE, owner)
        return opened, temporary


def publish(root: int, temporary: str, path: str, *, replace: bool) -> bool:
    """Give a finished temporary file its name; False (the temporary is gone) when it is taken and not `replace`."""
    if replace:
        os.rename(temporary, path, src_dir_fd=root, dst_dir_fd=root)
        return True
    try:
        os.link(temporary, path, src_dir_fd=root, dst_dir_fd=root, follow_symlinks=False)
    except FileExistsError:
        return False
    finally:
        os.unlink(temporary, dir_fd=root)
    return True


def write_all(descriptor: int, parts: Sequence[Buffer]) -> None:
    """Write every byte of `parts`."""
    views = [memoryview(part).cast("B") for part in parts if len(part)]
    while views:
        written = os.writev(descriptor, views)
        while views and written >= len(views[0]):
            written -= len(views.pop(0))
        if written:
            views[0] = views[0][written:]


def read_whole(root: int, path: str) -> bytes:
    """Content of a regular file."""
    opened = open_for_reading(root, path)
    try:
        size = os.fstat(opened).st_size
        content = os.read(opened, size)
        while len(content) < size and (more := os.read(opened, size - len(content))):
            content += more
        return content
    finally:
        os.close(opened)


def read_into(root: int, path: str, target: memoryview) -> int:
    """Fill `target` with the file; its length. `InvalidArgument` when the file is larger."""
    opened = open_for_reading(root, path)
    try:
        size = os.fstat(opened).st_size
        if size > len(target):
            raise InvalidArgument(f"capacity: the object has {size} bytes", field="capacity")
        done = 0
        while done < size and (count := os.readv(opened, [target[done:size]])):
            done += count
        return done
    finally:
        os.close(opened)


def open_for_reading(root: int, path: str) -> int:
    """A descriptor of a regular file; anything else is `EISDIR`, a symbolic link `ELOOP`."""
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=root)
    if os.fstat(opened).st_mode & 0o170000 != 0o100000:
        os.close(opened)
        raise OSError(errno.EISDIR, "not a regular file")
    return opened


def make_directories(root: int, path: str, owner: Ownership | None) -> None:
    """Make `path` and its parents, 0755, each durable before something is put into it."""
    made = ""
    for part in path.split("/"):
        made = f"{made}/{part}" if made else part
        try:
            os.mkdir(made, DIRECTORY_MODE, dir_fd=root)
        except FileExistsError:
            continue
        os.chmod(made, DIRECTORY_MODE, dir_fd=root)
        if owner is not None:
            os.chown(made, owner.uid, owner.gid, dir_fd=root)
        sync_directory_of(root, made)


def sync_directory_of(root: int, path: str) -> None:
    """Make the entry `path` durable in its directory."""
    folder = path.rpartition("/")[0]
    opened = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def sync_filesystem(root: int) -> None:
    """Write back everything of the file system that `root` is on; errors since `root` was opened are reported."""
    if not sys.platform.startswith("linux"):
        os.sync()
        return
    if _libc.syncfs(root) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def set_owner(descriptor: int, mode: int, owner: Ownership | None) -> None:
    """Exact mode, whatever the umask, and the owner of this store's files."""
    os.fchmod(descriptor, mode)
    if owner is not None:
        os.fchown(descriptor, owner.uid, owner.gid)


def set_owner_at(root: int, folder: str, mode: int, owner: Ownership | None) -> None:
    """`set_owner` for a folder below `root`."""
    os.chmod(folder, mode, dir_fd=root)
    if owner is not None:
        os.chown(folder, owner.uid, owner.gid, dir_fd=root, follow_symlinks=False)


def _open_unnamed(root: int, folder: str, extra: int) -> int | None:
    """A file without a name in `folder`, with the flags `extra` if it takes them; None where there are none."""
    flag = getattr(os, "O_TMPFILE", None)
    if flag is None:
        return None
    for flags in dict.fromkeys((extra, 0)):
        try:
            return os.open(folder or ".", flag | flags | os.O_WRONLY | os.O_CLOEXEC, FILE_MODE, dir_fd=root)
        except OSError as error:
            if error.errno not in _NO_TMPFILE:
                raise
    return None


def _fill(descriptor: int, parts: Sequence[Buffer], owner: Ownership | None, *, durable: bool) -> None:
    set_owner(descriptor, FILE_MODE, owner)
    direct = fcntl.fcntl(descriptor, fcntl.F_GETFL) & direct_io.DIRECT_FLAG
    if not direct or not direct_io.write(descriptor, parts):
        write_all(descriptor, parts)
    if durable:
        os.fsync(descriptor)


def _write_named(
    root: int, path: str, parts: Sequence[Buffer], owner: Ownership | None, *, durable: bool, replace: bool
) -> bool:
    opened, temporary = open_temporary(root, path, owner)
    try:
        try:
            write_all(opened, parts)
            if durable:
                os.fsync(opened)
        finally:
            os.close(opened)
    except BaseException:
        os.unlink(temporary, dir_fd=root)
        raise
    try:
        done = publish(root, temporary, path, replace=replace)
    except OSError:
        unlink_if_there(root, temporary)
        raise
    if durable:
        sync_directory_of(root, path)
    return done


def unlink_if_there(root: int, path: str) -> bool:
    """Remove an entry; whether there was one."""
    try:
        os.unlink(path, dir_fd=root)
    except FileNotFoundError:
        return False
    return True


def exists(root: int, path: str) -> bool:
    """Whether an entry of any type is there."""
    try:
        os.stat(path, dir_fd=root, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
