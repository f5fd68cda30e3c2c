"""Index files in a local directory that no row knows: somebody put them there, and they protect their chunks."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from pbs_cloud.chunkstore.backends.local import LocalBackend
from pbs_cloud.chunkstore.backends.port import ChunkBackend
from pbs_cloud.chunkstore.catalogue.rows import Store
from pbs_cloud.chunkstore.collection.index_list import IndexEntry
from pbs_cloud.chunkstore.collection.index_reading import SEGMENT
from pbs_cloud.contracts.errors import DataCorrupt, NotFound, Unavailable
from pbs_cloud.formats import layout
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.runtime.database import Database

_BATCH = 1000
_SUFFIXES = {".fidx": "fixed", ".didx": "dynamic"}
_KNOWN = """
SELECT given.n FROM unnest($2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[])
  WITH ORDINALITY AS given(path, backup_type, backup_id, backup_time, name, n)
JOIN namespace ns ON ns.datastore_id = $1 AND ns.path = given.path
JOIN backup_group g ON g.namespace_id = ns.id AND g.backup_type = given.backup_type AND g.backup_id = given.backup_id
JOIN snapshot s ON s.group_id = g.id AND s.backup_time = given.backup_time
LEFT JOIN snapshot_file f ON f.snapshot_id = s.id AND f.name = given.name
WHERE f.name IS NOT NULL OR s.state = 'open'
"""


class Strays:
    """Finds them by a walk through the directory. A bucket has none: it is listed for orphans only (step F)."""

    def __init__(self, database: Database, backend: ChunkBackend, store: Store) -> None:
        self._database = database
        self._root = backend.path if isinstance(backend, LocalBackend) else None
        self._store = store

    async def find(self) -> AsyncIterator[tuple[IndexEntry, str]]:
        """Entry (without what only a row knows) and relative path. Raises Unavailable, DataCorrupt."""
        if self._root is None:
            return
        batch: list[str] = []
        folders = [""]
        while folders:
            below, found = await asyncio.to_thread(_list_folder, self._root, folders.pop())
            folders += below
            batch += found
            if len(batch) >= _BATCH or not folders:
                for key in await self._unknown(batch):
                    yield _entry(key), key
                batch = []

    async def read(self, key: str) -> AsyncIterator[bytes]:
        """Pieces of a file. Raises NotFound (it is gone), Unavailable."""
        assert self._root is not None
        try:
            file = await asyncio.to_thread((self._root / key).open, "rb")
            try:
                while piece := await asyncio.to_thread(file.read, SEGMENT):
                    yield piece
            finally:
                file.close()
        except FileNotFoundError as error:
            raise NotFound(f"{key} does not exist") from error
        except OSError as error:
            raise DataCorrupt(f"{key}: {os.strerror(error.errno or 0)}") from error

    async def _unknown(self, keys: Sequence[str]) -> list[str]:
        """Those of `keys` that are no file of a snapshot in the catalogue, in whatever state."""
        places: list[tuple[str, str, str, int, str]] = []
        parsed: list[str] = []
        unknown: list[str] = []
        for key in keys:
            try:
                place = layout.parse_content_path(key)
            except FormatError:
                unknown.append(key)
                continue
            if place.snapshot is None or place.filename is None:
                unknown.append(key)
                continue
            group = place.snapshot.group
            parsed.append(key)
            places.append(
                (str(place.ns), group.backup_type.value, group.backup_id, place.snapshot.backup_time, place.filename)
            )
        if places:
            columns = [list(column) for column in zip(*places, strict=True)]
            async with self._database.tenant(self._store.tenant_id) as connection:
                known = {row["n"] for row in await connection.fetch(_KNOWN, self._store.id, *columns)}
            unknown += [key for number, key in enumerate(parsed, 1) if number not in known]
        return unknown


def _entry(key: str) -> IndexEntry:
    kind = _SUFFIXES[Path(key).suffix]
    return IndexEntry(0, Path(key).name, 0, kind, None, 0, 0, None)


def _list_folder(root: Path, folder: str) -> tuple[list[str], list[str]]:
    """Folders and index files in a folder; what begins with a dot is not looked at (formats 9.2).

    Raises Unavailable: the folder cannot be read. DataCorrupt: a folder is named like an index.
    """
    below: list[str] = []
    found: list[str] = []
    try:
        with os.scandir(root / folder) as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if entry.name.startswith(".") or (not folder and entry.name == "lost+found"):
                    continue
                mode = entry.stat(follow_symlinks=False).st_mode
                if Path(entry.name).suffix in _SUFFIXES:
                    if stat.S_ISDIR(mode):
                        raise DataCorrupt(f"'{path}' is a directory, not an index")
                    if entry.is_file():
                        found.append(path)
                elif stat.S_ISDIR(mode):
                    below.append(path)
    except FileNotFoundError:
        return below, found
    except OSError as error:
        raise Unavailable(f"'{folder or '.'}' cannot be read: {os.strerror(error.errno or 0)}") from error
    return below, found
