"""Lists of groups and snapshots: pages by key straight from SQL, so that any number streams in bounded memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from pbs_cloud.chunkstore.catalogue.manifests import readable, shown_files
from pbs_cloud.chunkstore.catalogue.names import parse_namespace, refusing_bad_names
from pbs_cloud.chunkstore.catalogue.parts import Parts
from pbs_cloud.chunkstore.catalogue.rows import ENOENT, find_namespace, usable_store
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import NotFound
from pbs_cloud.contracts.rights import Privilege, require_access
from pbs_cloud.formats.digest import format_fingerprint
from pbs_cloud.formats.manifest import BackupManifest
from pbs_cloud.formats.names import BackupType, parse_backup_id
from pbs_cloud.runtime.database import Connection

PAGE = 200
PAGE_BYTES = 8 * 1024 * 1024
"""A page ends behind the manifest that passes this."""

# $1 namespace id, $2 auth id of a limited caller or null
_GROUPS = """
SELECT g.backup_type, g.backup_id, g.owner, g.notes, c.count AS backup_count,
  coalesce(l.backup_time, 0) AS last_backup,
  coalesce((SELECT array_agg(f.name ORDER BY f.name) FROM snapshot_file f
    WHERE f.snapshot_id = l.id AND (l.state = 'committed' OR f.name <> 'index.json.blob')), '{}') AS files
FROM (SELECT * FROM backup_group g WHERE g.namespace_id = $1
    AND ($2::text IS NULL OR g.owner = $2 OR split_part(g.owner, '!', 1) = $2)
    AND ($3::text IS NULL OR (g.backup_type, g.backup_id) > ($3, $4))
    AND (NOT EXISTS (SELECT 1 FROM snapshot s WHERE s.group_id = g.id)
      OR EXISTS (SELECT 1 FROM snapshot s WHERE s.group_id = g.id AND s.state <> 'removing'))
  ORDER BY g.backup_type, g.backup_id LIMIT $5) AS g
CROSS JOIN LATERAL (SELECT count(*) FROM snapshot s WHERE s.group_id = g.id AND s.state <> 'removing') AS c
LEFT JOIN LATERAL (SELECT s.id, s.backup_time, s.state FROM snapshot s
  WHERE s.group_id = g.id AND (s.state = 'committed' OR (c.count = 1 AND s.state = 'open'))
  ORDER BY s.backup_time DESC LIMIT 1) AS l ON true
ORDER BY g.backup_type, g.backup_id
"""
# $3 type or null, $4 id or null, then the key of the last row: $5 type, $6 id, $7 time, or nulls; $8 page, $9 bytes
_SNAPSHOTS = """
WITH found AS (
  SELECT g.backup_type, g.backup_id, g.owner, p.id, p.backup_time, p.weight
  FROM backup_group g CROSS JOIN LATERAL (
    SELECT s.id, s.backup_time, coalesce(octet_length(s.manifest), 0) AS weight FROM snapshot s
    WHERE s.group_id = g.id AND s.state <> 'removing'
      AND ($5::text IS NULL OR (g.backup_type, g.backup_id) > ($5, $6) OR s.backup_time > $7)
    ORDER BY s.backup_time LIMIT $8
  ) AS p
  WHERE g.namespace_id = $1 AND ($2::text IS NULL OR g.owner = $2 OR split_part(g.owner, '!', 1) = $2)
    AND ($3::text IS NULL OR g.backup_type = $3) AND ($4::text IS NULL OR g.backup_id = $4)
    AND ($5::text IS NULL OR (g.backup_type, g.backup_id) >= ($5, $6))
  ORDER BY g.backup_type, g.backup_id, p.backup_time LIMIT $8
), weighed AS (
  SELECT found.*, sum(weight) OVER (ORDER BY backup_type, backup_id, backup_time) - weight AS before FROM found
)
SELECT w.backup_type, w.backup_id, w.owner, w.backup_time, s.protected, s.manifest, s.manifest_size, s.size,
  coalesce((SELECT array_agg(f.name ORDER BY f.name) FROM snapshot_file f WHERE f.snapshot_id = s.id), '{}') AS files
