"""Reading snapshots for downloads: pinned by a reader session without a task, whose lease this process renews."""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import tempfile
from collections.abc import AsyncIterator
from typing import IO, Final

from pbs_cloud.contracts.chunkstore import CatalogueClient, ChunksClient
from pbs_cloud.contracts.chunkstore.types import ReaderSession, SnapshotKey
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import DataCorrupt, PbsError, Unavailable
from pbs_cloud.formats.blob import decode
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.index import ChunkInfo, DynamicIndex, FixedIndex, parse_index
from pbs_cloud.runtime.lifecycle import BackgroundTask, Component
from pbs_cloud.runtime.logging import get_logger

log = get_logger(__name__)
RENEW_SECONDS: Final = 10.0
SPOOL_BYTES: Final = 1024 * 1024
Index = FixedIndex | DynamicIndex


class OpenSnapshot:
    """A pinned snapshot. Close it, whatever happens: the pin keeps the snapshot from being deleted."""

    def __init__(self, readers: Readers, ctx: CallContext, session: ReaderSession) -> None:
        self._readers = readers
        self.ctx = ctx
        self.session_id = session.session_id
        self.files = {file.filename: file for file in session.files}
        self.bytes_sent = 0

    def file(self, name: str) -> AsyncIterator[bytes]:
        """A stored file as it is. Raises NotFound before the first piece."""
        return self._readers.catalogue.read_session_file(self.ctx, self.session_id, name)

    async def read_file(self, name: str, limit: int) -> bytes:
        """A whole stored file. Raises DataCorrupt when it is longer than ``limit``."""
        content = bytearray()
        async for piece in self.file(name):
            content += piece
            if len(content) > limit:
                raise DataCorrupt(f"file '{name}' is too large")
        return bytes(content)

    async def chunk(self, info: ChunkInfo) -> bytes:
        """Plaintext of a chunk of an unencrypted archive. Raises DataCorrupt."""
        blob = await self._readers.chunks.get_chunk(self.ctx, self.session_id, info.digest)
        size = info.end - info.start
        try:
            content = await asyncio.to_thread(decode, blob, size)
        except FormatError as error:
            raise DataCorrupt(f"chunk {info.digest.hex()}: {error}") from None
        if len(content) != size:
            raise DataCorrupt(f"chunk {info.digest.hex()} has {len(content)} bytes instead of {size}")
        return content

    @contextlib.asynccontextmanager
    async def index(self, name: str) -> AsyncIterator[Index]:
        """The index of an archive, mapped from a temporary file so that its size does not matter."""
        with tempfile.TemporaryFile() as spool:
            await self._spool(name, spool)
            mapped = mmap.mmap(spool.fileno(), 0, access=mmap.ACCESS_READ)  # closed when the index is gone
            try:
                index = parse_index(memoryview(mapped))
                if isinstance(index, DynamicIndex):
                    index.require_monotonic()
                yield index
            except FormatError as error:
                raise DataCorrupt(f"'{name}': {error}") from None

    async def _spool(self, name: str, spool: IO[bytes]) -> None:
        buffer = bytearray()
        empty = True
        async for piece in self.file(name):
            empty = False
            buffer += piece
            if len(buffer) >= SPOOL_BYTES:
                await asyncio.to_thread(spool.write, bytes(buffer))
                buffer.clear()
        spool.write(buffer)
        spool.flush()
        if empty:
            raise DataCorrupt(f"'{name}' is empty")

    async def content(self, name: str) -> AsyncIterator[bytes]:
        """Plaintext of a whole archive, one chunk ahead of the reader."""
        async with self.index(name) as index:
            ahead: asyncio.Task[bytes] | None = None
            try:
                for position in range(len(index)):
                    current = ahead or asyncio.create_task(self.chunk(index.chunk(position)))
                    ahead = None
                    if position + 1 < len(index):
                        ahead = asyncio.create_task(self.chunk(index.chunk(position + 1)))
                    yield await current
            finally:
                if ahead is not None:
                    ahead.cancel()
                    await asyncio.gather(ahead, return_exceptions=True)

    async def close(self) -> None:
        """End the session; repeatable."""
        await asyncio.shield(self._readers.close(self))

    async def counted(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The same pieces, counted as sent; the snapshot is closed at their end, an early one too."""
        try:
            async for piece in pieces:
                self.bytes_sent += len(piece)
                yield piece
        finally:
            with contextlib.suppress(Exception):
                finish = getattr(pieces, "aclose", None)
                if finish is not None:
                    await finish()
            await self.close()


class Readers(Component):
    """All open snapshots of this process and the renewal of their leases."""

    name = "readers"

    def __init__(self, catalogue: CatalogueClient, chunks: ChunksClient, process_id: str) -> None:
        self.catalogue = catalogue
        self.chunks = chunks
        self._process_id = process_id
        self._open: dict[str, OpenSnapshot] = {}
        self._renewal = BackgroundTask("lease renewal of downloads", self._renew)
        self._predecessor_expired = False
        self._expiring = asyncio.Lock()

    async def start(self) -> None:
        await self._renewal.start()

    async def stop(self) -> None:
        await self._renewal.stop()
        for snapshot in list(self._open.values()):
            await self.close(snapshot)

    async def open(self, ctx: CallContext, key: SnapshotKey) -> OpenSnapshot:
        """Pin a snapshot. Raises what ``CatalogueClient.open_reader`` raises."""
        await self._expire_predecessor()
        session = await self.catalogue.open_reader(ctx, key, process_id=self._process_id, with_task=False)
        snapshot = OpenSnapshot(self, ctx, session)
        self._open[session.session_id] = snapshot
        return snapshot

    async def close(self, snapshot: OpenSnapshot) -> None:
        """End the session of a snapshot. A failure is logged: the lease ends it then."""
        if self._open.pop(snapshot.session_id, None) is None:
            return
        try:
            await self.catalogue.close_session(snapshot.ctx, snapshot.session_id, bytes_sent=snapshot.bytes_sent)
        except PbsError as error:
            log.warning("cannot close the session of a download", session=snapshot.session_id, error=error.message)

    async def _expire_predecessor(self) -> None:
        """Once, before the first session: an earlier process of this name may have left some."""
        async with self._expiring:
            if not self._predecessor_expired:
                await self.catalogue.expire_process(self._process_id)
                self._predecessor_expired = True

    async def _renew(self) -> None:
        while True:
            try:
                await self._expire_predecessor()
                if self._open:
                    await self.catalogue.renew_leases(self._process_id, list(self._open))
            except Unavailable as error:
                log.warning("leases of downloads not renewed", error=error.message)
            await asyncio.sleep(RENEW_SECONDS)
