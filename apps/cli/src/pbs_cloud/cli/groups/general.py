"""The server as a whole: version, status, usage, reports."""

from collections.abc import Mapping
from typing import Any, Final

from pbs_cloud.cli.groups.find import find_tenant
from pbs_cloud.cli.session import Session
from pbs_cloud.cli.spec import Command, Values, flag, moment, text
from pbs_cloud.cli.values import format_duration
from pbs_cloud.cli.views import Column, Record, Table, Words, count, moment_text, share, size
from pbs_cloud.cli.views import moment as shown_moment
from pbs_cloud.cli.views import text as text_of

USAGE_VIEW: Final = Record(
    (
        Column("Stored", "storage_bytes", size),
        Column("Uploaded", "upload_bytes", size),
        Column("Downloaded", "download_bytes", size),
        Column("Backups", "backup_count", count),
        Column("API requests", "api_requests", count),
        Column("Updated", "updated_at", moment_text),
    ),
    empty="nothing was counted yet",
)


def _value(row: Mapping[str, Any]) -> str:
    """Metrics other than those of the processor are bytes."""
    return text_of(row["value"]) if row["metric"].startswith("cpu") else size(row["value"])


def _used(row: Mapping[str, Any]) -> float | None:
    total = row.get("total")
    return row.get("used", 0) / total if total else None


def _full(row: Mapping[str, Any]) -> int | None:
    return row.get("estimated-full-date") or None


STORE_USAGE_VIEW: Final = Table(
    (
        Column("Datastore", "store"),
        Column("Backend", "backend-type"),
        Column("Total", "total", size, right=True),
        Column("Used", "used", size, right=True),
        Column("Available", "avail", size, right=True),
        Column("Used", _used, share, right=True),
        Column("Full on", _full, shown_moment),
        Column("Problem", "error"),
    ),
    empty="no datastores",
    sort=lambda row: row["store"],
)
COMPLIANCE_VIEW: Final = Table(
    (
        Column("Namespace", "ns"),
        Column("Backup", lambda row: f"{row['backup-type']}/{row['backup-id']}"),
        Column("Time", "backup-time", moment_text),
        Column("Size", "size", size, right=True),
        Column("Protected", "protected"),
        Column("Retain until", "retain-until", moment_text),
    ),
    empty="no snapshots",
)
METRICS_VIEW: Final = Table(
    (
        Column("Of", "id"),
        Column("Metric", "metric"),
        Column("Time", "timestamp", shown_moment),
        Column("Value", _value, right=True),
    ),
    empty="no values",
)


def _ping(session: Session, values: Values) -> None:
    answer = session.api.get("ping")
    session.output.answer(answer, None, done=f"{session.target.url} answers")


def _version(session: Session, values: Values) -> None:
    answer = session.api.get("version")
    session.output.answer(answer, None, done=f"{answer['version']}.{answer['release']} ({answer['repoid']})")


def _status(session: Session, values: Values) -> None:
    summary = session.api.call("GET", "status").beside.get("summary", {})
    view = Record(
        (
            Column("Server", lambda row: session.target.url),
            Column("Up for", "uptime", format_duration),
            Column("Running tasks", lambda row: row["tasks"]["running"]),
            Column("Running backups", lambda row: row["sessions"]["backup"]),
            Column("Running restores", lambda row: row["sessions"]["reader"]),
        )
    )
    session.output.answer(summary, view)


def _metrics(session: Session, values: Values) -> None:
    if values["prometheus"]:
        answer = session.api.get("metrics")
        session.output.answer(answer, Words())
        return
    since = values["since"]
    start = moment("since", "").convert
    answer = session.api.get(
        "status/metrics",
        history=True if values["history"] or since else None,
        start_time=start(since) if since and start is not None else None,
    )
    session.output.answer(answer["data"], METRICS_VIEW)


def _compliance(session: Session, values: Values) -> None:
    report = session.api.get("compliance/report", store=values["store"])
    if not session.output.for_people:
        session.output.json(report)
        return
    session.output.show(report["snapshots"], COMPLIANCE_VIEW)
    session.output.note(f"{report['snapshot_count']} snapshots, {size(report['total_bytes'])}")


TOP: Final = {
    command.name: command
    for command in (
        Command("ping", run=_ping, covers=("GET ping",)),
        Command("version", run=_version, covers=("GET version",)),
        Command("status", run=_status, covers=("GET status",)),
        Command(
            "datastore-usage",
            path="status/datastore-usage",
            view=STORE_USAGE_VIEW,
        ),
        Command(
            "metrics",
            params=(
                flag("history", "those of the last half hour", local=True),
                text("since", "only later ones: 10min, '2026-03-02 14:00'", local=True, metavar="TIME"),
                flag("prometheus", "the text format of Prometheus instead", local=True),
            ),
            run=_metrics,
            covers=("GET status/metrics", "GET metrics"),
        ),
        Command(
            "usage",
            path="billing/usage",
            params=(
                text("store", "only this datastore"),
                text("tenant", "of another tenant (operator)", find=find_tenant),
            ),
            view=USAGE_VIEW,
        ),
        Command(
            "compliance",
            params=(text("store", "datastore; default: `default`", local=True),),
            run=_compliance,
            covers=("GET compliance/report",),
        ),
    )
}
GROUPS: Final[dict[str, tuple[Command, ...]]] = {}
