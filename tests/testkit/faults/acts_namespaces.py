"""Namespaces, moves, tasks."""

from __future__ import annotations

from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.errors import AlreadyExists, Conflict, NotFound
from testkit.faults.acts import Act, act, fresh, group, reading, snapshot, times
from testkit.faults.acts_stores import upkeep_once
from testkit.faults.world import FaultWorld
from testkit.maintenance import ADMIN, STORE


@act
async def namespace_creation(world: FaultWorld) -> Act:
    name = fresh("ns")

    async def run() -> None:
        await world.catalogue.create_namespace(ADMIN, STORE, name)

    async def check() -> None:
        assert name in await world.catalogue.list_namespaces(ADMIN, STORE, "", None)
        await snapshot(world, group(name))

    return Act(run, check, done=(AlreadyExists, Conflict))


@act
async def namespace_list(world: FaultWorld) -> Act:
    name = fresh("ns")
    await world.catalogue.create_namespace(ADMIN, STORE, name)
    return await reading(lambda: world.catalogue.list_namespaces(ADMIN, STORE, name, None))


@act
async def namespace_deletion(world: FaultWorld) -> Act:
    name = fresh("ns")
    await world.catalogue.create_namespace(ADMIN, STORE, name)
    key = await snapshot(world, group(name))

    async def run() -> None:
        await world.catalogue.delete_namespace(ADMIN, STORE, name, delete_groups=True, error_on_protected=True)

    async def check() -> None:
        world.promised.pop(key, None)
        assert name not in await world.catalogue.list_namespaces(ADMIN, STORE, "", None)

    async def between() -> None:
        await upkeep_once(world)  # ends a removal whose requests were not answered
        if name not in await world.catalogue.list_namespaces(ADMIN, STORE, "", None) or not await times(
            world, key.group
        ):
            world.promised.pop(key, None)
        else:
            await world.check_promises(key.group)

    return Act(run, check, done=(NotFound,), between=between)


def _follow(world: FaultWorld, key: t.SnapshotKey, ns: str) -> t.SnapshotKey:
    """The promise of a snapshot that was moved."""
    moved = t.SnapshotKey(t.GroupRef(STORE, ns, key.group.backup_type, key.group.backup_id), key.backup_time)
    if key in world.promised:
        world.promised[moved] = world.promised.pop(key)
    return moved


async def _where_it_is(world: FaultWorld, key: t.SnapshotKey, ns: str) -> None:
    """A snapshot is at one of two places, whole; what was reserved for it goes."""
    await world.a_minute_passes()
    await upkeep_once(world)
    here, there = group(key.group.ns, key.group.backup_id), group(ns, key.group.backup_id)
    found = []
    for ref in (here, there):
        if ref.ns in await world.catalogue.list_namespaces(ADMIN, STORE, "", None) or not ref.ns:
            found += [ref for at in await times(world, ref) if at == key.backup_time]
    assert len(found) == 1, f"{key} is at {found}"
    if found[0].ns == ns:
        _follow(world, key, ns)
    await world.check_promises(found[0])


@act
async def group_move(world: FaultWorld) -> Act:
    name = fresh("ns")
    await world.catalogue.create_namespace(ADMIN, STORE, name)
    key = await snapshot(world)
    await world.catalogue.set_group_notes(ADMIN, key.group, "kept")

    async def run() -> None:
        await world.must(await world.catalogue.move_group(ADMIN, key.group, name, merge=True))

    async def check() -> None:
        await upkeep_once(world)
        moved = _follow(world, key, name)
        await gone_from(world, key)
        await world.check_promises(moved.group)
        assert await world.catalogue.group_notes(ADMIN, moved.group) == "kept"

    return Act(run, check, done=(NotFound,), between=lambda: _where_it_is(world, key, name))


async def gone_from(world: FaultWorld, key: t.SnapshotKey) -> None:
    """Nothing of a moved snapshot is at its old place."""
    assert key.backup_time not in await times(world, key.group)


@act
async def namespace_move(world: FaultWorld) -> Act:
    source, target = fresh("ns"), fresh("ns")
    for name in (source, target):
        await world.catalogue.create_namespace(ADMIN, STORE, name)
    key = await snapshot(world, group(source))

    async def run() -> None:
        upid = await world.catalogue.move_namespace(
            ADMIN, STORE, source, target, max_depth=None, delete_source=True, merge=True
        )
        await world.must(upid)

    async def check() -> None:
        await upkeep_once(world)
        moved = _follow(world, key, target)
        await world.check_promises(moved.group)
        assert source not in await world.catalogue.list_namespaces(ADMIN, STORE, "", None)

    return Act(run, check, done=(NotFound,), between=lambda: _where_it_is(world, key, target))


@act
async def task(world: FaultWorld) -> Act:
    made: list[str] = []

    async def run() -> None:
        made.append(await world.catalogue.create_task(ADMIN, "test", fresh("task"), process_id="test"))
        await world.catalogue.append_task_log(ADMIN, made[-1], ["one", "two"])
        await world.catalogue.finish_task(ADMIN, made[-1], "OK")

    async def check() -> None:
        assert (await world.catalogue.get_task(ADMIN, made[-1])).status == "OK"
        log = await world.log(made[-1])
        assert log.count("one") == 1 and log.count("two") == 1

    return Act(run, check)


@act
async def task_list(world: FaultWorld) -> Act:
    kind = fresh("kind")
    upid = await world.catalogue.create_task(ADMIN, kind, None, process_id="test")
    await world.catalogue.finish_task(ADMIN, upid, "OK")
    return await reading(lambda: world.catalogue.list_tasks(ADMIN, t.TaskFilter(typefilter=kind)))


@act
async def task_log(world: FaultWorld) -> Act:
    upid = await world.catalogue.create_task(ADMIN, "test", None, process_id="test")
    await world.catalogue.append_task_log(ADMIN, upid, ["one", "two"])
    await world.catalogue.finish_task(ADMIN, upid, "OK")
    return await reading(lambda: world.catalogue.read_task_log(ADMIN, upid, 0, 0))


@act
async def task_status(world: FaultWorld) -> Act:
    upid = await world.catalogue.create_task(ADMIN, "test", None, process_id="test")
    await world.catalogue.finish_task(ADMIN, upid, "OK")
    return await reading(lambda: world.catalogue.get_task(ADMIN, upid))


@act
async def task_stop(world: FaultWorld) -> Act:
    process = fresh("alive")
    upid = await world.catalogue.create_task(ADMIN, "test", None, process_id=process)

    async def run() -> None:
        await world.catalogue.stop_task(ADMIN, upid)

    async def check() -> None:
        found = await world.catalogue.renew_leases(process, [], [upid])
        assert found.stop_requested_upids == (upid,)
        await world.catalogue.finish_task(ADMIN, upid, "stopped")

    return Act(run, check)
