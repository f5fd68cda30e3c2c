"""Steps A and G, and what can be asked about runs."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

from pbs_cloud.chunkstore.catalogue.announce import announce_usage
from pbs_cloud.chunkstore.catalogue.maintenance import effective
from pbs_cloud.chunkstore.catalogue.parts import Parts
from pbs_cloud.chunkstore.catalogue.rows import no_such_store, store_by_id, usable_store
from pbs_cloud.chunkstore.catalogue.status import NO_GC
from pbs_cloud.chunkstore.collection import runs, status_file
from pbs_cloud.contracts.chunkstore.collection import CollectionRun, CollectionState
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.rights import Privilege, datastore_path, require
from pbs_cloud.runtime.database import Connection

_PAGE = 200
_STATES = """
SELECT d.id, d.tenant_id, d.name, d.config, d.gc_status, u.id IS NOT NULL AND u.alive AS running,
  u.id IS NOT NULL AND NOT u.alive AS abandoned, e.result AS last_result,
  extract(epoch FROM e.ended_at)::bigint AS last_end,
  extract(epoch FROM e.ended_at - e.started_at)::bigint AS last_duration,
  extract(epoch FROM coalesce(u.started_at, e.started_at, d.created_at))::bigint AS last_start,
  extract(epoch FROM clock_timestamp())::bigint AS now
FROM datastore d
LEFT JOIN LATERAL (SELECT id, started_at, lease_until > clock_timestamp() AS alive FROM gc_run
  WHERE datastore_id = d.id AND ended_at IS NULL) u ON true
LEFT JOIN LATERAL (SELECT result, started_at, ended_at FROM gc_run
  WHERE datastore_id = d.id AND ended_at IS NOT NULL AND NOT dry_run ORDER BY id DESC LIMIT 1) e ON true
WHERE d.state = 'active' AND d.id > $1 AND ($2::text IS NULL OR d.tenant_id = $2) AND ($3::text IS NULL OR d.name = $3)
ORDER BY d.id LIMIT $4
"""
_LEFT = """
SELECT count(*) AS chunks, coalesce(sum(size), 0)::bigint AS bytes FROM chunk WHERE datastore_id = $1 AND state = $2
"""
_ENDED = "SELECT id, upid, statistics, removed_chunks, removed_bytes, removed_bad, dry_run, datastore_id FROM gc_run"
_FORGET = """
DELETE FROM gc_run WHERE datastore_id = $1 AND id <> $2 AND ended_at < clock_timestamp() - make_interval(days => $3)
"""


class Runs:
    """Begins and ends runs; tells their state."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def begin(self, ctx: CallContext, name: str, process_id: str, *, dry_run: bool) -> CollectionRun:
        """Step A. Raises PermissionDenied, NotFound, Conflict (maintenance), Locked."""
        require(ctx.caller, datastore_path(name), Privilege.DATASTORE_MODIFY)
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            store = await usable_store(connection, ctx.caller, name, writing=True)
            run, resumed = await runs.begin(connection, store, process_id, dry_run=dry_run)
        return CollectionRun(
            token=str(run.token),
            store=name,
            run_epoch=run.run_epoch,
            phase=run.phase,
            resumed=resumed,
            dry_run=run.dry_run,
            orphans_due=run.orphans_due,
        )

    async def renew(self, ctx: CallContext, token: uuid.UUID) -> None:
        """Keep a run. Raises Conflict."""
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            await runs.renew(connection, token)

    async def end(self, ctx: CallContext, token: uuid.UUID, upid: str, result: str, *, complete: bool) -> str:
        """Step G: the status as JSON; only a complete run changes the datastore's. Repeatable."""
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            found = await connection.fetchrow(f"{_ENDED} WHERE token = $1", token)
            if found is None:
                return json.dumps(NO_GC)
            await connection.fetchval("SELECT 1 FROM datastore WHERE id = $1 FOR NO KEY UPDATE", found["datastore_id"])
            row = await connection.fetchrow(f"{_ENDED} WHERE token = $1 FOR UPDATE", token)
            if row is None:
                return json.dumps(NO_GC)
            store = await store_by_id(connection, row["datastore_id"])
            status = await _status(connection, row, upid)
            ended = await connection.execute(
                "UPDATE gc_run SET ended_at = clock_timestamp(), upid = $2, result = $3, statistics = statistics || $4"
                " WHERE id = $1 AND ended_at IS NULL",
                row["id"],
                upid,
                result,
                {"complete": 1} if complete else {},
            )
            counts = complete and not row["dry_run"]
            if ended == "UPDATE 1":
                if counts:
                    await connection.execute("UPDATE datastore SET gc_status = $2 WHERE id = $1", store.id, status)
                if row["removed_bytes"]:
                    await announce_usage(connection, ctx.tenant_id, store.name)
                await connection.execute(_FORGET, store.id, row["id"], runs.KEEP_DAYS)
        if counts:
            await status_file.write(self._parts.backends.of(store), status)
        return json.dumps(status)

    async def states(self, ctx: CallContext, name: str | None, *, with_chunks: bool) -> AsyncIterator[CollectionState]:
        """Datastores of the caller's tenant. Raises NotFound for a name that none has."""
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            rows = await connection.fetch(_STATES, 0, ctx.tenant_id, name, None)
            counts = {row["id"]: await _count(connection, row["id"]) for row in rows} if with_chunks else {}
        if name is not None and not rows:
            raise no_such_store(name)
        for row in sorted(rows, key=lambda row: str(row["name"])):
            yield _state(row, counts.get(row["id"]), ctx.caller.maintenance)

    async def all_states(self) -> AsyncIterator[CollectionState]:
        """Datastores of all tenants."""
        last = 0
        while True:
            async with self._parts.database.system() as connection:
                rows = await connection.fetch(_STATES, last, None, None, _PAGE)
            for row in rows:
                last = row["id"]
                yield _state(row, None, None)
            if len(rows) < _PAGE:
                return


