"""`python -m benchmarks.gc`: garbage collection of very many synthetic chunks in the running product.

The indexes are real files, the chunks are rows only: what the figures show is marks, condemnation and sweep.
"""

import argparse
import asyncio
import hashlib
import json
import shutil
import ssl
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import asyncpg
import numpy as np
from testkit.product import ProductServer

from benchmarks.cpu import difference, peak_memory, tree_seconds
from pbs_cloud.formats.index import dynamic_header
from pbs_cloud.formats.names import SnapshotRef

_ENTRY = np.dtype([("end", "<u8"), ("digest", "S32")])
_CHUNK_BYTES = 4096
_CONTEXT = ssl._create_unverified_context()
_PROCESSES = ("gc", "catalogue", "chunks")
_FIRST_TIME = 1_600_000_000


def _call(product: ProductServer, method: str, path: str) -> Any:
    request = urllib.request.Request(
        f"{product.url}/api2/json/{path}", method=method, headers={"authorization": product.authorization}
    )
    with urllib.request.urlopen(request, context=_CONTEXT, timeout=120) as answer:
        return json.loads(answer.read())["data"]


def _index(generator: np.random.Generator, pool: np.ndarray, changed: int) -> tuple[bytes, bytes]:
    """File and csum of an index over the whole pool, of which `changed` entries stand elsewhere."""
    order = np.arange(len(pool))
    moved = generator.integers(0, len(pool), changed)
    order[moved] = np.roll(order[moved], 1)
    entries = np.empty(len(pool), dtype=_ENTRY)
    entries["end"] = np.arange(1, len(pool) + 1, dtype=np.uint64) * _CHUNK_BYTES
    entries["digest"] = pool[order]
    body = entries.tobytes()
    csum = hashlib.sha256(body).digest()
    return dynamic_header(bytes(16), _FIRST_TIME, csum) + body, csum


async def _insert_chunks(connection: Any, datastore: int, digests: np.ndarray) -> None:
    joined = digests.tobytes()
    for start in range(0, len(digests), 100_000):
        part = joined[start * 32 : (start + 100_000) * 32]
        records = [
            (datastore, part[at : at + 32], "default", 2, 2048, _CHUNK_BYTES, 2, 0) for at in range(0, len(part), 32)
        ]
        columns = ["datastore_id", "digest", "tenant_id", "kind", "size", "raw_size", "state", "touch_epoch"]
        await connection.copy_records_to_table("chunk", records=records, columns=columns)


async def _fill(product: ProductServer, chunks: int, garbage: int, snapshots: int) -> int:
    """Rows and files; bytes of the chunk table per chunk."""
    socket = product.data_dir / "data" / "run" / "pg"
    connection = await asyncpg.connect(host=str(socket), port=5432, user="pbs_admin", database="postgres")
    try:
        await connection.execute("SET search_path TO chunkstore; SET pbs.tenant TO '*'")
        store = await connection.fetchval("SELECT id FROM datastore WHERE name = 'default'")
        namespace = await connection.fetchval("SELECT id FROM namespace WHERE datastore_id = $1", store)
        group = await connection.fetchval(
            "INSERT INTO backup_group (tenant_id, datastore_id, namespace_id, backup_type, backup_id, owner)"
            " VALUES ('default', $1, $2, 'host', 'bench', 'root@pam') RETURNING id",
            store, namespace,
        )  # fmt: skip
        generator = np.random.default_rng(1)
        digests = np.frombuffer(generator.bytes(32 * (chunks + garbage)), dtype="S32")
        await _insert_chunks(connection, store, digests)
        root = product.data_dir / "data" / "datastores" / "default" / "default"
        for number in range(snapshots):
            at = _FIRST_TIME + number * 86_400
            raw, csum = _index(generator, digests[:chunks], chunks // 100)
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
                snapshot, store, csum, chunks * _CHUNK_BYTES, len(raw), chunks,
            )  # fmt: skip
        await connection.execute("ANALYZE chunk")
        size = await connection.fetchval(
            "SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class WHERE relname LIKE 'chunk_p_'"
        )
        return int(size) // (chunks + garbage)
    finally:
        await connection.close()


def _run(product: ProductServer) -> tuple[float, dict[str, float], list[str]]:
    """Wall seconds, CPU seconds by process, log of one collection."""
    pids = {name: product.pid(name) for name in (*_PROCESSES, "postgres")}
    before = tree_seconds(pids)
    began = time.monotonic()
    upid = _call(product, "POST", "admin/datastore/default/gc")
    path = f"nodes/localhost/tasks/{urllib.request.quote(upid, safe='')}"
    while (status := _call(product, "GET", f"{path}/status"))["status"] == "running":
        time.sleep(0.05)
    wall = time.monotonic() - began
    used = difference(before, tree_seconds(pids))
    log = [line["t"] for line in _call(product, "GET", f"{path}/log")]
    if status["exitstatus"] != "OK":
        raise AssertionError("\n".join(log))
    return wall, used, log


def main() -> None:
    """Parse options, fill, collect, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gc", description=__doc__)
    parser.add_argument("--chunks", type=int, default=1_000_000)
    parser.add_argument("--garbage", type=int, default=10_000)
    parser.add_argument("--snapshots", type=int, default=100)
    parser.add_argument("--folder", default="/var/tmp", help="where the data lies (/var/tmp)")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="pbs-bench-", dir=options.folder))
    folder.chmod(0o711)
    environment = {"PBS_GC_GRACE_SECONDS": "0", "PBS_RATE_LIMIT_ENABLED": "false"}
    product = ProductServer(environment, data_dir=folder).start()
    try:
        per_chunk = asyncio.run(_fill(product, options.chunks, options.garbage, options.snapshots))
        print(f"{options.chunks} chunks in {options.snapshots} snapshots, {options.garbage} not in use;", end=" ")
        print(f"{per_chunk} bytes of Postgres per chunk")
        print("| run | wall s | CPU s | peak MiB: " + ", ".join(_PROCESSES) + " |")
        print("|---|---|---|---|")
        for name in ("first", "second"):
            wall, used, log = _run(product)
            peaks = ", ".join(str(peak_memory(product.pid(process)) >> 20) for process in _PROCESSES)
            spent = ", ".join(f"{process} {seconds:.1f}" for process, seconds in used.items())
            print(f"| {name} | {wall:.1f} | {spent} | {peaks} |", flush=True)
        print("\n".join(log))
    finally:
        product.close()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
