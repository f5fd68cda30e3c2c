"""Index writers of a backup session (wire-protocol 4.6-4.9, 4.15)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pbs_cloud.contracts.chunkstore.types import StoredChunk, UploadStatistics
from pbs_cloud.contracts.errors import Conflict, InvalidArgument
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.index_builder import DynamicIndexBuilder, FixedIndexBuilder

MAX_WRITERS: Final = 1024
"""Index files of one session; ids above 256 cannot be used anyway."""
MAX_SESSION_ENTRIES: Final = 1 << 24
"""Chunks of all open indexes of a session when one more is created: 64 TiB of images."""


class WriterKind(StrEnum):
    """Kind of an index; a chunk or close of one kind never meets a writer of the other."""

    DYNAMIC = "dynamic"
    FIXED = "fixed"


@dataclass(slots=True)
class Statistics:
    """Chunk uploads: how many, raw bytes, stored bytes, how many existed already."""

    count: int = 0
    size: int = 0
    compressed_size: int = 0
    duplicates: int = 0

    def add(self, size: int, stored: StoredChunk) -> None:
        """Count one upload."""
        self.count += 1
        self.size += size
        self.compressed_size += stored.stored_size
        self.duplicates += stored.duplicate

    def merge(self, other: Statistics) -> None:
        """Add those of a closed writer."""
        self.count += other.count
        self.size += other.size
        self.compressed_size += other.compressed_size
        self.duplicates += other.duplicates

    def frozen(self) -> UploadStatistics:
        """As the contract wants them."""
        return UploadStatistics(self.count, self.size, self.compressed_size, self.duplicates)


class Writer:
    """One open index file. Every refusal names it."""

    def __init__(
        self, wid: int, kind: WriterKind, name: str, builder: DynamicIndexBuilder | FixedIndexBuilder, uuid: bytes
    ) -> None:
        self.wid = wid
        self.kind = kind
        self.name = name
        self.builder = builder
        self.uuid = uuid
        self.statistics = Statistics()
        self.closing = False

    def _refuse(self, what: str, why: str) -> Conflict:
        return Conflict(f"{self.kind} writer '{self.name}' {what} failed - {why}")

    def require_open(self, what: str) -> None:
        """Refuse when the index was closed, well or not."""
        if self.closing or self.builder.closed:
            raise self._refuse(what, "already closed")

    def uploaded(self, size: int, stored: StoredChunk) -> None:
        """Count a chunk that was uploaded for this writer."""
        self.require_open("register chunk")
        if isinstance(self.builder, FixedIndexBuilder):
            try:
                self.builder.register_upload(size)
            except FormatError as error:
                raise self._refuse("register chunk", str(error)) from None
        self.statistics.add(size, stored)

    def append(self, digests: list[str], offsets: list[int], size_of: Callable[[bytes], int | None]) -> None:
        """Apply entries in order; those before a wrong one stay."""
        self.require_open("append chunk")
        if len(digests) != len(offsets):
            raise InvalidArgument(
                f"offset list has wrong length ({len(offsets)} != {len(digests)})", field="offset-list"
            )
        for text, offset in zip(digests, offsets, strict=True):
            digest = bytes.fromhex(text)
            size = size_of(digest)
            if size is None:
                raise InvalidArgument(f"no such chunk {text}", field="digest-list")
            try:
                self.builder.append(digest, offset, size)
            except FormatError as error:
                raise self._refuse("append chunk", str(error)) from None

    def close(self, chunk_count: int, size: int, csum: bytes) -> None:
        """Check and end the index; after a wrong csum it stays closed for good. May take a while."""
        try:
            self.builder.close(chunk_count, size, csum)
        except FormatError as error:
            raise self._refuse("close", str(error)) from None

    def report(self) -> list[str]:
        """Lines of the task log about a closed index (wire-protocol 9.3)."""
        stats, size, entries = self.statistics, self.builder.size, len(self.builder)
        csum = self.builder.index_csum or b""
        lines = [
            f"Upload statistics for '{self.name}'",
            f"UUID: {self.uuid.hex()}",
            f"Checksum: {csum.hex()}",
            f"Size: {size}",
            f"Chunk count: {entries}",
        ]
        if size and entries:
            lines.append(f"Upload size: {stats.size} ({stats.size * 100 // size}%)")
            repeated = max(0, entries - stats.count)
            if repeated or stats.duplicates:
                percent = (repeated + stats.duplicates) * 100 // entries
                lines.append(f"Duplicates: {repeated}+{stats.duplicates} ({percent}%)")
            if stats.size:
                lines.append(f"Compression: {stats.compressed_size * 100 // stats.size}%")
        return [*lines, f"successfully closed {self.kind} index {self.wid}"]
