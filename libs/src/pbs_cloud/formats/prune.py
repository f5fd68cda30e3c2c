"""Retention: which snapshots of a group to keep (formats 10)."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, tzinfo
from enum import StrEnum

from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.names import format_time

_LABELS = {"hourly": "%Y/%m/%d/%H", "daily": "%Y/%m/%d", "weekly": "%G/%V", "monthly": "%Y/%m", "yearly": "%Y"}


class PruneMark(StrEnum):
    """Verdict on one snapshot, as the log shows it."""

    KEEP = "keep"
    KEEP_PARTIAL = "keep-partial"
    PROTECTED = "protected"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class KeepOptions:
    """How many periods of each kind to keep; None leaves a rule out. Rules apply in the order of the fields."""

    last: int | None = None
    hourly: int | None = None
    daily: int | None = None
    weekly: int | None = None
    monthly: int | None = None
    yearly: int | None = None

    def __post_init__(self) -> None:
        for name, count in self.rules():
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise FormatError(f"keep-{name}: must be an integer of at least 1")

    @classmethod
    def parse(cls, options: Mapping[str, object]) -> "KeepOptions":
        """From ``keep-last``, ``keep-hourly``, …; other names are ignored, None means absent."""
        names = [field.name for field in fields(cls)]
        return cls(**{name: options[f"keep-{name}"] for name in names if options.get(f"keep-{name}") is not None})  # type: ignore[arg-type]

    def rules(self) -> list[tuple[str, int]]:
        """The rules that are set, in order: (``last``, 3), …"""
        named = ((field.name, getattr(self, field.name)) for field in fields(self))
        return [(name, count) for name, count in named if count is not None]

    @property
    def is_empty(self) -> bool:
        """No rule at all: everything is kept."""
        return not self.rules()

    def to_dict(self) -> dict[str, int]:
        """``keep-*`` members that are set."""
        return {f"keep-{name}": count for name, count in self.rules()}

    def __str__(self) -> str:
        return " ".join(f"--keep-{name} {count}" for name, count in self.rules())


@dataclass(frozen=True, slots=True)
class PruneCandidate:
    """What the rules look at; ``backup_time`` in Unix seconds."""

    backup_time: int
    finished: bool = True
    protected: bool = False


@dataclass(frozen=True, slots=True)
class PruneDecision:
    """Verdict on one snapshot; ``keep`` is true for every mark but remove, and always without options."""

    candidate: PruneCandidate
    mark: PruneMark
    keep: bool


def decide(candidates: Iterable[PruneCandidate], options: KeepOptions, zone: tzinfo = UTC) -> list[PruneDecision]:
    """Decisions for the snapshots of one group, newest first; execute and report them oldest first.

    ``zone`` is the time zone of the period labels: an explicit setting, the same on all replicas.
    """
    ordered = sorted(candidates, key=lambda candidate: candidate.backup_time, reverse=True)
    marks: list[PruneMark | None] = [None] * len(ordered)
    for position, candidate in enumerate(ordered):
        if not candidate.finished:
            marks[position] = PruneMark.KEEP_PARTIAL if position == 0 else PruneMark.REMOVE
    for name, count in options.rules():
        _apply(ordered, marks, _labeller(name, zone), count)
    keep_all = options.is_empty
    decisions = []
    for candidate, found in zip(ordered, marks, strict=True):
        mark = PruneMark.PROTECTED if candidate.protected else found or PruneMark.REMOVE
        decisions.append(PruneDecision(candidate, mark, keep_all or mark is not PruneMark.REMOVE))
    return decisions


def _apply(
    ordered: list[PruneCandidate], marks: list[PruneMark | None], label: Callable[[int], str], count: int
) -> None:
    already = {
        label(candidate.backup_time) for candidate, mark in zip(ordered, marks, strict=True) if mark is PruneMark.KEEP
    }
    seen: set[str] = set()
    for position, candidate in enumerate(ordered):
        if marks[position] is not None:
            continue
        if candidate.protected:
            marks[position] = PruneMark.PROTECTED
            continue
        period = label(candidate.backup_time)
        if period in already:
            continue
        if period in seen:
            marks[position] = PruneMark.REMOVE
        elif len(seen) >= count:
            break
        else:
            seen.add(period)
            marks[position] = PruneMark.KEEP


def _labeller(rule: str, zone: tzinfo) -> Callable[[int], str]:
    pattern = _LABELS.get(rule)
    if pattern is None:
        return format_time
    return lambda backup_time: datetime.fromtimestamp(backup_time, zone).strftime(pattern)
