"""Runs of garbage collection: at most one unfinished per datastore, held by whoever knows its token (steps A and G)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import asyncpg

from pbs_cloud.chunkstore.catalogue.rows import Store, store_by_id
from pbs_cloud.contracts.errors import Conflict, Locked
from pbs_cloud.runtime.database import Connection

LEASE_SECONDS = 60.0
ORPHAN_DAYS = 7
"""Objects without a row are looked for this often; listing a bucket costs money."""
KEEP_DAYS = 90
RUNNING = "garbage collection already running"
LOST = "the garbage collection run has ended or is held by somebody else"

_RUN = "SELECT id, datastore_id, run_epoch, token, phase, dry_run, orphans_due, cutoff, statistics FROM gc_run"
_UNFINISHED = (
    "SELECT id, lease_until > clock_timestamp() AS alive FROM gc_run WHERE datastore_id = $1 AND ended_at IS NULL"
)
_TAKE_OVER = """
UPDATE gc_run SET token = gen_random_uuid(), process_id = $2, phase = CASE WHEN $3 THEN 'mark' ELSE phase END,
  lease_until = clock_timestamp() + make_interval(secs => $4)
WHERE id = $1
"""
_INSERT = """
INSERT INTO gc_run (tenant_id, datastore_id, run_epoch, process_id, dry_run, orphans_due, lease_until)
VALUES ($1, $2, $3, $4, $5,
  NOT EXISTS (SELECT 1 FROM gc_run WHERE datastore_id = $2 AND orphans_due AND statistics ? 'complete'
    AND ended_at > clock_timestamp() - make_interval(days => $6))
  AND EXISTS (SELECT 1 FROM datastore WHERE id = $2 AND created_at < clock_timestamp() - make_interval(days => $6)),
  clock_timestamp() + make_interval(secs => $7))
"""


@dataclass(frozen=True, slots=True)
class Run:
    """A row of `gc_run`; ``cutoff`` is known from step B on."""

    id: int
    datastore_id: int
    run_epoch: int
    token: uuid.UUID
    phase: str
    dry_run: bool
    orphans_due: bool
    cutoff: int | None
    statistics: dict[str, Any]


async def begin(connection: Connection, store: Store, process_id: str, *, dry_run: bool) -> tuple[Run, bool]:
    """Step A: a new run, or the dead one that is there; and whether it was taken over.

    A run whose marks are lost goes back to step B; one that had condemned goes on deleting. Raises Locked.
    """
    await connection.fetchval("SELECT 1 FROM datastore WHERE id = $1 FOR UPDATE", store.id)
    found = await connection.fetchrow(_UNFINISHED, store.id)
    if found is not None:
        if found["alive"]:
            raise Locked(RUNNING)
        run = await _by_id(connection, found["id"])
        await connection.execute(_TAKE_OVER, run.id, process_id, run.phase != "delete", LEASE_SECONDS)
        return await _by_id(connection, run.id), True
    epoch = await connection.fetchval("UPDATE datastore SET epoch = epoch + 1 WHERE id = $1 RETURNING epoch", store.id)
    try:
        await connection.execute(
            _INSERT, store.tenant_id, store.id, epoch, process_id, dry_run, ORPHAN_DAYS, LEASE_SECONDS
        )
    except asyncpg.UniqueViolationError as error:
        raise Locked(RUNNING) from error
    row = await connection.fetchrow(_UNFINISHED, store.id)
    return await _by_id(connection, row["id"]), False


async def renew(connection: Connection, token: uuid.UUID) -> None:
    """Keep a run. One whose lease ran out is kept too as long as nobody has taken it. Raises Conflict."""
    renewed = await connection.execute(
        "UPDATE gc_run SET lease_until = clock_timestamp() + make_interval(secs => $2)"
        " WHERE token = $1 AND ended_at IS NULL",
        token,
        LEASE_SECONDS,
    )
    if renewed != "UPDATE 1":
        raise Conflict(LOST)


async def abandon(connection: Connection, process_id: str) -> None:
    """End the leases of an earlier process with this id: whoever begins next takes its runs over."""
    await connection.execute(
        "UPDATE gc_run SET lease_until = clock_timestamp()"
        " WHERE process_id = $1 AND ended_at IS NULL AND lease_until > clock_timestamp()",
        process_id,
    )


async def require_run(connection: Connection, token: uuid.UUID, *, lock: bool = False) -> Run:
    """The unfinished run of a token, locked against being taken over with ``lock``. Raises Conflict."""
    suffix = " FOR KEY SHARE" if lock else ""
    row = await connection.fetchrow(f"{_RUN} WHERE token = $1 AND ended_at IS NULL{suffix}", token)
    if row is None:
        raise Conflict(LOST)
    return Run(**row)


async def require_store(connection: Connection, run: Run) -> Store:
    """The datastore of a run, if it is still in use. Raises Conflict."""
    store = await store_by_id(connection, run.datastore_id)
    if store.state != "active":
        raise Conflict(f"datastore '{store.name}' was removed")
    return store


async def set_phase(connection: Connection, run: Run, phase: str, **statistics: int) -> None:
    """Say where the run stands, and add to its statistics."""
    await connection.execute(
        "UPDATE gc_run SET phase = $2, statistics = statistics || $3 WHERE id = $1", run.id, phase, statistics
    )


async def _by_id(connection: Connection, run_id: int) -> Run:
    return Run(**await connection.fetchrow(f"{_RUN} WHERE id = $1", run_id))