FROM weighed w JOIN snapshot s ON s.id = w.id WHERE w.before < $9
ORDER BY w.backup_type, w.backup_id, w.backup_time
"""


class Listings:
    """Streams of groups and snapshots of one namespace."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def groups(self, ctx: CallContext, store: str, ns: str) -> AsyncIterator[t.Group]:
        """Visible groups by type and id. Raises PermissionDenied, NotFound; before the first item."""
        owner, namespace_id = await self._enter(ctx, store, ns)
        if namespace_id is None:
            raise NotFound(ENOENT)
        last: tuple[str | None, str | None] = (None, None)
        while True:
            async with self._parts.database.tenant(ctx.tenant_id) as connection:
                rows = await connection.fetch(_GROUPS, namespace_id, owner, *last, PAGE)
            for row in rows:
                yield _group(row)
            if len(rows) < PAGE:
                return
            last = (rows[-1]["backup_type"], rows[-1]["backup_id"])

    async def snapshots(
        self, ctx: CallContext, store: str, ns: str, backup_type: str | None, backup_id: str | None
    ) -> AsyncIterator[t.Snapshot]:
        """Visible snapshots by group and time; nothing for a missing namespace if ``backup_id`` is given.

        Raises PermissionDenied, NotFound; before the first item.
        """
        with refusing_bad_names():
            kind = None if backup_type is None else BackupType.parse(backup_type).value
            wanted = None if backup_id is None else parse_backup_id(backup_id)
        owner, namespace_id = await self._enter(ctx, store, ns)
        if namespace_id is None:
            if wanted is None:
                raise NotFound(ENOENT)
            return
        last: tuple[str | None, str | None, int | None] = (None, None, None)
        while True:
            async with self._parts.database.tenant(ctx.tenant_id) as connection:
                rows = await connection.fetch(_SNAPSHOTS, namespace_id, owner, kind, wanted, *last, PAGE, PAGE_BYTES)
            for row in rows:
                yield _snapshot(row)
            if not rows:
                return
            last = (rows[-1]["backup_type"], rows[-1]["backup_id"], rows[-1]["backup_time"])

    async def _enter(self, ctx: CallContext, store: str, ns: str) -> tuple[str | None, int | None]:
        """The owner that the list is limited to, and the namespace's id; rights before existence."""
        parse_namespace(ns)
        limited = require_access(ctx.caller, store, ns, (Privilege.DATASTORE_AUDIT,), (Privilege.DATASTORE_BACKUP,))
        async with self._parts.database.tenant(ctx.tenant_id) as connection:
            return ctx.caller.auth_id if limited else None, await _namespace(connection, ctx, store, ns)


async def _namespace(connection: Connection, ctx: CallContext, store: str, ns: str) -> int | None:
    found = await usable_store(connection, ctx.caller, store, writing=False)
    return await find_namespace(connection, found, ns)


def _group(row: Any) -> t.Group:
    return t.Group(
        backup_type=row["backup_type"],
        backup_id=row["backup_id"],
        last_backup=row["last_backup"],
        backup_count=row["backup_count"],
        files=tuple(row["files"]),
        owner=row["owner"],
        comment=_first_line(row["notes"]),
    )


def _snapshot(row: Any) -> t.Snapshot:
    manifest = readable(row["manifest"])
    return t.Snapshot(
        backup_type=row["backup_type"],
        backup_id=row["backup_id"],
        backup_time=row["backup_time"],
        owner=row["owner"],
        protected=row["protected"],
        files=shown_files(manifest, row["manifest_size"], row["files"]),
        comment=None if manifest is None else _first_line(manifest.notes),
        verification=None if manifest is None else _verification(manifest),
        fingerprint=None if manifest is None else _fingerprint(manifest),
        size=None if manifest is None else row["size"],
    )


def _first_line(text: str) -> str | None:
    """A comment; None where there is nothing to show."""
    return text.partition("\n")[0].rstrip("\r") or None


def _verification(manifest: BackupManifest) -> t.Verification | None:
    state = manifest.verify_state
    return None if state is None else t.Verification(str(state.upid), state.state.value)


def _fingerprint(manifest: BackupManifest) -> str | None:
    fingerprint = manifest.key_fingerprint
    return None if fingerprint is None else format_fingerprint(fingerprint)
