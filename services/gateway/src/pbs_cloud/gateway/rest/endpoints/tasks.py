"""Tasks: list, status, log, stop (rest-api A.11, C.14)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final

from pbs_cloud.contracts.chunkstore.types import Task, TaskFilter
from pbs_cloud.contracts.errors import InvalidArgument, PermissionDenied
from pbs_cloud.gateway.errors import STOCK_STATUS, HttpError
from pbs_cloud.gateway.rest.access import Judged
from pbs_cloud.gateway.rest.calls import Call, Content, Data, Rows
from pbs_cloud.gateway.rest.endpoint import Area
from pbs_cloud.gateway.rest.endpoints.shared import without_none
from pbs_cloud.gateway.schema import Array, Integer, String, common, optional

AREA = Area("Tasks")
PAGE: Final = 1000
_COUNT: Final = Integer(minimum=0)
_STATES: Final = ("ok", "warning", "error", "unknown")
_VISIBLE: Final = Judged("own tasks and those of own tokens; `Sys.Audit` on `/system/tasks`; jobs one could start")
_OWN: Final = Judged("the same auth id, or `Sys.Modify` on `/system/tasks`")


def _state(text: str) -> str:
    if text not in _STATES:
        raise InvalidArgument(
            f"unknown variant `{text}`, expected one of `ok`, `warning`, `error`, `unknown`", field="statusfilter"
        )
    return text


def shown_task(task: Task) -> dict[str, Any]:
    """Task as the list shows it."""
    optional_fields = without_none({"endtime": task.endtime, "status": task.status})
    return {
        "upid": task.upid,
        "node": "localhost",
        "pid": task.pid,
        "pstart": task.pstart,
        "starttime": task.starttime,
        "worker_type": task.worker_type,
        "worker_id": task.worker_id or None,
        "user": task.auth_id,
        **optional_fields,
    }


@AREA.get(
    "nodes/{node}/tasks",
    {
        "start": optional(_COUNT, "skip that many", 0),
        "limit": optional(_COUNT, "0: no limit", 50),
        "running": optional(common.BOOLEAN, "only running ones", False),
        "errors": optional(common.BOOLEAN, "leave out those that ended OK", False),
        "store": optional(common.STORE),
        "userfilter": optional(String(maximum=256), "part of the auth id"),
        "typefilter": optional(String(maximum=256), "part of the worker type"),
        "statusfilter": optional(Array(String(after=_state)), "`ok`, `warning`, `error`, `unknown`"),
        "since": optional(Integer(), "Unix seconds"),
        "until": optional(Integer(), "Unix seconds"),
    },
    access=_VISIBLE,
)
async def tasks(call: Call) -> Any:
    """Tasks that the caller may see, running ones first."""
    attributes: dict[str, Any] = {}
    return Rows(_task_rows(call, attributes), attributes=attributes)


async def _task_rows(call: Call, attributes: dict[str, Any]) -> AsyncIterator[Any]:
    start, limit = call.params["start"], call.params["limit"]
    left = limit or None
    while True:
        page = PAGE if left is None else min(left, PAGE)
        found, attributes["total"] = await call.clients.catalogue.list_tasks(call.ctx, _filter(call, start, page))
        for task in found:
            yield shown_task(task)
        start += len(found)
        left = None if left is None else left - len(found)
        if len(found) < page or left == 0:
            if limit == 0:
                attributes["total"] = start
            return


def _filter(call: Call, start: int, limit: int) -> TaskFilter:
    given = call.params
    return TaskFilter(
        start=start,
        limit=limit,
        running=given["running"],
        errors=given["errors"],
        store=given.get("store"),
        userfilter=given.get("userfilter"),
        typefilter=given.get("typefilter"),
        statusfilter=tuple(given.get("statusfilter", ())),
        since=given.get("since"),
        until=given.get("until"),
    )


@AREA.delete("nodes/{node}/tasks/{upid}", access=_OWN, statuses={**STOCK_STATUS, PermissionDenied: 400})
async def stop_task(call: Call) -> Any:
    """Ask a task to stop."""
    await call.clients.catalogue.stop_task(call.ctx, call.text("upid"))
    return None


@AREA.get("nodes/{node}/tasks/{upid}/status", access=_VISIBLE, statuses={**STOCK_STATUS, PermissionDenied: 400})
async def task_status(call: Call) -> Any:
    """State of a task."""
    task = await call.clients.catalogue.get_task(call.ctx, call.text("upid"))
    user, _, token = task.auth_id.partition("!")
    shown = {
        "upid": task.upid,
        "node": task.node,
        "pid": task.pid,
        "pstart": task.pstart,
        "starttime": task.starttime,
        "type": task.worker_type,
        "id": task.worker_id or None,
        "user": user,
    }
    if token:
        shown["tokenid"] = token
    if task.status is None:
        return {**shown, "status": "running"}
    return {**shown, "status": "stopped", **without_none({"exitstatus": task.status, "endtime": task.endtime})}


@AREA.get(
    "nodes/{node}/tasks/{upid}/log",
    {
        "start": optional(_COUNT, "first line, counted from 1; default 0 is the same"),
        "limit": optional(_COUNT, "0: all; default 50"),
        "test-status": optional(common.BOOLEAN, "with `active`"),
        "download": optional(common.BOOLEAN, "the whole log as a file", False),
    },
    access=_VISIBLE,
    raw=True,
    statuses={**STOCK_STATUS, PermissionDenied: 400},
)
async def task_log(call: Call) -> Any:
    """Log lines of a task."""
    upid = call.text("upid")
    if call.params["download"]:
        if call.params.keys() & {"start", "limit", "test-status"}:
            raise HttpError(400, "Parameter 'download' cannot be used with other parameters")
        return await _download(call, upid)
    start, limit = call.params.get("start", 0), call.params.get("limit", 50)
    log = await call.clients.catalogue.read_task_log(call.ctx, upid, start, limit)
    attributes: dict[str, Any] = {"total": log.total, "success": 1}
    if call.params.get("test-status"):
        attributes["active"] = log.active
    lines = [{"n": line.n, "t": line.text} for line in log.lines]
    return Data(lines, attributes, content_type="application/json", own=True)


async def _download(call: Call, upid: str) -> Content:
    task = await call.clients.catalogue.get_task(call.ctx, upid)
    started = f"{datetime.fromtimestamp(task.starttime, UTC):%Y-%m-%dT%H:%M:%SZ}"
    name = f"task-{task.node}-{task.worker_type}-{started}.log"
    return Content(_log_text(call, upid), "text/plain", {"Content-Disposition": f"attachment; filename={name}"})


async def _log_text(call: Call, upid: str) -> AsyncIterator[bytes]:
    start = 1
    while True:
        log = await call.clients.catalogue.read_task_log(call.ctx, upid, start, PAGE)
        if log.lines:
            yield "".join(f"{line.text}\n" for line in log.lines).encode("utf-8", "replace")
        start += len(log.lines)
        if start > log.total or not log.lines:
            return
