"""Files of a snapshot against its manifest: blobs and indexes (formats 11.1)."""

from __future__ import annotations

import asyncio
import hashlib
import mmap
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import numpy as np

from pbs_cloud.formats import blob
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.index import DynamicIndex, FixedIndex
from pbs_cloud.formats.manifest import CryptMode, FileEntry
from pbs_cloud.formats.names import ArchiveName, ArchiveType
from pbs_cloud.gc.verification.seen import KeyArray, chunk_keys

MOST_BLOB = blob.MAX_BLOB_SIZE + blob.ENCRYPTED_HEADER_SIZE
WINDOW = 65_536
"""Entries of an index that are looked at together."""

Index = FixedIndex | DynamicIndex


async def check_blob(entry: FileEntry, pieces: AsyncIterator[bytes]) -> None:
    """A blob's size, checksum, magic and CRC; its content too where it can be decoded. Raises FormatError."""
    raw = bytearray()
    async for piece in pieces:
        raw += piece
        if len(raw) > min(entry.size, MOST_BLOB):
            raise FormatError("wrong size")
    await asyncio.to_thread(_check_blob, entry, raw)


def _check_blob(entry: FileEntry, raw: bytearray) -> None:
    kind = blob.check_crc(raw)
    if len(raw) != entry.size:
        raise FormatError(f"wrong size ({len(raw)} != {entry.size})")
    if hashlib.sha256(raw).digest() != entry.csum:
        raise FormatError("wrong checksum")
    if not kind.encrypted:
        blob.decode(raw)


@asynccontextmanager
async def fetched(pieces: AsyncIterator[bytes]) -> AsyncIterator[memoryview]:
    """What comes, in a temporary file that is mapped; its pages go with the last view of it."""
    with tempfile.TemporaryFile(prefix="verify-") as file:
        async for piece in pieces:
            await asyncio.to_thread(file.write, piece)
        file.flush()
        empty = file.tell() == 0
        data = memoryview(b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    yield data


def open_index(entry: FileEntry, data: memoryview) -> Index:
    """The index, if it is what the manifest says: csum and size are computed anew. Raises FormatError."""
    fixed = ArchiveName.parse_server(entry.filename).archive_type is ArchiveType.FIXED
    index: Index = FixedIndex(data) if fixed else DynamicIndex(data)
    if index.compute_csum() != entry.csum:
        raise FormatError("wrong checksum")
    if index.size != entry.size:
        raise FormatError(f"wrong size ({index.size} != {entry.size})")
    if int(index.sizes().max()) > blob.MAX_CHUNK_SIZE:
        raise FormatError("a chunk is larger than 16 MiB")
    return index


def windows(index: Index) -> Iterator[KeyArray]:
    """Keys of the index's chunks, so many at a time."""
    sizes = index.sizes()
    for start in range(0, len(index), WINDOW):
        part = slice(start, start + WINDOW)
        yield chunk_keys(index.digests[part], np.asarray(sizes[part]))


def is_encrypted(entry: FileEntry) -> bool:
    """Whether the archive's chunks must be encrypted."""
    return entry.crypt_mode is CryptMode.ENCRYPT
