"""Rows of configured jobs, inside one tenant."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from pbs_cloud.contracts.jobs import JobFields, JobKind
from pbs_cloud.formats.calendar import CalendarEvent
from pbs_cloud.runtime.database import Connection

_SELECT = """
SELECT tenant_id, kind, id, fields, base, next_run, last_upid, last_state, last_endtime FROM job
WHERE tenant_id = $1 AND kind = $2
"""


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job with what its last run left; ``fields`` by their names on the wire, times in Unix seconds."""

    tenant_id: str
    kind: JobKind
    id: str
    fields: dict[str, Any]
    base: int
    next_run: int | None
    last_upid: str | None
    last_state: str | None
    last_endtime: int | None

    @property
    def store(self) -> str:
        return str(self.fields["store"])

    @property
    def ns(self) -> str:
        return str(self.fields.get("ns", ""))

    @property
    def config(self) -> JobFields:
        return JobFields.of(self.fields)


def _row(row: Mapping[str, Any]) -> JobRow:
    return JobRow(**{**row, "kind": JobKind(row["kind"])})


def next_run(fields: Mapping[str, Any], base: int) -> int | None:
    """First time of the schedule after ``base``; None without a schedule or when disabled."""
    schedule = fields.get("schedule")
    return None if not schedule or fields.get("disable") else CalendarEvent.parse(schedule).next_after(base, UTC)


async def lock_tenant(connection: Connection, tenant_id: str) -> None:
    """One change of a tenant's jobs at a time, so that a digest is compared with what is changed."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 1))", f"gc schedules {tenant_id}")


async def now(connection: Connection) -> int:
    """The database's clock."""
    return int(await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::bigint"))


async def all_of(connection: Connection, tenant_id: str, kind: JobKind) -> list[JobRow]:
    """Jobs of a kind by id."""
    rows = await connection.fetch(f"{_SELECT} ORDER BY id", tenant_id, kind)
    return [_row(row) for row in rows]


async def find(
    connection: Connection, tenant_id: str, kind: JobKind, job_id: str, *, lock: bool = False
) -> JobRow | None:
    """One job, locked for a change with ``lock``."""
    suffix = " FOR UPDATE" if lock else ""
    row = await connection.fetchrow(f"{_SELECT} AND id = $3{suffix}", tenant_id, kind, job_id)
    return None if row is None else _row(row)


async def insert(connection: Connection, tenant_id: str, kind: JobKind, job_id: str, fields: Mapping[str, Any]) -> bool:
    """Whether the id was free."""
    base = await now(connection)
    done = await connection.execute(
        "INSERT INTO job (tenant_id, kind, id, store, fields, base, next_run) VALUES ($1, $2, $3, $4, $5, $6, $7)"
        " ON CONFLICT DO NOTHING",
        tenant_id,
        kind,
        job_id,
        fields["store"],
        dict(fields),
        base,
        next_run(fields, base),
    )
    return bool(done == "INSERT 0 1")


async def change(connection: Connection, job: JobRow, fields: Mapping[str, Any]) -> None:
    """New fields; another schedule counts from now, so that nothing is due that never was."""
    timing = ("schedule", "disable")
    same = all(job.fields.get(name) == fields.get(name) for name in timing)
    base = job.base if same else await now(connection)
    await connection.execute(
        "UPDATE job SET store = $4, fields = $5, base = $6, next_run = $7"
        " WHERE tenant_id = $1 AND kind = $2 AND id = $3",
        job.tenant_id,
        job.kind,
        job.id,
        fields["store"],
        dict(fields),
        base,
        next_run(fields, base),
    )


async def delete(connection: Connection, job: JobRow) -> None:
    """Remove a job."""
    await connection.execute(
        "DELETE FROM job WHERE tenant_id = $1 AND kind = $2 AND id = $3", job.tenant_id, job.kind, job.id
    )


async def delete_of_store(connection: Connection, tenant_id: str, store: str) -> None:
    """Remove all jobs of a datastore."""
    await connection.execute("DELETE FROM job WHERE tenant_id = $1 AND store = $2", tenant_id, store)


async def delete_of_tenant(connection: Connection, tenant_id: str) -> None:
    """Remove all jobs of a tenant that is gone."""
    await connection.execute("DELETE FROM job WHERE tenant_id = $1", tenant_id)


async def started(connection: Connection, job: JobRow, upid: str) -> None:
    """A run has begun."""
    base = await now(connection)
    await connection.execute(
        "UPDATE job SET last_upid = $4, last_state = NULL, last_endtime = NULL, base = $5, next_run = $6"
        " WHERE tenant_id = $1 AND kind = $2 AND id = $3",
        job.tenant_id,
        job.kind,
        job.id,
        upid,
        base,
        next_run(job.fields, base),
    )


async def postpone(connection: Connection, job: JobRow) -> None:
    """Leave out what is due: the next run is the first one from now on."""
    await connection.execute(
        "UPDATE job SET next_run = $4 WHERE tenant_id = $1 AND kind = $2 AND id = $3",
        job.tenant_id,
        job.kind,
        job.id,
        next_run(job.fields, await now(connection)),
    )


async def ended(connection: Connection, job: JobRow, state: str, endtime: int) -> None:
    """The run of ``job.last_upid`` is over."""
    await connection.execute(
        "UPDATE job SET last_state = $5, last_endtime = $6"
        " WHERE tenant_id = $1 AND kind = $2 AND id = $3 AND last_upid = $4",
        job.tenant_id,
        job.kind,
        job.id,
        job.last_upid,
        state,
        endtime,
    )


async def due(connection: Connection, most: int) -> list[tuple[str, JobKind, str]]:
    """Tenant, kind and id of jobs whose time has come, the latest first to be late; in a system transaction."""
    rows = await connection.fetch(
        "SELECT tenant_id, kind, id FROM job WHERE next_run <= extract(epoch FROM clock_timestamp())::bigint"
        " ORDER BY next_run LIMIT $1",
        most,
    )
    return [(row["tenant_id"], JobKind(row["kind"]), row["id"]) for row in rows]


def digest_of(tenant_id: str, jobs: list[JobRow]) -> str:
    """SHA-256 over the configuration of all jobs of a kind; equal ones differ between tenants (rest-api E.10)."""
    canonical = json.dumps([tenant_id, [[job.id, job.fields] for job in jobs]], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
