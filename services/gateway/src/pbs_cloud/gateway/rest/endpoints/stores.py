"""What several areas need to know about the datastores a caller may see (rest-api C.4)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from pbs_cloud.contracts.chunkstore.types import Datastore, DatastoreStatus
from pbs_cloud.contracts.context import Caller
from pbs_cloud.contracts.errors import NotFound
from pbs_cloud.contracts.rights import datastore_path
from pbs_cloud.formats.calendar import CalendarEvent
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.gc_status import GcStatus
from pbs_cloud.gateway.rest.access import STORE_SEEN, holds, sees_store
from pbs_cloud.gateway.rest.calls import Call

MOUNT_STATUS = "nonremovable"


@dataclass(frozen=True, slots=True)
class VisibleStore:
    """A datastore and whether the caller has rights on all of it, or only on something below."""

    store: Datastore
    full: bool


def visibility(caller: Caller, store: Datastore) -> VisibleStore | None:
    """How the caller sees a datastore; None if not at all."""
    if not sees_store(caller, store.name):
        return None
    return VisibleStore(store, holds(caller, datastore_path(store.name), *STORE_SEEN))


async def visible_stores(call: Call) -> list[VisibleStore]:
    """All datastores the caller may see, by name."""
    stores, _ = await call.clients.catalogue.list_datastores(call.ctx)
    seen = (visibility(call.caller, store) for store in sorted(stores, key=lambda store: store.name))
    return [found for found in seen if found is not None]


async def find_store(call: Call, name: str) -> tuple[Datastore, str]:
    """A datastore by name and the configuration digest. Raises NotFound."""
    stores, digest = await call.clients.catalogue.list_datastores(call.ctx)
    for store in stores:
        if store.name == name:
            return store, digest
    raise NotFound(f"no such datastore '{name}'")


def gc_status_of(status: DatastoreStatus) -> dict[str, Any]:
    """Counters of the last garbage collection; all zero before the first run."""
    found: dict[str, Any] = json.loads(status.gc_status) if status.gc_status else GcStatus().to_dict()
    return found


def next_run(schedule: str | None, last: int) -> int | None:
    """Next time of a schedule after ``last`` (Unix seconds)."""
    if not schedule:
        return None
    try:
        return CalendarEvent.parse(schedule).next_after(last, UTC)
    except FormatError:
        return None
