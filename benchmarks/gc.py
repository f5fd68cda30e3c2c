"""`make bench-gc`: garbage collection of very many synthetic chunks in the running product.

The indexes are real files, the chunks are rows only: what the figures show is marks, condemnation and sweep.
"""

import argparse
import asyncio
import hashlib
import json
import os
import shutil
import ssl
import statistics
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from testkit.product import ProductServer

from benchmarks.cpu import difference, peak_memory, tree_seconds
from benchmarks.data import compressed_chunks
from benchmarks.gc_data import Catalogue, fill
from benchmarks.scenarios import Bench

_CONTEXT = ssl._create_unverified_context()
_PROCESSES = ("gc", "catalogue", "chunks")
_CASES = ("1000000x100", "10000000x10")
_UPLOAD_CHUNKS = 256
_HEAD = "| chunks x snapshots | run | wall s | CPU s | of which | peak MiB: " + ", ".join(_PROCESSES) + " | load |"


@dataclass(frozen=True, slots=True)
class _Run:
    """One collection: wall and CPU seconds by process, and its log."""

    wall: float
    used: dict[str, float]
    log: list[str]


def _call(product: ProductServer, method: str, path: str) -> Any:
    request = urllib.request.Request(
        f"{product.url}/api2/json/{path}", method=method, headers={"authorization": product.authorization}
    )
    with urllib.request.urlopen(request, context=_CONTEXT, timeout=120) as answer:
        return json.loads(answer.read())["data"]


def _begin(product: ProductServer) -> str:
    upid = _call(product, "POST", "admin/datastore/default/gc")
    return f"nodes/localhost/tasks/{urllib.request.quote(upid, safe='')}"


def _is_running(product: ProductServer, task: str) -> bool:
    status = _call(product, "GET", f"{task}/status")
    if status["status"] == "running":
        return True
    if status["exitstatus"] != "OK":
        raise AssertionError("\n".join(line["t"] for line in _call(product, "GET", f"{task}/log")))
    return False


def _collect(product: ProductServer) -> _Run:
    pids = {name: product.pid(name) for name in (*_PROCESSES, "postgres")}
    before, began = tree_seconds(pids), time.monotonic()
    task = _begin(product)
    while _is_running(product, task):
        time.sleep(0.1)
    wall, used = time.monotonic() - began, difference(before, tree_seconds(pids))
    return _Run(wall, used, [line["t"] for line in _call(product, "GET", f"{task}/log")])


def _case(product: ProductServer, catalogue: Catalogue, runs: int) -> None:
    """Fill, collect, print."""
    per_chunk = asyncio.run(fill(product, catalogue))
    title = f"{catalogue.chunks:,} x {catalogue.snapshots}"
    for number in range(1, runs + 1):
        run = _collect(product)
        peaks = ", ".join(str(peak_memory(product.pid(process)) >> 20) for process in _PROCESSES)
        spent = ", ".join(f"{process} {seconds:.1f}" for process, seconds in run.used.items())
        print(
            f"| {title} | {number} | {run.wall:.1f} | {sum(run.used.values()):.1f} | {spent} | {peaks} "
            f"| {os.getloadavg()[0]:.1f} |",
            flush=True,
        )
    print(f"{per_chunk} bytes of Postgres per chunk\n" + "\n".join(run.log), file=sys.stderr)


def _beside(product: ProductServer, rounds: int) -> None:
    """The same kind of upload alone and beside a collection, in turn; prints both medians."""
    bench = Bench(product)
    bench.upload("warm-up", compressed_chunks(16, seed=1_000_000))
    alone: list[float] = []
    beside: list[float] = []
    for number in range(2 * rounds):
        chunks = compressed_chunks(_UPLOAD_CHUNKS, seed=number * _UPLOAD_CHUNKS + 1)
        task = _begin(product) if number % 2 else None
        figure, _, _ = bench.upload("upload", chunks)
        if task is None:
            alone.append(figure.rate)
            continue
        if not _is_running(product, task):
            raise AssertionError("the collection ended before the upload: use more chunks")
        beside.append(figure.rate)
        while _is_running(product, task):
            time.sleep(0.1)
    slower = 1 - statistics.median(beside) / statistics.median(alone)
    rates = ", ".join(f"{name} {' '.join(f'{rate:.0f}' for rate in found)}" for name, found in
                      (("alone", alone), ("beside a collection", beside)))  # fmt: skip
    print(f"upload with full check, MB/s: {rates}; {slower:.0%} slower beside it")


def _sha256_rate() -> float:
    """GB/s of one thread: says how fast the machine is right now."""
    data, began = bytes(1 << 26), time.thread_time()
    for _ in range(4):
        hashlib.sha256(data).digest()
    return 4 * len(data) / 1e9 / (time.thread_time() - began)


def main() -> None:
    """Parse options, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gc", description=__doc__)
    parser.add_argument("cases", nargs="*", default=_CASES, help=f"CHUNKSxSNAPSHOTS (default {' '.join(_CASES)})")
    parser.add_argument("--garbage", type=float, default=0.01, help="share of chunks not in use (0.01)")
    parser.add_argument("--runs", type=int, default=2, help="collections of each; the first one finds the garbage")
    parser.add_argument("--uploads", type=int, default=3, help="uploads beside a collection of the first case")
    parser.add_argument("--folder", default="/var/tmp", help="where the data lies (/var/tmp)")
    options = parser.parse_args()
    print(f"SHA-256 of one thread: {_sha256_rate():.2f} GB/s\n{_HEAD}\n|---|---|---|---|---|---|---|", flush=True)
    for number, case in enumerate(options.cases):
        chunks, snapshots = map(int, case.split("x"))
        folder = Path(tempfile.mkdtemp(prefix="pbs-bench-", dir=options.folder))
        folder.chmod(0o711)
        environment = {"PBS_GC_GRACE_SECONDS": "0", "PBS_RATE_LIMIT_ENABLED": "false"}
        product = ProductServer(environment, data_dir=folder).start()
        try:
            _case(product, Catalogue(chunks, int(chunks * options.garbage), snapshots), options.runs)
            if options.uploads and not number:
                _beside(product, options.uploads)
        finally:
            product.close()
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
