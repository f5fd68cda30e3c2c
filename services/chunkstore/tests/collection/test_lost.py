"""Objects that are gone: what a list proves and what it does not (step F)."""

import uuid

import pytest
from testkit.collection_world import STORE, CollectionWorld, some_chunks
from testkit.races import CORRUPT, LIVE

from pbs_cloud.chunkstore.collection import lost
from pbs_cloud.chunkstore.collection.lost import LostObjects
from pbs_cloud.contracts.errors import Conflict


async def comparison(world: CollectionWorld) -> LostObjects:
    run = await world.begin()
    return LostObjects(world.database, await world.sweeping.store_of(world.tenant, uuid.UUID(run.token)))


async def test_only_what_is_really_gone_is_marked(world: CollectionWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that leaves objects out marks none of them: each is looked at."""
    chunks = sorted(some_chunks(6), key=lambda chunk: chunk.digest)
    await world.backup(chunks)
    backend = (await world.registry.get(world.datastore, world.tenant, world.location)).backend
    await backend.delete_chunks([chunks[1].digest, chunks[5].digest])
    found = await comparison(world)
    monkeypatch.setattr(lost, "_PAGE", 2)
    await found.listed([chunks[0].digest, chunks[3].digest])
    assert found.count == 1
    await found.listed([])
    await found.listed([chunks[4].digest])
    await found.end()
    assert found.count == 2
    assert [await world.state(chunk) for chunk in chunks] == [LIVE, CORRUPT, LIVE, LIVE, LIVE, CORRUPT]


async def test_a_list_in_no_order_proves_nothing(world: CollectionWorld) -> None:
    chunks = sorted(some_chunks(3), key=lambda chunk: chunk.digest)
    await world.backup(chunks)
    backend = (await world.registry.get(world.datastore, world.tenant, world.location)).backend
    await backend.delete_chunks([chunks[1].digest])
    found = await comparison(world)
    await found.listed([chunks[2].digest, chunks[0].digest])
    await found.end()
    assert found.count == 0
    assert [await world.state(chunk) for chunk in chunks] == [LIVE] * 3


async def test_a_storage_that_is_not_what_it_was(world: CollectionWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not every chunk is given up because everything is away."""
    monkeypatch.setattr(lost, "MOST", 2)
    chunks = some_chunks(5)
    await world.backup(chunks)
    backend = (await world.registry.get(world.datastore, world.tenant, world.location)).backend
    await backend.delete_chunks([chunk.digest for chunk in chunks])
    found = await comparison(world)
    await found.end()
    assert found.count == 2
    assert sorted([await world.state(chunk) or 0 for chunk in chunks]) == [LIVE] * 3 + [CORRUPT] * 2


@pytest.mark.parametrize("mode", ["read-only", "offline"])
async def test_a_store_in_maintenance_is_not_collected(world: CollectionWorld, mode: str) -> None:
    """No run begins; one that is under way ends, as every operation does."""
    (gone,) = some_chunks(1)
    await world.forget(await world.backup([gone]))
    run = await world.begin()
    await world.execute("UPDATE datastore SET config = config || $1", {"maintenance-mode": f"{mode},message=moved"})
    digests, _, _ = await world.mark(run)
    await world.condemn(run, digests)
    assert (await world.sweep(run)).removed_chunks == 1
    await world.end(run)
    with pytest.raises(Conflict, match=f"^datastore '{STORE}' is unavailable: {mode} maintenance mode: moved$"):
        await world.begin()
