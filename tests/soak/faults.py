"""All faults at all call sites, and rounds of kills on the running product (docs/operations/faults.md)."""

from __future__ import annotations

import asyncio
import random
import time

import pytest
from testkit.faults.exempt import reason
from testkit.faults.layer import Mode, modes_of
from testkit.faults.rounds import Rounds
from testkit.faults.sites import Site, all_sites
from testkit.faults.walk import Route, installed, load_acts, record, strike
from testkit.faults.world import FaultWorld, start_world
from testkit.product import ProductServer
from testkit.servers import NatsServer, PostgresServer
from testkit.world import new_tenant

from soak.parts import Allowance

ROUNDS = 100
ROUND_SECONDS = 60.0
_ROUNDS_PER_START = 20
_STRIKE_SECONDS = 180.0
_CHECK_EVERY = 200


async def walk(allowance: Allowance) -> list[str]:
    """Each fault at each place, in a new order; ends when all have been provoked once."""
    load_acts()
    postgres, nats = await asyncio.to_thread(PostgresServer().start), await asyncio.to_thread(NatsServer().start)
    try:
        with installed() as layer, pytest.MonkeyPatch.context() as patches:
            world = await start_world(postgres, nats, layer, patches)
            try:
                return await _walk(world, allowance)
            finally:
                await world.stop()
    finally:
        nats.stop()
        postgres.stop()


async def _walk(world: FaultWorld, allowance: Allowance) -> list[str]:
    route = await record(world)
    pairs = [(site, mode) for site in all_sites() if site in route.acts and not reason(site) for mode in modes_of(site)]
    random.shuffle(pairs)
    failures: list[str] = []
    for number, (site, mode) in enumerate(pairs, 1):
        if allowance.over:
            break
        failures += await _strike(world, route, site, mode)
        if number % _CHECK_EVERY == 0 or number == len(pairs):
            await world.check_promises()
            await world.check_stores()
            print(f"faults: {number} of {len(pairs)}, {len(failures)} failures", flush=True)
    return failures


async def _strike(world: FaultWorld, route: Route, site: Site, mode: Mode) -> list[str]:
    try:
        async with asyncio.timeout(_STRIKE_SECONDS):
            await strike(world, route, site, mode)
    except (AssertionError, TimeoutError) as error:
        print(f"faults: {site} {site.method} {mode}: {error}", flush=True)
        return [f"{site} {mode}: {error}"]
    return []


async def kills(allowance: Allowance) -> list[str]:
    """A hundred rounds of a minute, or as many as fit; the first failure ends it and is told with its seed."""
    for start in range(0, ROUNDS, _ROUNDS_PER_START):
        if allowance.over:
            break
        seed = int(time.time())
        server = await asyncio.to_thread(ProductServer({"PBS_GC_GRACE_SECONDS": "0"}).start)
        try:
            async with new_tenant(server) as tenant:
                rounds = Rounds(server, tenant, seed)
                for number in range(start, start + _ROUNDS_PER_START):
                    if allowance.over:
                        break
                    await rounds.run(ROUND_SECONDS)
                    print(f"kills: round {number + 1}, {dict(rounds.counts)}", flush=True)
        except AssertionError as error:
            return [f"seed {seed}: {error}"]
        finally:
            await asyncio.to_thread(server.close)
    return []
