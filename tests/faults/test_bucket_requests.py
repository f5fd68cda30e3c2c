"""The walk over a bucket: a fault at calls of the storage and at single requests to it (see test_call_sites.py)."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from testkit.faults.exempt import reason
from testkit.faults.modes import chosen_mode
from testkit.faults.places import Storage
from testkit.faults.sites import Kind, all_sites
from testkit.faults.walk import Route, installed, load_acts, problem_after, record
from testkit.faults.world import FaultWorld, start_world
from testkit.servers import NatsServer, PostgresServer, S3Server

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("faults-bucket"),
    pytest.mark.timeout(900),
]
SITES = [site for site in all_sites() if reason(site, Storage.BUCKET) is None]
ACTS = (
    "adoption",
    "backup_in_place_of_corrupt_chunks",
    "chunk_of_unknown_kind",
    "client_log",
    "collection_beside_an_unknown_snapshot",
    "collection_with_orphans",
    "comparison",
    "datastore_creation",
    "datastore_destruction",
    "datastore_of_the_first_start",
    "first_backup_of_a_datastore",
    "group_move",
    "group_notes",
    "inherited_corrupt_chunk",
    "large_index",
    "namespace_creation",
    "namespace_deletion",
    "object_of_unknown_origin",
    "owner",
    "protection",
    "protection_taken_away",
    "rebuild",
    "refused_files",
    "restore_of_a_damaged_chunk",
    "smaller_copy_of_a_chunk",
    "upkeep",
    "verification_of_a_corrupt_chunk",
)
"""They come by every request and by every call of the storage; the others need much longer."""

SHARES = {Kind.BUCKET: 2, Kind.STORAGE: 5}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(postgres: PostgresServer, s3: S3Server) -> AsyncIterator[FaultWorld]:
    load_acts()
    nats = NatsServer().start()
    with installed(Storage.BUCKET) as layer, pytest.MonkeyPatch.context() as patches:
        made = await start_world(postgres, nats, layer, patches, s3)
        yield made
        await made.stop()
    nats.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def route(world: FaultWorld) -> Route:
    """Some acts once without a fault."""
    return await record(world, ACTS)


async def test_every_call_of_the_storage_is_reached(route: Route) -> None:
    """A new one needs an act that comes by."""
    missing = [str(site) for site in SITES if site.kind in SHARES and site not in route.acts]
    assert not missing, "no act comes by:\n" + "\n".join(missing)


@pytest.mark.parametrize("kind", SHARES)
async def test_faults_over_a_bucket(world: FaultWorld, route: Route, kind: Kind) -> None:
    """The answer is an error or right; then the call works, everything committed restores, counters agree."""
    problems = []
    for site in SITES:
        mode = chosen_mode(site, SHARES[kind])
        if site.kind is not kind or site not in route.acts or mode is None:
            continue
        problems.append(await problem_after(world, route, site, mode))
    await world.check_promises()
    await world.check_stores()
    assert not any(problems), "\n".join(filter(None, problems))
