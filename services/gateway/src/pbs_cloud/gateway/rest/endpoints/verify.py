"""Verification of a snapshot, a group or a namespace (rest-api C.7)."""

from __future__ import annotations

from typing import Any, Final

from pbs_cloud.contracts.jobs import VerifyOptions, VerifyScope
from pbs_cloud.gateway.rest.access import OnStore
from pbs_cloud.gateway.rest.calls import Call
from pbs_cloud.gateway.rest.endpoint import Area
from pbs_cloud.gateway.rest.endpoints.shared import NS, STORE_BACKUP, STORE_VERIFY
from pbs_cloud.gateway.schema import Integer, common, optional

AREA = Area("Verification")
THREADS: Final = Integer(minimum=1, maximum=32)
DAYS: Final = Integer(minimum=0, maximum=2**31 - 1)


@AREA.post(
    "admin/datastore/{store}/verify",
    {
        **NS,
        "backup-type": optional(common.BACKUP_TYPE, "with `backup-id`: one group"),
        "backup-id": optional(common.BACKUP_ID),
        "backup-time": optional(common.BACKUP_TIME, "with both others: one snapshot"),
        "ignore-verified": optional(common.BOOLEAN, "skip snapshots that have a result, good or bad", True),
        "outdated-after": optional(DAYS, "verify again what was verified more than so many days ago"),
        "max-depth": optional(common.MAX_DEPTH, "default: unlimited"),
        "read-threads": optional(THREADS),
        "verify-threads": optional(THREADS),
    },
    access=OnStore(STORE_VERIFY, STORE_BACKUP),
)
async def verify(call: Call) -> Any:
    """Verify backups; answers a task id."""
    given = call.params
    scope = VerifyScope(
        store=call.text("store"),
        ns=call.text("ns"),
        backup_type=given.get("backup-type"),
        backup_id=given.get("backup-id"),
        backup_time=given.get("backup-time"),
        max_depth=given.get("max-depth"),
    )
    options = VerifyOptions(
        ignore_verified=given["ignore-verified"],
        outdated_after=given.get("outdated-after"),
        read_threads=given.get("read-threads"),
        verify_threads=given.get("verify-threads"),
    )
    return await call.clients.gc.verify(call.ctx, scope, options)
