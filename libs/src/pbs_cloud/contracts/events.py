"""Facts that services announce through their outbox. Consumers are idempotent by ``id``."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class EventType(StrEnum):
    """Names of rest-api D.8, plus what services tell each other."""

    BACKUP_CREATED = "backup_created"
    BACKUP_DELETED = "backup_deleted"
    DATA_RESTORED = "data_restored"
    STORAGE_UPDATED = "storage_updated"
    CREDENTIALS_CHANGED = "credentials_changed"
    DATASTORE_REMOVED = "datastore_removed"
    TENANT_CREATED = "tenant_created"
    TENANT_REMOVED = "tenant_removed"
    TASK_STOP_REQUESTED = "task_stop_requested"


@dataclass(frozen=True, slots=True)
class Event:
    """One immutable fact. ``bytes`` as rest-api D.8 defines it for each type; ``occurred_at`` Unix seconds."""

    type: EventType
    tenant_id: str
    occurred_at: int
    bytes: int = 0
    metadata: dict[str, str] = field(default_factory=dict)
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def subject(self, producer: str) -> str:
        """NATS subject: ``pbs.<producer>.<type>``."""
        return f"pbs.{producer}.{self.type.value}"

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": self.type.value,
            "tenant_id": self.tenant_id,
            "occurred_at": self.occurred_at,
            "bytes": self.bytes,
            "metadata": self.metadata,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Event:
        """Raises KeyError or ValueError on a payload that is no event."""
        return cls(
            type=EventType(data["type"]),
            tenant_id=str(data["tenant_id"]),
            occurred_at=int(data["occurred_at"]),
            bytes=int(data["bytes"]),
            metadata={str(k): str(v) for k, v in data["metadata"].items()},
            id=str(data["id"]),
        )
