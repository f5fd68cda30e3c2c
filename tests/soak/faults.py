"""All faults at all call sites, and rounds of kills on the running product (docs/operations/faults.md)."""

from __future__ import annotations

import asyncio
import random
import time

import pytest
from testkit.faults.exempt import reason
from testkit.faults.modes import modes_of
from testkit.faults.places import Storage
from testkit.faults.rounds import Rounds
from testkit.faults.sites import all_sites
from testkit.faults.walk import installed, load_acts, problem_after, record
from testkit.faults.world import FaultWorld, start_world
from testkit.product import ProductServer
from testkit.servers import NatsServer, PostgresServer, S3Server
from testkit.world import new_tenant

from soak.parts import Allowance

ROUNDS = 100
ROUND_SECONDS = 60.0
_ROUNDS_PER_START = 20
_CHECK_EVERY = 200


async def walk(allowance: Allowance) -> list[str]:
    """Each fault at each place, in a new order; ends when all have been provoked once."""
    return await _walk(allowance, Storage.DIRECTORY)


async def walk_over_a_bucket(allowance: Allowance) -> list[str]:
    """The same with a bucket as storage, and with the single requests to it."""
    return await _walk(allowance, Storage.BUCKET)


async def _walk(allowance: Allowance, storage: Storage) -> list[str]:
    load_acts()
    postgres, nats = await asyncio.to_thread(PostgresServer().start), await asyncio.to_thread(NatsServer().start)
    s3 = await asyncio.to_thread(S3Server().start) if storage is Storage.BUCKET else None
    try:
        with installed(storage) as layer, pytest.MonkeyPatch.context() as patches:
            world = await start_world(postgres, nats, layer, patches, s3)
            try:
                return await _strike_everywhere(world, allowance)
            finally:
                await world.stop()
    finally:
        if s3 is not None:
            s3.stop()
        nats.stop()
        postgres.stop()


async def _strike_everywhere(world: FaultWorld, allowance: Allowance) -> list[str]:
    route = await record(world)
    sites = [site for site in all_sites() if site in route.acts and not reason(site, world.storage)]
    pairs = [(site, mode) for site in sites for mode in modes_of(site)]
    random.shuffle(pairs)
    failures: list[str] = []
    for number, (site, mode) in enumerate(pairs, 1):
        if allowance.over:
            break
        if problem := await problem_after(world, route, site, mode, thorough=True):
            print(f"{world.storage}: {problem}", flush=True)
            failures.append(problem)
        if number % _CHECK_EVERY == 0 or number == len(pairs):
            failures += await _checked(world)
            print(f"{world.storage}: {number} of {len(pairs)}, {len(failures)} failures", flush=True)
    return failures


async def _checked(world: FaultWorld) -> list[str]:
    try:
        await world.check_promises()
        await world.check_stores()
    except AssertionError as error:
        print(f"{world.storage}: {error}", flush=True)
        return [str(error)]
    return []


async def kills(allowance: Allowance) -> list[str]:
    """A hundred rounds of a minute, or as many as are wanted or fit; the first failure ends it and tells its seed."""
    rounds_wanted = ROUNDS if allowance.rounds is None else allowance.rounds
    for start in range(0, rounds_wanted, _ROUNDS_PER_START):
        if allowance.over:
            break
        seed = int(time.time())
        server = await asyncio.to_thread(ProductServer({"PBS_GC_GRACE_SECONDS": "0"}).start)
        try:
            async with new_tenant(server) as tenant:
                rounds = Rounds(server, tenant, seed)
                for number in range(start, min(start + _ROUNDS_PER_START, rounds_wanted)):
                    if allowance.over:
                        break
                    await rounds.run(ROUND_SECONDS)
                    print(f"kills: round {number + 1}, {dict(rounds.counts)}", flush=True)
        except AssertionError as error:
            return [f"seed {seed}: {error}"]
        finally:
            await asyncio.to_thread(server.close)
    return []
