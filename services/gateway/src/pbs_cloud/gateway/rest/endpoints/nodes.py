"""The node: status, subscription, identity and what monitoring tools look at (rest-api C.14, E.4)."""

from __future__ import annotations

import hashlib
import time
from typing import Any, Final

from pbs_cloud.contracts.context import SystemContext
from pbs_cloud.contracts.rights import Privilege as P
from pbs_cloud.gateway.rest.access import Anyone, Needs
from pbs_cloud.gateway.rest.calls import Call, Data
from pbs_cloud.gateway.rest.endpoint import Area
from pbs_cloud.gateway.rest.endpoints.history import slots_of
from pbs_cloud.gateway.rest.endpoints.node_view import node_load, node_status
from pbs_cloud.gateway.rest.endpoints.shared import digest_of
from pbs_cloud.gateway.schema import Enum, Param, String, common, optional, required

AREA = Area("Node")
_LISTS: Final = {
    "apt/update": Needs("/", (P.SYS_AUDIT,)),
    "apt/versions": Needs("/", (P.SYS_AUDIT,)),
    "services": Needs("/system/services", (P.SYS_AUDIT,)),
    "disks/list": Needs("/system/disks", (P.SYS_AUDIT,)),
    "certificates/info": Needs("/system/certificates", (P.SYS_MODIFY,)),
}
_LOG: Final[dict[str, Param]] = {
    name: optional(String(maximum=64))
    for name in ("start", "limit", "since", "until", "service", "lastentries", "startcursor", "endcursor")
}


@AREA.get("nodes", access=Anyone())
async def nodes(call: Call) -> Any:
    """The nodes: this one."""
    return [{"node": "localhost"}]


@AREA.get("nodes/{node}/status", access=Needs("/system/status", (P.SYS_AUDIT,)))
async def status(call: Call) -> Any:
    """Status of the host as tenants see it."""
    return node_status(call.node.started, call.node.fingerprint())


@AREA.get("nodes/{node}/subscription", access=Anyone())
async def subscription(call: Call) -> Any:
    """Subscription: there is none to have."""
    return {"status": "notfound", "message": "There is no subscription key"}


@AREA.get("nodes/{node}/identity", access=Anyone())
async def identity(call: Call) -> Any:
    """A stable id of the installation as this tenant sees it."""
    tenant_id = call.caller.tenant_id
    tenant = await call.clients.auth.get_tenant(SystemContext().for_tenant(tenant_id), tenant_id)
    seed = f"pbs-cloud identity {tenant.id} {tenant.created_at}"
    return {"pbs-instance-id": hashlib.sha256(seed.encode()).hexdigest()[:32]}


@AREA.get("nodes/{node}/time", access=Anyone())
async def node_time(call: Call) -> Any:
    """Time and time zone."""
    now = int(time.time())
    return {"timezone": "UTC", "time": now, "localtime": now}


@AREA.get(
    "nodes/{node}/rrd",
    {"timeframe": required(Enum(common.TIMEFRAMES)), "cf": required(Enum(("AVERAGE", "MAX")))},
    access=Needs("/system/status", (P.SYS_AUDIT,)),
)
async def rrd(call: Call) -> Any:
    """Load over time: constant, since the host is shared."""
    return [{"time": moment, **node_load()} for moment in slots_of(call.text("timeframe"))]


@AREA.get("nodes/{node}/config", access=Needs("/system", (P.SYS_AUDIT,)))
async def config(call: Call) -> Any:
    """Configuration of the node: nothing is set."""
    return Data({}, {"digest": digest_of({})})


@AREA.get("nodes/{node}/dns", access=Needs("/system/network/dns", (P.SYS_AUDIT,)))
async def dns(call: Call) -> Any:
    """Name servers: nothing is set here."""
    return Data({}, {"digest": digest_of({})})


@AREA.get("nodes/{node}/network", access=Needs("/system/network/interfaces", (P.SYS_AUDIT,)))
async def network(call: Call) -> Any:
    """Network interfaces: none is managed here."""
    return Data([], {"digest": digest_of([])})


@AREA.get("nodes/{node}/apt/repositories", access=Needs("/", (P.SYS_AUDIT,)))
async def repositories(call: Call) -> Any:
    """Package repositories: none."""
    return {"files": [], "errors": [], "infos": [], "standard-repos": [], "digest": digest_of([])}


for _path, _access in _LISTS.items():

    @AREA.get(f"nodes/{{node}}/{_path}", access=_access)
    async def nothing_managed(call: Call) -> Any:
        """Nothing of this kind is managed here."""
        return []


for _path in ("syslog", "journal"):

    @AREA.get(f"nodes/{{node}}/{_path}", _LOG, access=Needs("/system/log", (P.SYS_AUDIT,)))
    async def no_host_log(call: Call) -> Any:
        """The host's log is not shown."""
        return []
