"""Lists of groups and snapshots: pages by key straight from SQL, so that any number streams in bounded memory."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from pbs_cloud.chunkstore.catalogue.names import parse_namespace, refusing_bad_names
from pbs_cloud.chunkstore.catalogue.parts import Parts
from pbs_cloud.chunkstore.catalogue.rows import ENOENT, find_namespace, usable_store
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import NotFound
from pbs_cloud.contracts.rights import Privilege, require_access
from pbs_cloud.formats.digest import format_fingerprint, parse_fingerprint
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.manifest import CryptMode, VerifyResult
from pbs_cloud.formats.names import MANIFEST_NAME, BackupType, parse_backup_id
from pbs_cloud.formats.upid import Upid
from pbs_cloud.runtime.database import Connection

_VERIFY_STATES = tuple(state.value for state in VerifyResult)
PAGE = 1000
PAGE_BYTES = 8 * 1024 * 1024
"""A page ends behind the manifest that passes this."""

# $1 namespace id, $2 auth id of a limited caller or null
_GROUPS = """
SELECT g.backup_type, g.backup_id, g.owner, g.notes, c.count AS backup_count, c.removing,
  coalesce(l.backup_time, 0) AS last_backup,
  coalesce((SELECT array_agg(f.name ORDER BY f.name) FROM snapshot_file f
    WHERE f.snapshot_id = l.id AND (l.state = 'committed' OR f.name <> 'index.json.blob')), '{}') AS files
FROM (SELECT * FROM backup_group g WHERE g.namespace_id = $1
    AND ($2::text IS NULL OR g.owner = $2 OR split_part(g.owner, '!', 1) = $2)
    AND ($3::text IS NULL OR (g.backup_type, g.backup_id) > ($3, $4))
  ORDER BY g.backup_type, g.backup_id LIMIT $5) AS g
CROSS JOIN LATERAL (
  SELECT count(*) FILTER (WHERE s.state <> 'removing') AS count,
    count(*) FILTER (WHERE s.state = 'removing') AS removing
  FROM snapshot s WHERE s.group_id = g.id) AS c
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
      AND s.backup_time > CASE WHEN g.backup_type = $5 AND g.backup_id = $6 THEN $7::bigint ELSE -1 END
    ORDER BY s.backup_time LIMIT $8
  ) AS p
  WHERE g.namespace_id = $1 AND ($2::text IS NULL OR g.owner = $2 OR split_part(g.owner, '!', 1) = $2)
    AND ($3::text IS NULL OR g.backup_type = $3) AND ($4::text IS NULL OR g.backup_id = $4)
    AND ($5::text IS NULL OR (g.backup_type, g.backup_id) >= ($5, $6))
  ORDER BY g.backup_type, g.backup_id, p.backup_time LIMIT $8
), weighed AS (
  SELECT found.*, sum(weight) OVER (ORDER BY backup_type, backup_id, backup_time) - weight AS before FROM found
)
SELECT w.backup_type, w.backup_id, w.owner, w.backup_time, s.protected, s.retain_until, s.manifest, s.manifest_size,
  s.size,
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
                if row["backup_count"] or not row["removing"]:
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
    listed = _Listed.read(row["manifest"])
    return t.Snapshot(
        backup_type=row["backup_type"],
        backup_id=row["backup_id"],
        backup_time=row["backup_time"],
        owner=row["owner"],
        protected=row["protected"],
        files=_files(listed, row["manifest_size"], row["files"]),
        comment=None if listed is None else _first_line(listed.notes),
        verification=None if listed is None else listed.verification,
        fingerprint=None if listed is None else listed.fingerprint,
        size=None if listed is None else row["size"],
        retain_until=row["retain_until"],
    )


@dataclass(frozen=True, slots=True)
class _Listed:
    """What lists show of a manifest.

    Read straight from the row's JSON, which `BackupManifest` wrote: its full checks again for each line of a list would
    take ten times as long.
    """

    files: list[t.File]
    signed: bool
    notes: str
    verification: t.Verification | None
    fingerprint: str | None

    @classmethod
    def read(cls, text: str | None) -> _Listed | None:
        """None if there is no readable manifest."""
        if text is None:
            return None
        try:
            manifest = json.loads(text)
            files = [t.File(entry["filename"], entry["crypt-mode"], entry["size"]) for entry in manifest["files"]]
            extra, signature = manifest["unprotected"], manifest["signature"]
        except (ValueError, KeyError, TypeError):
            return None
        notes = extra.get("notes", "")
        return cls(
            files,
            signature is not None,
            notes if isinstance(notes, str) else "",
            _verification(extra.get("verify_state")),
            _fingerprint(extra.get("key-fingerprint")),
        )


def _files(listed: _Listed | None, manifest_size: int | None, stored: list[str]) -> tuple[t.File, ...]:
    """As `manifests.shown_files`."""
    if listed is None:
        return tuple(t.File(name) for name in stored if name != MANIFEST_NAME)
    own = t.File(MANIFEST_NAME, CryptMode.SIGN_ONLY if listed.signed else CryptMode.NONE, manifest_size)
    known = {file.filename for file in listed.files} | {MANIFEST_NAME}
    return (*listed.files, own, *(t.File(name) for name in stored if name not in known))


def _first_line(text: str) -> str | None:
    """A comment; None where there is nothing to show."""
    return text.partition("\n")[0].rstrip("\r") or None


def _verification(value: Any) -> t.Verification | None:
    """None if there is none, or an unreadable one (formats 4.3)."""
    if not isinstance(value, dict) or value.get("state") not in _VERIFY_STATES:
        return None
    try:
        return t.Verification(str(Upid.parse(value.get("upid", ""))), value["state"])
    except FormatError:
        return None


def _fingerprint(value: Any) -> str | None:
    try:
        return None if value is None else format_fingerprint(parse_fingerprint(value))
    except FormatError:
        return None
