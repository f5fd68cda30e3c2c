"""Identity of a snapshot in requests."""

from dataclasses import dataclass, replace

T1, T2, T3 = 1767139200, 1767225600, 1767312000
"""The usual backup times: 2025-12-31, 2026-01-01 and 2026-01-02."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Where a snapshot is or will be; ``ns`` empty for the root namespace."""

    store: str
    backup_id: str
    backup_time: int = T1
    backup_type: str = "host"
    ns: str = ""

    def at(self, backup_time: int) -> "Snapshot":
        """Another snapshot of the same group."""
        return replace(self, backup_time=backup_time)

    def group(self) -> dict[str, object]:
        """Parameters that name the group."""
        namespace = {"ns": self.ns} if self.ns else {}
        return {"backup-id": self.backup_id, "backup-type": self.backup_type, **namespace}

    def parameters(self) -> dict[str, object]:
        """Parameters that name the snapshot."""
        return {**self.group(), "backup-time": self.backup_time}
