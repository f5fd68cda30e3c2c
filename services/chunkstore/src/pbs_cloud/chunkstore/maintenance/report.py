"""What an import found, for people and as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MAX_WARNINGS = 1000


@dataclass(slots=True)
class ImportReport:
    """Figures and warnings of one datastore; `missing`: the first of `missing_chunks` digests that indexes name.

    `refreshed`: known snapshots that somebody else has changed.
    """

    tenant: str
    name: str
    location: str
    namespaces: int = 0
    groups: int = 0
    snapshots: int = 0
    left_out_snapshots: int = 0
    refreshed: int = 0
    files: int = 0
    chunks: int = 0
    bad_chunks: int = 0
    bytes: int = 0
    missing_chunks: int = 0
    missing: list[str] = field(default_factory=list)
    owners: set[str] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)
    more_warnings: int = 0
    already: bool = False

    def warn(self, line: str) -> None:
        """Keep a line, the first thousand of them."""
        if len(self.warnings) < MAX_WARNINGS:
            self.warnings.append(line)
        else:
            self.more_warnings += 1

    def lines(self) -> list[str]:
        """For a terminal."""
        title = f"datastore '{self.name}' of tenant '{self.tenant}' ({self.location})"
        if self.already:
            return [f"{title}: is in the catalogue already"]
        found = [
            title,
            f"  {self.snapshots} snapshots ({self.files} files) in {self.groups} groups, {self.namespaces} namespaces",
            f"  {self.chunks} chunks, {self.bad_chunks} set aside as damaged; {self.bytes} bytes in all",
        ]
        if self.left_out_snapshots:
            found.append(f"  {self.left_out_snapshots} snapshots left out")
        if self.refreshed:
            found.append(f"  {self.refreshed} known snapshots were changed meanwhile (notes, verification, protection)")
        if self.owners:
            found.append(f"  owners: {', '.join(sorted(self.owners))}")
        if self.missing_chunks:
            found.append(f"  {self.missing_chunks} chunks are missing, snapshots with them cannot be restored whole:")
            found += [f"    {digest}" for digest in self.missing]
        found += [f"  warning: {line}" for line in self.warnings]
        return found + ([f"  … and {self.more_warnings} more warnings"] if self.more_warnings else [])

    def to_dict(self) -> dict[str, Any]:
        """For a program."""
        names = (name for name in self.__slots__ if name != "owners")
        return {**{name: getattr(self, name) for name in names}, "owners": sorted(self.owners)}
