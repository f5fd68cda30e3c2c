"""SQL of the gc service, for jobs that cross tenants; every function runs in the system transaction it gets."""

from __future__ import annotations

from dataclasses import dataclass

from pbs_cloud.runtime.database import Connection


@dataclass(frozen=True, slots=True)
class JobStatus:
    """Completed runs of one job over all replicas; ``last_run`` in Unix seconds by the database's clock."""

    runs: int
    affected: int
    last_run: int | None


async def try_lock(connection: Connection, job: str) -> bool:
    """Whether this transaction is now the only one that runs ``job``; until its end."""
    return bool(await connection.fetchval("SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))", f"gc {job}"))


async def seconds_since(connection: Connection, job: str) -> float | None:
    """Time since the last run; None before the first."""
    statement = """
        SELECT extract(epoch FROM clock_timestamp() - last_run)::float8 FROM job_status
        WHERE tenant_id = '*' AND job = $1
    """
    passed = await connection.fetchval(statement, job)
    return None if passed is None else float(passed)


async def record(connection: Connection, job: str, affected: int) -> None:
    """A run has ended."""
    await connection.execute(
        "INSERT INTO job_status AS s (job, runs, affected, last_run) VALUES ($1, 1, $2, clock_timestamp())"
        " ON CONFLICT (tenant_id, job) DO UPDATE SET runs = s.runs + 1, affected = s.affected + excluded.affected,"
        " last_run = excluded.last_run",
        job,
        affected,
    )


async def status(connection: Connection, job: str) -> JobStatus:
    """What the job did so far."""
    statement = """
        SELECT runs, affected, extract(epoch FROM last_run)::bigint FROM job_status
        WHERE tenant_id = '*' AND job = $1
    """
    row = await connection.fetchrow(statement, job)
    return JobStatus(*row) if row else JobStatus(0, 0, None)
