"""Whether the services behind the gateway serve, for ``/ready``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import grpc

from pbs_cloud.contracts.errors import PbsError
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.grpc_channel import is_serving

KEPT_SECONDS: Final = 1.0
# Without these nothing works. The others must have been there once; later nothing stops without them.
ESSENTIAL: Final = frozenset({"auth", "chunks", "catalogue"})


class ServiceReadiness:
    """Asks all services at once and keeps the answer for a second."""

    def __init__(
        self,
        channels: Mapping[str, grpc.aio.Channel],
        is_set_up: Callable[[], Awaitable[bool]],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """``is_set_up``: whether the first start is complete; asked until it is, when the services serve."""
        self._channels = channels
        self._is_set_up = is_set_up
        self._complete = False
        self._clock = clock
        self._seen: set[str] = set()
        self._missing: list[str] = list(channels)
        self._asked = float("-inf")
        self._lock = asyncio.Lock()
        self._stopping = False

    def stop(self) -> None:
        """Never ready from now on: no new work shall come."""
        self._stopping = True

    async def missing(self) -> list[str]:
        """Names of the services that are needed and do not serve."""
        if self._stopping:
            return ["shutdown"]
        async with self._lock:
            if self._clock.monotonic() - self._asked >= KEPT_SECONDS:
                self._missing = await self._ask()
                self._asked = self._clock.monotonic()
        return self._missing

    async def _ask(self) -> list[str]:
        names = list(self._channels)
        answers = await asyncio.gather(*(is_serving(self._channels[name]) for name in names))
        serving = {name for name, answer in zip(names, answers, strict=True) if answer}
        self._seen |= serving
        missing = [name for name in names if name not in (serving if name in ESSENTIAL else self._seen)]
        if not missing and not self._complete:
            self._complete = await self._set_up()
        return missing or ([] if self._complete else ["datastore"])

    async def _set_up(self) -> bool:
        try:
            return await self._is_set_up()
        except PbsError:
            return False
