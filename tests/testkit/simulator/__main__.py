"""`python -m testkit.simulator --first 1 --count 500`: run seeds; failing ones are minimised and printed."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from testkit.simulator.lots import WARM, in_child, lots
from testkit.simulator.mutants import MUTANTS
from testkit.simulator.run import Result, minimise, run_script, run_seed, seeds_needed
from testkit.simulator.script import Script

_MOST_FAILURES = 5
_ORDERS = 40
"""A story that shows a mutant is tried in so many orders: a change of the services changes what meets what."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="testkit.simulator", description=__doc__)
    parser.add_argument("--first", type=int, default=1, help="first seed")
    parser.add_argument("--count", type=int, default=100, help="how many")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), help="a rule that is switched off")
    parser.add_argument("--script", type=Path, help="run the script in this file instead")
    parser.add_argument("--no-minimise", action="store_true", help="print failing scripts as they are")
    parser.add_argument("--keep", type=Path, help="with --mutant: add the least script that shows it to this file")
    parser.add_argument("--known-mutants", type=Path, help="run every mutant on its script in this file")
    parser.add_argument("--unmutated", action="store_true", help="with --known-mutants: the rules as they are")
    parser.add_argument("--progress", action="store_true", help="tell each seed that is done")
    given = parser.parse_args()
    if given.known_mutants is not None:
        return _run_known(json.loads(given.known_mutants.read_text()), mutated=not given.unmutated)
    if given.script is not None:
        result = run_script(Script.from_json(json.loads(given.script.read_text())), given.mutant)
        print(result.text or "ok", f"({result.steps} steps)")
        return 0 if result.ok else 1
    if given.mutant is not None:
        return _find(given.mutant, given.first, given.count, given.keep)
    return _run_all(given.first, given.count, short=not given.no_minimise, progress=given.progress)


def _find(mutant: str, first: int, count: int, keep: Path | None) -> int:
    """Look for a story in which a mutant does harm, and keep the least one."""
    found: list[Result] = []
    needed = seeds_needed(mutant, first, count, found.append)
    if needed is None:
        print(f"{mutant}: nothing in {count} seeds")
        return 1
    least = minimise(found[0], mutant, attempts=60)
    print(f"{mutant}: {needed} seeds")
    _print(found[0], least)
    if keep is not None:
        known = json.loads(keep.read_text()) if keep.exists() else {}
        known[mutant] = {"seeds": needed, "found": least.text, "script": least.script.to_json()}
        lines = [f" {json.dumps(name)}: {json.dumps(known[name])}" for name in MUTANTS if name in known]
        keep.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    return 0


def _run_known(known: dict[str, Any], *, mutated: bool) -> int:
    """Every mutant must do harm in its story, in one of some orders of events; without mutants no story may."""
    bad = 0
    for name in MUTANTS.keys() - known.keys():
        print(f"{name}: no story shows it")
        bad += 1
    for name, entry in known.items():
        script = Script.from_json(entry["script"])
        if mutated:
            orders = (replace(script, seed=script.seed + number) for number in range(_ORDERS))
            harm = next((found for order in orders if not (found := run_script(order, name)).ok), None)
            if harm is None:
                print(f"{name}: no harm is done")
                bad += 1
        elif not (result := run_script(script)).ok:
            print(f"{name}: {result.text}")
            bad += 1
    print(f"{len(known)} stories, {bad} wrong")
    return 1 if bad else 0


def _run_all(first: int, count: int, *, short: bool, progress: bool) -> int:
    began, done = time.perf_counter(), min(count, WARM)

    def work(seed: int) -> bool:
        result = run_seed(seed)
        if progress:
            print("done", seed, flush=True)
        if not result.ok:
            _print(result, minimise(result) if short else result)
        return result.ok

    failures = 0
    for seed in range(first, first + done):
        if failures < _MOST_FAILURES:
            failures += not work(seed)
    for seeds in lots(first, count):
        if failures >= _MOST_FAILURES:
            break
        failures += in_child(seeds, work, _MOST_FAILURES - failures)
        done += len(seeds)
    spent = time.perf_counter() - began
    print(f"{done} seeds, {failures} failures, {spent:.1f} s, {done / spent * 3600:,.0f} an hour")
    return 1 if failures else 0


def _print(result: Result, least: Result) -> None:
    """The seed with its verdict, and the script to keep."""
    print(f"seed {result.script.seed}: {'LOSS: ' if result.loss else ''}{result.text} (at {result.at:.1f} s)")
    if least.text != result.text:
        print(f"  minimised: {least.text}")
    print(f"  {json.dumps(least.script.to_json())}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
