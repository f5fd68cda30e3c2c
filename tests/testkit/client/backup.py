"""Whole backup runs, request by request as in wire-protocol 6.1 to 6.9."""

import asyncio
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pbs_cloud.formats import blob
from pbs_cloud.formats.index import DynamicIndex, FixedIndex
from pbs_cloud.formats.manifest import BackupManifest, FileEntry
from pbs_cloud.formats.names import MANIFEST_NAME, BackupType
from testkit.chunker import dynamic_chunks, fixed_chunks
from testkit.client.codec import Codec, PlainCodec
from testkit.client.connection import Refused
from testkit.client.endpoint import Credential, Endpoint
from testkit.client.session import BackupSession
from testkit.client.snapshot import Snapshot
from testkit.client.upload import ArchiveResult, ArchiveUpload, KnownChunk

IMAGE_CHUNK = 4 << 20
AVERAGE = 512 << 10
"""Average chunk of archives here: smaller than the stock client's 4 MiB, so that small trees have several."""


@dataclass(slots=True)
class Backup:
    """A running backup. Open it, add archives and blobs, :meth:`finish`; or leave the session to abort."""

    session: BackupSession
    codec: Codec
    previous: BackupManifest | None = None
    files: list[FileEntry] = field(default_factory=list)
    results: dict[str, ArchiveResult] = field(default_factory=dict)
    unprotected: dict[str, object] = field(default_factory=dict)

    @classmethod
    async def open(
        cls,
        endpoint: Endpoint,
        credential: Credential,
        snapshot: Snapshot,
        codec: Codec | None = None,
        *,
        eager: bool = False,
    ) -> "Backup":
        """Upgrade and look at the previous snapshot, as the stock client does."""
        session = await BackupSession.open(endpoint, credential, snapshot, eager=eager)
        backup = cls(session, codec or PlainCodec())
        try:
            if await session.previous_backup_time() is not None:
                manifest = BackupManifest.from_blob(await session.previous(MANIFEST_NAME))
                usable = manifest.signature is None or _signed_by(manifest, backup.codec)
                backup.previous = manifest if usable else None
        except BaseException:
            await session.close(abort=True)
            raise
        return backup

    async def known_digests(self, name: str) -> set[bytes]:
        """Register the previous index of an archive and return its digests; none if there is no such index."""
        if self.previous is None or self.previous.file(name) is None:
            return set()
        raw = await self.session.previous(name)
        index = FixedIndex(raw) if name.endswith(".fidx") else DynamicIndex(raw)
        entry = self.previous.file(name)
        if entry is None or (index.size, index.compute_csum()) != (entry.size, entry.csum):
            raise AssertionError(f"{name}: previous index does not match its manifest")
        return {chunk.digest for chunk in index}

    async def archive(self, name: str, chunks: Iterable[bytes | KnownChunk]) -> ArchiveResult:
        """A dynamic archive cut into ``chunks``."""
        known = await self.known_digests(name)
        upload = ArchiveUpload(self.session, "dynamic", name, self.codec, known)
        return self._list(await upload.run(chunks))

    async def directory(self, name: str, archive: bytes, catalog: bytes | None = None) -> ArchiveResult:
        """A pxar archive, its catalog at the same time."""
        upload = self.archive(f"{name}.pxar.didx", dynamic_chunks([archive], AVERAGE))
        if catalog is None:
            return await upload
        other = ArchiveUpload(self.session, "dynamic", "catalog.pcat1.didx", self.codec)
        result, listed = await asyncio.gather(upload, other.run(dynamic_chunks([catalog], AVERAGE // 2)))
        self._list(listed)
        return result

    async def split(self, name: str, metadata: bytes, payload: Iterable[bytes | KnownChunk]) -> ArchiveResult:
        """Both halves of a split archive; the result is that of the payload."""
        halves = (f"{name}.mpxar.didx", f"{name}.ppxar.didx")
        known = [await self.known_digests(half) for half in halves]
        uploads = [
            ArchiveUpload(self.session, "dynamic", half, self.codec, digests)
            for half, digests in zip(halves, known, strict=True)
        ]
        first, second = await asyncio.gather(
            uploads[0].run(dynamic_chunks([metadata], AVERAGE)), uploads[1].run(payload)
        )
        self._list(second)
        self._list(first)
        return second

    async def image(self, name: str, data: bytes | memoryview) -> ArchiveResult:
        """A disk image."""
        index = f"{name}.img.fidx"
        known = await self.known_digests(index)
        upload = ArchiveUpload(self.session, "fixed", index, self.codec, known)
        return self._list(await upload.run(fixed_chunks(_pieces(data), IMAGE_CHUNK), len(data)))

    async def blob(self, name: str, data: bytes) -> None:
        """A small file, encoded as one blob."""
        await self.raw_blob(name, self.codec.encode(data))

    async def raw_blob(self, name: str, raw: bytes) -> None:
        """A blob that is already encoded, listed in the manifest."""
        await self.session.upload_blob(name, raw)
        self.add_file(name, len(raw), hashlib.sha256(raw).digest())

    def add_file(self, name: str, size: int, csum: bytes) -> None:
        """List a file in the manifest."""
        self.files.append(FileEntry(name, size, csum, self.codec.crypt_mode))

    def _list(self, result: ArchiveResult) -> ArchiveResult:
        self.results[result.name] = result
        self.add_file(result.name, result.size, result.csum)
        return result

    def manifest(self) -> BackupManifest:
        """The manifest of what was uploaded so far, signed if the codec signs."""
        where = self.session.snapshot
        kind = BackupType(where.backup_type)
        manifest = BackupManifest(kind, where.backup_id, where.backup_time, self.files, dict(self.unprotected))
        self.codec.sign(manifest)
        return manifest

    async def upload_manifest(self) -> None:
        """The last blob of a run."""
        text = json.dumps(self.manifest().to_dict(), indent=2, sort_keys=True, ensure_ascii=False)
        await self.session.upload_blob(MANIFEST_NAME, blob.encode(text.encode()))

    async def finish(self) -> None:
        """Manifest, commit, end of the connection."""
        await self.upload_manifest()
        await self.session.finish()
        await self.session.close()

    async def abort(self) -> None:
        """End like a killed client."""
        await self.session.close(abort=True)

    async def __aenter__(self) -> "Backup":
        return self

    async def __aexit__(self, *unused: object) -> None:
        await self.session.close(abort=True)


def _pieces(data: bytes | memoryview) -> Iterator[bytes]:
    for start in range(0, len(data), IMAGE_CHUNK):
        yield bytes(data[start : start + IMAGE_CHUNK])


def _signed_by(manifest: BackupManifest, codec: Codec) -> bool:
    """Whether the codec's key made the signature of a previous manifest."""
    again = BackupManifest(manifest.backup_type, manifest.backup_id, manifest.backup_time, list(manifest.files))
    codec.sign(again)
    return again.signature == manifest.signature


async def try_backup(endpoint: Endpoint, credential: Credential, snapshot: Snapshot) -> Refused | None:
    """Open and drop a backup session; the refusal if there is one."""
    try:
        session = await BackupSession.open(endpoint, credential, snapshot)
    except Refused as refused:
        return refused
    await session.close()
    return None
