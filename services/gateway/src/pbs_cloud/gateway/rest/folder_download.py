"""A folder of an archive as a stream: zip or tar.zst. Symbolic links, modes and times are kept."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import zstandard

from pbs_cloud.formats.pxar import Entry, EntryKind
from pbs_cloud.formats.pxar_reader import Directory, PxarReader

_EARLIEST_ZIP_YEAR: Final = 1980
_LATEST_ZIP_YEAR: Final = 2107
_TAR_KINDS: Final = {
    EntryKind.DIRECTORY: tarfile.DIRTYPE,
    EntryKind.SYMLINK: tarfile.SYMTYPE,
    EntryKind.FILE: tarfile.REGTYPE,
    EntryKind.HARDLINK: tarfile.REGTYPE,
    EntryKind.FIFO: tarfile.FIFOTYPE,
    EntryKind.BLOCK_DEVICE: tarfile.BLKTYPE,
    EntryKind.CHAR_DEVICE: tarfile.CHRTYPE,
}


class _Pipe(io.RawIOBase):
    """Collects what a writer writes until it is taken."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._parts.append(piece)
        return len(piece)

    def take(self) -> bytes:
        """Everything written since the last call."""
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


def _names(reader: PxarReader, directory: Directory, base: str) -> Iterator[tuple[str, Entry]]:
    for path, entry in reader.walk(directory):
        inner = path.decode("utf-8", "replace")
        name = "/".join(part for part in (base, inner) if part)
        if name:
            yield name, entry


def zip_of(reader: PxarReader, directory: Directory, base: str) -> Iterator[bytes]:
    """Files, folders and symbolic links as a zip; other kinds have no place in one."""
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, entry in _names(reader, directory, base):
            info = zipfile.ZipInfo(name + ("/" if entry.kind is EntryKind.DIRECTORY else ""), _zip_time(entry))
            info.compress_type = zipfile.ZIP_DEFLATED
            if entry.stat is not None:
                info.external_attr = (entry.stat.mode & 0xFFFF) << 16
            if entry.kind is EntryKind.DIRECTORY:
                info.compress_type = zipfile.ZIP_STORED
                info.external_attr |= 0x10
                archive.writestr(info, b"")
            elif entry.kind is EntryKind.SYMLINK:
                archive.writestr(info, entry.target or b"")
            elif entry.kind in (EntryKind.FILE, EntryKind.HARDLINK):
                with archive.open(info, "w", force_zip64=True) as member:
                    for piece in reader.content(entry):
                        member.write(piece)
                        yield pipe.take()
            yield pipe.take()
    yield pipe.take()


def _zip_time(entry: Entry) -> tuple[int, int, int, int, int, int]:
    seconds = entry.stat.mtime if entry.stat else 0
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return (_EARLIEST_ZIP_YEAR, 1, 1, 0, 0, 0)
    if not _EARLIEST_ZIP_YEAR <= moment.year <= _LATEST_ZIP_YEAR:
        return (_EARLIEST_ZIP_YEAR, 1, 1, 0, 0, 0)
    return (moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second)


def tar_zst_of(reader: PxarReader, directory: Directory, base: str) -> Iterator[bytes]:
    """Everything but sockets as a tar, compressed with zstd."""
    compressor = zstandard.ZstdCompressor(level=3).compressobj()
    for piece in _tar_of(reader, directory, base):
        yield compressor.compress(piece)
    yield compressor.flush()


def _tar_of(reader: PxarReader, directory: Directory, base: str) -> Iterator[bytes]:
    for name, entry in _names(reader, directory, base):
        kind = _TAR_KINDS.get(entry.kind)
        if kind is None:
            continue
        info = tarfile.TarInfo(name)
        info.type = kind
        if entry.stat is not None:
            info.mode, info.mtime = entry.stat.mode & 0o7777, entry.stat.mtime
            info.uid, info.gid = entry.stat.uid, entry.stat.gid
        if entry.kind is EntryKind.SYMLINK:
            info.linkname = (entry.target or b"").decode("utf-8", "surrogateescape")
        if kind == tarfile.REGTYPE:
            info.size = reader.resolve(entry).size or 0
        yield info.tobuf(tarfile.PAX_FORMAT)
        if kind == tarfile.REGTYPE:
            yield from reader.content(entry)
            yield bytes(-info.size % tarfile.BLOCKSIZE)
    yield bytes(tarfile.RECORDSIZE)
