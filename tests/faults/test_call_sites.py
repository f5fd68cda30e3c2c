"""A fault at the calls of the services to Postgres, storage and NATS: errors, never wrong answers; then recovery.

Every place must be reached by an act. Here one place in so many of each area gets one of its faults, chosen by a hash
so that all kinds of places and faults occur; `make soak PARTS=faults` provokes all faults at all places.
"""

from collections.abc import AsyncIterator
from fnmatch import fnmatch

import pytest
import pytest_asyncio
from testkit.faults.exempt import EXEMPT, reason
from testkit.faults.modes import chosen_mode
from testkit.faults.places import Storage
from testkit.faults.sites import all_sites
from testkit.faults.walk import Route, installed, load_acts, problem_after, record
from testkit.faults.world import FaultWorld, start_world
from testkit.servers import NatsServer, PostgresServer

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("faults-sites"),
    pytest.mark.timeout(900),
]
SITES = all_sites()
SHARES = {
    "auth/": 4,
    "billing/": 5,
    "chunkstore/catalogue/": 7,
    "chunkstore/chunks/": 5,
    "chunkstore/collection/": 9,
    "chunkstore/maintenance/": 7,
    "gc/": 5,
    "runtime/": 6,
}
"""One place in so many, by area: what takes longer is struck more rarely."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(postgres: PostgresServer) -> AsyncIterator[FaultWorld]:
    load_acts()
    nats = NatsServer().start()
    with installed() as layer, pytest.MonkeyPatch.context() as patches:
        made = await start_world(postgres, nats, layer, patches)
        yield made
        await made.stop()
    nats.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def route(world: FaultWorld) -> Route:
    """Everything once without a fault."""
    return await record(world)


async def test_every_call_site_is_reached(route: Route) -> None:
    """A new call to the outside needs an act that comes by, or a reason in `testkit.faults.exempt`."""
    missing = [str(site) for site in SITES if site not in route.acts and reason(site, Storage.DIRECTORY) is None]
    assert not missing, "no act comes by:\n" + "\n".join(missing)


async def test_exemptions_are_about_something() -> None:
    """A reason whose place is gone goes too."""
    unused = [pattern for pattern in EXEMPT if not any(fnmatch(str(site), pattern) for site in SITES)]
    assert not unused


async def test_every_area_has_a_share() -> None:
    """No service is left out."""
    where = {str(site) for site in SITES if reason(site, Storage.DIRECTORY) is None}
    assert not {place for place in where if not place.startswith(tuple(SHARES))}


@pytest.mark.parametrize("area", SHARES)
async def test_faults_at_call_sites(world: FaultWorld, route: Route, area: str) -> None:
    """The answer is an error or right; then the call works, everything committed restores, counters agree."""
    problems = []
    sites = [site for site in SITES if site.path.startswith(area) and site in route.acts]
    for site in sites:
        mode = chosen_mode(site, SHARES[area])
        if mode is None or reason(site, world.storage):
            continue
        problems.append(await problem_after(world, route, site, mode))
    assert not any(problems), "\n".join(filter(None, problems))


async def test_afterwards_nothing_is_lost(world: FaultWorld, route: Route) -> None:
    """Every committed snapshot restores byte-identical; rows, files and counters agree."""
    await world.check_promises()
    await world.check_stores()
