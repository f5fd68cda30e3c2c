"""Usage figures (rest-api D.8)."""

from __future__ import annotations

from typing import Any

from pbs_cloud.contracts.errors import PermissionDenied
from pbs_cloud.contracts.rights import Privilege as P
from pbs_cloud.contracts.rights import require
from pbs_cloud.gateway.errors import FORBIDDEN
from pbs_cloud.gateway.rest.access import Judged
from pbs_cloud.gateway.rest.calls import Call, Data
from pbs_cloud.gateway.rest.endpoint import Area
from pbs_cloud.gateway.rest.endpoints.shared import rfc3339
from pbs_cloud.gateway.schema import String, common, optional

AREA = Area("Billing")


@AREA.get(
    "billing/usage",
    {
        "store": optional(common.STORE, "only this datastore"),
        "tenant": optional(String(pattern="[A-Za-z0-9_.-]+", maximum=64), "another tenant: operator only"),
    },
    access=Judged("`Datastore.Read` on `/datastore`, or on the datastore named"),
    extra=True,
)
async def usage(call: Call) -> Any:
    """Bytes and counts of the tenant; null when nothing was counted yet."""
    store, tenant_id = call.params.get("store"), call.params.get("tenant")
    require(call.caller, f"/datastore/{store}" if store else "/datastore", P.DATASTORE_READ)
    if tenant_id not in (None, call.caller.tenant_id) and not call.caller.operator:
        raise PermissionDenied(FORBIDDEN)
    found = await call.clients.billing.get_usage(call.ctx, tenant_id=tenant_id, store=store)
    value = found and {
        "storage_bytes": found.storage_bytes,
        "upload_bytes": found.upload_bytes,
        "download_bytes": found.download_bytes,
        "backup_count": found.backup_count,
        "api_requests": found.api_requests,
        "updated_at": rfc3339(found.updated_at),
    }
    return Data(value, content_type="application/json")
