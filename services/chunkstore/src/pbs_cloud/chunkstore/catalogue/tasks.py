"""Tasks: create, log, end, list, read, stop (rest-api A.11, C.14, E.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pbs_cloud.chunkstore.catalogue.announce import announce
from pbs_cloud.chunkstore.catalogue.names import refusing_bad_names
from pbs_cloud.chunkstore.catalogue.parts import Parts
from pbs_cloud.chunkstore.catalogue.rows import list_stores
from pbs_cloud.chunkstore.catalogue.task_rows import NewTask, append_log, end_task, insert_task
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import CallContext, Caller
from pbs_cloud.contracts.errors import Conflict, InvalidArgument
from pbs_cloud.contracts.events import EventType
from pbs_cloud.contracts.rights import Privilege, datastore_path, privileges
from pbs_cloud.formats.upid import Upid
from pbs_cloud.runtime.database import Connection

TASKS_PATH = "/system/tasks"
MAX_ROWS = 10_000
"""Most tasks in one answer, also for a limit of 0 (no limit)."""
MAX_LOG_BYTES = 8 * 1024 * 1024
"""Most text in one answer; whoever wants a longer log reads on from the last line."""
STATUS_KINDS = ("ok", "warning", "error", "unknown")

_COLUMNS = """
SELECT upid, node, pid, task_pstart AS pstart, starttime, worker_type, auth_id, worker_id, endtime, status FROM task
"""
# $1 tenant, $2 auth id, $3 sees all, $4 stores whose jobs the caller may start, $5 stores that it may verify
_VISIBLE = """
tenant_id = $1 AND ($3 OR auth_id = $2 OR split_part(auth_id, '!', 1) = $2
  OR (worker_type IN ('garbage_collection', 'prune', 'prunejob') AND store = ANY($4::text[]))
  OR (worker_type = 'verificationjob' AND store = ANY($5::text[])))
"""
# $6 store, $7 user filter, $8 type filter, $9 worker id, $10 since, $11 until
_FILTER = """
($6::text IS NULL OR store = $6) AND ($7::text IS NULL OR position($7 IN auth_id) > 0)
AND ($8::text IS NULL OR position($8 IN worker_type) > 0)
AND ($9::text IS NULL OR worker_id = $9)
AND ($10::bigint IS NULL OR starttime >= $10) AND ($11::bigint IS NULL OR starttime <= $11)
"""
# $12 leave out OK, $13 kinds of status or null
_ENDED = """
NOT ($12 AND status = 'OK') AND ($13::text[] IS NULL OR CASE
  WHEN status = 'OK' THEN 'ok' WHEN status LIKE 'WARNINGS: %' THEN 'warning'
  WHEN status = 'unknown' THEN 'unknown' ELSE 'error' END = ANY($13))
"""
_COUNT = "SELECT count(*) FROM task"
_RUNNING_WHERE = f"WHERE endtime IS NULL AND {_VISIBLE} AND {_FILTER}"
_COUNT_RUNNING = f"{_COUNT} {_RUNNING_WHERE}"
_RUNNING = f"{_COLUMNS} {_RUNNING_WHERE} ORDER BY starttime DESC, id DESC OFFSET $12 LIMIT $13"
_STOPPED = (
    f"{_COLUMNS} WHERE endtime IS NOT NULL AND {_VISIBLE} AND {_FILTER} AND {_ENDED}"
    " ORDER BY endtime DESC, id DESC OFFSET $14 LIMIT $15"
)
_LOG = """
SELECT endtime IS NULL AS active, (SELECT coalesce(max(n), 0) FROM task_log WHERE task_id = t.id) AS total,
  coalesce((SELECT json_agg(json_build_array(n, text) ORDER BY n) FROM (
    SELECT n, text, sum(octet_length(text)) OVER (ORDER BY n) AS upto FROM (
      SELECT n, text FROM task_log WHERE task_id = t.id AND n >= $3 ORDER BY n LIMIT $4) AS wanted) AS page
    WHERE upto <= $5), '[]') AS lines
