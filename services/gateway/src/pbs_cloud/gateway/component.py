"""The processes of the gateway: front workers on the public port, and the REST worker behind them."""

from __future__ import annotations

from pbs_cloud.runtime.lifecycle import ProcessSpec
from pbs_cloud.runtime.settings import Settings


def processes(settings: Settings) -> list[ProcessSpec]:
    """Processes of this service under the supervisor."""
    return [
        ProcessSpec(
            name="gateway-front",
            target="pbs_cloud.gateway.front.main:main",
            replicas=settings.gateway_workers,
            stop_first=True,
        ),
        ProcessSpec(name="gateway-rest", target="pbs_cloud.gateway.rest.server:main", stop_first=True),
    ]
