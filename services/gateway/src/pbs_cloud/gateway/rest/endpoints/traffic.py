"""Traffic rules and metric servers: configuration that is kept and shown, without effect here (rest-api C.11)."""

from __future__ import annotations

from typing import Any, Final

from pbs_cloud.contracts.configuration import Section
from pbs_cloud.contracts.rights import Privilege as P
from pbs_cloud.gateway.rest.access import Access, Needs
from pbs_cloud.gateway.rest.calls import Call, Data
from pbs_cloud.gateway.rest.endpoint import Area
from pbs_cloud.gateway.rest.endpoints.kept_config import KeptConfig
from pbs_cloud.gateway.rest.endpoints.rates import RATE
from pbs_cloud.gateway.rest.endpoints.shared import digest_of
from pbs_cloud.gateway.schema import Array, String, common, optional, required

AREA = Area("Traffic control")
_NETWORK: Final = String(pattern=r"[0-9A-Fa-f.:]+/[0-9]{1,3}", maximum=64)
_TIMEFRAME: Final = String(pattern=r"[A-Za-z0-9.,:/ *-]+", maximum=128)
_AUDIT: Final = Needs("/", (P.SYS_AUDIT,))
_RULES: Final = KeptConfig(
    Section.TRAFFIC,
    "name",
    {"network": required(Array(_NETWORK), "networks in CIDR form")},
    {
        "timeframe": optional(Array(_TIMEFRAME), "days and times"),
        "comment": optional(common.COMMENT),
        **{name: optional(RATE, "bytes per second; kept, has no effect") for name in ("rate-in", "rate-out")},
        **{name: optional(RATE, "bytes; kept, has no effect") for name in ("burst-in", "burst-out")},
        "users": optional(Array(common.USER_ID), "kept, has no effect"),
    },
    "traffic control rule '{}' does not exist.",
    "traffic rule",
)


def _change(one: bool) -> Access:
    return Needs("/", (P.SYS_MODIFY,))


_RULES.register(AREA, "config/traffic-control", see=_AUDIT, change=_change)


@AREA.get("admin/traffic-control", access=_AUDIT)
async def traffic_rules(call: Call) -> Any:
    """Traffic rules with their present rates: none is measured, since no rule has an effect."""
    entries, digest = await _RULES.entries(call)
    return Data([{**rule, "cur-rate-in": 0, "cur-rate-out": 0} for rule in entries], {"digest": digest})


@AREA.get("admin/metrics", access=_AUDIT)
async def metric_servers(call: Call) -> Any:
    """Metric servers: metrics are fetched here, never sent."""
    return Data([], {"digest": digest_of([call.caller.tenant_id])})
