"""Upload engine of the stock client: many chunks in flight, appends in archive order (wire-protocol 6.0)."""

import asyncio
import hashlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from testkit.client.codec import Codec
from testkit.client.connection import data_of
from testkit.client.http2 import Answer
from testkit.client.session import BackupSession, Kind

IN_FLIGHT = 66
"""Unanswered chunk uploads of one archive."""
BATCH = 64
"""Entries of an append with new chunks."""
KNOWN_BATCH = 128
"""Entries of an append of known chunks only."""


@dataclass(frozen=True, slots=True)
class KnownChunk:
    """A chunk that is put into the index by digest alone."""

    digest: bytes
    size: int


@dataclass(slots=True)
class ArchiveResult:
    """What a manifest says about an archive, and how much of it was uploaded."""

    name: str
    size: int
    csum: bytes
    uploaded: int
    reused: int
    most_in_flight: int


@dataclass(slots=True)
class ArchiveUpload:
    """Upload of one archive; ``known`` are digests that need no upload (it grows with what is sent)."""

    session: BackupSession
    kind: Kind
    name: str
    codec: Codec
    known: set[bytes] = field(default_factory=set)
    in_flight: int = IN_FLIGHT
    wid: int = 0
    _uploads: deque[tuple[bytes, int, "asyncio.Future[Answer] | None"]] = field(default_factory=deque)
    _ready: list[tuple[bytes, int]] = field(default_factory=list)
    _ready_new: bool = False
    _append: "asyncio.Future[Answer] | None" = None
    _entries: int = 0
    _offset: int = 0
    _unanswered: int = 0
    _result: ArchiveResult = field(default_factory=lambda: ArchiveResult("", 0, b"", 0, 0, 0))

    async def run(self, chunks: Iterable[bytes | KnownChunk], size: int | None = None) -> ArchiveResult:
        """Create the index, send ``chunks`` in order, close. ``size``: announced size of an image."""
        self.wid = await self.session.create(self.kind, self.name, size)
        csum = hashlib.sha256()
        for chunk in chunks:
            digest, length = await self._send(chunk)
            end = self._offset + length
            csum.update(digest if self.kind == "fixed" else end.to_bytes(8, "little") + digest)
            self._offset = end
            self._entries += 1
            await self._drain()
        while self._uploads:
            await self._collect()
        await self._flush()
        await self._settle_append()
        await self.session.close_index(self.kind, self.wid, self._entries, self._offset, csum.digest())
        self._result.name, self._result.size, self._result.csum = self.name, self._offset, csum.digest()
        return self._result

    async def _send(self, chunk: bytes | KnownChunk) -> tuple[bytes, int]:
        if isinstance(chunk, KnownChunk):
            self._result.reused += 1
            self._uploads.append((chunk.digest, self._offset, None))
            return chunk.digest, chunk.size
        digest = self.codec.digest(chunk)
        if digest in self.known:
            self._result.reused += 1
            self._uploads.append((digest, self._offset, None))
            return digest, len(chunk)
        self.known.add(digest)
        encoded = await asyncio.to_thread(self.codec.encode, chunk)
        future = self.session.send_chunk(self.kind, self.wid, digest, len(chunk), encoded)
        self._uploads.append((digest, self._offset, future))
        self._unanswered += 1
        self._result.uploaded += 1
        self._result.most_in_flight = max(self._result.most_in_flight, self._unanswered)
        return digest, len(chunk)

    async def _drain(self) -> None:
        """Collect what is answered already, and wait while too much is in flight."""
        await asyncio.sleep(0)
        while self._uploads:
            future = self._uploads[0][2]
            if future is not None and not future.done() and self._unanswered < self.in_flight:
                return
            await self._collect()

    async def _collect(self) -> None:
        """Await the oldest upload; its entry becomes ready for an append."""
        digest, offset, future = self._uploads.popleft()
        if future is not None:
            answered = data_of(await future, f"{self.kind}_chunk")
            self._unanswered -= 1
            if answered != digest.hex():
                raise AssertionError(f"chunk {digest.hex()} was answered with {answered}")
            self._ready_new = True
        self._ready.append((digest, offset))
        if len(self._ready) >= (BATCH if self._ready_new else KNOWN_BATCH):
            await self._flush()

    async def _flush(self) -> None:
        if not self._ready:
            return
        await self._settle_append()
        digests, offsets = zip(*self._ready, strict=True)
        self._append = self.session.send_append(self.kind, self.wid, digests, offsets)
        self._ready, self._ready_new = [], False

    async def _settle_append(self) -> None:
        append, self._append = self._append, None
        if append is not None:
            data_of(await append, f"PUT {self.kind}_index")
