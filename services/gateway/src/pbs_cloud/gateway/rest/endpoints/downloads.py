"""Stored and decoded files of a snapshot, and the upload of a backup's log (rest-api C.8)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from pbs_cloud.contracts.errors import DataCorrupt, InvalidArgument, NotFound, PbsError
from pbs_cloud.formats.blob import MAX_ENCODED_SIZE, decode
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.gateway.errors import HttpError
from pbs_cloud.gateway.rest.access import OnStore
from pbs_cloud.gateway.rest.calls import Call, Content
from pbs_cloud.gateway.rest.endpoint import Area
from pbs_cloud.gateway.rest.endpoints.shared import (
    SNAPSHOT,
    STORE_BACKUP,
    STORE_READ,
    snapshot_key,
    snapshot_path,
)
from pbs_cloud.gateway.rest.reading import OpenSnapshot
from pbs_cloud.gateway.schema import common, required

AREA = Area("Downloads")
MAX_LOG_BYTES: Final = 64 * 1024 * 1024
_ACCESS: Final = OnStore(STORE_READ, STORE_BACKUP)
_PARAMS: Final = {**SNAPSHOT, "file-name": required(common.FILE_NAME)}


async def open_snapshot(call: Call) -> OpenSnapshot:
    """Pin the snapshot that the parameters name; owner and existence are checked first, with their own texts."""
    key = snapshot_key(call)
    try:
        await call.clients.catalogue.list_files(call.ctx, key)
        return await call.clients.readers.open(call.ctx, key)
    except NotFound as error:
        raise HttpError(400, f"File open failed: {error.message}") from None


def require_file(snapshot: OpenSnapshot, name: str, path: str) -> None:
    """Raises HttpError if the snapshot has no such file."""
    if name not in snapshot.files:
        raise HttpError(400, f"File open failed: no file '{name}' in snapshot '{path}'")


def require_plain(snapshot: OpenSnapshot, name: str) -> None:
    """Raises InvalidArgument for an encrypted file."""
    if snapshot.files[name].crypt_mode == "encrypt":
        raise InvalidArgument(f"cannot decode '{name}' - is encrypted")


@AREA.get("admin/datastore/{store}/download", _PARAMS, access=_ACCESS, raw=True)
async def download(call: Call) -> Any:
    """A file exactly as it is stored."""
    name = call.text("file-name")
    snapshot = await open_snapshot(call)
    try:
        require_file(snapshot, name, snapshot_path(call))
    except Exception:
        await snapshot.close()
        raise
    return Content(snapshot.counted(snapshot.file(name)))


@AREA.get("admin/datastore/{store}/download-decoded", _PARAMS, access=_ACCESS, raw=True)
async def download_decoded(call: Call) -> Any:
    """The content of an archive or blob."""
    name = call.text("file-name")
    kind = name.rpartition(".")[2]
    if kind not in ("didx", "fidx", "blob"):
        raise InvalidArgument(f"cannot download '{name}' files", field="file-name")
    snapshot = await open_snapshot(call)
    try:
        require_file(snapshot, name, snapshot_path(call))
        require_plain(snapshot, name)
    except Exception:
        await snapshot.close()
        raise
    return Content(snapshot.counted(_blob(snapshot, name) if kind == "blob" else snapshot.content(name)))


async def _blob(snapshot: OpenSnapshot, name: str) -> AsyncIterator[bytes]:
    stored = await snapshot.read_file(name, MAX_LOG_BYTES + MAX_ENCODED_SIZE)
    try:
        yield decode(stored)
    except FormatError as error:
        if "encrypted" in str(error):
            raise InvalidArgument(f"cannot decode '{name}' - is encrypted") from None
        raise DataCorrupt(f"'{name}': {error}") from None


class _LimitedBody:
    """The body of an upload; remembers why it was cut."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self.error: Exception | None = None

    async def read(self) -> AsyncIterator[bytes]:
        size = 0
        try:
            async for piece in self._pieces:
                size += len(piece)
                if size > MAX_LOG_BYTES:
                    raise HttpError(413, f"log is larger than {MAX_LOG_BYTES} bytes")
                yield piece
        except Exception as error:
            self.error = error
            raise


@AREA.post(
    "admin/datastore/{store}/upload-backup-log",
    SNAPSHOT,
    access=OnStore(STORE_BACKUP),
    raw=True,
)
async def upload_backup_log(call: Call) -> Any:
    """Store the client's log, one data blob; only the owner may."""
    body = _LimitedBody(call.body())
    try:
        await call.clients.catalogue.upload_log(call.ctx, snapshot_key(call), body.read())
    except (PbsError, asyncio.CancelledError):  # gRPC cancels a call whose pieces fail
        if body.error is not None:
            raise body.error from None
        raise
    return None
