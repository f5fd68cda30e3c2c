"""Reading usage over time (rest-api C.9, C.13)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pbs_cloud.billing.sampling import KEPT_SECONDS, MINUTE
from pbs_cloud.contracts.billing import StoreHistory
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import InvalidArgument
from pbs_cloud.contracts.rights import Privilege as P
from pbs_cloud.contracts.rights import datastore_path, privileges, require
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.database import Database

MOST_SLOTS = 1500
_VALUES = ("total", "used", "available", "read_bytes", "write_bytes")
_SEE = frozenset({P.DATASTORE_AUDIT, P.DATASTORE_BACKUP})
# Each table is narrowed down before they are joined, so that its key is used.
_SLOTS = """
    WITH used AS (
        SELECT * FROM usage_slot
        WHERE tenant_id = $1 AND step = $2 AND slot BETWEEN $3 AND $4 AND ($5::text[] = '{}' OR store = ANY ($5))
    ), moved AS (
        SELECT * FROM traffic_slot
        WHERE tenant_id = $1 AND step = $2 AND slot BETWEEN $3 AND $4 AND ($5::text[] = '{}' OR store = ANY ($5))
    )
    SELECT store, slot,
           CASE WHEN $6 THEN total_max ELSE total_sum / samples END AS total,
           CASE WHEN $6 THEN used_max ELSE used_sum / samples END AS used,
           CASE WHEN $6 THEN available_max ELSE available_sum / samples END AS available,
           CASE WHEN $6 AND $2 > $7 THEN 'NaN' ELSE coalesce(read_bytes, 0) / $2 END AS read_bytes,
           CASE WHEN $6 AND $2 > $7 THEN 'NaN' ELSE coalesce(write_bytes, 0) / $2 END AS write_bytes
    FROM used FULL JOIN moved USING (store, slot)
    ORDER BY store
"""


class UsageHistory:
    """Slots of the caller's tenant."""

    def __init__(self, database: Database, clock: Clock = SYSTEM_CLOCK) -> None:
        self._database = database
        self._clock = clock

    async def read(
        self, ctx: CallContext, stores: Sequence[str], step: int, since: int, *, maximum: bool
    ) -> list[StoreHistory]:
        """From ``since`` to now, at most ``MOST_SLOTS``; greatest rates are only known of slots of a minute.

        Raises PermissionDenied for a named store, InvalidArgument.
        """
        if step not in KEPT_SECONDS:
            raise InvalidArgument(f"step: must be one of {sorted(KEPT_SECONDS)}", field="step")
        for store in stores:
            require(ctx.caller, datastore_path(store), *_SEE)
        last = int(self._clock.time()) // step * step
        first = max(-(-since // step) * step, last - (MOST_SLOTS - 1) * step)
        count = max(0, (last - first) // step + 1)
        async with self._database.tenant(ctx.tenant_id) as connection:
            rows = await connection.fetch(_SLOTS, ctx.tenant_id, step, first, last, list(stores), maximum, MINUTE)
        found: dict[str, dict[str, list[float]]] = {}
        for row in rows:
            store = row["store"]
            if store not in found:
                if not stores and not privileges(ctx.caller, datastore_path(store)) & _SEE:
                    continue
                found[store] = {name: [math.nan] * count for name in _VALUES}
            place = (row["slot"] - first) // step
            for name, values in found[store].items():
                values[place] = math.nan if row[name] is None else row[name]
        return [
            StoreHistory(store, first, **{name: tuple(values) for name, values in lists.items()})
            for store, lists in found.items()
        ]
