"""A synthetic datastore: chunks are rows only, indexes are real files of committed snapshots."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import numpy as np
from testkit.product import ProductServer

from pbs_cloud.formats.index import dynamic_header
from pbs_cloud.formats.names import SnapshotRef

CHUNK_BYTES = 4096
_ENTRY = np.dtype([("end", "<u8"), ("digest", "S32")])
_FIRST_TIME = 1_600_000_000
_PART = 200_000
_NATURAL = 2_000_000
"""Rows that are inserted into the key as they come; of more the key is made afterwards, as full as it would be."""
_FIELDS = (
    ("datastore_id", ">i4", 4),
    ("digest", "S32", 32),
    ("tenant_id", "S7", 7),
    ("kind", ">i2", 2),
    ("size", ">i4", 4),
    ("raw_size", ">i4", 4),
    ("state", ">i2", 2),
    ("touch_epoch", ">i8", 8),
)
_COPIED = np.dtype(
    [("fields", ">i2")] + [part for name, kind, _ in _FIELDS for part in ((f"{name}_length", ">i4"), (name, kind))]
)
_SIZE = "SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class WHERE relname LIKE 'chunk_p_'"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """How much there is: every snapshot has one index over all chunks in use, 1 % of it moved."""

    chunks: int
    garbage: int
    snapshots: int


async def fill(product: ProductServer, catalogue: Catalogue) -> int:
    """Rows and files in datastore `default`; Postgres bytes per chunk."""
    socket = product.data_dir / "data" / "run" / "pg"
    connection = await asyncpg.connect(host=str(socket), port=5432, user="pbs_admin", database="postgres")
    try:
        await connection.execute("SET search_path TO chunkstore; SET pbs.tenant TO '*'; SET synchronous_commit TO off")
        store = await connection.fetchval("SELECT id FROM datastore WHERE name = 'default'")
        generator = np.random.default_rng(1)
        total = catalogue.chunks + catalogue.garbage
        digests = np.frombuffer(generator.bytes(32 * total), dtype="S32")
        await _insert_chunks(connection, store, digests)
        await _insert_snapshots(connection, product, store, generator, digests[: catalogue.chunks], catalogue)
        await connection.execute("VACUUM ANALYZE chunk", timeout=600)
        return int(await connection.fetchval(_SIZE)) // total
    finally:
        await connection.close()


async def _insert_chunks(connection: Any, store: int, digests: np.ndarray) -> None:
    async def source() -> AsyncIterator[bytes]:
        yield b"PGCOPY\n\xff\r\n\0" + bytes(8)
        for start in range(0, len(digests), _PART):
            yield _rows(store, digests[start : start + _PART]).tobytes()
        yield b"\xff\xff"

    at_once = len(digests) > _NATURAL
    if at_once:
        await connection.execute("ALTER TABLE chunk DROP CONSTRAINT chunk_pkey")
    columns = [name for name, _, _ in _FIELDS]
    await connection.copy_to_table("chunk", source=source(), format="binary", columns=columns, timeout=3600)
    if at_once:
        await connection.execute("SET maintenance_work_mem TO '256MB'")
        key = "ALTER TABLE chunk ADD CONSTRAINT chunk_pkey PRIMARY KEY (datastore_id, digest) WITH (fillfactor = 70)"
        await connection.execute(key, timeout=3600)


def _rows(store: int, digests: np.ndarray) -> np.ndarray:
    rows = np.zeros(len(digests), dtype=_COPIED)
    rows["fields"] = len(_FIELDS)
    for name, _, length in _FIELDS:
        rows[f"{name}_length"] = length
    rows["datastore_id"], rows["digest"], rows["tenant_id"] = store, digests, b"default"
    rows["kind"], rows["size"], rows["raw_size"], rows["state"] = 2, CHUNK_BYTES // 2, CHUNK_BYTES, 2
    return rows


async def _insert_snapshots(
    connection: Any, product: ProductServer, store: int, generator: np.random.Generator,
    pool: np.ndarray, catalogue: Catalogue,
) -> None:  # fmt: skip
    namespace = await connection.fetchval("SELECT id FROM namespace WHERE datastore_id = $1", store)
    group = await connection.fetchval(
        "INSERT INTO backup_group (tenant_id, datastore_id, namespace_id, backup_type, backup_id, owner)"
        " VALUES ('default', $1, $2, 'host', 'bench', 'root@pam') RETURNING id",
        store, namespace,
    )  # fmt: skip
    root = product.data_dir / "data" / "datastores" / "default" / "default"
    for number in range(catalogue.snapshots):
        at = _FIRST_TIME + number * 86_400
        raw, csum = _index(generator, pool, len(pool) // 100)
        folder = root / str(SnapshotRef.of("host", "bench", at))
        folder.mkdir(parents=True)
        (folder / "a.pxar.didx").write_bytes(raw)
        snapshot = await connection.fetchval(
            "INSERT INTO snapshot (tenant_id, datastore_id, group_id, backup_time, state, manifest, size)"
            " VALUES ('default', $1, $2, $3, 'committed', '{}', 0) RETURNING id",
            store, group, at,
        )  # fmt: skip
        await connection.execute(
            "INSERT INTO snapshot_file (snapshot_id, name, tenant_id, datastore_id, kind, csum, size, stored_size,"
            " chunk_count) VALUES ($1, 'a.pxar.didx', 'default', $2, 'dynamic', $3, $4, $5, $6)",
            snapshot, store, csum, len(pool) * CHUNK_BYTES, len(raw), len(pool),
        )  # fmt: skip


def _index(generator: np.random.Generator, pool: np.ndarray, changed: int) -> tuple[bytes, bytes]:
    """File and csum of an index over the whole pool, of which `changed` entries stand elsewhere."""
    order = np.arange(len(pool))
    moved = generator.integers(0, len(pool), changed)
    order[moved] = np.roll(order[moved], 1)
    entries = np.empty(len(pool), dtype=_ENTRY)
    entries["end"] = np.arange(1, len(pool) + 1, dtype=np.uint64) * CHUNK_BYTES
    entries["digest"] = pool[order]
    csum = hashlib.sha256(entries.data).digest()
    return dynamic_header(bytes(16), _FIRST_TIME, csum) + entries.tobytes(), csum
