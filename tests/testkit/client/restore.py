"""Restores as the stock client and QEMU do them: every byte is checked against index and manifest."""

import asyncio
import hashlib
from collections.abc import Sequence

from pbs_cloud.formats.blob import check_crc
from pbs_cloud.formats.index import DynamicIndex, FixedIndex
from pbs_cloud.formats.manifest import BackupManifest, CryptMode, FileEntry
from pbs_cloud.formats.names import MANIFEST_NAME
from testkit.client.codec import Codec, PlainCodec
from testkit.client.endpoint import Credential, Endpoint
from testkit.client.session import ReaderSession
from testkit.client.snapshot import Snapshot


class Restore:
    """A reader session with the manifest of its snapshot."""

    def __init__(self, session: ReaderSession, codec: Codec, manifest: BackupManifest) -> None:
        self.session, self.codec, self.manifest = session, codec, manifest

    @classmethod
    async def open(
        cls, endpoint: Endpoint, credential: Credential, snapshot: Snapshot, codec: Codec | None = None
    ) -> "Restore":
        """Open the snapshot and read its manifest."""
        session = await ReaderSession.open(endpoint, credential, snapshot)
        try:
            manifest = BackupManifest.from_blob(await session.download(MANIFEST_NAME))
        except BaseException:
            await session.close(abort=True)
            raise
        return cls(session, codec or PlainCodec(), manifest)

    def entry(self, name: str) -> FileEntry:
        """Manifest entry of a file."""
        entry = self.manifest.file(name)
        if entry is None:
            raise AssertionError(f"{name} is not in the manifest")
        return entry

    async def blob(self, name: str) -> bytes:
        """Content of a blob; size and SHA-256 of the stored file are compared with the manifest."""
        raw, entry = await self.session.download(name), self.entry(name)
        if (len(raw), hashlib.sha256(raw).digest()) != (entry.size, entry.csum):
            raise AssertionError(f"{name}: not the bytes of the manifest")
        return self.codec.decode(raw)

    async def archive(self, name: str, parallel: int = 1) -> bytes:
        """Content of an archive, up to ``parallel`` chunk requests at once."""
        raw, entry = await self.session.download(name), self.entry(name)
        index = FixedIndex(raw) if name.endswith(".fidx") else DynamicIndex(raw)
        if (index.size, index.compute_csum()) != (entry.size, entry.csum):
            raise AssertionError(f"{name}: index does not match the manifest")
        content = bytearray(index.size)
        turn = asyncio.Semaphore(parallel)

        async def fetch(positions: Sequence[tuple[int, int]], digest: bytes) -> None:
            async with turn:
                data = self.decode_chunk(await self.session.chunk(digest), digest, entry)
            for start, end in positions:
                if len(data) != end - start:
                    raise AssertionError(f"{name}: chunk {digest.hex()} has {len(data)} bytes, not {end - start}")
                content[start:end] = data

        wanted: dict[bytes, list[tuple[int, int]]] = {}
        for chunk in index:
            wanted.setdefault(chunk.digest, []).append((chunk.start, chunk.end))
        async with asyncio.TaskGroup() as group:
            for digest, positions in wanted.items():
                group.create_task(fetch(positions, digest))
        return bytes(content)

    def decode_chunk(self, raw: bytes, digest: bytes, entry: FileEntry) -> bytes:
        """Plain bytes of a chunk: CRC, kind against crypt-mode, digest."""
        if check_crc(raw).encrypted != (entry.crypt_mode is CryptMode.ENCRYPT):
            raise AssertionError(f"{entry.filename}: chunk {digest.hex()} is of the wrong kind")
        data = self.codec.decode(raw)
        if self.codec.digest(data) != digest:
            raise AssertionError(f"{entry.filename}: chunk {digest.hex()} has another digest")
        return data

    async def close(self) -> None:
        """End the session."""
        await self.session.close()

    async def __aenter__(self) -> "Restore":
        return self

    async def __aexit__(self, *unused: object) -> None:
        await self.session.close()
