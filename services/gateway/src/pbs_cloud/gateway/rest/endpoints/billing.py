"""Usage figures, the webhook receiver and the retention report (rest-api D.8)."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import AsyncIterator
from typing import Any, Final

from pbs_cloud.contracts.chunkstore.types import Snapshot
from pbs_cloud.contracts.errors import PermissionDenied, Unauthenticated
from pbs_cloud.contracts.rights import Privilege as P
from pbs_cloud.contracts.rights import require
from pbs_cloud.gateway.errors import FORBIDDEN, HttpError
from pbs_cloud.gateway.rest.access import Judged, Needs, Public
from pbs_cloud.gateway.rest.calls import Call, Content, Data
from pbs_cloud.gateway.rest.endpoint import Area
from pbs_cloud.gateway.rest.endpoints.shared import rfc3339
from pbs_cloud.gateway.rest.replies import PIECE_BYTES, dump
from pbs_cloud.gateway.schema import String, common, optional

AREA = Area("Billing")
MAX_WEBHOOK_BYTES: Final = 1024 * 1024


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


@AREA.post("billing/webhook", access=Public(), raw=True, extra=True)
async def receive_webhook(call: Call) -> Any:
    """Check the signature of a webhook delivery; its content is not kept."""
    secret = call.node.settings.webhook_receiver_secret
    if secret is None:
        raise HttpError(400, "no webhook secret is configured")
    signature = call.headers.get(b"x-signature-256", b"").removeprefix(b"sha256=")
    seal, size = hmac.new(secret.get_secret_value().encode(), digestmod=hashlib.sha256), 0
    async for piece in call.body():
        size += len(piece)
        if size > MAX_WEBHOOK_BYTES:
            raise HttpError(413, "webhook body is too large")
        seal.update(piece)
    if not hmac.compare_digest(seal.hexdigest().encode(), signature):
        raise Unauthenticated("the signature is missing or wrong")
    return Data({"verified": True}, content_type="application/json")


@AREA.get(
    "compliance/report",
    {"store": optional(common.STORE, default="default")},
    access=Needs("/access", (P.PERMISSIONS_MODIFY,)),
    extra=True,
)
async def compliance_report(call: Call) -> Any:
    """Retention summary: all finished snapshots of a datastore with size and protection."""
    namespaces = await call.clients.catalogue.list_namespaces(call.ctx, call.text("store"), "", None)
    return Content(_report(call, namespaces), content_type="application/json")


async def _report(call: Call, namespaces: tuple[str, ...]) -> AsyncIterator[bytes]:
    count = total = 0
    buffer = bytearray(b'{"data":{"generated_at":' + dump(rfc3339(int(time.time()))) + b',"snapshots":[')
    for ns in namespaces:
        async for snapshot in call.clients.catalogue.list_snapshots(call.ctx, call.text("store"), ns):
            if snapshot.size is None:
                continue  # still being written
            buffer += (b"," if count else b"") + dump(_retained(ns, snapshot))
            count, total = count + 1, total + snapshot.size
            if len(buffer) >= PIECE_BYTES:
                yield bytes(buffer)
                buffer.clear()
    yield bytes(buffer) + b'],"snapshot_count":%d,"total_bytes":%d}}' % (count, total)


def _retained(ns: str, snapshot: Snapshot) -> dict[str, Any]:
    return {
        "ns": ns or None,
        "backup-type": snapshot.backup_type,
        "backup-id": snapshot.backup_id,
        "backup-time": rfc3339(snapshot.backup_time),
        "size": snapshot.size,
        "retain-until": rfc3339(snapshot.retain_until),
        "protected": snapshot.protected,
    }
