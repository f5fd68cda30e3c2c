"""Snapshots and the files in them."""

from collections.abc import Mapping
from typing import Any, Final

from pbs_cloud.cli.groups import files
from pbs_cloud.cli.groups.notes import notes_command
from pbs_cloud.cli.session import Session, path_and_params
from pbs_cloud.cli.spec import NS, SNAPSHOT, STORE, Command, Param, Values, argument, choice, file, flag, text
from pbs_cloud.cli.values import snapshot_time
from pbs_cloud.cli.views import Column, Table, first_line, moment, size

_BASE: Final = "admin/datastore/{store}"
_RESULTS: Final = {"ok": "verified", "failed": "damaged"}
_KINDS: Final = {
    "d": "folder",
    "f": "file",
    "l": "symlink",
    "h": "hard link",
    "b": "device",
    "c": "device",
    "p": "fifo",
    "s": "socket",
}


def _path(row: Mapping[str, Any]) -> str:
    return f"{row['backup-type']}/{row['backup-id']}/{snapshot_time(row['backup-time'])}"


def _size(row: Mapping[str, Any]) -> str:
    return size(row["size"]) if "size" in row else "running"


def _state(row: Mapping[str, Any]) -> list[str]:
    found = row.get("verification")
    words = [_RESULTS.get(found["state"], found["state"])] if found else []
    encrypted = any(entry.get("crypt-mode") == "encrypt" for entry in row["files"])
    return words + ["protected"] * bool(row["protected"]) + ["encrypted"] * encrypted


LIST_VIEW: Final = Table(
    (
        Column("Snapshot", _path),
        Column("Size", _size, right=True),
        Column("State", _state),
        Column("Owner", "owner"),
        Column("Comment", "comment", first_line),
    ),
    empty="no snapshots",
    sort=lambda row: (row["backup-type"], row["backup-id"], row["backup-time"]),
)
FILES_VIEW: Final = Table(
    (
        Column("File", "filename"),
        Column("Size", "size", size, right=True),
        Column("Encryption", "crypt-mode"),
    ),
    empty="no files",
)
CATALOG_VIEW: Final = Table(
    (
        Column("Type", lambda row: _KINDS.get(row["type"], row["type"])),
        Column("Name", "text"),
        Column("Size", "size", size, right=True),
        Column("Changed", "mtime", moment),
    ),
    empty="nothing there",
)
_GROUP: Final = argument("group", "only this group, e.g. vm/100", optional=True, local=True)
_TYPE: Final = choice("backup-type", "only this type", ("vm", "ct", "host"))


def _list(session: Session, values: Values) -> None:
    from pbs_cloud.cli.values import parse_group

    path, params = path_and_params(_LIST, values)
    if values["group"] is not None:
        params.update(parse_group(values["group"]))
    session.output.answer(session.api.call("GET", path, params).data, LIST_VIEW)


_LIST = Command(
    "list",
    "Snapshots of a namespace.",
    path=f"{_BASE}/snapshots",
    params=(STORE, _GROUP, NS, _TYPE, text("backup-id", "only groups of this name")),
    run=_list,
    covers=(f"GET {_BASE}/snapshots",),
)


def _protection(protected: bool) -> Command:
    def run(session: Session, values: Values) -> None:
        path, params = path_and_params(command, values)
        session.api.call("PUT", path, {**params, "protected": protected})
        session.output.answer(None, None, done=f"{values['snapshot']} is {'' if protected else 'not '}protected")

    command = Command(
        "protect" if protected else "unprotect",
        "Keep a snapshot from removal." if protected else "Allow removal again.",
        path=f"{_BASE}/protected",
        params=(STORE, SNAPSHOT, NS),
        run=run,
        covers=(f"PUT {_BASE}/protected",),
    )
    return command


def _protected(session: Session, values: Values) -> None:
    path, params = path_and_params(_PROTECTED, values)
    answer = session.api.call("GET", path, params).data
    session.output.answer(answer, None, done="protected" if answer else "not protected")


_PROTECTED = Command(
    "protected",
    "Whether a snapshot is protected.",
    path=f"{_BASE}/protected",
    params=(STORE, SNAPSHOT, NS),
    run=_protected,
    covers=(f"GET {_BASE}/protected",),
)
_OUTPUT: Final = file(
    "output", "file to write, - for the output stream; default: its own name", flags=("--output", "-o")
)
_FORCE: Final[Param] = flag("force", "overwrite an existing file", local=True)
_ARCHIVE: Final = text("archive", "archive to look into, e.g. root.mpxar.didx (needed for split archives)", local=True)

TOP: Final[dict[str, Command]] = {}
GROUPS: Final = {
    "snapshot": (
        _LIST,
        Command("files", "Files of a snapshot.", "GET", f"{_BASE}/files", (STORE, SNAPSHOT, NS), FILES_VIEW),
        notes_command("notes", "snapshot", SNAPSHOT),
        _PROTECTED,
        _protection(True),
        _protection(False),
        Command(
            "catalog",
            "Look into the archives of a snapshot.",
            path=f"{_BASE}/catalog",
            params=(
                STORE,
                SNAPSHOT,
                argument(
                    "path",
                    "archive and path in it, e.g. root.pxar.didx/etc; default: the archives",
                    optional=True,
                    local=True,
                ),
                _ARCHIVE,
                NS,
            ),
            run=files.catalog,
            covers=(f"GET {_BASE}/catalog",),
        ),
        Command(
            "restore",
            "Download a single file or folder out of an archive; folders as zip.",
            path=f"{_BASE}/pxar-file-download",
            params=(
                STORE,
                SNAPSHOT,
                argument("path", "archive and path in it, e.g. root.pxar.didx/etc/hosts", local=True),
                _OUTPUT,
                flag("tar", "folders as tar.zst instead"),
                _ARCHIVE,
                _FORCE,
                NS,
            ),
            run=files.restore,
            covers=(f"GET {_BASE}/pxar-file-download",),
        ),
        Command(
            "download",
            "Download a file of a snapshot: its content, or as it is stored.",
            path=_BASE,
            params=(
                STORE,
                SNAPSHOT,
                argument("file-name", "name as in `snapshot files`"),
                _OUTPUT,
                flag("stored", "as it is stored: indexes and blobs themselves", local=True),
                _FORCE,
                NS,
            ),
            run=files.download,
            covers=(f"GET {_BASE}/download", f"GET {_BASE}/download-decoded"),
        ),
        Command(
            "upload-log",
            "Add the log of the client to a snapshot.",
            path=f"{_BASE}/upload-backup-log",
            params=(
                STORE,
                SNAPSHOT,
                Param("file", "text file", positional=True, required=True, local=True, metavar="FILE"),
                NS,
            ),
            run=files.upload_log,
            covers=(f"POST {_BASE}/upload-backup-log",),
        ),
        Command(
            "forget",
            "Remove a snapshot.",
            "DELETE",
            f"{_BASE}/snapshots",
            (STORE, SNAPSHOT, NS),
            danger="this removes {snapshot}",
            done="{snapshot} removed",
        ),
    )
}
