"""Fuzzes the decoders: ``python libs/tests/formats/fuzz/run.py --runs 1000000 [--target pxar] [--jobs 2]``.

Each target gets that many inputs. Findings are written as ``<target>-<n>.bin`` into ``--out`` and end the run
with status 1.
"""

import argparse
import random
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "tests"))

import fuzz_engine
import fuzz_targets

BATCH = 20_000


def work(name: str, runs: int, seed: int) -> list[fuzz_engine.Finding]:
    """One batch of one target."""
    target = next(target for target in fuzz_targets.targets() if target.name == name)
    return fuzz_engine.fuzz(target, runs, seed)


def main() -> int:
    """Run all or chosen targets."""
    names = [target.name for target in fuzz_targets.targets()]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", "--inputs", type=int, default=1_000_000, help="inputs for each target")
    parser.add_argument("--target", action="append", choices=names, help="only this target (may be repeated)")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"))
    options = parser.parse_args()
    print(f"seed {options.seed}")
    failed = 0
    with ProcessPoolExecutor(options.jobs) as pool:
        for name in options.target or names:
            started = time.monotonic()
            sizes = [min(BATCH, options.runs - done) for done in range(0, options.runs, BATCH)]
            jobs = [pool.submit(work, name, size, options.seed + number) for number, size in enumerate(sizes)]
            findings = [finding for job in jobs for finding in job.result()]
            print(
                f"{name}: {options.runs} inputs, {len(findings)} findings, {time.monotonic() - started:.1f} s",
                flush=True,
            )
            for number, finding in enumerate(findings[:20]):
                options.out.mkdir(parents=True, exist_ok=True)
                path = options.out / f"{name}-{number}.bin"
                path.write_bytes(finding.data)
                print(f"  {path}: {finding.error!r}")
            failed += len(findings)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
