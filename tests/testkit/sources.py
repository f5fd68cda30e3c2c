"""Things to back up: directories with every kind of entry, disk images."""

import os
import random
from pathlib import Path

from pbs_cloud.formats.pxar import ReadAt
from pbs_cloud.formats.pxar_reader import PxarReader

MIB = 1 << 20


def make_directory(root: Path, seed: int = 1, size: int = 3 * MIB) -> Path:
    """A tree of about ``size`` bytes: files (empty, small, large, with holes), links, attributes, odd names."""
    source = random.Random(seed)
    (root / "etc" / "empty").mkdir(parents=True)
    (root / "data").mkdir()
    (root / "etc" / "hosts").write_text("127.0.0.1 localhost\n")
    (root / "etc" / "nothing").touch()
    for number in range(40):
        (root / "etc" / f"file-{number:03}").write_bytes(source.randbytes(source.randrange(1, 3000)))
    (root / "data" / "random").write_bytes(source.randbytes(size // 2))
    (root / "data" / "text").write_bytes(b"all work and no play\n" * (size // 80))
    (root / "data" / "large").write_bytes(source.randbytes(size // 4))
    with (root / "data" / "sparse").open("wb") as file:
        file.truncate(300_000)
    os.link(root / "data" / "random", root / "etc" / "hardlink")
    (root / "link").symlink_to("etc/hosts")
    (root / "dangling").symlink_to("/no/such/place")
    os.mkfifo(root / "fifo")
    (root / ("n" * 200)).write_text("long name")
    Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9")).write_text("not UTF-8")
    os.setxattr(root / "etc" / "hosts", "user.comment", b"kept")
    (root / "data" / "text").chmod(0o4750)
    os.utime(root / "etc" / "nothing", ns=(0, -1_500_000_000))
    return root


def make_image(chunks: int, tail: int = 0, seed: int = 1) -> bytearray:
    """A disk image of ``chunks`` distinct 4 MiB chunks, half of each compressible, and a shorter last one."""
    source = random.Random(seed)
    image = bytearray()
    for _ in range(chunks):
        image += source.randbytes(2 * MIB) + source.randbytes(64) * (2 * MIB // 64)
    return image + source.randbytes(tail)


def reader_of(data: bytes) -> ReadAt:
    """`read(offset, length)` over bytes in memory."""

    def read(offset: int, length: int) -> bytes:
        return data[offset : offset + length]

    return read


def open_archive(archive: bytes, payload: bytes | None = None) -> PxarReader:
    """A reader over restored bytes."""
    if payload is None:
        return PxarReader(reader_of(archive), len(archive))
    return PxarReader(reader_of(archive), len(archive), reader_of(payload), len(payload))
