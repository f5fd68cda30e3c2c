"""What this service makes of the facts that others announce; in the transaction that moves its position in them."""

from __future__ import annotations

from pbs_cloud.contracts.events import Event, EventType
from pbs_cloud.gc.configuration import rows as configuration
from pbs_cloud.gc.schedules import rows
from pbs_cloud.gc.verification.new_backups import forget_tenant, remember_backup
from pbs_cloud.runtime.database import Connection

PRODUCERS = ("auth", "chunkstore")


async def take_note(connection: Connection, event: Event) -> None:
    """Handler of the event consumer."""
    if event.type is EventType.BACKUP_CREATED:
        await remember_backup(connection, event)
    elif event.type is EventType.TENANT_REMOVED:
        await rows.delete_of_tenant(connection, event.tenant_id)
        await configuration.delete_of_tenant(connection, event.tenant_id)
        await forget_tenant(connection, event.tenant_id)
