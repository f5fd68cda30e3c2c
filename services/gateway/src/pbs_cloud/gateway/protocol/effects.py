"""What a request of a session asks its surroundings to do; the result is sent back into its generator."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from pbs_cloud.contracts.chunkstore.types import UploadStatistics
from pbs_cloud.formats.index import DynamicIndex, FixedIndex


@dataclass(frozen=True, slots=True)
class PutChunk:
    """Store the request's body as a chunk of ``size`` plaintext bytes. Result: ``StoredChunk``."""

    digest: bytes
    size: int


@dataclass(frozen=True, slots=True)
class PutBlob:
    """Store the request's body as the file ``name``."""

    name: str


@dataclass(frozen=True, slots=True)
class LoadIndex:
    """Read an index of the base or of the reader's snapshot. Result: ``LoadedIndex``. Raises NotFound, FormatError."""

    name: str


@dataclass(frozen=True, slots=True)
class Flush:
    """Wait until every chunk of the session is durable."""


@dataclass(frozen=True, slots=True)
class CloseIndex:
    """Store a complete index."""

    name: str
    csum: bytes
    size: int
    pieces: Iterable[bytes | memoryview]


@dataclass(frozen=True, slots=True)
class Finish:
    """Commit the snapshot."""

    statistics: UploadStatistics


@dataclass(frozen=True, slots=True)
class Compute:
    """Call something that may take a while off the event loop. Result: what it returns."""

    call: Callable[[], Any]


Effect = PutChunk | PutBlob | LoadIndex | Flush | CloseIndex | Finish | Compute


class LoadedIndex(Protocol):
    """An index file in memory or mapped; ``close`` frees it."""

    @property
    def index(self) -> FixedIndex | DynamicIndex:
        """The reader over the bytes."""

    @property
    def data(self) -> memoryview:
        """The whole file."""

    def close(self) -> None:
        """Free the memory; the index is unusable then."""
