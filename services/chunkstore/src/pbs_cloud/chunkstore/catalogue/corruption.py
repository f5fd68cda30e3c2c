"""Indexes that name a corrupt chunk are refused; a base that brought it in is no base any more (formats 9.9)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pbs_cloud.chunkstore.backends.port import ChunkBackend
from pbs_cloud.chunkstore.catalogue.index_stream import IndexCheck
from pbs_cloud.chunkstore.catalogue.manifests import rewrite_manifest
from pbs_cloud.chunkstore.catalogue.parts import Parts
from pbs_cloud.chunkstore.catalogue.rows import Snapshot, Store
from pbs_cloud.chunkstore.catalogue.session_rows import Session, place_of_snapshot
from pbs_cloud.contracts.errors import Conflict, DataCorrupt, InvalidArgument
from pbs_cloud.formats.index import digest_array
from pbs_cloud.formats.manifest import BackupManifest, VerifyResult, VerifyState
from pbs_cloud.formats.names import ArchiveName, ArchiveType
from pbs_cloud.formats.upid import Upid

# 3: `ChunkState.CORRUPT`, a literal so that the partial index is used.
_CORRUPT = "SELECT digest FROM chunk WHERE datastore_id = $1 AND state = 3"


class Corruption:
    """The store's list of corrupt chunks against the files of a session."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def require_sound(self, store: Store, session: Session, file_key: str, name: ArchiveName) -> None:
        """Raises Conflict if the stored index names a corrupt chunk; its file is deleted then."""
        async with self._parts.database.tenant(session.tenant_id) as connection:
            rows = await connection.fetch(_CORRUPT, store.id)
        backend = self._parts.backends.of(store)
        if not rows or not await names_any(backend, file_key, name, [row["digest"] for row in rows]):
            return
        await backend.delete_file(file_key)
        if session.base_snapshot_id is not None:
            await self._fail_base(store, session, session.base_snapshot_id)
        raise Conflict(f"{name.name} refers to a chunk that is damaged; the next backup stores it anew")

    async def _fail_base(self, store: Store, session: Session, base_id: int) -> None:
        """If an index of the base names a corrupt chunk, its verify state becomes ``failed``."""
        async with self._parts.database.tenant(session.tenant_id) as connection:
            _, where = await place_of_snapshot(connection, base_id)
            files = await connection.fetch(
                "SELECT name, kind FROM snapshot_file WHERE snapshot_id = $1 AND kind <> 'blob'", base_id
            )
            digests = [row["digest"] for row in await connection.fetch(_CORRUPT, store.id)]
        for file in files:
            kind = ArchiveType.FIXED if file["kind"] == "fixed" else ArchiveType.DYNAMIC
            file_key = where.file_key(file["name"])
            if await self._is_bad(store, file_key, ArchiveName(file["name"], kind), digests):
                break
        else:
            return
        async with self._parts.database.tenant(session.tenant_id) as connection:
            row = await connection.fetchrow(
                "SELECT id, state, protected, manifest, manifest_size, size, session_id FROM snapshot WHERE id = $1"
                " FOR NO KEY UPDATE",
                base_id,
            )
            base = Snapshot(**row, where=where)
            await rewrite_manifest(connection, self._parts.backends.of(store), store, base, _failed(session))

    async def _is_bad(self, store: Store, file_key: str, name: ArchiveName, digests: list[bytes]) -> bool:
        """Whether an index of the base names a corrupt chunk, or is damaged itself."""
        try:
            return await names_any(self._parts.backends.of(store), file_key, name, digests)
        except DataCorrupt:
            return True


async def names_any(backend: ChunkBackend, file_key: str, name: ArchiveName, digests: list[bytes]) -> bool:
    """Whether a stored index names one of the digests; reads it piece by piece.

    Raises DataCorrupt if it is not whole: what is missing could name one.
    """
    wanted = digest_array(b"".join(digests))
    check = IndexCheck(name.archive_type)
    try:
        async for piece in backend.read_file(file_key):
            if bool(np.isin(check.feed(piece), wanted).any()):
                return True
        whole = check.finish()[0] == check.header_csum
    except InvalidArgument:
        whole = False
    if not whole:
        raise DataCorrupt(f"{name.name} is damaged: it cannot be read back")
    return False


def _failed(session: Session) -> Callable[[BackupManifest], None]:
    """A change that records the session's task as the one that found the damage."""
    upid = Upid.parse(session.upid or "")

    def change(manifest: BackupManifest) -> None:
        manifest.verify_state = VerifyState(upid, VerifyResult.FAILED)

    return change
