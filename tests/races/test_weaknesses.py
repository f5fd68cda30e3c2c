"""The weaknesses of the reference (formats 8.9) that ours must not have, by their numbers.

Not here: 1 (one PUT and one GET per chunk) is the price of a layout that a real PBS reads, and the only mode we have;
9 (a sequential refresh with downtime) does not exist, as there is no local copy that could be stale.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from testkit.chunk_world import encrypted_chunk, plain_chunk
from testkit.collection_fixtures import NewWorld
from testkit.collection_world import CollectionWorld, some_chunks
from testkit.late_requests import LateRequests, Request, batch_delete, putting
from testkit.races import CORRUPT, complete, condemned_chunk, in_phase_delete, sound
from testkit.servers import S3Server

from pbs_cloud.chunkstore.backends import StoreLocation, open_backend
from pbs_cloud.chunkstore.backends.s3_client import ATTEMPTS
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.errors import Conflict, DataCorrupt, PbsError

from .test_clocks_and_verification import damage, verify

pytestmark = pytest.mark.xdist_group("races")


def test_every_race_has_a_test() -> None:
    folder = Path(__file__).parent
    names = re.findall(r"def test_([rw])(\d\d)_", "".join(path.read_text() for path in folder.glob("test_*.py")))
    assert {int(number) for kind, number in names if kind == "r"} == set(range(1, 27))
    assert {int(number) for kind, number in names if kind == "w"} == set(range(1, 13)) - {1, 9}


async def files_of(world: CollectionWorld) -> list[str]:
    """Relative keys of all files of groups and snapshots."""
    return sorted([key async for key, _ in world.parts.backends._opened[world.datastore].list_files()])


async def test_w02_a_chunk_that_was_lost_behind_our_back(any_world: CollectionWorld) -> None:
    """The comparison with the storage notices it, and the next backup stores it again."""
    world = any_world
    lost, kept = some_chunks(2)
    await world.backup([lost, kept])
    backend = (await world.registry.get(world.datastore, world.tenant, world.location)).backend
    await backend.delete_chunks([lost.digest])
    await world.collect_orphans()
    assert await world.state(lost) == CORRUPT
    backup = await world.open()
    with pytest.raises(PbsError, match="refers to a chunk that is damaged"):
        await world.close_index(backup, [lost, kept])
    await world.services.closing.close(world.ctx, backup.id, error="damaged", bytes_sent=0)
    again = await world.open()
    assert again.session.base is None
    await world.put(again, lost, kept)
    await complete(world, again, lost, kept)
    assert await sound(world, lost, kept)


async def test_w03_a_damaged_object_is_never_served(any_world: CollectionWorld) -> None:
    """Plain or encrypted, at once and again; after the repair it reads well."""
    world = any_world
    for chunk in (plain_chunk(3000), encrypted_chunk(3000)):
        backup = await world.backup([chunk])
        reader = await world.services.readers.open(
            world.ctx, t.SnapshotKey(backup.group, backup.time), process_id="gw", with_task=False
        )
        await damage(world, chunk)
        for _ in range(2):
            with pytest.raises(DataCorrupt):
                await world.chunks.get(world.ctx, reader.session_id, chunk.digest)
        await world.services.closing.close(world.ctx, reader.session_id, error=None, bytes_sent=0)
        await world.backup([chunk], "again")
        assert await sound(world, chunk)
        await world.forget(backup)


async def test_w03_every_put_carries_a_checksum(new_world: NewWorld, late: LateRequests) -> None:
    world = await new_world("s3", endpoint=late.endpoint)
    await world.backup(some_chunks(2))
    heads = [request.raw.partition(b"\r\n\r\n")[0].lower() for request in late.seen if request.method == "PUT"]
    assert len(heads) >= 5
    assert all(b"\r\nx-amz-checksum-sha256:" in head for head in heads)


async def test_w04_a_sweep_in_the_middle_of_an_upload(s3_world: CollectionWorld) -> None:
    """Nothing but the claim protects the chunk: no index names it yet, no process remembers it."""
    world = s3_world
    chunks = some_chunks(3)
    backup = await world.open()
    await world.put(backup, *chunks)
    await world.restart_chunks()
    for _ in range(2):
        await world.collect()
    await world.collect_orphans()
    await complete(world, backup, *chunks)
    assert await sound(world, *chunks)


async def test_w05_a_set_aside_copy_disturbs_no_collection(any_world: CollectionWorld) -> None:
    """It is kept while its chunk is needed and damaged, and goes when that is whole again."""
    world = any_world
    (chunk,) = some_chunks(1)
    old = await world.backup([chunk])
    await damage(world, chunk)
    assert await verify(world, old, chunk) == 1
    assert (await world.collect())["still-bad"] == 1
    assert await world.state(chunk) == CORRUPT
    run = await in_phase_delete(world)
    assert (await world.find_orphans(run)).still_bad == 1
    await world.end(run)
    await world.backup([chunk], "heals")
    await asyncio.sleep(1.1)
    run = await in_phase_delete(world)
    assert (await world.find_orphans(run)).removed_bad == 1
    await world.end(run)
    assert (await world.collect())["still-bad"] == 0
    assert await sound(world, chunk)


async def test_w06_a_name_that_begins_another_one(any_world: CollectionWorld) -> None:
    """Groups `10` and `100`, namespaces `a` and `ab`."""
    world = any_world
    (chunk,) = some_chunks(1)
    for ns in ("a", "ab"):
        await world.services.namespaces.create(world.ctx, "store", ns)
    kept = []
    for ns, name in (("", "10"), ("", "100"), ("a", "10"), ("ab", "10")):
        backup = await world.open(name, ns=ns)
        await world.put(backup, chunk)
        await complete(world, backup, chunk)
        kept.append(backup)
    before = await files_of(world)
    await world.services.groups.delete(world.ctx, kept[0].group, error_on_protected=True)
    await world.services.namespaces.delete(world.ctx, "store", "a", delete_groups=True, error_on_protected=True)
    gone = ("host/10/", "ns/a/")
    assert await files_of(world) == [key for key in before if not key.startswith(gone)]
    assert len(await files_of(world)) == len(before) // 2
    assert (await world.collect())["index-file-count"] == 2


async def test_w07_the_last_snapshot_takes_owner_and_notes_along(any_world: CollectionWorld) -> None:
    world = any_world
    backup = await world.backup(some_chunks(1))
    await world.services.groups.set_notes(world.ctx, backup.group, "what it is")
    assert {"host/one/owner", "host/one/notes"} <= set(await files_of(world))
    await world.forget(backup)
    assert await files_of(world) == []


async def test_w08_a_batch_delete_that_hangs_holds_nobody_up(new_world: NewWorld, late: LateRequests) -> None:
    """Only who needs one of its chunks waits."""
    world = await new_world("s3", endpoint=late.endpoint)
    doomed = await condemned_chunk(world)
    other, shared = some_chunks(2)
    await world.backup([shared], "shared")
    run = await in_phase_delete(world)
    held = late.hold(batch_delete)
    sweep = asyncio.create_task(world.sweep(run))
    await held.reached.wait()
    began = time.monotonic()
    await world.backup([other, shared])
    assert time.monotonic() - began < 20
    assert (
        await world.value("SELECT count(*) FROM pg_locks WHERE relation = 'chunk'::regclass AND mode LIKE 'Row%'") == 0
    )
    held.go_on.set()
    assert (await sweep).removed_chunks == 1
    assert not await world.has_object(doomed)


async def test_w10_of_two_servers_that_take_a_place_one_gets_it(s3_world: CollectionWorld) -> None:
    """The mark is a conditional PUT; afterwards the other one is refused."""
    with ThreadPoolExecutor(4) as threads:
        names = ["00000000-0000-4000-8000-00000000000" + str(number) for number in range(6)]
        backends = [
            open_backend(s3_world.settings, StoreLocation("s3", "tenant/contested", name), threads) for name in names
        ]
        results = await asyncio.gather(*(backend.create() for backend in backends), return_exceptions=True)
        winners = [backend for backend, result in zip(backends, results, strict=True) if result is None]
        assert len(winners) == 1
        assert all(isinstance(result, PbsError) for result in results if result is not None)
        await winners[0].check()
        for backend in backends:
            if backend is not winners[0]:
                with pytest.raises(PbsError):
                    await backend.check()


async def test_w11_what_nobody_knows_is_not_deleted_at_once(any_world: CollectionWorld) -> None:
    """Neither a young object without a row, nor anything while somebody else's snapshot lies there."""
    world = any_world
    known, unknown = some_chunks(2)
    await world.backup([known])
    world.settings = world.settings.model_copy(update={"gc_grace_seconds": 3600.0})
    backend = (await world.registry.get(world.datastore, world.tenant, world.location)).backend
    await backend.write_chunk(unknown.digest, [unknown.data], only_new=True)
    assert await world.collect_orphans() == (0, 0)
    world.settings = world.settings.model_copy(update={"gc_grace_seconds": 0.0})
    await asyncio.sleep(1.1)
    await backend.put_file("vm/7/2026-01-31T12:00:00Z/index.json.blob", b"another server's")
    run = await in_phase_delete(world)
    found = await world.find_orphans(run)
    assert (found.found, "vm/7/2026-01-31T12:00:00Z" in (found.refused or "")) == (0, True)
    assert await world.has_object(unknown)
    await world.restart_chunks()
    assert (await world.sweep(run)).removed_chunks == 0
    assert await sound(world, known)


