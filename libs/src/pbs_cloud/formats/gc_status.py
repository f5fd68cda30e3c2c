"""Garbage collection: cutoff arithmetic and the status JSON (formats 9.1, 9.4, 9.8)."""

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Final

from pbs_cloud.formats.errors import FormatError

DEFAULT_CUTOFF_MINUTES: Final = 1445
MIN_CUTOFF_MINUTES: Final = 1
MAX_CUTOFF_MINUTES: Final = 2880
_WRITER_MARGIN = 300


@dataclass(frozen=True, slots=True)
class Cutoff:
    """Times in Unix seconds: below ``min_atime`` a chunk goes, below ``oldest`` it is pending."""

    min_atime: int
    oldest: int


def cutoff(start: int, oldest_writer: int | None, cutoff_minutes: int = DEFAULT_CUTOFF_MINUTES) -> Cutoff:
    """Cutoff of a run that starts at ``start`` while the oldest writer (if any) started at ``oldest_writer``."""
    if not MIN_CUTOFF_MINUTES <= cutoff_minutes <= MAX_CUTOFF_MINUTES:
        raise FormatError(f"gc-atime-cutoff: not within {MIN_CUTOFF_MINUTES} to {MAX_CUTOFF_MINUTES} minutes")
    oldest = start if oldest_writer is None else oldest_writer
    min_atime = start - cutoff_minutes * 60
    return Cutoff(oldest - _WRITER_MARGIN if oldest < min_atime else min_atime, oldest)


class SweepClass(StrEnum):
    """What the sweep does with a chunk file."""

    REMOVED = "removed"
    PENDING = "pending"
    DISK = "disk"


def sweep_class(atime: int, limits: Cutoff) -> SweepClass:
    """Class of a chunk (or bad chunk) by its access time."""
    if atime < limits.min_atime:
        return SweepClass.REMOVED
    return SweepClass.PENDING if atime < limits.oldest else SweepClass.DISK


@dataclass(slots=True)
class GcStatus:
    """Counters of a run; bytes and numbers as in ``.gc-status``."""

    upid: str | None = None
    index_file_count: int = 0
    index_data_bytes: int = 0
    disk_bytes: int = 0
    disk_chunks: int = 0
    removed_bytes: int = 0
    removed_chunks: int = 0
    pending_bytes: int = 0
    pending_chunks: int = 0
    removed_bad: int = 0
    still_bad: int = 0
    cache_hits: int | None = None
    cache_misses: int | None = None

    def count(self, found: SweepClass, size: int, bad: bool = False) -> None:
        """Add one swept chunk file of ``size`` bytes (formats 9.4)."""
        if found is SweepClass.REMOVED:
            self.removed_bytes += size
            self.removed_bad += bad
            self.removed_chunks += not bad
        elif found is SweepClass.PENDING:
            self.pending_bytes += size
            self.still_bad += bad
            self.pending_chunks += not bad
        else:
            self.disk_bytes += size
            self.disk_chunks += not bad

    @property
    def deduplication_factor(self) -> float:
        """Logical bytes per stored byte, 1.0 for an empty store."""
        return self.index_data_bytes / self.disk_bytes if self.disk_bytes else 1.0

    def to_dict(self) -> dict[str, Any]:
        """JSON form: hyphenated, ``upid`` null before the first run, ``cache-stats`` only if known."""
        status: dict[str, Any] = {name.replace("_", "-"): getattr(self, name) for name in _PLAIN_FIELDS}
        if self.cache_hits is not None and self.cache_misses is not None:
            status["cache-stats"] = {"hits": self.cache_hits, "misses": self.cache_misses}
        return status

    @classmethod
    def parse(cls, status: object) -> "GcStatus":
        """From JSON; missing counters are 0 (older files), other members are ignored."""
        if not isinstance(status, dict):
            raise FormatError("gc status: not an object")
        upid = status.get("upid")
        if upid is not None and not isinstance(upid, str):
            raise FormatError("gc status: upid: not a string")
        counters = {name: _counter(status, name.replace("_", "-")) for name in _PLAIN_FIELDS[1:]}
        cache = status.get("cache-stats")
        if not isinstance(cache, dict):
            return cls(upid=upid, **counters)
        return cls(upid, **counters, cache_hits=_counter(cache, "hits"), cache_misses=_counter(cache, "misses"))


_PLAIN_FIELDS = tuple(field.name for field in fields(GcStatus) if not field.name.startswith("cache_"))


def _counter(members: dict[str, Any], name: str) -> int:
    value = members.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise FormatError(f"gc status: {name}: not a counter")
    return value
