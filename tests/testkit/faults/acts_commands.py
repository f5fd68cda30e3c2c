"""What an operator runs on whole datastores: adopt, rebuild, fsck."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pbs_cloud.chunkstore.maintenance import running
from pbs_cloud.chunkstore.maintenance.fsck_report import Problem
from pbs_cloud.chunkstore.states import ChunkState
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.errors import DataCorrupt, NotFound, Unavailable
from pbs_cloud.formats import layout
from testkit.faults.acts import Act, act, chunks, fresh, key_of
from testkit.faults.acts_stores import SYSTEM
from testkit.faults.places import Place
from testkit.faults.world import FaultWorld, Kept
from testkit.maintenance import ADMIN, TENANT


async def _store(world: FaultWorld, name: str) -> tuple[Place, dict[t.SnapshotKey, Kept]]:
    """A datastore with groups in two namespaces; its place and what is in it."""
    await world.must(await world.catalogue.create_datastore(SYSTEM, name, {}))
    await world.catalogue.create_namespace(ADMIN, name, "inner")
    kept = {}
    for ns in ("", "inner"):
        key = key_of(t.GroupRef(name, ns, "host", "one"))
        await world.back_up(key, {"a.pxar.didx": chunks()})
        await world.catalogue.set_group_notes(ADMIN, key.group, "kept")
        kept[key] = world.promised.pop(key)
    return world.place(name), kept


async def _copy(world: FaultWorld, target: Place, name: str, *, marked: bool) -> dict[t.SnapshotKey, Kept]:
    """A store as it lies, at another place, where no catalogue knows it; what must be in it."""
    source_name = fresh("store")
    source, kept = await _store(world, source_name)
    await source.copy_to(target)
    await world.must(await world.catalogue.delete_datastore(SYSTEM, source_name, destroy_data=True))
    if marked:
        await target.mark()
    first = next(iter(kept.values())).archives["a.pxar.didx"][0]
    await target.write(layout.bad_chunk_path(first.digest, 0), first.data)
    return {
        t.SnapshotKey(t.GroupRef(name, key.group.ns, "host", "one"), key.backup_time): what
        for key, what in kept.items()
    }


def _taken_in(world: FaultWorld, name: str, kept: dict[t.SnapshotKey, Kept], run: Any, *, destroy: bool) -> Act:
    """Either nothing of the store is in the catalogue, or all of it."""

    async def between() -> None:
        found, _ = await world.catalogue.list_datastores(ADMIN)
        if name in [store.name for store in found]:
            await whole()

    async def whole() -> None:
        for key, what in kept.items():
            world.promised[key] = what
            assert await world.restored(key) == what
            del world.promised[key]
            assert await world.catalogue.group_notes(ADMIN, key.group) == "kept"

    async def check() -> None:
        await whole()
        (report,) = await running.fsck(world.settings, name=name, tenant_id=None)
        assert report.sound, report.lines()
        await world.must(await world.catalogue.delete_datastore(SYSTEM, name, destroy_data=destroy))

    return Act(run, check, between=between)


@act
async def rebuild(world: FaultWorld) -> Act:
    """A datastore whose rows were lost comes back from its directory."""
    name = fresh("store")
    kept = await _copy(world, world.place(name), name, marked=True)

    async def run() -> None:
        (outcome,) = await running.rebuild(world.settings, name=name, tenant_id=TENANT)
        if outcome.problem:
            raise Unavailable(outcome.problem)

    return _taken_in(world, name, kept, run, destroy=True)


@act
async def rebuild_of_a_damaged_store(world: FaultWorld) -> Act:
    """A damaged chunk beside its set-aside copy comes back as a damaged one."""
    name = fresh("store")
    kept = await _copy(world, world.place(name), name, marked=True)
    damaged = next(iter(kept.values())).archives["a.pxar.didx"][0]
    await world.place(name).write(layout.chunk_path(damaged.digest), damaged.data[:-1] + b"\0")

    async def run() -> None:
        (outcome,) = await running.rebuild(world.settings, name=name, tenant_id=TENANT)
        if outcome.problem:
            raise Unavailable(outcome.problem)

    async def check() -> None:
        async with world.database.system() as connection:
            state = await connection.fetchval("SELECT state FROM chunk WHERE digest = $1", damaged.digest)
        assert ChunkState(state) is ChunkState.CORRUPT
        await world.must(await world.catalogue.delete_datastore(SYSTEM, name, destroy_data=True))

    return Act(run, check)


@act
async def adoption(world: FaultWorld) -> Act:
    """What another server has left is taken over as it is."""
    name = fresh("store")
    place, called = world.elsewhere(name)
    kept = await _copy(world, place, name, marked=False)

    async def run() -> None:
        await running.adopt(world.settings, Path(called), tenant_id=TENANT, name=name)

    found = _taken_in(world, name, kept, run, destroy=False)
    once = found.check

    async def check() -> None:
        assert once is not None
        await once()
        await place.clear()

    found.check = check
    return found


@act
async def comparison(world: FaultWorld) -> Act:
    """`fsck` says what differs, or that it could not look; never that all is well when it is not."""
    name = fresh("store")
    place, kept = await _store(world, name)
    first, second = kept
    damaged, missing = kept[first].archives["a.pxar.didx"]
    await place.write(layout.chunk_path(damaged.digest), damaged.data[:-1] + bytes([damaged.data[-1] ^ 1]))
    await place.remove(layout.chunk_path(missing.digest))
    stray = chunks(1)[0]
    await place.write(layout.chunk_path(stray.digest), stray.data)
    await place.remove(world.path(second, "a.pxar.didx"))

    async def run() -> Any:
        try:
            (report,) = await running.fsck(world.settings, name=name, tenant_id=None, read_data=True)
        except NotFound as error:
            raise AssertionError(f"the store is not found: {error}") from error
        if any(item.problem.value == "not comparable" for item in report.findings):
            raise Unavailable("fsck could not compare")
        if expected and report.totals[Problem.DAMAGED] > dict(expected)[Problem.DAMAGED.value]:
            raise DataCorrupt("what came damaged from the storage was told")
        return sorted((problem.value, count) for problem, count in report.totals.items())

    expected: list[tuple[str, int]] = []
    expected = await run()
    assert expected, "nothing was found"

    async def check() -> None:
        await world.must(await world.catalogue.delete_datastore(SYSTEM, name, destroy_data=True))

    return Act(run, check, reads=True, expected=expected)
