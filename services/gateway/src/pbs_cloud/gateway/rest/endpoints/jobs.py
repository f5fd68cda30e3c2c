"""The listings of jobs (rest-api C.11, C.12)."""

from __future__ import annotations

from typing import Any

from pbs_cloud.contracts.rights import Privilege as P
from pbs_cloud.gateway.rest.access import Anyone, Needs
from pbs_cloud.gateway.rest.calls import Call, Data
from pbs_cloud.gateway.rest.endpoint import Area
from pbs_cloud.gateway.rest.endpoints.shared import digest_of
from pbs_cloud.gateway.schema import Enum, common, optional

AREA = Area("Jobs")
_DIRECTION = Enum(("all", "push", "pull"))


def _no_jobs(call: Call) -> Data:
    """There is nothing that could make a job of this kind: the list is truly empty."""
    return Data([], {"digest": digest_of([call.caller.tenant_id])})


@AREA.get(
    "admin/sync",
    {"store": optional(common.STORE), "sync-direction": optional(_DIRECTION, default="pull")},
    access=Anyone("jobs with rights on both sides"),
)
async def sync_jobs(call: Call) -> Any:
    """Sync jobs with their state."""
    return _no_jobs(call)


@AREA.get(
    "config/sync",
    {"sync-direction": optional(_DIRECTION, default="pull")},
    access=Anyone("jobs with rights on both sides"),
)
async def sync_configurations(call: Call) -> Any:
    """Sync job configurations."""
    return _no_jobs(call)


@AREA.get("config/remote", access=Anyone("remotes with `Remote.Audit`"))
async def remotes(call: Call) -> Any:
    """Remotes."""
    return _no_jobs(call)


@AREA.get("admin/metrics", access=Needs("/", (P.SYS_AUDIT,)))
async def metric_servers(call: Call) -> Any:
    """Metric servers."""
    return _no_jobs(call)


@AREA.get("admin/traffic-control", access=Needs("/", (P.SYS_AUDIT,)))
async def traffic_rules(call: Call) -> Any:
    """Traffic rules."""
    return _no_jobs(call)
