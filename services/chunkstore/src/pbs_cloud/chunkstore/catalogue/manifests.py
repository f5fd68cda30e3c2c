"""Manifest and protection of a snapshot: what lists show, and writing them under the row's lock (formats 4.3-4.5)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from pbs_cloud.chunkstore.backends.port import ChunkBackend
from pbs_cloud.chunkstore.catalogue.names import SnapshotPlace
from pbs_cloud.chunkstore.catalogue.rows import Snapshot, Store
from pbs_cloud.chunkstore.catalogue.usage import add_bytes
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.errors import AlreadyExists, DataCorrupt
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.manifest import BackupManifest, listed_files
from pbs_cloud.formats.names import MANIFEST_NAME
from pbs_cloud.runtime.database import Connection

MAX_SIZE = (1 << 63) - 1


def readable(text: str | None) -> BackupManifest | None:
    """The parsed manifest; None if there is none or it cannot be read (such a snapshot shows bare file names)."""
    try:
        return None if text is None else BackupManifest.parse(text)
    except FormatError:
        return None


def shown_files(
    manifest: BackupManifest | None, manifest_size: int | None, stored: Sequence[str]
) -> tuple[t.File, ...]:
    """The file list of formats 4.4; while the backup runs, the names without the manifest."""
    if manifest is None:
        return tuple(t.File(name) for name in stored if name != MANIFEST_NAME)
    return tuple(
        t.File(f.filename, None if f.crypt_mode is None else f.crypt_mode.value, f.size)
        for f in listed_files(manifest, manifest_size or 0, stored)
    )


def total_size(manifest: BackupManifest, manifest_size: int) -> int:
    """Size of a snapshot: the sum of the sizes its listing shows."""
    return min(sum(entry.size for entry in manifest.files) + manifest_size, MAX_SIZE)


async def stored_names(connection: Connection, snapshot_id: int) -> list[str]:
    rows = await connection.fetch("SELECT name FROM snapshot_file WHERE snapshot_id = $1 ORDER BY name", snapshot_id)
    return [row["name"] for row in rows]


async def files_of(connection: Connection, snapshot_id: int) -> tuple[t.File, ...]:
    """Files of one snapshot."""
    row = await connection.fetchrow("SELECT manifest, manifest_size FROM snapshot WHERE id = $1", snapshot_id)
    names = await stored_names(connection, snapshot_id)
    return shown_files(readable(row["manifest"]), row["manifest_size"], names)


async def rewrite_manifest(
    connection: Connection,
    backend: ChunkBackend,
    store: Store,
    snapshot: Snapshot,
    change: Callable[[BackupManifest], None],
) -> None:
    """Change the manifest of a committed snapshot whose row the transaction has locked: the file first, then the row.

    Raises DataCorrupt if it cannot be read.
    """
    manifest = readable(snapshot.manifest)
    if manifest is None:
        raise DataCorrupt(f"the manifest of {snapshot.where.path} cannot be read")
    change(manifest)
    raw = manifest.to_blob()
    await backend.put_file(snapshot.where.file_key(MANIFEST_NAME), raw)
    await connection.execute(
        "UPDATE snapshot SET manifest = $2, manifest_size = $3, size = $4 WHERE id = $1",
        snapshot.id,
        manifest.to_json().decode(),
        len(raw),
        total_size(manifest, len(raw)),
    )
    await set_stored_size(connection, store, snapshot.id, MANIFEST_NAME, len(raw))


async def put_protected(backend: ChunkBackend, where: SnapshotPlace) -> None:
    """The file that says "protected"; one that is there already says it too (formats 8.2)."""
    with contextlib.suppress(AlreadyExists):
        await backend.put_file(where.protected_key, b"", only_new=True)


async def set_stored_size(connection: Connection, store: Store, snapshot_id: int, name: str, size: int) -> None:
    """New size of a stored file, and the difference in the usage counter."""
    former = await connection.fetchval(
        "SELECT stored_size FROM snapshot_file WHERE snapshot_id = $1 AND name = $2", snapshot_id, name
    )
    await connection.execute(
        "UPDATE snapshot_file SET size = $3, stored_size = $3, csum = NULL, location = NULL"
        " WHERE snapshot_id = $1 AND name = $2",
        snapshot_id,
        name,
        size,
    )
    await add_bytes(connection, store.tenant_id, store.id, size - former)