def _state(row: Any, chunks: int | None, overlay: str | None) -> CollectionState:
    found = effective(row["config"].get("maintenance-mode"), overlay)
    return CollectionState(
        tenant_id=row["tenant_id"],
        store=row["name"],
        gc_status=json.dumps(row["gc_status"] or NO_GC),
        running=row["running"],
        abandoned=row["abandoned"],
        last_start=row["last_start"],
        now=row["now"],
        schedule=row["config"].get("gc-schedule") or None,
        last_result=row["last_result"],
        last_end=row["last_end"],
        last_duration=row["last_duration"],
        chunks=chunks,
        maintenance=None if found is None else found.text,
    )


async def _count(connection: Connection, store_id: int) -> int:
    return int(await connection.fetchval("SELECT count(*) FROM chunk WHERE datastore_id = $1", store_id))


async def _status(connection: Connection, row: Any, upid: str) -> dict[str, Any]:
    """Formats 9.8; pending is what is condemned and not deleted yet."""
    statistics = row["statistics"]
    condemned = await connection.fetchrow(_LEFT, row["datastore_id"], 4)
    deleting = await connection.fetchrow(_LEFT, row["datastore_id"], 5)
    return {
        "upid": upid,
        "index-file-count": statistics.get("index_files", 0),
        "index-data-bytes": statistics.get("index_bytes", 0),
        "disk-bytes": statistics.get("disk_bytes", 0),
        "disk-chunks": statistics.get("disk_chunks", 0),
        "removed-bytes": row["removed_bytes"],
        "removed-chunks": row["removed_chunks"],
        "pending-bytes": condemned["bytes"] + deleting["bytes"],
        "pending-chunks": condemned["chunks"] + deleting["chunks"],
        "removed-bad": row["removed_bad"],
        "still-bad": statistics.get("still_bad", 0),
    }
