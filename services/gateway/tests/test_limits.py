"""Token buckets (rest-api D.11)."""

from __future__ import annotations

import asyncio

import pytest
from testkit.servers import NatsServer

from pbs_cloud.gateway.errors import HttpError
from pbs_cloud.gateway.limits import MAX_BUCKETS, Buckets, Rate, RequestLimits
from pbs_cloud.gateway.shared_limits import SharedLimits
from pbs_cloud.runtime.bus import Bus
from pbs_cloud.runtime.clock import ManualClock


async def test_burst_then_held_then_refused() -> None:
    clock = ManualClock()
    buckets = Buckets(Rate(burst=3, per_second=1), clock)
    for _ in range(3):
        await buckets.take("a")
    held = [asyncio.create_task(buckets.take("a")) for _ in range(4)]
    await asyncio.sleep(0)
    refused = [task for task in held if task.done()]
    assert len(refused) == 1
    error = refused[0].exception()
    assert isinstance(error, HttpError)
    assert (error.status, error.headers["Retry-After"]) == (429, "1")
    for _ in range(3):
        await clock.advance(1)
        await asyncio.sleep(0)
    assert all(task.done() for task in held)


async def test_keys_do_not_share_and_buckets_refill() -> None:
    clock = ManualClock()
    buckets = Buckets(Rate(burst=2, per_second=1), clock)
    await buckets.take("a")
    assert await buckets.take("b") == 1
    assert await buckets.take("a") == 0
    await clock.advance(60)
    assert await buckets.take("a") == 1


async def test_number_of_buckets_is_bounded() -> None:
    buckets = Buckets(Rate(burst=1, per_second=0.001), ManualClock())
    for number in range(MAX_BUCKETS + 10):
        await buckets.take(str(number))
    assert len(buckets._buckets) == MAX_BUCKETS


async def test_only_the_tenant_learns_its_limit() -> None:
    limits = RequestLimits(True, ManualClock())
    limits.tenants, limits.addresses = Buckets(Rate(1, 0.1)), Buckets(Rate(1, 0.1))
    await limits.admit_tenant("t")
    with pytest.raises(HttpError) as tenant:
        await limits.admit_tenant("t")
    assert tenant.value.headers["X-RateLimit-Limit"] == "1"
    await limits.admit_address("192.0.2.1")
    with pytest.raises(HttpError) as address:
        await limits.admit_address("192.0.2.1")
    assert "X-RateLimit-Limit" not in address.value.headers


async def test_switched_off_nothing_is_limited() -> None:
    limits = RequestLimits(False)
    for _ in range(500):
        await limits.admit_address("192.0.2.1")


async def test_processes_share_their_limits(nats: NatsServer) -> None:
    """What one lets through is missing in the other's bucket; alone, each limits by itself."""
    limits = [RequestLimits(True), RequestLimits(True)]
    buses = [Bus(nats.url, name=f"gateway-{number}") for number in range(2)]
    shared = [SharedLimits(bus, one) for bus, one in zip(buses, limits, strict=True)]
    for part in (*buses, *shared):
        await part.start()
    for bus in buses:
        await bus.wait_connected(10)
    await asyncio.sleep(0.1)
    for _ in range(100):
        await limits[0].admit_address("192.0.2.1")
    await shared[0].tell()
    await asyncio.sleep(0.2)
    assert await limits[1].addresses.take("192.0.2.2") == 99
    assert limits[1].addresses._refilled("192.0.2.1").tokens < 20
    assert limits[0].addresses._refilled("192.0.2.1").tokens < 20, "what one told does not come back"
    limits[1].addresses.charge("192.0.2.1", 10_000)
    assert limits[1].addresses._refilled("192.0.2.1").tokens >= -100, "a debt ends soon"
    for part in (*shared, *buses):
        await part.stop()
