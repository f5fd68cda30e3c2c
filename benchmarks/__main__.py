"""`make bench`: start the product, load it, print the table of docs/benchmarks.md."""

import argparse
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from testkit.product import ProductServer
from testkit.servers import S3Server

from benchmarks.checking import checking_seconds_per_gb
from benchmarks.cpu import peak_memory
from benchmarks.data import CHUNK, compressed_chunks, encrypted_chunks
from benchmarks.listing import Shape
from benchmarks.report import render
from benchmarks.scenarios import Bench, Figure


def _figures(bench: Bench, size: int, snapshots: int) -> Iterator[Figure]:
    """The scenarios in order; the raw transfer stands at both ends of the run."""
    yield bench.yardstick(2 * size)
    bench.discarded(size // 4)  # warm-up
    yield bench.discarded(2 * size)
    chunks = encrypted_chunks(size // CHUNK)
    figure, backup_id, backup_time = bench.upload("upload, encrypted, stored", chunks)
    yield figure
    yield bench.restore(backup_id, backup_time, chunks)
    plain = compressed_chunks(size // CHUNK)
    figure, backup_id, _ = bench.upload("upload, compressed, full check", plain)
    pure = checking_seconds_per_gb(plain[:32])
    figure.note = f"zstd and SHA-256 {pure:.2f}, everything else {figure.server_seconds_per_gb - pure:.2f} s/GB"
    yield figure
    if snapshots:
        few, many = Shape(100, snapshots // 100), Shape(snapshots // 10, 10)
        yield from bench.listings([few, many], backup_id)
        yield from bench.upload_beside_lists(3 * size, many)
    yield bench.yardstick(2 * size)


def main() -> None:
    """Parse options, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--mib", type=int, default=1024, help="MiB of each upload (default 1024)")
    parser.add_argument("--snapshots", type=int, default=10_000, help="snapshots to list; 0 leaves it out")
    parser.add_argument("--s3", action="store_true", help="store into SeaweedFS instead of a local folder")
    parser.add_argument("--folder", default="/var/tmp", help="where the data lies; a disk, not memory (/var/tmp)")
    options = parser.parse_args()
    s3 = S3Server().start() if options.s3 else None
    environment = s3.environment(s3.new_bucket()) if s3 else {}
    folder = Path(tempfile.mkdtemp(prefix="pbs-bench-", dir=options.folder))
    folder.chmod(0o711)
    product = ProductServer({**environment, "PBS_RATE_LIMIT_ENABLED": "false"}, data_dir=folder).start()
    try:
        print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, Python {platform.python_version()}", flush=True)
        figures = []
        bench = Bench(product)
        for figure in _figures(bench, options.mib << 20, options.snapshots):
            figures.append(figure)
            print(f"... {figure.name}: {figure.seconds:.2f} s", flush=True)
        print(render(figures))
        fronts = {name: pid for name, pid in product.pids().items() if name.startswith("gateway-front")}
        peaks = ", ".join(f"{name} {peak_memory(pid) >> 20} MiB" for name, pid in sorted(fronts.items()))
        print(f"\nPeak resident memory: {peaks}\nA later start until the product answers: {bench.later_start():.1f} s")
    finally:
        product.close()
        shutil.rmtree(folder, ignore_errors=True)
        if s3:
            s3.stop()


if __name__ == "__main__":
    main()
