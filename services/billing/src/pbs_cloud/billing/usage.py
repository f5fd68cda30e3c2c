"""What one event adds to the usage of a tenant."""

from __future__ import annotations

from dataclasses import dataclass

from pbs_cloud.contracts.events import Event, EventType

WHOLE_TENANT = ""
HOUR = 3600


@dataclass(frozen=True, slots=True)
class UsageChange:
    """Additions to the counters of one store (``''``: the whole tenant); ``storage_bytes`` replaces, None leaves it."""

    store: str
    upload_bytes: int = 0
    download_bytes: int = 0
    backup_count: int = 0
    deleted_count: int = 0
    api_requests: int = 0
    storage_bytes: int | None = None


def changes_of(event: Event) -> tuple[UsageChange, ...]:
    """Counters that the event moves; none for events that do not concern usage (rest-api D.8)."""
    store = event.metadata.get("store", WHOLE_TENANT)
    match event.type:
        case EventType.BACKUP_CREATED:
            return (UsageChange(store, upload_bytes=event.bytes, backup_count=1),)
        case EventType.BACKUP_DELETED:
            return (UsageChange(store, deleted_count=1),)
        case EventType.DATA_RESTORED:
            return (UsageChange(store, download_bytes=event.bytes),)
        case EventType.STORAGE_UPDATED:
            return _storage(event, store)
        case EventType.DATASTORE_REMOVED:
            return (UsageChange(store, storage_bytes=0),)
    return ()


def _storage(event: Event, store: str) -> tuple[UsageChange, ...]:
    """``bytes`` is the tenant's new total; ``store_bytes`` that of the store, if the producer says it."""
    total = UsageChange(WHOLE_TENANT, storage_bytes=event.bytes)
    of_store = event.metadata.get("store_bytes")
    if of_store is None or store == WHOLE_TENANT:
        return (total,)
    return (UsageChange(store, storage_bytes=int(of_store)), total)


def hour_of(moment: int) -> int:
    """Beginning of the hour, Unix seconds."""
    return moment - moment % HOUR
