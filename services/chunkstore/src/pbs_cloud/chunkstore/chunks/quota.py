"""What a tenant stores, known closely enough to refuse the chunk that would be too much (architecture "Quota")."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from pbs_cloud.chunkstore.chunks import claim_db
from pbs_cloud.contracts.errors import QuotaExceeded
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.database import Connection

_KEEP_SECONDS = 1.0


@dataclass(slots=True)
class _Used:
    bytes: int
    read_at: float


class QuotaLedger:
    """Counters of the database, read at most once a second, plus what this process claimed and has not published."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._used: dict[str, _Used] = {}
        self._pending: defaultdict[str, int] = defaultdict(int)

    async def used(self, db: Connection, tenant: str) -> int:
        """Bytes of the tenant, with everything that is being written."""
        known = self._used.get(tenant)
        if known is None or self._clock.monotonic() - known.read_at >= _KEEP_SECONDS:
            known = self._used[tenant] = _Used(await claim_db.used_bytes(db, tenant), self._clock.monotonic())
        return known.bytes + self._pending[tenant]

    def claimed(self, tenant: str, size: int) -> None:
        """An object of `size` bytes is going to be written."""
        self._pending[tenant] += size

    def ended(self, tenant: str, size: int, growth: int) -> None:
        """It is no longer pending; the counters grew by `growth`."""
        self._pending[tenant] -= size
        if self._pending[tenant] <= 0:
            del self._pending[tenant]
        if tenant in self._used:
            self._used[tenant].bytes += growth


def exceeded(used: int, quota: int) -> QuotaExceeded:
    """The error that users see; its beginning is fixed (rest-api D.12)."""
    return QuotaExceeded(f"Quota exceeded: {used} of {quota} bytes are used")
