"""Events of this service (rest-api D.8), written in the transaction of their fact."""

from __future__ import annotations

from pbs_cloud.chunkstore.catalogue.usage import named_store_bytes, tenant_bytes
from pbs_cloud.contracts.events import Event, EventType
from pbs_cloud.runtime.database import Connection
from pbs_cloud.runtime.outbox import emit

PRODUCER = "chunkstore"


async def announce(connection: Connection, kind: EventType, tenant_id: str, size: int = 0, **metadata: str) -> None:
    """Announce a fact; its time is the database's."""
    now = await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::bigint")
    event = Event(type=kind, tenant_id=tenant_id, occurred_at=now, bytes=size, metadata=metadata)
    await emit(connection, event, producer=PRODUCER)


async def announce_usage(connection: Connection, tenant_id: str, store: str) -> None:
    """``storage_updated`` with the tenant's new total, and that of the datastore in ``store_bytes``."""
    total = await tenant_bytes(connection, tenant_id)
    of_store = await named_store_bytes(connection, tenant_id, store)
    await announce(connection, EventType.STORAGE_UPDATED, tenant_id, total, store=store, store_bytes=str(of_store))
