"""Rows to begin with: two tenants, datastores with backups, chunks in every state."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from simulation.postgres.both import NOW
from simulation.postgres.random_arguments import DIGESTS, SESSIONS, WRITERS

_LATER, _EARLIER = NOW + timedelta(hours=1), NOW - timedelta(hours=1)
_STORE = (
    "INSERT INTO datastore (tenant_id, name, backend_type, location, config, state, uuid)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7)"
)
_NAMESPACE = "INSERT INTO namespace (tenant_id, datastore_id, path) VALUES ($1, $2, $3)"
_GROUP = (
    "INSERT INTO backup_group (tenant_id, datastore_id, namespace_id, backup_type, backup_id, owner)"
    " VALUES ($1, $2, $3, $4, $5, $6)"
)
_SESSION = (
    "INSERT INTO session (id, tenant_id, datastore_id, kind, state, auth_id, process_id, group_id, snapshot_id, upid,"
    " start_epoch, lease_until, ended_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
)
_SNAPSHOT = (
    "INSERT INTO snapshot (tenant_id, datastore_id, group_id, backup_time, state, session_id, manifest, reusable_at)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
)
_FILE = (
    "INSERT INTO snapshot_file (snapshot_id, name, tenant_id, datastore_id, kind, size, stored_size, chunk_count)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
)
_PIN = "INSERT INTO pin (snapshot_id, session_id, tenant_id) VALUES ($1, $2, $3)"
_CHUNK = (
    "INSERT INTO chunk (datastore_id, digest, tenant_id, kind, size, raw_size, state, touch_epoch, condemned_at,"
    " delete_sent_at, owner_session, writer) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
)
_COUNTER = "INSERT INTO usage_counter (datastore_id, writer, tenant_id, bytes) VALUES ($1, $2, $3, $4)"
_TASK = (
    "INSERT INTO task (upid, tenant_id, store, worker_type, auth_id, process_id, node, pid, task_pstart, starttime,"
    " lease_until) VALUES ($1, $2, $3, $4, $5, $6, 'n', 1, 1, $7, $8)"
)
_LOG = "INSERT INTO task_log (task_id, n, text, tenant_id) VALUES ($1, $2, $3, $4)"
_RUN = (
    "INSERT INTO gc_run (tenant_id, datastore_id, run_epoch, token, process_id, phase, lease_until, ended_at)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
)
_OUTBOX = "INSERT INTO outbox (tenant_id, subject, payload) VALUES ($1, $2, $3)"
_JOB = "INSERT INTO job (tenant_id, kind, id, store, fields, base, next_run) VALUES ($1, $2, $3, $4, $5, $6, $7)"
_BACKUP = "INSERT INTO new_backup (tenant_id, store, ns, snapshot) VALUES ($1, $2, $3, $4)"
_STATUS = "INSERT INTO job_status (tenant_id, job, runs, last_run) VALUES ($1, $2, $3, $4)"

CONTENT: dict[str, list[tuple[str, list[Any]]]] = {
    "chunkstore": [
        (_STORE, ["t1", "s1", "filesystem", "one", {"gc-schedule": "daily"}, "active", SESSIONS[0]]),
        (_STORE, ["t1", "s2", "s3", "two", {}, "active", SESSIONS[1]]),
        (_STORE, ["t2", "s1", "s3", "three", {}, "creating", SESSIONS[2]]),
        *[(_NAMESPACE, ["t1", 1, path]) for path in ("", "a", "a/b")],
        (_NAMESPACE, ["t2", 3, ""]),
        (_GROUP, ["t1", 1, 1, "vm", "100", "root@pam"]),
        (_GROUP, ["t1", 1, 1, "ct", "101", "root@pam!token"]),
        (_GROUP, ["t1", 1, 2, "host", "100", "root@pam"]),
        (_SESSION, [SESSIONS[0], "t1", 1, "backup", "active", "root@pam", "p1", 1, 3, "u1", 1, _LATER, None]),
        (_SESSION, [SESSIONS[1], "t1", 1, "backup", "active", "root@pam", "p2", 2, None, "u2", 2, _EARLIER, None]),
        (_SESSION, [SESSIONS[2], "t1", 1, "reader", "finished", "root@pam", "p1", None, 1, None, 0, _LATER, _EARLIER]),
        (_SNAPSHOT, ["t1", 1, 1, 100, "committed", None, '{"a": 1}', None]),
        (_SNAPSHOT, ["t1", 1, 1, 200, "committed", None, "{}", None]),
        (_SNAPSHOT, ["t1", 1, 1, 300, "open", SESSIONS[0], None, None]),
        (_SNAPSHOT, ["t1", 1, 3, 100, "removing", SESSIONS[2], None, _EARLIER]),
        (_FILE, [1, "drive.img.fidx", "t1", 1, "fixed", 10, 20, 2]),
        (_FILE, [1, "index.json.blob", "t1", 1, "blob", 10, 10, None]),
        (_FILE, [2, "drive.img.fidx", "t1", 1, "fixed", 10, 20, 2]),
        (_PIN, [1, SESSIONS[0], "t1"]),
        (_CHUNK, [1, DIGESTS[0], "t1", 0, 10, 10, 2, 1, None, None, None, None]),
        (_CHUNK, [1, DIGESTS[1], "t1", 0, 10, 10, 1, 1, None, None, SESSIONS[0], WRITERS[0]]),
        (_CHUNK, [1, DIGESTS[2], "t1", 0, 10, 10, 4, 0, _EARLIER, None, None, None]),
        (_CHUNK, [2, DIGESTS[0], "t1", 0, 20, 10, 5, 0, None, _EARLIER, None, None]),
        (_COUNTER, [1, 0, "t1", 30]),
        (_COUNTER, [1, 1, "t1", 20]),
        (_TASK, ["u1", "t1", "s1", "backup", "root@pam", "p1", 100, _LATER]),
        (_TASK, ["u2", "t1", "s1", "prune", "root@pam!token", "p2", 200, _EARLIER]),
        (_LOG, [1, 1, "one", "t1"]),
        (_LOG, [1, 2, "two", "t1"]),
        (_RUN, ["t1", 1, 1, WRITERS[0], "p1", "delete", _EARLIER, _EARLIER]),
        (_RUN, ["t1", 1, 2, WRITERS[1], "p1", "mark", _EARLIER, None]),
        ("UPDATE outbox_sequence SET last = 0, epoch = 'e1'", []),
        (_OUTBOX, ["t1", "one", {"a": 1}]),
        (_OUTBOX, ["t2", "two", {}]),
    ],
    "gc": [
        (_JOB, ["t1", "prune", "j1", "s1", {"store": "s1"}, 100, 100]),
        (_JOB, ["t1", "verify", "j1", "s2", {}, 100, None]),
        (_JOB, ["t2", "prune", "j2", "s1", {}, 100, 200]),
        (_BACKUP, ["t1", "s1", "", "one"]),
        (_BACKUP, ["t1", "s1", "a", "two"]),
        (_BACKUP, ["t2", "s1", "", "three"]),
        (_STATUS, ["*", "j1", 2, _EARLIER]),
    ],
}
"""Statements with their arguments by schema; identities count from 1."""


async def fill(connection: Any, schema: str) -> None:
    """Write the content in the open system transaction of `connection`."""
    for text, arguments in CONTENT[schema]:
        await connection.execute(text, *arguments)