FROM task t WHERE tenant_id = $1 AND upid = $2
"""


class Tasks:
    """The tasks of one tenant at a time."""

    def __init__(self, parts: Parts) -> None:
        self._database = parts.database
        self._lease_seconds = parts.lease_seconds

    async def create(
        self, ctx: CallContext, worker_type: str, worker_id: str | None, process_id: str, auth_id: str | None
    ) -> str:
        """UPID of a new running task, in the name of the caller or of ``auth_id``."""
        new = NewTask(ctx.tenant_id, worker_type, worker_id, auth_id or ctx.caller.auth_id, process_id)
        async with self._database.tenant(ctx.tenant_id) as connection:
            return await insert_task(connection, new, self._lease_seconds)

    async def append(self, ctx: CallContext, upid: str, lines: Sequence[str]) -> None:
        """Add log lines. Raises Conflict if the task does not run."""
        async with self._database.tenant(ctx.tenant_id) as connection:
            if not await append_log(connection, upid, lines):
                raise Conflict("the task does not run")

    async def finish(self, ctx: CallContext, upid: str, status: str) -> None:
        """End a task; repeatable, the first status stays."""
        async with self._database.tenant(ctx.tenant_id) as connection:
            await end_task(connection, upid, status)

    async def page(self, ctx: CallContext, wanted: t.TaskFilter) -> tuple[list[t.Task], int]:
        """Visible tasks, running ones first, then from the latest end on; and ``total`` of rest-api C.14."""
        unknown = set(wanted.statusfilter) - set(STATUS_KINDS)
        if unknown or wanted.start < 0 or wanted.limit < 0:
            field = "statusfilter" if unknown else "start" if wanted.start < 0 else "limit"
            raise InvalidArgument(f"{field}: value is not allowed", field=field)
        limit = min(wanted.limit or MAX_ROWS, MAX_ROWS)
        async with self._database.tenant(ctx.tenant_id) as connection:
            rows = await _page(connection, await _conditions(connection, ctx.caller, wanted), wanted, limit)
        full = len(rows) == limit
        return [t.Task(**row) for row in rows], wanted.start + len(rows) + (1 if full else 0)

    async def get(self, ctx: CallContext, upid: str) -> t.Task:
        """Raises InvalidArgument for no UPID, Conflict for an unknown or foreign one alike."""
        _parse(upid)
        async with self._database.tenant(ctx.tenant_id) as connection:
            return await _visible_task(connection, ctx.caller, upid)

    async def read_log(self, ctx: CallContext, upid: str, start: int, limit: int) -> t.TaskLog:
        """A page of the log and the number of lines, from one statement, so that they fit together."""
        _parse(upid)
        async with self._database.tenant(ctx.tenant_id) as connection:
            await _visible_task(connection, ctx.caller, upid)
            row = await connection.fetchrow(_LOG, ctx.tenant_id, upid, max(start, 1), limit or None, MAX_LOG_BYTES)
        lines = tuple(t.LogLine(n, text) for n, text in row["lines"])
        return t.TaskLog(lines, row["total"], row["active"])

    async def stop(self, ctx: CallContext, upid: str) -> None:
        """Ask a running task to stop; nothing happens for ended and unknown ones (rest-api E.4).

        Raises Conflict if the task is not the caller's own and it lacks Sys.Modify.
        """
        claimed = _parse(upid)
        modify = Privilege.SYS_MODIFY in privileges(ctx.caller, TASKS_PATH)
        async with self._database.tenant(ctx.tenant_id) as connection:
            row = await connection.fetchrow(
                "SELECT id, auth_id, process_id, endtime FROM task WHERE tenant_id = $1 AND upid = $2"
                " FOR NO KEY UPDATE",
                ctx.tenant_id,
                upid,
            )
            auth_id = claimed.auth_id if row is None else row["auth_id"]
            if auth_id != ctx.caller.auth_id and not modify:
                raise Conflict(f"missing permissions 'Sys.Modify' on '{TASKS_PATH}'")
            if row is None or row["endtime"] is not None:
                return
            await connection.execute("UPDATE task SET stop_requested = true WHERE id = $1", row["id"])
            await announce(
                connection, EventType.TASK_STOP_REQUESTED, ctx.tenant_id, upid=upid, process_id=row["process_id"]
            )


def _parse(upid: str) -> Upid:
    with refusing_bad_names():
        return Upid.parse(upid)


async def _visible_task(connection: Connection, caller: Caller, upid: str) -> t.Task:
    visible = await _visibility(connection, caller)
    row = await connection.fetchrow(f"{_COLUMNS} WHERE {_VISIBLE} AND upid = $6", *visible, upid)
    if row is None:
        raise Conflict("task access not allowed")
    return t.Task(**row)


async def _visibility(connection: Connection, caller: Caller) -> tuple[Any, ...]:
    """Parameters of ``_VISIBLE``."""
    sees_all = Privilege.SYS_AUDIT in privileges(caller, TASKS_PATH)
    modify: list[str] = []
    verify: list[str] = []
    for store in [] if sees_all else await list_stores(connection, caller.tenant_id):
        held = privileges(caller, datastore_path(store.name))
        modify += [store.name] if Privilege.DATASTORE_MODIFY in held else []
        verify += [store.name] if Privilege.DATASTORE_VERIFY in held else []
    return caller.tenant_id, caller.auth_id, sees_all, modify, verify


async def _conditions(connection: Connection, caller: Caller, wanted: t.TaskFilter) -> tuple[Any, ...]:
    """Parameters of ``_VISIBLE`` and ``_FILTER``."""
    texts = [
        None if text is None else text.replace("\x00", "\ufffd")
        for text in (wanted.store, wanted.userfilter, wanted.typefilter, wanted.worker_id)
    ]
    return (*await _visibility(connection, caller), *texts, wanted.since, wanted.until)


async def _page(connection: Connection, conditions: tuple[Any, ...], wanted: t.TaskFilter, limit: int) -> list[Any]:
    """Rows ``start`` to ``start + limit`` of the running and then the ended tasks."""
    rows: list[Any] = []
    running = 0
    if not wanted.statusfilter:
        running = await connection.fetchval(_COUNT_RUNNING, *conditions)
        rows = await connection.fetch(_RUNNING, *conditions, wanted.start, limit)
    if wanted.running or len(rows) == limit:
        return rows
    kinds = list(wanted.statusfilter) or None
    offset = max(wanted.start - running, 0)
    ended = await connection.fetch(_STOPPED, *conditions, wanted.errors, kinds, offset, limit - len(rows))
    return [*rows, *ended]
