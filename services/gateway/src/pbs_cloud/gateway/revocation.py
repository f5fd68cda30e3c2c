"""Changed credentials and rights are forgotten at once, not only after the two seconds of the cache."""

from __future__ import annotations

from typing import Any, Final

from pbs_cloud.contracts.events import Event, EventType
from pbs_cloud.gateway.authentication import Authenticator
from pbs_cloud.runtime.bus import Bus
from pbs_cloud.runtime.lifecycle import Component

SUBJECT: Final = f"pbs.auth.{EventType.CREDENTIALS_CHANGED.value}"


class RevocationListener(Component):
    """Drops cached callers of a tenant when ``auth`` announces a change there."""

    name = "revocation"

    def __init__(self, bus: Bus, authenticator: Authenticator) -> None:
        self._bus = bus
        self._authenticator = authenticator

    async def start(self) -> None:
        await self._bus.listen(SUBJECT, self._changed)

    async def _changed(self, _: str, payload: dict[str, Any]) -> None:
        self._authenticator.drop(Event.from_json(payload).tenant_id)
