"""The directory as a real PBS wants to find it (formats 7.4, row by row), its locks, and a full disk."""

import errno
import fcntl
import mmap
import os
import pwd
import resource
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pbs_cloud.chunkstore.backends import direct_io, local_layout
from pbs_cloud.chunkstore.backends.local import LocalBackend
from pbs_cloud.contracts.errors import AlreadyExists, Conflict, DataCorrupt, Locked, NoSpace, NotFound, Unavailable

MARK = "pbs-cloud-test"
DIGEST = bytes(range(32))
CHUNK = f".chunks/0001/{DIGEST.hex()}"


@pytest.fixture
async def backend(local_path: Path, executor: ThreadPoolExecutor) -> AsyncIterator[LocalBackend]:
    made = LocalBackend(local_path, executor, mark=MARK)
    yield made
    await made.delete_chunks([DIGEST])
    await made.close()


def others_chunk_directory(path: Path) -> Path:
    return path / ".chunks" / "8a3f"


def names_below(path: Path) -> set[str]:
    return {entry.name for entry in path.iterdir()}


async def test_everything_that_an_adopting_pbs_wants_is_there(local_path: Path, backend: LocalBackend) -> None:
    owner = local_layout.store_owner()
    uid, gid = (owner.uid, owner.gid) if owner else (os.getuid(), os.getgid())
    prefixes = [f".chunks/{number:04x}" for number in range(65536)]
    for name, mode in [("", 0o755), (".chunks", 0o750), (".lock", 0o644), *((name, 0o750) for name in prefixes)]:
        found = os.stat(local_path / name)
        assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (mode, uid, gid), name
    assert all(name.startswith(".") or name in local_layout.CONTENT_NAMES for name in names_below(local_path))
    await backend.check()


def test_as_root_everything_belongs_to_backup() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    entry = pwd.getpwnam("backup")
    assert local_layout.store_owner() == local_layout.Ownership(entry.pw_uid, entry.pw_gid)


def wrong_mode(mode: int) -> Callable[[Path], Callable[[], None]]:
    def violate(path: Path) -> Callable[[], None]:
        before = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode)
        return lambda: path.chmod(before)

    return violate


def wrong_owner(path: Path) -> Callable[[], None]:
    before = path.stat()
    os.chown(path, 1, before.st_gid)
    return lambda: os.chown(path, before.st_uid, before.st_gid)


def wrong_group(path: Path) -> Callable[[], None]:
    before = path.stat()
    os.chown(path, before.st_uid, 1)
    return lambda: os.chown(path, before.st_uid, before.st_gid)


def missing(path: Path) -> Callable[[], None]:
    aside = path.with_name(path.name + ".aside")
    path.rename(aside)
    return lambda: [aside.rename(path), None][1]


@pytest.mark.parametrize("place", ["", ".chunks", ".chunks/8a3f", ".lock"])
@pytest.mark.parametrize("violate", [wrong_mode(0o700), wrong_mode(0o777), wrong_owner, wrong_group, missing])
async def test_each_row_of_the_adoption_table_violated_alone(
    local_path: Path, backend: LocalBackend, place: str, violate: Callable[[Path], Callable[[], None]]
) -> None:
    if violate in (wrong_owner, wrong_group) and os.geteuid() != 0:
        pytest.skip("needs root")
    restore = violate(local_path / place if place else local_path)
    try:
        with pytest.raises((DataCorrupt, NotFound)):
            await backend.check()
        if violate is not missing:
            with pytest.raises(DataCorrupt):
                await backend.create(reuse=True)
    finally:
        restore()


async def test_set_gid_on_the_root_is_fine(local_path: Path, backend: LocalBackend) -> None:
    local_path.chmod(0o2755)
    try:
        await backend.check()
    finally:
        local_path.chmod(0o755)


