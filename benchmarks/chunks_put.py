"""CPU seconds per wire gigabyte of checked, compressed 4 MiB chunks through shared memory, into a local directory.

    python benchmarks/chunks_put.py [--gigabytes 2] [--profile]

Prints what the process and Postgres used, what zstd, SHA-256 and CRC alone need for the same bytes, and the rest.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import asyncpg
from testkit.servers import PostgresServer

from pbs_cloud.chunkstore.backends import StoreLocation, open_backend
from pbs_cloud.chunkstore.chunks.intake import check_upload
from pbs_cloud.contracts.chunkstore import ChunksClient
from pbs_cloud.contracts.context import CallContext, Caller
from pbs_cloud.contracts.errors import Unavailable
from pbs_cloud.formats import blob
from pbs_cloud.runtime.grpc_channel import open_channel
from pbs_cloud.runtime.settings import Settings
from pbs_cloud.runtime.shared_region import SharedRegion

CHUNK = 4 * 1024 * 1024
SLOT = 5 * 1024 * 1024
IN_FLIGHT = 16
TENANT = "bench"
_RUN = (
    "from pbs_cloud.runtime.lifecycle import run_main; from pbs_cloud.runtime.settings import load_settings;"
    "from pbs_cloud.chunkstore.chunks.main import main; run_main(main, load_settings())"
)
_PROFILED = "import cProfile, time; p = cProfile.Profile(time.thread_time); p.run({code!r}); p.dump_stats({path!r})"


def new_chunks(count: int) -> list[tuple[bytes, bytes]]:
    """Digest and blob of chunks that compress to about 70 %."""
    text, made = os.urandom(1 << 16).hex().encode(), []
    for _ in range(count):
        noise = os.urandom(CHUNK // 2)
        content = b"".join(
            noise[i : i + 1024] + text[i % 60_000 : i % 60_000 + 1024] for i in range(0, CHUNK // 2, 1024)
        )
        made.append((hashlib.sha256(content).digest(), blob.encode(content)))
    return made


def cpu_seconds(pids: list[int]) -> float:
    """User and system time of processes so far."""
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except FileNotFoundError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def thread_times(pid: int) -> dict[str, tuple[float, float]]:
    """User and system seconds of the busiest threads."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        name, fields = task.name, (task / "stat").read_text().rpartition(")")[2].split()
        user, system = (int(field) / os.sysconf("SC_CLK_TCK") for field in fields[11:13])
        found["main" if name == str(pid) else name] = (user, system)
    return found


def postgres_pids(marker: str) -> list[int]:
    """Processes whose command line or parent belongs to the server."""
    out = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [line.split(None, 2) for line in out[1:]]
    roots = {int(pid) for pid, _parent, args in rows if marker in args and "postgres" in args}
    return sorted(roots | {int(pid) for pid, parent, _args in rows if int(parent) in roots})


async def make_session(url: str) -> tuple[int, str]:
    db = await asyncpg.connect(url, server_settings={"search_path": "chunkstore", "pbs.tenant": "*"})
    datastore = await db.fetchval(
        "INSERT INTO datastore (tenant_id, name, backend_type, location) VALUES ($1, 'store', 'filesystem', 's')"
        " RETURNING id", TENANT,
    )  # fmt: skip
    session = await db.fetchval(
        "INSERT INTO session (tenant_id, datastore_id, kind, auth_id, process_id, start_epoch, lease_until)"
        " VALUES ($1, $2, 'backup', 'root@pam', 'bench', 0, now() + interval '1 hour') RETURNING id",
        TENANT, datastore,
    )  # fmt: skip
    await db.close()
    return datastore, str(session)


async def upload(client: ChunksClient, region: SharedRegion, session: str, chunks: list[tuple[bytes, bytes]]) -> None:
    ctx = CallContext(Caller(TENANT, "root@pam"))
    todo = iter(chunks)

    async def slot(number: int) -> None:
        offset = number * SLOT
        for digest, data in todo:
            region.memory[offset : offset + len(data)] = data
            await client.put_shared_chunk(ctx, session, digest, CHUNK, region.id, offset, len(data))

    await asyncio.gather(*(slot(number) for number in range(IN_FLIGHT)))
    await client.flush(ctx, session)


async def measure(settings: Settings, url: str, process: subprocess.Popen[bytes], pg: str, gigabytes: float) -> None:
    _datastore, session = await make_session(url)
    region = SharedRegion(SLOT * IN_FLIGHT)
    assert settings.services.chunks_shm is not None
    while not region.is_handed_over():
        try:
            await region.hand_over(settings.services.chunks_shm)
        except Unavailable:
            await asyncio.sleep(0.1)
    client = ChunksClient(open_channel(settings.services.chunks, settings))
    await upload(client, region, session, new_chunks(16))
    chunks: list[tuple[bytes, bytes]] = []
    began_with = thread_times(process.pid)
    wire = used = database = alone = wall = 0.0
    while wire < gigabytes * 1e9:
        chunks = new_chunks(64)
        began = time.process_time()
        for digest, data in chunks:
            check_upload(digest, CHUNK, memoryview(data))
        alone += time.process_time() - began
        before, pg_before, start = cpu_seconds([process.pid]), cpu_seconds(postgres_pids(pg)), time.perf_counter()
        await upload(client, region, session, chunks)
        wall += time.perf_counter() - start
        used += cpu_seconds([process.pid]) - before
        database += cpu_seconds(postgres_pids(pg)) - pg_before
        wire += sum(len(data) for _digest, data in chunks)
    per = 1e9 / wire
    print(f"{wire / 1e9:.2f} GB on the wire, chunks of {len(chunks[0][1])} bytes")
    print(f"chunks process {used * per:.2f} s/GB, Postgres {database * per:.2f} s/GB, {wire / wall / 1e6:.0f} MB/s")
    for name, (user, system) in thread_times(process.pid).items():
        user, system = (now - then for now, then in zip((user, system), began_with.get(name, (0, 0)), strict=True))
        print(f"  thread {name}: user {user * per:.2f}, system {system * per:.2f} s/GB")
    print(f"checks alone   {alone * per:.2f} s/GB, so the rest is {(used + database - alone) * per:.2f} s/GB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--profile", help="file for a cProfile of the process's main thread")
    arguments = parser.parse_args()
    postgres = PostgresServer().start()
    folder = Path(tempfile.mkdtemp(prefix="pbs-bench-", dir="/var/tmp"))
    try:
        url = asyncio.run(postgres.service_database("chunkstore"))
        settings = Settings(data_dir=folder, chunkstore_database_url=url)
        settings.run_path.mkdir()
        with ThreadPoolExecutor(1) as executor:
            asyncio.run(open_backend(settings, StoreLocation("filesystem", "s"), executor).create())
        env = os.environ | {
            "PBS_DATA_DIR": str(folder), "PBS_CHUNKSTORE_DATABASE_URL": url,
            "MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "2147483648", "MALLOC_ARENA_MAX": "4",
        }  # fmt: skip
        code = _PROFILED.format(code=_RUN, path=arguments.profile) if arguments.profile else _RUN
        process = subprocess.Popen([sys.executable, "-c", code], env=env)
        try:
            asyncio.run(measure(settings, url, process, str(postgres.folder), arguments.gigabytes))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)
    finally:
        postgres.stop()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
