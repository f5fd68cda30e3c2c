"""Stop requests reach a session at once, not only at the next renewal of its lease."""

from __future__ import annotations

from typing import Any, Final

from pbs_cloud.contracts.events import Event, EventType
from pbs_cloud.gateway.sessions.registry import SessionRegistry
from pbs_cloud.runtime.bus import Bus
from pbs_cloud.runtime.lifecycle import Component

SUBJECT: Final = f"pbs.chunkstore.{EventType.TASK_STOP_REQUESTED.value}"


class StopListener(Component):
    """Asks for the state of the leases when somebody wants a task of this process stopped."""

    name = "stop requests"

    def __init__(self, bus: Bus, registry: SessionRegistry) -> None:
        self._bus = bus
        self._registry = registry

    async def start(self) -> None:
        await self._bus.listen(SUBJECT, self._requested)

    async def _requested(self, _: str, payload: dict[str, Any]) -> None:
        if Event.from_json(payload).metadata.get("process_id") == self._registry.process_id:
            await self._registry.renew()
