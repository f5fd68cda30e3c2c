"""What a comparison found, as a table and as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

MAX_SHOWN = 1000


class Problem(StrEnum):
    """Kinds of findings."""

    ROW_WITHOUT_OBJECT = "row without object"
    OBJECT_WITHOUT_ROW = "object without row"
    DIFFERENT = "row and object differ"
    NOT_LIVE = "needed chunk not live"
    DAMAGED = "damaged"
    USAGE = "usage counter wrong"
    UNREADABLE = "not comparable"


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference."""

    problem: Problem
    name: str
    detail: str


@dataclass(slots=True)
class FsckReport:
    """Figures of what was compared, and the first thousand findings; `totals` counts all."""

    tenant: str
    name: str
    chunks: int = 0
    files: int = 0
    indexes: int = 0
    digests: int = 0
    bytes: int = 0
    findings: list[Finding] = field(default_factory=list)
    totals: Counter[Problem] = field(default_factory=Counter)

    @property
    def sound(self) -> bool:
        """Whether everything agrees."""
        return not self.totals

    def add(self, problem: Problem, name: str, detail: str) -> None:
        """Note a finding."""
        self.totals[problem] += 1
        if len(self.findings) < MAX_SHOWN:
            self.findings.append(Finding(problem, name, detail))

    def lines(self) -> list[str]:
        """For a terminal."""
        found = [
            f"datastore '{self.name}' of tenant '{self.tenant}': {'ok' if self.sound else 'NOT OK'}",
            f"  {self.chunks} chunks, {self.files} files, {self.indexes} indexes with {self.digests} distinct digests,"
            f" {self.bytes} bytes",
        ]
        width = max((len(item.problem) for item in self.findings), default=0)
        found += [f"  {item.problem:<{width}}  {item.name}  {item.detail}".rstrip() for item in self.findings]
        more = self.totals.total() - len(self.findings)
        return found + ([f"  … and {more} more"] if more else [])

    def to_dict(self) -> dict[str, Any]:
        """For a program."""
        figures = ("tenant", "name", "chunks", "files", "indexes", "digests", "bytes", "sound")
        return {
            **{name: getattr(self, name) for name in figures},
            "totals": {problem.value: self.totals[problem] for problem in Problem if self.totals[problem]},
            "findings": [
                {"problem": item.problem.value, "name": item.name, "detail": item.detail} for item in self.findings
            ],
        }
