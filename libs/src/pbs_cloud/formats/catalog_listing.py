"""Answers of the catalog listing API, from a catalog or from an archive (formats 5.2)."""

import base64
import binascii
from typing import Any

from pbs_cloud.formats.catalog import CatalogReader
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.pxar import EntryKind, Stat
from pbs_cloud.formats.pxar_reader import PxarReader


def parse_filepath(text: str, field: str = "filepath") -> bytes:
    """Requested path: standard base64, or the literals ``root`` and ``/`` for the top (empty result)."""
    if text in ("root", "/"):
        return b""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise FormatError(f"{field}: not base64") from None


def split_archive_path(path: bytes) -> tuple[str, bytes]:
    """Archive name (first component) and the absolute path inside it, for requests without ``archive-name``."""
    name, _, rest = path.lstrip(b"/").partition(b"/")
    return name.decode("utf-8", "replace"), b"/" + rest


def list_catalog(catalog: CatalogReader, path: bytes) -> list[dict[str, Any]] | None:
    """Entries of the directory at ``path`` (empty: the archives); None if there is no such directory."""
    table = catalog.find_table(path)
    if table is None:
        return None
    prefix = path.removeprefix(b"/")
    return [_item(prefix, entry.name, entry.kind, entry.size, entry.mtime) for entry in catalog.entries(table)]


def list_archive(archive: PxarReader, path: bytes) -> list[dict[str, Any]] | None:
    """Entries of a directory inside an archive, sorted by name; None if there is no such directory."""
    found = archive.find(path)
    if found is None or found.kind is not EntryKind.DIRECTORY:
        return None
    directory = archive.open(found) if found.name else archive.root()
    prefix = path if path.startswith(b"/") or not path else b"/" + path
    children = sorted(archive.children(directory), key=lambda entry: entry.name)
    return [_item(prefix.rstrip(b"/"), entry.name, entry.kind, entry.size, _seconds(entry.stat)) for entry in children]


def _seconds(stat: Stat | None) -> int | None:
    """Seconds as the reference shows them: cut towards zero, while a catalog holds the floor."""
    if stat is None:
        return None
    return stat.mtime + (stat.mtime < 0 < stat.mtime_nanos)


def _item(prefix: bytes, name: bytes, kind: EntryKind, size: int | None, mtime: int | None) -> dict[str, Any]:
    item: dict[str, Any] = {
        "filepath": base64.b64encode(prefix + b"/" + name).decode(),
        "text": name.decode("utf-8", "replace"),
        "type": kind.value,
        "leaf": kind is not EntryKind.DIRECTORY,
    }
    if kind is EntryKind.FILE:
        item |= {"size": size, "mtime": mtime}
    return item
