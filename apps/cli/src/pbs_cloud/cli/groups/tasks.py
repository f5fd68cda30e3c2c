"""Tasks: what runs and ran, their logs."""

import time
from collections.abc import Mapping
from typing import Any, Final

from pbs_cloud.cli.api import segment
from pbs_cloud.cli.follow import judge, local_line, short_id, watch
from pbs_cloud.cli.groups.find import TASK
from pbs_cloud.cli.session import Session
from pbs_cloud.cli.spec import Command, Param, Values, flag, integer, many, moment, text
from pbs_cloud.cli.values import format_duration, format_recent
from pbs_cloud.cli.views import Column, Record, Table, Words
from pbs_cloud.cli.views import moment as shown_moment

_TASKS: Final = "nodes/localhost/tasks"
_SHOWN: Final = 8


def _took(row: Mapping[str, Any]) -> str:
    return format_duration(max(0, row.get("endtime", int(time.time())) - row["starttime"]))


LIST_VIEW: Final = Table(
    (
        Column("Task", lambda row: short_id(row["upid"])[:_SHOWN].lower()),
        Column("Started", "starttime", format_recent),
        Column("Took", _took, right=True),
        Column("What", lambda row: f"{row['worker_type']} {row['worker_id'] or ''}"),
        Column("By", "user"),
        Column("Result", lambda row: row.get("status", "running")),
    ),
    empty="no tasks",
)
STATE_VIEW: Final = Record(
    (
        Column("Task", "upid"),
        Column("Type", "type"),
        Column("Of", "id"),
        Column("By", lambda row: f"{row['user']}!{row['tokenid']}" if "tokenid" in row else row["user"]),
        Column("Started", "starttime", shown_moment),
        Column("Ended", "endtime", shown_moment),
        Column("State", "status"),
        Column("Result", "exitstatus"),
    )
)


def _log(session: Session, values: Values) -> None:
    upid = values["task"]
    if values["follow"]:
        state = watch(session, upid)
        if not session.output.for_people:
            session.output.json(state)
        judge(state)
        return
    path = f"{_TASKS}/{segment(upid)}/log"
    if values["download"]:
        session.output.answer(b"".join(session.api.pieces(path, {"download": True})).decode(), Words())
        return
    lines = session.api.get(path, start=values["start"], limit=0 if values["limit"] is None else values["limit"])
    if session.output.for_people:
        session.output.answer(lines, None, done="\n".join(local_line(line["t"]) for line in lines))
    else:
        session.output.json(lines)


_FILTERS: Final[tuple[Param, ...]] = (
    flag("running", "only running ones"),
    flag("errors", "leave out what ended well"),
    text("store", "only tasks of this datastore"),
    text("userfilter", "part of the user or token", flags=("--user",)),
    text("typefilter", "part of the type, e.g. verify", flags=("--type",)),
    many("statusfilter", "ok, warning, error or unknown; may be repeated", flags=("--result",)),
    moment("since", "started at this time or later: 2h, 2026-03-02"),
    moment("until", "started at this time or before"),
    integer("start", "skip so many"),
    integer("limit", "at most so many (50); 0: all"),
)
_LIST = Command(
    "list",
    "Running tasks, then the ended ones, the latest first.",
    "GET",
    _TASKS,
    _FILTERS,
    LIST_VIEW,
    covers=("GET nodes/{node}/tasks",),
)
TOP: Final = {"tasks": _LIST}
GROUPS: Final = {
    "task": (
        _LIST,
        Command(
            "show",
            "State of a task.",
            "GET",
            f"{_TASKS}/{{task}}/status",
            (TASK,),
            STATE_VIEW,
            covers=("GET nodes/{node}/tasks/{upid}/status",),
        ),
        Command(
            "log",
            "Log of a task; --follow waits for its end, and its result is the exit code.",
            params=(
                TASK,
                flag("follow", "show new lines as they come", local=True),
                integer("start", "first line"),
                integer("limit", "at most so many lines; default: all"),
                flag("download", "as the server gives it as a file, times in its zone", local=True),
            ),
            run=_log,
            covers=("GET nodes/{node}/tasks/{upid}/log", "GET nodes/{node}/tasks/{upid}/status"),
        ),
        Command(
            "stop",
            "Stop a running task.",
            "DELETE",
            f"{_TASKS}/{{task}}",
            (TASK,),
            done="task {task} was told to stop",
            covers=("DELETE nodes/{node}/tasks/{upid}",),
        ),
    )
}