async def test_files_have_the_modes_and_owner_of_a_pbs(local_path: Path, backend: LocalBackend) -> None:
    previous = os.umask(0o077)
    try:
        await backend.write_chunk(DIGEST, [b"x"], only_new=True)
        await backend.write_chunk(DIGEST, [b"y"], only_new=False)
        await backend.put_file("ct/7/owner", b"root@pam\n")
    finally:
        os.umask(previous)
    owner = local_layout.store_owner()
    for name, mode in ((CHUNK, 0o644), ("ct/7/owner", 0o644), ("ct/7", 0o755), ("ct", 0o755)):
        found = (local_path / name).stat()
        assert stat.S_IMODE(found.st_mode) == mode, name
        assert owner is None or (found.st_uid, found.st_gid) == (owner.uid, owner.gid), name
    await backend.delete_tree("ct/7/")


async def test_a_store_is_not_made_over_something_else(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    (tmp_path / "file").write_text("somebody's")
    with pytest.raises(AlreadyExists, match="not empty"):
        await LocalBackend(tmp_path, executor, mark=MARK).create()
    assert names_below(tmp_path) == {"file"}


async def test_hidden_files_and_lost_and_found_do_not_count(store_folder: Path, executor: ThreadPoolExecutor) -> None:
    path = store_folder / "second"
    (path / "lost+found").mkdir(parents=True)
    (path / ".hidden").touch()
    made = LocalBackend(path, executor, mark=MARK)
    await made.create()
    await made.write_chunk(bytes(32), [b"a chunk before its folder"], only_new=True)
    with pytest.raises(DataCorrupt, match="0001 is missing"):
        local_layout.check_layout(path, local_layout.store_owner())
    await made.complete()
    await made.complete()
    await made.check()
    assert await made.read_chunk(bytes(32)) == b"a chunk before its folder"
    await made.put_file("vm/1/owner", b"x")
    await made.destroy()
    assert names_below(path) == {"lost+found", ".hidden"}


async def test_a_directory_with_anothers_mark_is_left_alone(local_path: Path, backend: LocalBackend) -> None:
    other = LocalBackend(local_path, backend._executor, mark="pbs-cloud-other")
    with pytest.raises(Conflict, match=MARK):
        await other.check()
    with pytest.raises(Conflict, match=MARK):
        await other.create(reuse=True)
    await backend.release()
    with pytest.raises(Conflict, match=r"no \.pbs-cloud mark"):
        await backend.check()
    await backend.create(reuse=True)
    await backend.check()


async def test_a_second_owner_is_refused(local_path: Path, backend: LocalBackend) -> None:
    await backend.own()
    await backend.own()
    second = LocalBackend(local_path, backend._executor, mark=MARK)
    with pytest.raises(Locked, match="another chunk store process holds its lock"):
        await second.own()
    await backend.close()
    await second.own()
    await second.close()


_TAKE_LOCK = """
import fcntl, sys
file = open(sys.argv[1], "r+")
fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
"""


async def test_the_collection_of_a_real_pbs_cannot_get_its_lock(local_path: Path, backend: LocalBackend) -> None:
    command = [sys.executable, "-c", _TAKE_LOCK, str(local_path / ".lock")]
    assert subprocess.run(command, check=False).returncode == 0
    await backend.own()
    assert subprocess.run(command, check=False, capture_output=True).returncode != 0


@pytest.fixture
def full_disk(store_folder: Path) -> Iterator[Path]:
    """A file system of 1 MiB; needs the right to mount."""
    path = store_folder / "full"
    path.mkdir(exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=100k", "none", path], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("cannot mount a small file system")
    yield path
    subprocess.run(["umount", path], check=True)


@pytest.mark.parametrize("only_new", [True, False])
async def test_a_full_disk_is_said_and_leaves_nothing(
    full_disk: Path, executor: ThreadPoolExecutor, only_new: bool
) -> None:
    (full_disk / ".chunks" / "0001").mkdir(parents=True)
    made = LocalBackend(full_disk, executor, mark=MARK)
    with pytest.raises(NoSpace, match=DIGEST.hex()):
        await made.write_chunk(DIGEST, [bytes(2_000_000)], only_new=only_new)
    with pytest.raises(NoSpace):
        await made.put_file("vm/1/2026-01-31T12:00:00Z/x.blob", bytes(2_000_000))
    assert names_below(full_disk / ".chunks" / "0001") == set()
    assert [entry async for entry in made.list_files()] == []
    assert names_below(full_disk / "vm/1/2026-01-31T12:00:00Z") == set()
    assert await made.write_chunk(DIGEST, [b"small"], only_new=only_new)
    await made.close()


async def test_a_file_size_limit_is_a_full_disk_too(local_path: Path, backend: LocalBackend) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(NoSpace):
            await backend.write_chunk(DIGEST, [bytes(3_000_000)], only_new=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (local_path / CHUNK).exists()


async def test_without_unnamed_files_a_temporary_name_is_used(
    local_path: Path, backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "O_TMPFILE")
    assert await backend.write_chunk(DIGEST, [b"one"], only_new=True)
    assert not await backend.write_chunk(DIGEST, [b"two"], only_new=True)
    assert await backend.read_chunk(DIGEST) == b"one"
    assert names_below(local_path / ".chunks" / "0001") == {DIGEST.hex()}


async def test_bad_copies_are_numbered_and_the_last_is_overwritten(local_path: Path, backend: LocalBackend) -> None:
    for number in range(11):
        await backend.write_chunk(DIGEST, [b"%d" % number], only_new=True)
        await backend.set_aside_chunk(DIGEST)
    found = names_below(local_path / ".chunks" / "0001")
    assert found == {f"{DIGEST.hex()}.{number}.bad" for number in range(10)}
    assert (local_path / f"{CHUNK}.9.bad").read_bytes() == b"10"
    for name in found:
        (local_path / ".chunks" / "0001" / name).unlink()


async def test_links_and_folders_are_no_chunks(local_path: Path, backend: LocalBackend, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (local_path / CHUNK).symlink_to(secret)
    with pytest.raises(DataCorrupt):
        await backend.read_chunk(DIGEST)
    await backend.write_chunk(DIGEST, [b"x"], only_new=False)
    assert secret.read_text() == "secret"
    assert await backend.read_chunk(DIGEST) == b"x"


async def test_a_directory_that_is_gone_is_an_error_not_an_empty_store(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    made = LocalBackend(tmp_path / "gone", executor, mark=MARK)
    with pytest.raises(Unavailable):
        await made.read_chunk(DIGEST)
    with pytest.raises(Unavailable):
        [entry async for entry in made.list_files()]
    with pytest.raises(NotFound):
        await made.check()


@pytest.fixture
def disk_folder() -> Iterator[Path]:
    """A folder on a file system with a disk below it, where direct writes work."""
    folder = Path(tempfile.mkdtemp(prefix="pbs-direct-", dir="/var/tmp"))
    (folder / ".chunks" / "0001").mkdir(parents=True)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("size", "offset"),
    [
        (direct_io.SMALLEST - 1, None),
        (direct_io.SMALLEST, 0),
        (4096 * 100, None),
        (4096 * 100, 8192),
        (4096 * 100 + 1, 0),
        (4096 * 100 + 1, 100),
        (16_777_260, None),
        (16_777_260, 4096),
    ],
)
@pytest.mark.parametrize("refused", [False, True])
async def test_direct_writes_have_every_byte(
    disk_folder: Path,
    executor: ThreadPoolExecutor,
    size: int,
    refused: bool,
    offset: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In two parts, or in one that lies somewhere in shared memory."""
    if refused:
        writev = os.writev

        def refuse_direct(descriptor: int, views: list[memoryview]) -> int:
            if fcntl.fcntl(descriptor, fcntl.F_GETFL) & direct_io.DIRECT_FLAG:
                raise OSError(errno.EINVAL, "not aligned")
            return writev(descriptor, views)

        monkeypatch.setattr(direct_io.os, "writev", refuse_direct)
    made = LocalBackend(disk_folder, executor, mark=MARK)
    content = os.urandom(size)
    parts = [content[:12], memoryview(content)[12:]]
    if offset is not None:
        shared = memoryview(mmap.mmap(-1, offset + size))[offset:]
        shared[:] = content
        parts = [shared]
    assert await made.write_chunk(DIGEST, parts, only_new=True)
    await made.sync()
    assert await made.read_chunk(DIGEST) == content
    assert await made.chunk_size(DIGEST) == size
    await made.close()
