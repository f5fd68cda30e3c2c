"""Datastores: contents of the configuration, state, maintenance mode."""

from collections.abc import Mapping
from typing import Any, Final

from pbs_cloud.cli.api import segment
from pbs_cloud.cli.groups.nodes import CONSOLIDATION, TIMEFRAME
from pbs_cloud.cli.session import Session
from pbs_cloud.cli.spec import (
    COMMENT,
    DIGEST,
    KEEP,
    STORE,
    Command,
    Param,
    Values,
    argument,
    choice,
    flag,
    switch,
    text,
    unset,
)
from pbs_cloud.cli.views import Column, Record, Table, count, first_line, moment, size


def _counted(row: Mapping[str, Any], kind: str) -> str | None:
    found = (row.get("counts") or {}).get(kind)
    return f"{count(found['snapshots'])} in {count(found['groups'])} group(s)" if found else None


def _gc(row: Mapping[str, Any], key: str, show: Any) -> str | None:
    status = row.get("gc-status")
    return show(status[key]) if status else None


def _factor(row: Mapping[str, Any]) -> str | None:
    status = row.get("gc-status") or {}
    stored = status.get("disk-bytes")
    return f"{status['index-data-bytes'] / stored:.2f}" if stored else None


NAME: Final = argument("name", "datastore", complete="datastore")
LIST_VIEW: Final = Table(
    (
        Column("Datastore", "store"),
        Column("Backend", "backend-type"),
        Column("Maintenance", "maintenance"),
        Column("Comment", "comment", first_line),
    ),
    empty="no datastores",
    sort=lambda row: row["store"],
)
CONFIG_VIEW: Final = Table(
    (
        Column("Datastore", "name"),
        Column("Path", "path"),
        Column("Collects", "gc-schedule"),
        Column("Verify new", "verify-new"),
        Column("Maintenance", "maintenance-mode"),
        Column("Comment", "comment", first_line),
    ),
    empty="no datastores",
    sort=lambda row: row["name"],
)
STATUS_VIEW: Final = Record(
    (
        Column("Total", "total", size),
        Column("Used", "used", size),
        Column("Available", "avail", size),
        Column("Backend", "backend-type"),
        Column("Backups of VMs", lambda row: _counted(row, "vm")),
        Column("Backups of containers", lambda row: _counted(row, "ct")),
        Column("Backups of hosts", lambda row: _counted(row, "host")),
        Column("Data in backups", lambda row: _gc(row, "index-data-bytes", size)),
        Column("Stored after last GC", lambda row: _gc(row, "disk-bytes", size)),
        Column("Deduplication", _factor),
    )
)
SPACE_VIEW: Final = Table(
    (
        Column("Time", "time", moment),
        Column("Total", "total", size, right=True),
        Column("Used", "used", size, right=True),
        Column("Available", "available", size, right=True),
        Column("Read per second", "read_bytes", size, right=True),
        Column("Written per second", "write_bytes", size, right=True),
    ),
    empty="no values",
)
_SETTINGS: Final = (
    COMMENT,
    text("gc-schedule", "when garbage is collected, e.g. daily, 'sat 02:00'"),
    switch("verify-new", "verify each backup after it was made"),
    text("maintenance-mode", "offline or read-only, optionally ,message=…"),
    text("notify", "gc=…,verify=…,sync=…,prune=… with always, error or never"),
    text("notify-user", "user to notify"),
    choice("notification-mode", "way of notification", ("legacy-sendmail", "notification-system")),
    text("notification-thresholds", "s3-get=…,s3-put=…,s3-post=…,s3-delete=…,s3-head=…"),
    text("counter-reset-schedule", "when the request counters begin again"),
    text("tuning", "options of storage, e.g. gc-atime-cutoff=…"),
    switch("gc-on-unmount", "collect before it is unmounted"),
)


def _maintenance(session: Session, values: Values) -> None:
    path = f"config/datastore/{segment(values['store'])}"
    mode, message = values["mode"], values["message"]
    if mode == "off":
        session.api.call("PUT", path, {"delete": ["maintenance-mode"]})
    else:
        quoted = (message or "").replace("\\", "\\\\").replace('"', '\\"')
        session.api.call("PUT", path, {"maintenance-mode": f'{mode},message="{quoted}"' if message else mode})
    session.output.answer(None, None, done=f"maintenance mode of '{values['store']}': {mode}")


