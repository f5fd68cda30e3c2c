"""Garbage collection."""

from collections.abc import Mapping
from typing import Any, Final

from pbs_cloud.cli.api import segment
from pbs_cloud.cli.session import Session
from pbs_cloud.cli.spec import NO_WAIT, STORE, Command, Values, argument, flag, integer, text
from pbs_cloud.cli.views import Column, Record, Table, count, duration, moment, size


def _factor(row: Mapping[str, Any]) -> str | None:
    stored = row["disk-bytes"]
    return f"{row['index-data-bytes'] / stored:.2f}" if stored else None


STATUS_VIEW: Final = Record(
    (
        Column("Datastore", "store"),
        Column("Last run", "last-run-endtime", moment),
        Column("Result", "last-run-state"),
        Column("It took", "duration", duration),
        Column("Schedule", "schedule"),
        Column("Next run", "next-run", moment),
        Column("Data in backups", "index-data-bytes", size),
        Column("Index files", "index-file-count", count),
        Column("Stored", lambda row: f"{size(row['disk-bytes'])} in {count(row['disk-chunks'])} chunks"),
        Column("Deduplication", _factor),
        Column("Removed", lambda row: f"{size(row['removed-bytes'])} in {count(row['removed-chunks'])} chunks"),
        Column("To be removed", lambda row: f"{size(row['pending-bytes'])} in {count(row['pending-chunks'])} chunks"),
        Column("Damaged, removed", lambda row: row["removed-bad"] or None),
        Column("Damaged, still there", lambda row: row["still-bad"] or None),
        Column("Task", "upid"),
    )
)
LIST_VIEW: Final = Table(
    (
        Column("Datastore", "store"),
        Column("Last run", "last-run-endtime", moment),
        Column("Result", "last-run-state"),
        Column("Stored", "disk-bytes", size, right=True),
        Column("Removed", "removed-bytes", size, right=True),
        Column("Pending", "pending-bytes", size, right=True),
        Column("Schedule", "schedule"),
        Column("Next run", "next-run", moment),
    ),
    empty="no datastores",
    sort=lambda row: row["store"],
)
COUNTED_VIEW: Final = Record(
    (
        Column("Chunks", "chunks_scanned", count),
        Column("In use", "chunks_referenced", count),
        Column("Unused", "chunks_orphaned", count),
        Column("Deleted", "chunks_deleted", count),
        Column("Freed", "bytes_freed", size),
        Column("Errors", "errors"),
    )
)
NOW_VIEW: Final = Record((Column("Chunks", "total_chunks", count), Column("Running", "gc_running")))


def _start(session: Session, values: Values) -> None:
    from pbs_cloud.cli.follow import finish

    wait = not values["no-wait"]
    if values["dry-run"] is not True and values["max-delete"] is None:
        finish(session, session.api.call("POST", f"admin/datastore/{segment(values['store'])}/gc").data, wait=wait)
        return
    params = {"store": values["store"], "dry_run": bool(values["dry-run"]), "max_delete": values["max-delete"]}
    reply = session.api.call("POST", "admin/gc", params)
    if reply.status == 202:
        finish(session, reply.data["upid"], wait=wait)
    else:
        session.output.answer(reply.data, COUNTED_VIEW)


def _status(session: Session, values: Values) -> None:
    session.output.answer(session.api.get(f"admin/datastore/{segment(values['store'])}/gc"), STATUS_VIEW)


def _job(session: Session, values: Values) -> None:
    session.output.answer(session.api.get(f"admin/gc/{segment(values['store'])}"), LIST_VIEW)


TOP: Final[dict[str, Command]] = {}
GROUPS: Final = {
    "gc": (
        Command(
            "start",
            "Collect garbage now.",
            params=(
                STORE,
                flag("dry-run", "only count what would go"),
                integer("max-delete", "delete at most so many chunks"),
                NO_WAIT,
            ),
            run=_start,
            covers=("POST admin/datastore/{store}/gc", "POST admin/gc"),
        ),
        Command("status", "The last run.", params=(STORE,), run=_status, covers=("GET admin/datastore/{store}/gc",)),
        Command(
            "list",
            "Last and next run of all datastores.",
            "GET",
            "admin/gc",
            (text("store", "only this one"),),
            LIST_VIEW,
        ),
        Command(
            "job", "Last and next run of one datastore.", params=(STORE,), run=_job, covers=("GET admin/gc/{store}",)
        ),
        Command(
            "now",
            "Whether a run is on, and how many chunks there are.",
            "GET",
            "admin/gc/status",
            (argument("store", "datastore; default: `default`", optional=True),),
            NOW_VIEW,
        ),
    )
}
