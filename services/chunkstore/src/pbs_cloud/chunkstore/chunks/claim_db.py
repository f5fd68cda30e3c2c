"""SQL of claims. All functions run in the caller's transaction, which concerns one datastore (formats 9.9)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from pbs_cloud.chunkstore.chunks.claim_rules import ChunkRow, ObjectInfo
from pbs_cloud.chunkstore.chunks.kinds import ChunkKind
from pbs_cloud.chunkstore.states import ChunkState, UsageWriter
from pbs_cloud.runtime.database import Connection

# States in SQL: 1 uploading, 2 live, 3 corrupt (`states.ChunkState`).
# What reads `locked` runs after the row locks are held, so its clock is read late enough; the insert reads it as well,
# so it comes after them.
_CLAIM_NEW = """
WITH locked AS MATERIALIZED (
  SELECT id, start_epoch, state, kind, lease_until FROM session
  WHERE datastore_id = $1 AND id = ANY($2) ORDER BY id FOR KEY SHARE
), usable AS MATERIALIZED (
  SELECT id, start_epoch FROM locked
  WHERE state = 'active' AND kind = 'backup' AND lease_until > clock_timestamp()
), inserted AS (
  INSERT INTO chunk (datastore_id, tenant_id, digest, kind, size, raw_size, state, touch_epoch, owner_session, writer)
  SELECT $1, $3, digest, given.kind, size, raw_size, 1, start_epoch, usable.id, $9
  FROM unnest($4::bytea[], $5::smallint[], $6::int[], $7::int[], $8::uuid[])
    AS given(digest, kind, size, raw_size, owner) JOIN usable ON usable.id = given.owner
  ORDER BY digest
  ON CONFLICT (datastore_id, digest) DO NOTHING
  RETURNING digest
)
SELECT id, start_epoch, NULL::bytea AS digest FROM usable
UNION ALL SELECT NULL::uuid, NULL::bigint, digest FROM inserted
"""
_LOCK_CHUNKS = """
WITH locked AS MATERIALIZED (
  SELECT digest, state, kind, size, raw_size, touch_epoch, location, owner_session, writer FROM chunk
  WHERE datastore_id = $1 AND digest = ANY($2) ORDER BY digest FOR NO KEY UPDATE
)
SELECT locked.*, coalesce(s.state = 'active' AND s.lease_until > clock_timestamp(), false) AS owner_alive
FROM locked LEFT JOIN session s ON s.id = locked.owner_session
"""
_STORE = """
UPDATE chunk SET state = given.state, kind = given.kind, size = given.size, raw_size = given.raw_size,
  touch_epoch = given.epoch, owner_session = given.owner, writer = given.writer,
  condemned_run = NULL, condemned_at = NULL
FROM unnest($2::bytea[], $3::smallint[], $4::smallint[], $5::int[], $6::int[], $7::bigint[], $8::uuid[], $9::uuid[])
  AS given(digest, state, kind, size, raw_size, epoch, owner, writer)
WHERE chunk.datastore_id = $1 AND chunk.digest = given.digest
"""
_LOCK_ORDER = "SELECT 1 FROM chunk WHERE datastore_id = $1 AND digest = ANY($2) ORDER BY digest FOR NO KEY UPDATE"
_PUBLISH = """
UPDATE chunk SET state = 2, kind = given.kind, size = given.size, raw_size = given.raw_size,
  location = NULL, owner_session = NULL, writer = NULL
FROM unnest($2::bytea[], $3::uuid[], $4::smallint[], $5::int[], $6::int[])
  AS given(digest, owner, kind, size, raw_size)
WHERE chunk.datastore_id = $1 AND chunk.digest = given.digest AND chunk.owner_session = given.owner
  AND chunk.writer = $7 AND chunk.state IN (1, 3)
