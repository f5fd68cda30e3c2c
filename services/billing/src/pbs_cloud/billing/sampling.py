"""Usage of every datastore once a minute, in slots of growing length (rest-api C.9, C.13).

The values come from what the events said last, the totals from the tenants' quotas: nobody is asked per datastore.
"""

from __future__ import annotations

from typing import Final

from pbs_cloud.billing import traffic
from pbs_cloud.billing.usage import WHOLE_TENANT
from pbs_cloud.contracts.auth import AuthClient
from pbs_cloud.contracts.context import SystemContext
from pbs_cloud.contracts.errors import PbsError
from pbs_cloud.contracts.events import Event, EventType
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.database import ALL_TENANTS, Connection, Database
from pbs_cloud.runtime.lifecycle import BackgroundTask
from pbs_cloud.runtime.logging import get_logger

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 86_400
UNLIMITED: Final = 1 << 50
"""What a tenant without quota is shown as free (rest-api E.5)."""
KEPT_SECONDS: Final = {60: 25 * HOUR, 1800: 31 * DAY, 21_600: 368 * DAY, 604_800: 3670 * DAY}
"""Length of a slot, and how long slots of it are kept."""
_POLL_SECONDS: Final = 5.0
_log = get_logger(__name__)

_RECORD = """
    INSERT INTO usage_slot AS u (tenant_id, store, step, slot, samples, total_sum, used_sum, available_sum,
                                 total_max, used_max, available_max)
    SELECT v.tenant_id, v.store, step, $3::bigint / step * step, 1, v.total, v.used, v.available,
           v.total, v.used, v.available
    FROM (
        SELECT s.tenant_id, s.store, s.used::float8 AS used,
               CASE WHEN q.quota IS NULL THEN s.used + $5::bigint ELSE greatest(q.quota, 1) END::float8 AS total,
               CASE WHEN q.quota IS NULL THEN $5::bigint
                    ELSE greatest(q.quota - coalesce(t.storage_bytes, 0), 0) END::float8 AS available
        FROM sampled_store s
        JOIN unnest($1::text[], $2::bigint[]) AS q (tenant_id, quota) USING (tenant_id)
        LEFT JOIN usage_total t ON t.tenant_id = s.tenant_id AND t.store = ''
    ) v CROSS JOIN unnest($4::int[]) AS step
    ON CONFLICT (tenant_id, store, step, slot) DO UPDATE SET
        samples = u.samples + 1,
        total_sum = u.total_sum + excluded.total_sum,
        used_sum = u.used_sum + excluded.used_sum,
        available_sum = u.available_sum + excluded.available_sum,
        total_max = greatest(u.total_max, excluded.total_max),
        used_max = greatest(u.used_max, excluded.used_max),
        available_max = greatest(u.available_max, excluded.available_max)
"""


async def follow(connection: Connection, event: Event) -> None:
    """Keep the list of datastores, their bytes and what is read and written; in the transaction of the event."""
    store = event.metadata.get("store", WHOLE_TENANT)
    await traffic.spread(connection, event, KEPT_SECONDS)
    if event.type is EventType.STORAGE_UPDATED and store != WHOLE_TENANT and "store_bytes" in event.metadata:
        await connection.execute(
            "INSERT INTO sampled_store (tenant_id, store, used) VALUES ($1, $2, $3)"
            " ON CONFLICT (tenant_id, store) DO UPDATE SET used = excluded.used",
            event.tenant_id,
            store,
            max(int(event.metadata["store_bytes"]), 0),
        )
    elif event.type is EventType.DATASTORE_REMOVED:
        removed = event.tenant_id, store
        await connection.execute("DELETE FROM sampled_store WHERE tenant_id = $1 AND store = $2", *removed)
        await connection.execute("DELETE FROM usage_slot WHERE tenant_id = $1 AND store = $2", *removed)
        await traffic.forget(connection, *removed)


async def forget_tenant(connection: Connection, tenant_id: str) -> None:
    """Everything of a tenant that is gone."""
    await connection.execute("DELETE FROM sampled_store WHERE tenant_id = $1", tenant_id)
    await connection.execute("DELETE FROM usage_slot WHERE tenant_id = $1", tenant_id)
    await traffic.forget(connection, tenant_id)


class UsageSampler(BackgroundTask):
    """Takes a sample each minute; of several replicas the first one that comes."""

    def __init__(self, database: Database, auth: AuthClient, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__("usage samples", self._sample_for_ever)
        self._database = database
        self._auth = auth
        self._clock = clock

    async def sample(self, moment: int) -> bool:
        """Record the minute of ``moment`` (Unix seconds): whether nobody had. Raises a PbsError."""
        minute = moment // MINUTE * MINUTE
        async with self._database.system() as connection:
            last = await connection.fetchval("SELECT last_minute FROM sampling WHERE tenant_id = '*'")
        if last is not None and last >= minute:
            return False
        tenants = await self._auth.list_tenants(SystemContext().for_tenant(ALL_TENANTS))
        async with self._database.system() as connection:
            taken = await connection.fetchval(
                "INSERT INTO sampling AS s (last_minute) VALUES ($1) ON CONFLICT (tenant_id)"
                " DO UPDATE SET last_minute = excluded.last_minute WHERE s.last_minute < excluded.last_minute"
                " RETURNING last_minute",
                minute,
            )
            if taken is None:
                return False
            quotas = [tenant.quota_bytes for tenant in tenants]
            names, steps = [tenant.id for tenant in tenants], list(KEPT_SECONDS)
            await connection.execute(_RECORD, names, quotas, minute, steps, UNLIMITED)
            if minute % HOUR == 0:
                await forget_old(connection, minute)
        return True

    async def _sample_for_ever(self) -> None:
        while True:
            try:
                await self.sample(int(self._clock.time()))
            except PbsError as error:
                _log.info("no usage sample", reason=error.message)
            await self._clock.sleep(_POLL_SECONDS)


async def forget_old(connection: Connection, now: int) -> None:
    """Drop slots that are kept no longer."""
    for step, seconds in KEPT_SECONDS.items():
        await connection.execute("DELETE FROM usage_slot WHERE step = $1 AND slot < $2", step, now - seconds)
        await traffic.forget_old(connection, step, now - seconds)
