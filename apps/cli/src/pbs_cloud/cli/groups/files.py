"""What is in a snapshot: look into archives, download."""

import base64
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from pbs_cloud.cli.api import segment
from pbs_cloud.cli.errors import CliError, UsageError
from pbs_cloud.cli.output import console
from pbs_cloud.cli.session import Session
from pbs_cloud.cli.spec import Values
from pbs_cloud.cli.values import format_size, parse_snapshot

_STDOUT: Final = "-"


def catalog(session: Session, values: Values) -> None:
    """One level of an archive."""
    from pbs_cloud.cli.groups.snapshots import CATALOG_VIEW

    path, params = _archive_path(values, values["path"] or "/")
    session.output.answer(session.api.call("GET", f"{path}/catalog", params).data, CATALOG_VIEW)


def restore(session: Session, values: Values) -> None:
    """A file or folder out of an archive."""
    path, params = _archive_path(values, values["path"])
    name = values["path"].rstrip("/").rpartition("/")[2] or (values["archive"] or "root").partition(".")[0]
    params["tar"] = values["tar"] or None
    response = session.api.pieces(f"{path}/pxar-file-download", params)
    first = next(response, b"")
    if values["output"] is None:
        name += ".tar.zst" if first[:4] == b"\x28\xb5\x2f\xfd" and values["tar"] else ""
        name += ".zip" if first[:4] in (b"PK\x03\x04", b"PK\x05\x06") and not name.endswith(".zip") else ""
    _save(session, _chain(first, response), values, name, None)


def download(session: Session, values: Values) -> None:
    """A whole file of a snapshot."""
    place, params = _place(values)
    name = values["file-name"]
    listed: list[dict[str, Any]] = session.api.call("GET", f"{place}/files", params).data
    found = next((entry for entry in listed if entry["filename"] == name), None)
    if found is None:
        known = ", ".join(entry["filename"] for entry in listed)
        raise UsageError(f"there is no '{name}' in {values['snapshot']}", hint=f"there are: {known}")
    stored = bool(values["stored"])
    pieces = session.api.pieces(
        f"{place}/{'download' if stored else 'download-decoded'}", {**params, "file-name": name}
    )
    content_name = name if stored else name.rpartition(".")[0] or name
    _save(session, pieces, values, content_name, None if stored else found.get("size"))


def upload_log(session: Session, values: Values) -> None:
    """Store a text as `client.log.blob`."""
    from pbs_cloud.formats import blob

    place, params = _place(values)
    try:
        content = Path(values["file"]).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {values['file']}: {error.strerror}") from None
    session.api.upload(f"{place}/upload-backup-log", params, blob.encode(content))
    session.output.answer(None, None, done=f"log of {values['snapshot']} stored")


def _place(values: Values) -> tuple[str, dict[str, Any]]:
    params: dict[str, Any] = dict(parse_snapshot(values["snapshot"]))
    if values["ns"]:
        params["ns"] = values["ns"]
    return f"admin/datastore/{segment(values['store'])}", params


def _archive_path(values: Values, inside: str) -> tuple[str, dict[str, Any]]:
    place, params = _place(values)
    inside = "/" + inside.strip("/")
    params["filepath"] = base64.b64encode(os.fsencode(inside)).decode() if inside != "/" else "/"
    if values["archive"]:
        params["archive-name"] = values["archive"]
    return place, params


def _chain(first: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _save(session: Session, pieces: Iterable[bytes], values: Values, name: str, size: int | None) -> None:
    """Write to the output stream, or to a file that is there completely or not at all."""
    given = values["output"]
    if str(given) == _STDOUT:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    target = _target(given, name)
    if target.exists() and not values["force"]:
        raise UsageError(f"{target} is there already", hint="--force overwrites it, --output names another")
    written = _write(target, _shown(pieces, target.name, size))
    session.output.answer({"file": str(target), "size": written}, None, done=f"{target}: {format_size(written)}")


def _target(given: Path | None, name: str) -> Path:
    """The file's own name never leads out of the folder."""
    plain = name.replace("/", "_").replace("\0", "_")
    plain = "download" if plain in ("", ".", "..") else plain
    if given is None:
        return Path(plain)
    return given / plain if given.is_dir() else given


def _write(target: Path, pieces: Iterable[bytes]) -> int:
    written = 0
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}-")
    except OSError as error:
        raise CliError(f"cannot write {target}: {error.strerror}") from None
    try:
        with os.fdopen(handle, "wb") as file:
            for piece in pieces:
                written += file.write(piece)
        mask = os.umask(0)
        os.umask(mask)
        Path(temporary).chmod(0o666 & ~mask)
        Path(temporary).replace(target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        if isinstance(error, OSError):
            raise CliError(f"cannot write {target}: {error.strerror}") from None
        raise
    return written


def _shown(pieces: Iterable[bytes], name: str, size: int | None) -> Iterator[bytes]:
    """The same pieces, with a bar on a terminal."""
    if not sys.stderr.isatty():
        yield from pieces
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(20),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        task = progress.add_task(name[:30], total=size)
        for piece in pieces:
            progress.advance(task, len(piece))
            yield piece
