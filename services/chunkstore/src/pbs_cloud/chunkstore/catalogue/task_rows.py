"""Rows of tasks and their logs, changed inside a transaction that the caller owns (rest-api A.11, E.4)."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pbs_cloud.formats.upid import Upid
from pbs_cloud.runtime.database import Connection

NODE = "pbs-cloud"
OK = "OK"
UNKNOWN = "unknown"
MAX_LOG_LINES = 100_000
"""A log that reaches this length takes only its closing line any more."""
MAX_LINE = 4096
_STORE_FIRST = ("prune", "prunejob", "backup", "garbage_collection")


@dataclass(frozen=True, slots=True)
class NewTask:
    """What is known of a task before it starts; ``worker_id`` is unescaped, None = null."""

    tenant_id: str
    worker_type: str
    worker_id: str | None
    auth_id: str
    process_id: str


def listed_store(worker_type: str, worker_id: str | None) -> str | None:
    """Datastore whose task list shows the task (rest-api C.14 "store matches"); None: no list with that filter."""
    if worker_id is None:
        return None
    parts = worker_id.split(":")
    if worker_type == "syncjob":
        return parts[2] if len(parts) > 2 else None
    if worker_type.startswith("verif") or worker_type in _STORE_FIRST:
        return parts[0]
    return None


async def insert_task(connection: Connection, new: NewTask, lease_seconds: float) -> str:
    """UPID of a new running task."""
    started = await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::bigint")
    upid = Upid(
        node=NODE,
        pid=secrets.randbelow(0x7FFFFFFF) + 1,
        pstart=secrets.randbits(32),
        task_id=secrets.randbits(64),
        start_time=started,
        worker_type=new.worker_type,
        worker_id=new.worker_id or "",
        auth_id=new.auth_id,
    )
    await connection.execute(
        "INSERT INTO task (upid, tenant_id, store, worker_type, worker_id, auth_id, process_id, node, pid, task_pstart,"
        " starttime, lease_until)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, clock_timestamp() + make_interval(secs => $12))",
        str(upid),
        new.tenant_id,
        listed_store(new.worker_type, new.worker_id),
        new.worker_type,
        new.worker_id,
        new.auth_id,
        new.process_id,
        upid.node,
        upid.pid,
        upid.pstart,
        upid.start_time,
        lease_seconds,
    )
    return str(upid)


async def append_log(connection: Connection, upid: str, lines: Iterable[str]) -> bool:
    """Add lines to the log of a running task; False if it does not run (any more)."""
    row = await connection.fetchrow(
        "SELECT id, tenant_id FROM task WHERE upid = $1 AND endtime IS NULL FOR NO KEY UPDATE", upid
    )
    if row is None:
        return False
    await _insert_lines(connection, row["id"], row["tenant_id"], lines, limit=MAX_LOG_LINES)
    return True


async def end_task(connection: Connection, upid: str, status: str) -> bool:
    """End a running task with its closing line (rest-api C.14); False if it has ended before."""
    row = await connection.fetchrow(
        "SELECT id, tenant_id FROM task WHERE upid = $1 AND endtime IS NULL FOR NO KEY UPDATE", upid
    )
    if row is None:
        return False
    status = " ".join(_clean(status).split())[:MAX_LINE] or "error"
    await _insert_lines(connection, row["id"], row["tenant_id"], [_closing_line(status)], limit=MAX_LOG_LINES + 1)
    await connection.execute(
        "UPDATE task SET status = $2, endtime = extract(epoch FROM clock_timestamp())::bigint WHERE id = $1",
        row["id"],
        status,
    )
    return True


def _closing_line(status: str) -> str:
    if status in (OK, UNKNOWN) or status.startswith("WARNINGS: "):
        return f"TASK {status}"
    return f"TASK ERROR: {status}"


def _clean(text: str) -> str:
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


async def _insert_lines(
    connection: Connection, task_id: int, tenant_id: str, lines: Iterable[str], *, limit: int
) -> None:
    """Number the lines on from the last one, each with the time; breaks inside a line make further lines without it."""
    row = await connection.fetchrow(
        "SELECT clock_timestamp() AS now, (SELECT coalesce(max(n), 0) FROM task_log WHERE task_id = $1) AS last",
        task_id,
    )
    texts = _stamped(row["now"], lines)[: max(limit - row["last"], 0)]
    await connection.executemany(
        "INSERT INTO task_log (task_id, n, text, tenant_id) VALUES ($1, $2, $3, $4)",
        [(task_id, row["last"] + offset, text, tenant_id) for offset, text in enumerate(texts, 1)],
    )


def _stamped(now: datetime, lines: Iterable[str]) -> Sequence[str]:
    stamp = f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%S}+00:00: "
    texts: list[str] = []
    for line in lines:
        first, *rest = _clean(line).splitlines() or [""]
        texts.append((stamp + first)[:MAX_LINE])
        texts.extend(part[:MAX_LINE] for part in rest)
    return texts
