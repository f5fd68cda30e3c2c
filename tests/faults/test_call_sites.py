"""A fault at the calls of the services to Postgres, storage and NATS: errors, never wrong answers; then recovery.

Every place must be reached by an act. Here one place in `SHARE` of some services gets one of its faults, chosen by a
hash so that all kinds of places and faults occur; `make soak PARTS=faults` provokes all faults at all places.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from fnmatch import fnmatch

import pytest
import pytest_asyncio
from testkit.faults.exempt import EXEMPT, reason
from testkit.faults.layer import Layer
from testkit.faults.modes import modes_of
from testkit.faults.places import Storage
from testkit.faults.sites import Site, all_sites
from testkit.faults.walk import Route, installed, load_acts, record, strike
from testkit.faults.world import FaultWorld, start_world
from testkit.servers import NatsServer, PostgresServer

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("faults-sites"),
    pytest.mark.timeout(900),
]
SITES = all_sites()
AREAS = ("auth", "auth/db", "auth/openid", "billing", "billing/webhooks", "chunkstore/catalogue")
SHARE = 3
_STRIKE_SECONDS = 120.0


@pytest.fixture(scope="module")
def layer() -> Iterator[Layer]:
    with installed() as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(postgres: PostgresServer, layer: Layer) -> AsyncIterator[FaultWorld]:
    load_acts()
    nats = NatsServer().start()
    with pytest.MonkeyPatch.context() as patches:
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


def test_exemptions_are_about_something() -> None:
    """A reason whose place is gone goes too."""
    unused = [pattern for pattern in EXEMPT if not any(fnmatch(str(site), pattern) for site in SITES)]
    assert not unused


@pytest.mark.parametrize("area", AREAS)
async def test_faults_at_call_sites(world: FaultWorld, route: Route, area: str) -> None:
    """The answer is an error or right; then the call works, everything committed restores, counters agree."""
    problems = []
    for site in SITES:
        number = _number(site)
        if (
            site.path.rpartition("/")[0] != area
            or site not in route.acts
            or reason(site, Storage.DIRECTORY)
            or number % SHARE
        ):
            continue
        modes = modes_of(site)
        mode = modes[number // SHARE % len(modes)]
        try:
            async with asyncio.timeout(_STRIKE_SECONDS):
                await strike(world, route, site, mode)
        except (AssertionError, TimeoutError) as error:
            problems.append(f"{site} {site.method} {mode}: {error}")
    assert not problems, "\n".join(problems)


async def test_afterwards_nothing_is_lost(world: FaultWorld, route: Route) -> None:
    """Every committed snapshot restores byte-identical; rows, files and counters agree."""
    await world.check_promises()
    await world.check_stores()


def _number(site: Site) -> int:
    """The same for as long as neither the place nor its function changes."""
    name = f"{site.path}:{site.function}:{site.kind}:{site.method}:{site.line}"
    return hashlib.sha256(name.encode()).digest()[0]
