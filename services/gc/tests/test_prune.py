"""Prune as tasks: groups, namespaces, what is spared, who may (formats 10, rest-api C.7)."""

import itertools

import pytest
from testkit.maintenance import ADMIN, FIRST_TIME, STORE, Maintained, member

from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import SystemContext
from pbs_cloud.contracts.errors import Conflict, NotFound, NotOwner, PermissionDenied
from pbs_cloud.formats.prune import KeepOptions

pytestmark = pytest.mark.asyncio(loop_scope="module")
_numbers = itertools.count(1)
KEEP_ONE, NOTHING = KeepOptions(last=1), KeepOptions()


async def space(world: Maintained, below: str = "") -> str:
    ns = f"{below}/deep" if below else f"p{next(_numbers)}"
    await world.catalogue.create_namespace(ADMIN, STORE, ns)
    return ns


async def group(world: Maintained, ns: str, backup_id: str = "1", count: int = 3, **more: object) -> t.GroupRef:
    ref = t.GroupRef(STORE, ns, "vm", backup_id)
    for number in range(count):
        await world.backup(ref, FIRST_TIME + 3600 * number, **more)  # type: ignore[arg-type]
    return ref


async def times(world: Maintained, ns: str) -> list[int]:
    return sorted((snapshot.backup_time - FIRST_TIME) // 3600 for snapshot in await world.snapshots(ns))


async def test_one_group_with_its_result(world: Maintained) -> None:
    ns = await space(world)
    ref = await group(world, ns)
    planned, upid = await world.gc.prune_group(ADMIN, ref, KEEP_ONE, dry_run=True)
    assert upid is None
    assert [verdict.keep for verdict in planned] == [False, False, True]
    assert await times(world, ns) == [0, 1, 2]

    done, upid = await world.gc.prune_group(ADMIN, ref, KEEP_ONE)
    assert upid is not None
    assert [verdict.keep for verdict in done] == [False, False, True], "oldest first"
    assert await times(world, ns) == [2]
    task = await world.catalogue.get_task(ADMIN, upid)
    assert (task.worker_type, task.worker_id, task.status) == ("prune", f"{STORE}:{ns}:vm/1", "OK")
    log = (await world.log(upid)).splitlines()
    assert log[0].endswith(": retention options: --keep-last 1")
    assert [line.rpartition(" ")[2] for line in log if "Z " in line] == ["remove", "remove", "keep"]


async def test_use_task_answers_at_once(world: Maintained) -> None:
    ns = await space(world)
    ref = await group(world, ns)
    verdicts, upid = await world.gc.prune_group(ADMIN, ref, KEEP_ONE, use_task=True)
    assert verdicts == ()
    assert upid is not None
    assert await world.ended(upid) == "OK"
    assert await times(world, ns) == [2]


async def test_no_option_keeps_everything(world: Maintained) -> None:
    ns = await space(world)
    verdicts, upid = await world.gc.prune_group(ADMIN, await group(world, ns), NOTHING)
    assert all(verdict.keep for verdict in verdicts)
    assert await times(world, ns) == [0, 1, 2]
    assert "keeping all files" in await world.log(upid or "")


async def test_what_is_spared(world: Maintained) -> None:
    """Protected ones without a word; one that is read with a warning; one that is written as `keep-partial`."""
    ns = await space(world)
    ref = await group(world, ns, count=4)
    await world.catalogue.set_protected(ADMIN, t.SnapshotKey(ref, FIRST_TIME), True)
    reader = await world.catalogue.open_reader(ADMIN, t.SnapshotKey(ref, FIRST_TIME + 3600), process_id="test")
    writer = await world.open(ref, FIRST_TIME + 3600 * 9)
    _, upid = await world.gc.prune_group(ADMIN, ref, KEEP_ONE)
    assert await world.ended(upid or "") == "WARNINGS: 1"
    log = await world.log(upid or "")
    assert "2023-11-14T22:13:20Z protected" in log
    assert "WARN: failed to remove vm/1/2023-11-14T23:13:20Z" in log
    assert "keep-partial" in log
    assert await times(world, ns) == [0, 1, 3, 9]
    await world.catalogue.close_session(ADMIN, reader.session_id)
    await world.catalogue.close_session(ADMIN, writer.session_id, error="test")


async def test_namespaces_and_their_depth(world: Maintained) -> None:
    ns = await space(world)
    deep = await space(world, ns)
    for place in (ns, deep):
        for backup_id in ("1", "2"):
            await group(world, place, backup_id)
    upid = await world.gc.prune_datastore(ADMIN, STORE, ns, None, KEEP_ONE, dry_run=True)
    assert await world.ended(upid) == "OK"
    log = await world.log(upid)
    assert log.count("would remove vm/") == 8
    assert log.count("would keep vm/") == 4
    assert await times(world, deep) == [0, 0, 1, 1, 2, 2]

    upid = await world.gc.prune_datastore(ADMIN, STORE, ns, 0, KEEP_ONE)
    assert await world.ended(upid) == "OK"
    assert (await times(world, ns), len(await times(world, deep))) == ([2, 2], 6)
    task = await world.catalogue.get_task(ADMIN, upid)
    assert (task.worker_type, task.worker_id) == ("prune", f"{STORE}:{ns}")

    assert await world.ended(await world.gc.prune_datastore(ADMIN, STORE, ns, None, KEEP_ONE)) == "OK"
    assert await times(world, deep) == [2, 2]


async def test_who_may(world: Maintained) -> None:
    ns = await space(world)
    power, backup = member("power@pbs", "DatastorePowerUser"), member("b@pbs", "DatastoreBackup")
    foreign = await group(world, ns, "1")
    await group(world, ns, "2", ctx=power)
    with pytest.raises(PermissionDenied):
        await world.gc.prune_group(backup, foreign, KEEP_ONE, dry_run=True)
    with pytest.raises(NotOwner):
        await world.gc.prune_group(power, foreign, KEEP_ONE)
    with pytest.raises(Conflict, match="missing permissions"):
        await world.gc.prune_datastore(backup, STORE, ns, None, KEEP_ONE)
    assert await world.ended(await world.gc.prune_datastore(power, STORE, ns, None, KEEP_ONE), power) == "OK"
    assert await times(world, ns) == [0, 1, 2, 2], "only what it owns"


async def test_what_is_missing(world: Maintained) -> None:
    with pytest.raises(NotFound):
        await world.gc.prune_group(ADMIN, t.GroupRef(STORE, "", "vm", "nosuch"), KEEP_ONE)
    with pytest.raises(NotFound, match="no such datastore 'nosuch'"):
        await world.gc.prune_datastore(ADMIN, "nosuch", "", None, KEEP_ONE)
    upid = await world.gc.prune_datastore(ADMIN, STORE, "nosuch", None, KEEP_ONE)
    assert "ENOENT" in await world.ended(upid)


async def test_read_only_datastores_are_not_pruned(world: Maintained) -> None:
    system = SystemContext().for_tenant(ADMIN.tenant_id)
    await world.ended(await world.catalogue.create_datastore(system, "fixed", {}), system)
    ref = t.GroupRef("fixed", "", "vm", "1")
    await world.backup(ref)
    await world.backup(ref, FIRST_TIME + 1)
    message = 'read-only,message="disk, \\"swap\\""'
    await world.catalogue.update_datastore(system, "fixed", {"maintenance-mode": message})
    with pytest.raises(Conflict, match="read-only maintenance mode"):
        await world.gc.prune_group(ADMIN, ref, KEEP_ONE, dry_run=True)
    with pytest.raises(Conflict, match=r"'fixed' is unavailable: read-only maintenance mode: disk, \"swap\"$"):
        await world.gc.prune_datastore(ADMIN, "fixed", "", None, KEEP_ONE, dry_run=True)
    assert len(await world.snapshots(store="fixed")) == 2