async def test_w11_nothing_is_collected_where_another_server_has_put_its_mark(
    new_world: NewWorld, s3: S3Server
) -> None:
    """It wrote snapshots that nobody here knows; one GET in each run tells."""
    world = await new_world("s3")
    (gone,) = some_chunks(1)
    await world.forget(await world.backup([gone]))
    place = {"Bucket": world.settings.s3_bucket, "Key": "tenant/one/.in-use"}
    s3.client().put_object(**place, Body=b'{"hostname":"pbs.example.com"}')
    run = await world.begin()
    with pytest.raises(Conflict, match=r"in use by pbs\.example\.com"):
        await world.mark(run)
    with pytest.raises(Conflict, match="were not read"):
        await world.condemn(run, set())
    assert await sound(world, gone)
    s3.client().put_object(**place, Body=f'{{"hostname":"pbs-cloud-{world.location.uuid}"}}'.encode())
    digests, _, _ = await world.mark(run)
    assert (await world.condemn(run, digests)).condemned == 1


@pytest.mark.parametrize("matches", [putting("/.chunks/"), batch_delete], ids=["put", "delete"])
async def test_w12_every_attempt_is_counted(
    new_world: NewWorld, late: LateRequests, matches: Callable[[Request], bool]
) -> None:
    """Also those that failed; only the pages of lists are not."""
    world = await new_world("s3", endpoint=late.endpoint)

    def counted() -> float:
        samples = [sample for metric in ATTEMPTS.collect() for sample in metric.samples]
        return sum(sample.value for sample in samples if sample.name.endswith("_total"))

    before = counted()
    late.fail(matches, times=3)
    await world.forget(await world.backup(some_chunks(1)))
    assert sum(matches(request) for request in late.seen) >= 4
    assert counted() - before == sum("list-type=2" not in request.path for request in late.seen)
