"""`make soak`: each part in turn until the time is over or Ctrl-C; exit code 1 if any of them failed."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys

from soak.parts import PARTS, Allowance, load


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"what to run (default all): {', '.join(PARTS)}")
    parser.add_argument("--seconds", type=float, default=None, help="end after this time (default: never)")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1, help="processes to keep busy")
    parser.add_argument("--rounds", type=int, default=None, help="rounds of kills (default: 100 of a minute each)")
    given = parser.parse_args()
    unknown = set(given.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    return asyncio.run(_run(given.parts or list(PARTS), given.seconds, given.cores, given.rounds))


async def _run(names: list[str], seconds: float | None, cores: int, rounds: int | None) -> int:
    """With several parts and no limit each gets an hour before the next one, again and again."""
    share = 3600.0 if seconds is None and len(names) > 1 else None if seconds is None else seconds / len(names)
    failures: list[str] = []
    while True:
        for name in names:
            allowance = Allowance(share, cores, rounds)
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, allowance.stop.set)
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, allowance.stop.set)
            failures += [f"{name}: {failure}" for failure in await load(name)(allowance)]
            if allowance.stop.is_set():
                return _report(failures)
        if seconds is not None or rounds is not None:
            return _report(failures)


def _report(failures: list[str]) -> int:
    for failure in failures:
        print(f"FAILED {failure}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
