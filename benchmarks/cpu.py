"""CPU seconds of the product's processes, read from /proc."""

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> tuple[int, float] | None:
    """Parent and CPU seconds (dead children included) of a process; None if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return int(fields[1]), sum(map(int, fields[11:15])) / _TICKS


def tree_seconds(named: dict[str, int]) -> dict[str, float]:
    """CPU seconds of each named process with all its descendants that have no name of their own."""
    found = {int(entry.name): _stat(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    owners = {pid: name for name, pid in named.items()}
    totals = dict.fromkeys(named, 0.0)
    for pid, stat in found.items():
        current, seen = pid, 0
        while current > 1 and current not in owners and seen < 100:
            above = found.get(current)
            current, seen = (above[0] if above else 0), seen + 1
        if stat and current in owners:
            totals[owners[current]] += stat[1]
    return totals


def difference(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """Seconds used between two readings, processes that did nothing left out."""
    used = {name: seconds - before.get(name, 0.0) for name, seconds in after.items()}
    return {name: seconds for name, seconds in used.items() if seconds >= 0.01}


def peak_memory(pid: int) -> int:
    """Largest resident size of a process so far, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
