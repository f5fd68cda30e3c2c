"""Usage over time in the shapes of rest-api C.9 and C.13."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any, Final

from pbs_cloud.contracts.billing import StoreHistory
from pbs_cloud.contracts.errors import Unavailable
from pbs_cloud.gateway.rest.calls import Call
from pbs_cloud.gateway.rest.endpoints.shared import LAST_SECOND
from pbs_cloud.runtime.logging import get_logger

STEPS: Final = {"hour": 60, "day": 60, "week": 1800, "month": 1800, "year": 21_600, "decade": 604_800}
SLOTS: Final = {"hour": 60, "day": 1440, "week": 336, "month": 1440, "year": 1460, "decade": 522}
MONTH_SLOTS: Final = 1440
MONTH_STEP: Final = 1800
LEAST_POINTS: Final = 7
_VALUES: Final = ("total", "used", "available", "read_bytes", "write_bytes")
log = get_logger(__name__)


def slots_of(timeframe: str) -> list[int]:
    """Beginnings of all slots of a time frame, the oldest first."""
    step, count = STEPS[timeframe], SLOTS[timeframe]
    last = int(time.time()) // step * step
    return [last - (count - 1 - number) * step for number in range(count)]


async def read_history(call: Call, step: int, since: int, **more: Any) -> Mapping[str, StoreHistory]:
    """By datastore; nothing while the service that records it is away: listings do not depend on it."""
    try:
        return await call.clients.billing.get_history(call.ctx, step, since, **more)
    except Unavailable as error:
        log.info("no usage history", reason=error.message)
        return {}


def points(times: list[int], step: int, history: StoreHistory | None) -> list[dict[str, float]]:
    """One point for each time; values only where they are known."""
    if history is None:
        return [{"time": moment} for moment in times]
    return [_point(moment, history, (moment - history.start) // step) for moment in times]


def _point(moment: int, history: StoreHistory, place: int) -> dict[str, float]:
    point: dict[str, float] = {"time": moment}
    for name in _VALUES:
        values = getattr(history, name)
        if 0 <= place < len(values) and not math.isnan(values[place]):
            point[name] = values[place]
    return point


def month(history: StoreHistory | None) -> dict[str, Any]:
    """``history``, ``history-start``, ``history-delta`` and, with enough points, ``estimated-full-date``."""
    last = int(time.time()) // MONTH_STEP * MONTH_STEP
    start = last - (MONTH_SLOTS - 1) * MONTH_STEP
    ratios: list[float | None] = [None] * MONTH_SLOTS
    if history is not None:
        for number, (total, used) in enumerate(zip(history.total, history.used, strict=True)):
            place = (history.start - start) // MONTH_STEP + number
            if 0 <= place < MONTH_SLOTS and not math.isnan(used) and total > 0:
                ratios[place] = min(used / total, 1.0)
    found: dict[str, Any] = {"history": ratios, "history-start": start, "history-delta": MONTH_STEP}
    known = [(start + number * MONTH_STEP, ratio) for number, ratio in enumerate(ratios) if ratio is not None]
    if len(known) >= LEAST_POINTS:
        found["estimated-full-date"] = full_date(known)
    return found


def full_date(known: list[tuple[int, float]]) -> int:
    """When a line through the points reaches 1, in Unix seconds: in the past if usage falls, 0 = never."""
    count, origin = len(known), known[0][0]
    times = [moment - origin for moment, _ in known]
    mean_time, mean_ratio = sum(times) / count, sum(ratio for _, ratio in known) / count
    spread = sum((moment - mean_time) ** 2 for moment in times)
    together = sum((moment - mean_time) * (ratio - mean_ratio) for moment, (_, ratio) in zip(times, known, strict=True))
    if not spread or not together:
        return 0
    reached = origin + mean_time + (1 - mean_ratio) * spread / together
    return int(reached) if 0 < reached <= LAST_SECOND else 0
