"""The column `kind` of a chunk row: which of the four blob encodings its object has."""

from __future__ import annotations

from enum import IntEnum

from pbs_cloud.formats.blob import BlobKind


class ChunkKind(IntEnum):
    """`UNKNOWN`: an adopted chunk that was not read yet."""

    UNKNOWN = 0
    PLAIN = 1
    ZSTD = 2
    ENCRYPTED = 3
    ENCRYPTED_ZSTD = 4

    @property
    def encrypted(self) -> bool:
        """Whether the server could not check the object's digest."""
        return self in (ChunkKind.ENCRYPTED, ChunkKind.ENCRYPTED_ZSTD)

    @classmethod
    def of(cls, blob: BlobKind) -> ChunkKind:
        """The column's value for an encoding."""
        return cls[blob.name]
