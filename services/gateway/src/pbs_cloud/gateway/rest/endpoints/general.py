"""Version, ping and metrics (rest-api C.1, D.10)."""

from __future__ import annotations

import asyncio
import hashlib
from importlib.metadata import version as package_version
from typing import Any, Final

from pbs_cloud.contracts.errors import PermissionDenied
from pbs_cloud.contracts.rights import Privilege as P
from pbs_cloud.gateway.errors import FORBIDDEN
from pbs_cloud.gateway.rest.access import Anyone, Judged, Public, holds
from pbs_cloud.gateway.rest.calls import Call, Content
from pbs_cloud.gateway.rest.endpoint import Area
from pbs_cloud.runtime.telemetry import CONTENT_TYPE, render_metrics

AREA = Area("General")

# What this server can do to stock clients, not the product's version.
API_VERSION: Final = "4.2"
API_RELEASE: Final = "3"
PRODUCT_VERSION: Final = package_version("pbs-cloud-gateway")
REPOSITORY_ID: Final = hashlib.sha256(f"pbs-cloud {PRODUCT_VERSION}".encode()).hexdigest()[:16]


@AREA.get("ping", access=Public())
async def ping(call: Call) -> Any:
    """Answer that the server is there."""
    return {"pong": True}


@AREA.get("version", access=Anyone())
async def version(call: Call) -> Any:
    """Version of the API."""
    return {"version": API_VERSION, "release": API_RELEASE, "repoid": REPOSITORY_ID}


@AREA.get("metrics", access=Judged("operator: everything; `Permissions.Modify` on `/access`: own series"), extra=True)
async def metrics(call: Call) -> Any:
    """Metrics in the text format of Prometheus."""
    if not call.caller.operator and not holds(call.caller, "/access", P.PERMISSIONS_MODIFY):
        raise PermissionDenied(FORBIDDEN)
    text = await asyncio.to_thread(render_metrics)
    if not call.caller.operator:
        wanted = f'tenant="{call.caller.tenant_id}"'.encode()
        text = b"".join(line + b"\n" for line in text.splitlines() if wanted in line and not line.startswith(b"#"))
    return Content(text, content_type=CONTENT_TYPE)
