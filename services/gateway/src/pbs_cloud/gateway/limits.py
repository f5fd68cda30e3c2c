"""Request limits (rest-api D.11): token buckets that rather hold a request for a moment than refuse it."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pbs_cloud.gateway.errors import HttpError
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock

HOLD_SECONDS: Final = 3.0
MAX_BUCKETS: Final = 50_000
MAX_UNTOLD: Final = 1000


@dataclass(frozen=True, slots=True)
class Rate:
    """``burst`` requests at once, ``per_second`` sustained."""

    burst: int
    per_second: float


TENANT_RATE: Final = Rate(1000, 100)
ADDRESS_RATE: Final = Rate(100, 10)


@dataclass(slots=True)
class _Bucket:
    tokens: float
    updated: float


class Buckets:
    """One bucket for each key; those that were not used for longest are forgotten first."""

    def __init__(self, rate: Rate, clock: Clock = SYSTEM_CLOCK) -> None:
        self.rate = rate
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._untold: Counter[str] = Counter()

    async def take(self, key: str) -> int:
        """Take one permit, waiting up to three seconds for it; what is left of the burst.

        Raises:
            HttpError: 429 with ``Retry-After``; nothing was taken.
        """
        bucket = self._refilled(key)
        wait = max(0.0, (1 - bucket.tokens) / self.rate.per_second)
        if wait > HOLD_SECONDS:
            raise HttpError(429, "Rate limit exceeded", {"Retry-After": str(math.ceil(wait - HOLD_SECONDS))})
        bucket.tokens -= 1
        if key in self._untold or len(self._untold) < MAX_UNTOLD:
            self._untold[key] += 1
        if wait:
            await self._clock.sleep(wait)
        return max(0, int(bucket.tokens))

    def untold(self) -> Mapping[str, int]:
        """Permits taken since the last call, for the other processes with the same limits."""
        told, self._untold = self._untold, Counter()
        return told

    def charge(self, key: str, count: int) -> None:
        """Others took so many permits. A bucket is never more than one burst in debt."""
        bucket = self._refilled(key)
        bucket.tokens = max(bucket.tokens - count, -float(self.rate.burst))

    def _refilled(self, key: str) -> _Bucket:
        now = self._clock.monotonic()
        bucket = self._buckets.setdefault(key, _Bucket(self.rate.burst, now))
        self._buckets.move_to_end(key)
        if len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)
        bucket.tokens = min(self.rate.burst, bucket.tokens + (now - bucket.updated) * self.rate.per_second)
        bucket.updated = now
        return bucket


class RequestLimits:
    """Both kinds of buckets; does nothing when switched off."""

    def __init__(self, enabled: bool, clock: Clock = SYSTEM_CLOCK) -> None:
        self.enabled = enabled
        self.tenants = Buckets(TENANT_RATE, clock)
        self.addresses = Buckets(ADDRESS_RATE, clock)

    async def admit_tenant(self, tenant_id: str) -> None:
        """For a request with valid credentials. Raises HttpError 429, which tells the tenant its limit."""
        if not self.enabled:
            return
        try:
            await self.tenants.take(tenant_id)
        except HttpError as error:
            error.headers |= {"X-RateLimit-Limit": str(self.tenants.rate.burst), "X-RateLimit-Remaining": "0"}
            raise

    async def admit_address(self, address: str) -> None:
        """For a request without credentials or with bad ones. Raises HttpError 429."""
        if self.enabled:
            await self.addresses.take(address)