RETURNING chunk.digest
"""
_REPLACED = """
UPDATE chunk SET kind = $3, size = $4, raw_size = $5
WHERE datastore_id = $1 AND digest = $2 AND state = 2 AND kind = $6 AND size = $7
"""
_FORGET = """
DELETE FROM chunk
WHERE datastore_id = $1 AND digest = $2 AND state = 1 AND owner_session = $3 AND writer = $4
"""
_UNFINISHED = """
SELECT digest, kind, size, raw_size, writer FROM chunk
WHERE owner_session = $2 AND datastore_id = $1 AND state = 1 ORDER BY digest
"""
_ADOPT = """
UPDATE chunk SET writer = $4
WHERE datastore_id = $1 AND digest = $2 AND owner_session = $3 AND state = 1
"""
_IS_OURS = """
SELECT true FROM chunk WHERE datastore_id = $1 AND digest = $2 AND owner_session = $3 AND writer = $4
  AND state IN (1, 3)
"""
_LIVE_AMONG = """
SELECT digest FROM chunk WHERE datastore_id = $1 AND digest = ANY($2) AND state = 2
"""
_MARK_CORRUPT = """
UPDATE chunk SET state = 3, owner_session = NULL, writer = NULL
WHERE datastore_id = $1 AND digest = $2 AND state = 2
"""
_FIND = "SELECT state, location, size FROM chunk WHERE datastore_id = $1 AND digest = $2"
_FIND_ALL = "SELECT digest, state, location, size FROM chunk WHERE datastore_id = $1 AND digest = ANY($2)"
_COUNT = """
INSERT INTO usage_counter (datastore_id, writer, tenant_id, bytes) VALUES ($1, $2, $3, $4)
ON CONFLICT (datastore_id, writer) DO UPDATE SET bytes = usage_counter.bytes + excluded.bytes
"""


@dataclass(frozen=True, slots=True)
class NewRow:
    """A row to insert as `uploading`."""

    digest: bytes
    info: ObjectInfo
    owner: UUID


@dataclass(frozen=True, slots=True)
class FoundChunk:
    """State, place (None: the layout's own) and size of a chunk's object."""

    state: ChunkState
    location: str | None
    size: int


@dataclass(frozen=True, slots=True)
class Written:
    """An object that is durable: its row goes live. `growth`: bytes the datastore's usage changes by."""

    digest: bytes
    owner: UUID
    info: ObjectInfo
    growth: int


async def claim_new(
    db: Connection, datastore: int, tenant: str, sessions: Iterable[UUID], rows: Sequence[NewRow], writer: UUID
) -> tuple[dict[UUID, int], set[bytes]]:
    """Lock the sessions (key share, in id order), then insert what is absent, in digest order.

    Answers:
        start epoch by session, of those that may claim (active backups with a valid lease); digests that were inserted.
    """
    found = await db.fetch(
        _CLAIM_NEW, datastore, sorted(set(sessions)), tenant,
        [row.digest for row in rows], [int(row.info.kind) for row in rows], [row.info.size for row in rows],
        [row.info.raw_size for row in rows], [row.owner for row in rows], writer,
    )  # fmt: skip
    epochs = {row["id"]: row["start_epoch"] for row in found if row["id"] is not None}
    return epochs, {row["digest"] for row in found if row["digest"] is not None}


async def lock_chunks(db: Connection, datastore: int, digests: Sequence[bytes]) -> dict[bytes, ChunkRow]:
    """Rows of `digests`, locked in digest order."""
    rows = await db.fetch(_LOCK_CHUNKS, datastore, digests)
    return {
        row["digest"]: ChunkRow(
            digest=row["digest"],
            state=ChunkState(row["state"]),
            kind=ChunkKind(row["kind"]),
            size=row["size"],
            raw_size=row["raw_size"],
            touch_epoch=row["touch_epoch"],
            location=row["location"],
            owner=row["owner_session"],
            owner_alive=row["owner_alive"],
            writer=row["writer"],
        )
        for row in rows
    }


async def store_rows(db: Connection, datastore: int, rows: Sequence[ChunkRow]) -> None:
    """Write back rows that are locked."""
    await db.execute(
        _STORE, datastore,
        [row.digest for row in rows], [int(row.state) for row in rows], [int(row.kind) for row in rows],
        [row.size for row in rows], [row.raw_size for row in rows], [row.touch_epoch for row in rows],
        [row.owner for row in rows], [row.writer for row in rows],
    )  # fmt: skip


async def publish(db: Connection, datastore: int, tenant: str, written: Sequence[Written], writer: UUID) -> set[bytes]:
    """Set rows live that are still ours and count their bytes; the digests that went live."""
    digests = [item.digest for item in written]
    await db.execute(_LOCK_ORDER, datastore, digests)
    rows = await db.fetch(
        _PUBLISH, datastore, digests, [item.owner for item in written], [int(item.info.kind) for item in written],
        [item.info.size for item in written], [item.info.raw_size for item in written], writer,
    )  # fmt: skip
    live = {row["digest"] for row in rows}
    await count(db, datastore, tenant, sum(item.growth for item in written if item.digest in live))
    return live


async def replaced(
    db: Connection, datastore: int, tenant: str, digest: bytes, old: ObjectInfo, new: ObjectInfo
) -> None:
    """Describe the object that took the place of a live one."""
    done = await db.execute(
        _REPLACED, datastore, digest, int(new.kind), new.size, new.raw_size, int(old.kind), old.size
    )
    if done == "UPDATE 1":
        await count(db, datastore, tenant, new.size - old.size)


async def forget(db: Connection, datastore: int, digest: bytes, owner: UUID, writer: UUID) -> bool:
    """Remove a row whose object was not written; whether it was still ours."""
    return bool(await db.execute(_FORGET, datastore, digest, owner, writer) == "DELETE 1")


async def unfinished(db: Connection, datastore: int, session: UUID) -> list[tuple[bytes, ObjectInfo]]:
    """Rows of a session that are still `uploading`."""
    rows = await db.fetch(_UNFINISHED, datastore, session)
    return [(row["digest"], ObjectInfo(ChunkKind(row["kind"]), row["size"], row["raw_size"])) for row in rows]


async def adopt(db: Connection, datastore: int, digest: bytes, owner: UUID, writer: UUID) -> bool:
    """Become the writer of a row whose process died; its session stays the owner."""
    return bool(await db.execute(_ADOPT, datastore, digest, owner, writer) == "UPDATE 1")


async def is_ours(db: Connection, datastore: int, digest: bytes, owner: UUID, writer: UUID) -> bool:
    """Whether the row is still that session's and this process's to finish."""
    return bool(await db.fetchval(_IS_OURS, datastore, digest, owner, writer))


async def live_among(db: Connection, datastore: int, digests: Sequence[bytes]) -> set[bytes]:
    """Those of `digests` that are live."""
    return {row["digest"] for row in await db.fetch(_LIVE_AMONG, datastore, digests)}


async def mark_corrupt(db: Connection, datastore: int, digest: bytes) -> bool:
    """A live chunk's object is damaged; whether the row was live."""
    return bool(await db.execute(_MARK_CORRUPT, datastore, digest) == "UPDATE 1")


async def find(db: Connection, datastore: int, digest: bytes) -> FoundChunk | None:
    """What a reader needs of a chunk's row."""
    row = await db.fetchrow(_FIND, datastore, digest)
    return None if row is None else FoundChunk(ChunkState(row["state"]), row["location"], row["size"])


async def find_all(db: Connection, datastore: int, digests: Sequence[bytes]) -> dict[bytes, FoundChunk]:
    """`find` for many; what has no row is left out."""
    rows = await db.fetch(_FIND_ALL, datastore, digests)
    return {row["digest"]: FoundChunk(ChunkState(row["state"]), row["location"], row["size"]) for row in rows}


async def count(db: Connection, datastore: int, tenant: str, growth: int) -> None:
    """Change the datastore's usage."""
    if growth:
        await db.execute(_COUNT, datastore, int(UsageWriter.CHUNKS), tenant, growth)


async def used_bytes(db: Connection, tenant: str) -> int:
    """Bytes of all datastores of a tenant."""
    return int(await db.fetchval("SELECT coalesce(sum(bytes), 0) FROM usage_counter WHERE tenant_id = $1", tenant))
