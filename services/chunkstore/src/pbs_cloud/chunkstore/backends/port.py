"""The one way to stored bytes: what a directory and a bucket both do (formats 7, 8; architecture "Storage layouts").

Chunks are addressed by digest, every other file by its relative path of `formats.layout` (`ns/a/vm/100/…/x.fidx`);
where these stand in the directory or bucket is the backend's business, and only its.

Errors, all from `contracts.errors`: `NotFound` (no such object), `NoSpace` (no room; nothing is left behind),
`Unavailable` (the storage is away or answered with an error; nothing is known about the outcome), `DataCorrupt` (what
is there cannot be right), `Conflict` (the place belongs to somebody else). Every method may be repeated.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview

READ_PIECE = 4 * 1024 * 1024
"""Most bytes of one piece of `read_file`."""


@dataclass(frozen=True, slots=True)
class StoreLocation:
    """What of a datastore row decides where its bytes are.

    `backend_type`: `filesystem` or `s3`; `location`: directory below the data folder, or key prefix, without slashes at
    its ends; of an adopted directory its absolute path; `uuid`: goes into our mark, by which we know our own;
    `config`: the row's configuration.
    """

    backend_type: str
    location: str
    uuid: str = ""
    config: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes of the file system that a store is on."""

    total: int
    available: int


class ChunkBackend(Protocol):
    """The bytes of one datastore."""

    kind: str
    """`filesystem` or `s3`."""

    immediate: bool
    """Whether a chunk is durable as soon as `write_chunk` answers; else only after the next `sync`."""

    async def create(self, *, reuse: bool = False) -> None:
        """Make an empty store; with `reuse` take one that exists. Afterwards the place carries our mark.

        Raises:
            AlreadyExists: there is a store (without `reuse`). Conflict: another server uses the place.
        """

    async def complete(self) -> None:
        """Do what `create` left for later; may take a minute. The store can be used meanwhile. Repeatable.

        Raises:
            NoSpace, Unavailable.
        """

    async def check(self) -> None:
        """Require that the store is there, complete, ours, readable and writable.

        Raises:
            NotFound, Conflict, DataCorrupt (a part of the layout is missing or has the wrong mode), Unavailable.
        """

    async def is_marked(self) -> bool:
        """Whether our mark is there."""

    async def own(self) -> None:
        """Become the one process that writes chunks here, until `close` or death. Nothing to do for a bucket.

        Raises:
            Locked: another process owns the directory.
        """

    async def close(self) -> None:
        """Release locks and connections."""

    async def space(self) -> Space | None:
        """Room of the file system; None for a bucket, which has no limit of its own."""

    # ------------------------------------------------------------------------------------------------ chunks

    async def write_chunk(
        self, digest: bytes, parts: Sequence[Buffer], *, only_new: bool, durable: bool = False
    ) -> bool:
        """Store the concatenated `parts` as one object, atomically.

        Args:
            only_new: leave an object that exists as it is and answer False.
            durable: the object is durable on return also where `immediate` is False.
        """

    async def read_chunk(self, digest: bytes, location: str | None = None) -> bytes:
        """The whole object, unchecked."""

    async def read_chunk_into(self, digest: bytes, location: str | None, target: memoryview) -> int:
        """`read_chunk` into a buffer; answers the length.

        Raises:
            InvalidArgument: the object is larger than the buffer.
        """

    async def chunk_size(self, digest: bytes, location: str | None = None) -> int:
        """Bytes of the object."""

    async def sync(self) -> None:
        """Everything that was written before the call is durable when it returns."""

    async def set_aside_chunk(self, digest: bytes) -> None:
        """Keep a corrupt object as `.N.bad`: renamed in a directory, copied in a bucket (formats 9.9)."""

    async def delete_chunks(self, digests: Sequence[bytes]) -> list[bytes]:
        """Delete objects; a missing one counts as deleted. Answers the digests whose deletion was not confirmed."""

    # ------------------------------------------------------------------------------------------------ files

    async def put_file(self, key: str, pieces: AsyncIterable[bytes] | bytes, *, only_new: bool = False) -> int:
        """Store a file, replacing atomically what was there; durable on return. Answers its size.

        Raises:
            AlreadyExists: with `only_new`, when it exists.
        """

    def read_file(self, key: str) -> AsyncIterator[bytes]:
        """Pieces of at most `READ_PIECE` bytes; `NotFound` comes before the first."""

    async def file_size(self, key: str) -> int:
        """Bytes of a file."""

    async def copy_file(self, source: str, target: str) -> None:
        """Let the content of `source` be at `target` too, replacing what was there; durable on return.

        Both may share their bytes: neither is ever changed in place.
        """

    async def delete_file(self, key: str) -> None:
        """Delete a file durably; a missing one is no error."""

    async def delete_tree(self, prefix: str) -> bool:
        """Delete everything below a directory, itself included; `prefix` ends with `/`. A missing one is no error.

        Answers whether a deletion may still strike: a bucket did not answer every attempt.

        Raises:
            Conflict: the folder of a group or namespace holds snapshots (that somebody else put there); it stays.
        """

    def list_files(self, prefix: str = "") -> AsyncIterator[tuple[str, int]]:
        """Key and size of every file below `prefix` (empty or ending with `/`), in no order.

        Chunks, temporary files and namespace markers are left out.
        """

    async def make_namespace(self, path: str) -> None:
        """Make `ns/a/ns/b/` (every level); one that exists is no error."""

    async def remove_namespace(self, path: str) -> None:
        """`delete_tree` of `ns/a/ns/b/`."""

    async def destroy(self) -> None:
        """Delete the store with all its bytes."""

    async def release(self) -> None:
        """Give the place up without deleting bytes: our mark goes, another server may take it."""
