"""Browsing archives and downloading single files or folders from them (rest-api C.8; formats 5, 6)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from pbs_cloud.contracts.errors import DataCorrupt, InvalidArgument
from pbs_cloud.formats.catalog import CatalogReader
from pbs_cloud.formats.catalog_listing import list_archive, list_catalog, parse_filepath, split_archive_path
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.names import CATALOG_NAME, ArchiveName, resolve_archive
from pbs_cloud.formats.pxar import Entry, EntryKind
from pbs_cloud.formats.pxar_reader import PxarReader
from pbs_cloud.gateway.errors import HttpError
from pbs_cloud.gateway.rest.access import OnStore
from pbs_cloud.gateway.rest.archive_access import ArchiveAccess
from pbs_cloud.gateway.rest.calls import Call, Content
from pbs_cloud.gateway.rest.endpoint import Area
from pbs_cloud.gateway.rest.endpoints.downloads import open_snapshot, require_file, require_plain
from pbs_cloud.gateway.rest.endpoints.shared import SNAPSHOT, STORE_BACKUP, STORE_READ, snapshot_path
from pbs_cloud.gateway.rest.folder_download import tar_zst_of, zip_of
from pbs_cloud.gateway.rest.reading import OpenSnapshot
from pbs_cloud.gateway.schema import String, common, optional, required

AREA = Area("Archives")
_ACCESS: Final = OnStore(STORE_READ, STORE_BACKUP)
_PARAMS: Final = {
    **SNAPSHOT,
    "filepath": required(String(maximum=4096), "base64 of the path"),
    "archive-name": optional(common.FILE_NAME, "for split archives"),
}


def _path(call: Call) -> bytes:
    try:
        return parse_filepath(call.text("filepath"))
    except FormatError as error:
        raise InvalidArgument(str(error), field="filepath") from None


def _archive_pair(snapshot: OpenSnapshot, name: str) -> tuple[str, str | None]:
    """Index of the archive and of its payload. Raises HttpError when the snapshot has neither."""
    try:
        archive, payload = resolve_archive(ArchiveName.parse(name), set(snapshot.files))
    except FormatError:
        raise HttpError(400, "archive not found in manifest") from None
    for part in (archive, payload):
        if part is not None:
            require_plain(snapshot, part.name)
    return archive.name, payload.name if payload else None


@AREA.get("admin/datastore/{store}/catalog", _PARAMS, access=_ACCESS, raw=True)
async def catalog(call: Call) -> Any:
    """One directory level of the file catalog."""
    path = _path(call).rstrip(b"/")
    snapshot = await open_snapshot(call)
    try:
        async with ArchiveAccess(snapshot) as access:
            if "archive-name" in call.params:
                archive, payload = _archive_pair(snapshot, call.text("archive-name"))
                reader = await access.pxar(archive, payload)
                found = await asyncio.to_thread(list_archive, reader, path)
            else:
                require_file(snapshot, CATALOG_NAME, snapshot_path(call))
                require_plain(snapshot, CATALOG_NAME)
                source = await access.open(CATALOG_NAME)
                found = await asyncio.to_thread(lambda: list_catalog(CatalogReader(source.read, source.size), path))
    except FormatError as error:
        raise DataCorrupt(str(error)) from None
    finally:
        await snapshot.close()
    if found is None:
        raise HttpError(400, "path is no directory of the archive")
    return found


@AREA.get(
    "admin/datastore/{store}/pxar-file-download",
    {**_PARAMS, "tar": optional(common.BOOLEAN, "a folder as tar.zst instead of zip", False)},
    access=_ACCESS,
    raw=True,
)
async def pxar_file_download(call: Call) -> Any:
    """A file of an archive, or a folder as zip or tar.zst."""
    path = _path(call)
    if call.text("filepath") in ("root", "/"):
        path = b"/"
    snapshot = await open_snapshot(call)
    return Content(snapshot.counted(_download(call, snapshot, path)))


async def _download(call: Call, snapshot: OpenSnapshot, path: bytes) -> AsyncIterator[bytes]:
    if "archive-name" in call.params:
        name, inner = call.text("archive-name"), path
    else:
        name, inner = split_archive_path(path)
    if inner.endswith(b"/") and inner.strip(b"/"):
        raise InvalidArgument("a path ends with a name, not with a slash", field="filepath")
    archive, payload = _archive_pair(snapshot, name)
    try:
        async with ArchiveAccess(snapshot) as access:
            reader = await access.pxar(archive, payload)
            entry = await asyncio.to_thread(reader.find, inner)
            if entry is None:
                raise HttpError(400, "no such file or folder in the archive")
            pieces = await asyncio.to_thread(_pieces_of, reader, entry, inner, call.params["tar"])
            while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                if piece:
                    yield piece
    except FormatError as error:
        raise DataCorrupt(str(error)) from None


def _pieces_of(reader: PxarReader, entry: Entry, path: bytes, as_tar: bool) -> Iterator[bytes]:
    if entry.kind in (EntryKind.FILE, EntryKind.HARDLINK):
        return reader.content(entry)
    if entry.kind is not EntryKind.DIRECTORY:
        raise InvalidArgument("only files and folders can be downloaded", field="filepath")
    directory = reader.open(entry) if entry.name else reader.root()
    name = entry.name.decode("utf-8", "replace")
    return tar_zst_of(reader, directory, name) if as_tar else zip_of(reader, directory, name)
