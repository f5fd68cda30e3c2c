"""What tenants and gateways ask of billing (rest-api D.8)."""

from __future__ import annotations

from collections.abc import Mapping

from pbs_cloud.billing import db
from pbs_cloud.billing.usage import WHOLE_TENANT, UsageChange
from pbs_cloud.billing.webhooks.queue import count_api_requests
from pbs_cloud.contracts.billing import Usage
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import InvalidArgument, PermissionDenied
from pbs_cloud.contracts.rights import Privilege, datastore_path, require
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.database import ALL_TENANTS, Database


class BillingService:
    """Reads usage, and takes the counts of API calls."""

    def __init__(self, database: Database, clock: Clock = SYSTEM_CLOCK) -> None:
        self._database = database
        self._clock = clock

    async def usage(self, ctx: CallContext, tenant_id: str | None, store: str | None) -> Usage | None:
        """Usage of the caller's tenant or one of its datastores; None before anything was counted.

        Needs ``Datastore.Read``; another tenant's is for the operator. Raises ``PermissionDenied``.
        """
        target = tenant_id or ctx.tenant_id
        if target != ctx.tenant_id:
            if not ctx.caller.operator or target == ALL_TENANTS:
                raise PermissionDenied("permission check failed")
        else:
            require(ctx.caller, datastore_path(store) if store else "/datastore", Privilege.DATASTORE_READ)
        async with self._database.tenant(target) as connection:
            if store:
                return await db.store_usage(connection, target, store)
            return await db.tenant_usage(connection, target)

    async def add_api_requests(self, requests_by_tenant: Mapping[str, int]) -> None:
        """Count API calls that a gateway saw since its last report."""
        for tenant_id, count in requests_by_tenant.items():
            if tenant_id in ("", ALL_TENANTS) or count < 0:
                raise InvalidArgument("names a tenant and a count of at least 0", field="requests_by_tenant")
        now = int(self._clock.time())
        async with self._database.system() as connection:
            for tenant_id, count in sorted(requests_by_tenant.items()):
                await db.add(connection, tenant_id, UsageChange(WHOLE_TENANT, api_requests=count), now)
                await count_api_requests(connection, tenant_id, count, now // 60 * 60)
