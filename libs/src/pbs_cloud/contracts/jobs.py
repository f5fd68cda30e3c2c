"""Configured jobs of the gc service (rest-api C.11, C.12)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class JobKind(StrEnum):
    """Kinds of jobs, as they are named in paths."""

    PRUNE = "prune"
    VERIFY = "verify"


@dataclass(frozen=True, slots=True)
class JobFields:
    """Everything of a job but its id; None = not set. ``store`` is always set in a stored job.

    ``outdated_after`` in days, 0 = never again; ``max_depth`` levels below ``ns``, None = all.
    """

    store: str | None = None
    schedule: str | None = None
    comment: str | None = None
    ns: str | None = None
    max_depth: int | None = None
    disable: bool | None = None
    keep_last: int | None = None
    keep_hourly: int | None = None
    keep_daily: int | None = None
    keep_weekly: int | None = None
    keep_monthly: int | None = None
    keep_yearly: int | None = None
    ignore_verified: bool | None = None
    outdated_after: int | None = None
    read_threads: int | None = None
    verify_threads: int | None = None

    @classmethod
    def of(cls, values: dict[str, Any]) -> JobFields:
        """From names with ``-`` or ``_``."""
        return cls(**{name.replace("-", "_"): value for name, value in values.items()})

    def given(self) -> dict[str, Any]:
        """The fields that are set, by their names on the wire (``max-depth``)."""
        named = ((name, getattr(self, name)) for name in self.__dataclass_fields__)
        return {name.replace("_", "-"): value for name, value in named if value is not None}


@dataclass(frozen=True, slots=True)
class JobState:
    """Times in Unix seconds. Without an end time the last run is still on."""

    next_run: int | None = None
    last_run_upid: str | None = None
    last_run_state: str | None = None
    last_run_endtime: int | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A job with its state."""

    kind: JobKind
    id: str
    fields: JobFields
    state: JobState = field(default_factory=JobState)


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """``outdated_after`` in days: with ``ignore_verified``, verify again what is older (formats 11.3)."""

    ignore_verified: bool = True
    outdated_after: int | None = None
    read_threads: int | None = None
    verify_threads: int | None = None


@dataclass(frozen=True, slots=True)
class VerifyScope:
    """One snapshot (type, id and time), one group (type and id), or ``ns`` and ``max_depth`` levels below."""

    store: str
    ns: str = ""
    backup_type: str | None = None
    backup_id: str | None = None
    backup_time: int | None = None
    max_depth: int | None = None
