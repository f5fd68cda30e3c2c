"""Limits that hold over all gateway processes: each tells the others twice a second what it let through (D.11, 5).

While the bus is away each process limits by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import Any, Final

from pbs_cloud.gateway.limits import Buckets, RequestLimits
from pbs_cloud.runtime.bus import Bus
from pbs_cloud.runtime.cancelling import cancel_and_wait
from pbs_cloud.runtime.lifecycle import Component

SUBJECT: Final = "pbs-hint.requests"
TELL_SECONDS: Final = 0.5


class SharedLimits(Component):
    """Charges the buckets of this process with what the others let through."""

    name = "limits"

    def __init__(self, bus: Bus, limits: RequestLimits) -> None:
        self._bus = bus
        self._buckets: dict[str, Buckets] = {"tenants": limits.tenants, "addresses": limits.addresses}
        self._enabled = limits.enabled
        self._me = secrets.token_hex(8)
        self._telling: asyncio.Task[None] | None = None

    async def start(self) -> None:
        if self._enabled:
            await self._bus.listen(SUBJECT, self._heard)
            self._telling = asyncio.create_task(self._tell_for_ever())

    async def stop(self) -> None:
        if self._telling is not None:
            await cancel_and_wait([self._telling])

    async def tell(self) -> None:
        """Send what was let through since the last time, if anything."""
        told = {name: dict(buckets.untold()) for name, buckets in self._buckets.items()}
        if any(told.values()):
            await self._bus.hint(SUBJECT, {"from": self._me, **told})

    async def _tell_for_ever(self) -> None:
        while True:
            await asyncio.sleep(TELL_SECONDS)
            await self.tell()

    async def _heard(self, _: str, payload: dict[str, Any]) -> None:
        if payload.get("from") == self._me:
            return
        for name, buckets in self._buckets.items():
            with contextlib.suppress(AttributeError, TypeError, ValueError):
                for key, count in payload.get(name, {}).items():
                    buckets.charge(str(key), max(int(count), 0))
