"""What can be asked about maintenance."""

from __future__ import annotations

from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import PermissionDenied
from pbs_cloud.contracts.gc import GcServiceStatus
from pbs_cloud.gc import db
from pbs_cloud.runtime.database import Database

SWEEP = "sweep"


class GcService:
    """Figures over all tenants are for the operator (rest-api E.4)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def status(self, ctx: CallContext) -> GcServiceStatus:
        """Sweeps of dead leases. Raises ``PermissionDenied``."""
        if not ctx.caller.operator:
            raise PermissionDenied("permission check failed")
        async with self._database.system() as connection:
            found = await db.status(connection, SWEEP)
        return GcServiceStatus(sweeps=found.runs, expired_sessions=found.affected, last_sweep=found.last_run)
