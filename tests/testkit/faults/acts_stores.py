"""Datastores, and what the catalogue does by itself."""

from __future__ import annotations

import asyncio
from typing import Any

from pbs_cloud.chunkstore.catalogue.upkeep import Upkeep
from pbs_cloud.chunkstore.states import UsageWriter
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import CallContext, SystemContext
from pbs_cloud.contracts.errors import AlreadyExists, Conflict
from pbs_cloud.formats.prune import KeepOptions
from pbs_cloud.runtime.lifecycle import BackgroundTask
from testkit.faults.acts import MISSING, Act, act, chunks, fresh, gone, group, key_of, reading, snapshot, times
from testkit.faults.places import Storage
from testkit.faults.world import FaultWorld
from testkit.maintenance import ADMIN, STORE, TENANT

SYSTEM: CallContext = SystemContext().for_tenant(TENANT)


async def _stores(world: FaultWorld) -> set[str]:
    found, _ = await world.catalogue.list_datastores(ADMIN)
    return {store.name for store in found}


@act
async def datastore_list(world: FaultWorld) -> Act:
    return await reading(lambda: world.catalogue.list_datastores(ADMIN))


@act
async def datastore_creation(world: FaultWorld) -> Act:
    name = fresh("store")

    async def run() -> None:
        await world.must(await world.catalogue.create_datastore(SYSTEM, name, {}))

    async def check() -> None:
        await upkeep_once(world, leftovers=True)
        assert name in await _stores(world)
        await _use_and_destroy(world, name)

    return Act(run, check, done=(AlreadyExists,), between=lambda: upkeep_once(world, leftovers=True))


async def _use_and_destroy(world: FaultWorld, name: str) -> None:
    key = key_of(t.GroupRef(name, "", "host", "one"))
    await world.back_up(key, {"a.pxar.didx": chunks(1)})
    await world.restored(key)
    del world.promised[key]
    await world.must(await world.catalogue.delete_datastore(SYSTEM, name, destroy_data=True))


@act
async def datastore_of_the_first_start(world: FaultWorld) -> Act:
    name = fresh("store")

    async def run() -> None:
        await world.catalogue.ensure_datastore(TENANT, name)
        if name not in await _stores(world):
            raise Conflict("not there yet")

    async def check() -> None:
        await _use_and_destroy(world, name)

    return Act(run, check, between=lambda: upkeep_once(world, leftovers=True))


@act
async def datastore_that_cannot_be_made(world: FaultWorld) -> Act:
    """Its place is taken: no row stays."""
    name = fresh("store")
    what = {Storage.DIRECTORY: "directory", Storage.BUCKET: "bucket's prefix"}[world.storage]
    if world.storage is Storage.DIRECTORY:
        (world.settings.data_dir / world.location(name) / ".chunks").mkdir(parents=True)
    else:
        await world.place(name).write("host/one/owner", b"somebody")

    async def run() -> str:
        upid = await world.catalogue.create_datastore(SYSTEM, name, {})
        return await world.ended(upid)

    async def check() -> None:
        await upkeep_once(world, leftovers=True)
        assert name not in await _stores(world)

    async def judged() -> str:
        status = await run()
        if status != f"the {what} holds a datastore already":
            raise Conflict(status)
        return "refused"

    return Act(judged, check, reads=True, expected="refused", between=lambda: upkeep_once(world, leftovers=True))


@act
async def datastore_removal_and_return(world: FaultWorld) -> Act:
    """Removed without its data, and taken back with it."""
    name = fresh("store")
    await world.must(await world.catalogue.create_datastore(SYSTEM, name, {}))
    key = key_of(t.GroupRef(name, "", "host", "one"))
    await world.back_up(key, {"a.pxar.didx": chunks(1)})

    async def run() -> None:
        if name in await _stores(world):
            await world.must(await world.catalogue.delete_datastore(SYSTEM, name))
        await world.must(await world.catalogue.create_datastore(SYSTEM, name, {}, reuse=True))

    async def check() -> None:
        await world.restored(key)
        del world.promised[key]
        await world.must(await world.catalogue.delete_datastore(SYSTEM, name, destroy_data=True))

    return Act(run, check, done=(AlreadyExists,))


@act
async def datastore_destruction(world: FaultWorld) -> Act:
    name = fresh("store")
    await world.must(await world.catalogue.create_datastore(SYSTEM, name, {}))
    key = key_of(t.GroupRef(name, "", "host", "one"))
    await world.back_up(key, {"a.pxar.didx": chunks(1)})
    del world.promised[key]

    async def run() -> None:
        await world.must(await world.catalogue.delete_datastore(SYSTEM, name, destroy_data=True))

    async def check() -> None:
        async with asyncio.timeout(30):
            while await _rows(world, name):  # the start of the process may have taken it up already
                await upkeep_once(world)
                await asyncio.sleep(0.1)
        assert name not in await _stores(world)

    return Act(run, check, done=MISSING, between=lambda: upkeep_once(world))