_LIST = Command("list", "Datastores.", "GET", "admin/datastore", view=LIST_VIEW)
_PATH: Final[Param] = text("path", "a label that is given back unchanged; default /pbs-cloud/NAME")


def _create(session: Session, values: Values) -> None:
    from pbs_cloud.cli.follow import finish
    from pbs_cloud.cli.session import path_and_params

    _, params = path_and_params(_CREATE, values)
    params.setdefault("path", f"/pbs-cloud/{values['name']}")
    finish(session, session.api.call("POST", "config/datastore", params).data, wait=not values["no-wait"])


_CREATE = Command(
    "create",
    "Create a datastore; --keep-… with --prune-schedule make a prune job too.",
    "POST",
    params=(
        NAME,
        _PATH,
        *_SETTINGS,
        text("prune-schedule", "when to prune, with --keep-…"),
        *KEEP,
        text("backend", "property string of the storage"),
        flag("reuse-datastore", "take over the data of a removed datastore of this name"),
        flag("overwrite-in-use", "take it over although it looks used"),
    ),
    task=True,
    run=_create,
    covers=("POST config/datastore",),
)
TOP: Final = {"datastores": _LIST}
GROUPS: Final = {
    "datastore": (
        _LIST,
        Command("config", "Configurations of all datastores.", "GET", "config/datastore", view=CONFIG_VIEW),
        Command("show", "Configuration of one.", "GET", "config/datastore/{name}", (NAME,), Record()),
        _CREATE,
        Command(
            "update",
            "Change the configuration.",
            "PUT",
            "config/datastore/{name}",
            (
                NAME,
                *_SETTINGS,
                unset(
                    "comment", "gc-schedule", "verify-new", "maintenance-mode", "notify", "notify-user", "tuning", "…"
                ),
                DIGEST,
            ),
            done="datastore '{name}' changed",
        ),
        Command(
            "delete",
            "Remove a datastore; its data stay unless --destroy-data.",
            "DELETE",
            "config/datastore/{name}",
            (
                NAME,
                flag("destroy-data", "delete all its backups too"),
                flag("keep-job-configs", "leave its jobs"),
                DIGEST,
            ),
            task=True,
            danger="this removes the datastore '{name}'",
        ),
        Command(
            "status",
            "Space, numbers of backups, deduplication.",
            "GET",
            "admin/datastore/{store}/status",
            (STORE, switch("verbose", "also counts and garbage collection; default: yes", default=True)),
            STATUS_VIEW,
        ),
        Command(
            "maintenance",
            "Make it read-only or offline, or end that.",
            params=(
                argument("store", "datastore", local=True),
                Param(
                    "mode",
                    "read-only, offline or off",
                    choice("m", "", ("read-only", "offline", "off")).type,
                    positional=True,
                    required=True,
                    local=True,
                    metavar="MODE",
                ),
                text("message", "what clients are told", local=True),
            ),
            run=_maintenance,
            covers=("PUT config/datastore/{name}",),
        ),
        Command(
            "load",
            "Space and traffic over time.",
            "GET",
            "admin/datastore/{store}/rrd",
            (STORE, TIMEFRAME, CONSOLIDATION),
            SPACE_VIEW,
        ),
        Command(
            "operations",
            "Numbers of running readers and writers.",
            "GET",
            "admin/datastore/{store}/active-operations",
            (STORE,),
            Record((Column("Readers", "read"), Column("Writers", "write"))),
        ),
        Command("mount", "Mount a removable datastore.", "POST", "admin/datastore/{store}/mount", (STORE,), task=True),
        Command("unmount", "Unmount it.", "POST", "admin/datastore/{store}/unmount", (STORE,), task=True),
        Command(
            "s3-refresh",
            "Read its contents from the bucket again.",
            "PUT",
            "admin/datastore/{store}/s3-refresh",
            (STORE,),
            task=True,
        ),
    )
}