async def _rows(world: FaultWorld, name: str) -> int:
    async with world.database.system() as connection:
        return int(await connection.fetchval("SELECT count(*) FROM datastore WHERE name = $1", name))


@act
async def datastore_change(world: FaultWorld) -> Act:
    comment = fresh("comment")

    async def run() -> None:
        await world.catalogue.update_datastore(SYSTEM, STORE, {"comment": comment})

    async def check() -> None:
        found, _ = await world.catalogue.list_datastores(ADMIN)
        assert next(store for store in found if store.name == STORE).config["comment"] == comment

    return Act(run, check)


@act
async def datastore_status(world: FaultWorld) -> Act:
    await snapshot(world)

    async def run() -> Any:
        found = await world.catalogue.datastore_status(ADMIN, STORE, verbose=True)
        return found.counts, found.used

    return await reading(run)


@act
async def tenant_usage(world: FaultWorld) -> Act:
    await snapshot(world)
    return await reading(lambda: world.catalogue.tenant_usage(ADMIN))


async def upkeep_once(world: FaultWorld, *, leftovers: bool = False) -> None:
    """A round of what the catalogue does every few seconds; ``leftovers``: as if ten minutes had passed."""
    if leftovers:
        async with world.database.system() as connection:
            await connection.execute(
                "UPDATE datastore SET created_at = created_at - interval '1 hour' WHERE state = 'creating'"
            )
    upkeep: Upkeep = world.part("catalogue", BackgroundTask, "upkeep")._body.__self__
    await upkeep.once()


@act
async def upkeep(world: FaultWorld) -> Act:
    """Removals and datastores that were cut off are brought to an end, by whoever finds them."""
    key = await snapshot(world)
    del world.promised[key]
    name = fresh("store")
    await world.must(await world.catalogue.create_datastore(SYSTEM, name, {}))
    async with world.database.system() as connection:
        await connection.execute("UPDATE datastore SET state = 'creating' WHERE name = $1", name)
        await connection.execute(
            "INSERT INTO datastore (tenant_id, name, backend_type, location, config, state)"
            " SELECT $1, $2, backend_type, $3, '{}', 'creating' FROM datastore WHERE name = $4",
            TENANT, f"{name}x", world.location(f"{name}x"), name,
        )  # fmt: skip
        await connection.execute(
            "UPDATE snapshot SET state = 'removing', reusable_at = clock_timestamp() FROM backup_group g"
            " WHERE g.id = group_id AND g.backup_id = $1",
            key.group.backup_id,
        )
        freed = (
            "SELECT sum(f.stored_size) FROM snapshot_file f JOIN snapshot s ON s.id = f.snapshot_id"
            " JOIN backup_group g ON g.id = s.group_id WHERE g.backup_id = $1"
        )
        await connection.execute(
            f"UPDATE usage_counter SET bytes = bytes - ({freed}) WHERE writer = $2"
            " AND datastore_id = (SELECT id FROM datastore WHERE name = $3 AND state = 'active')",
            key.group.backup_id, int(UsageWriter.CATALOGUE), STORE,
        )  # fmt: skip

    async def run() -> None:
        await upkeep_once(world, leftovers=True)

    async def check() -> None:
        await gone(world, key)
        assert await world.place().read(world.path(key, "index.json.blob")) is None
        stores = await _stores(world)
        assert name in stores and f"{name}x" not in stores
        await world.must(await world.catalogue.delete_datastore(SYSTEM, name, destroy_data=True))

    return Act(run, check)


@act
async def datastore_pruning(world: FaultWorld) -> Act:
    name = fresh("ns")
    await world.catalogue.create_namespace(ADMIN, STORE, name)
    ref = group(name)
    keys = [await snapshot(world, ref, number) for number in range(2)]

    async def run() -> None:
        status = await world.ended(await world.gc.prune_datastore(ADMIN, STORE, name, None, KeepOptions(last=1)))
        if status != "OK":
            raise Conflict(status)

    async def check() -> None:
        await gone(world, keys[0])
        assert await times(world, ref) == [keys[1].backup_time]

    async def between() -> None:
        left = await times(world, ref)
        assert keys[1].backup_time in left
        if keys[0].backup_time not in left:
            world.promised.pop(keys[0], None)
        await world.check_promises(ref)

    return Act(run, check, between=between)
