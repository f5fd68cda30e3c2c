"""Snapshots and groups: lists, notes, owners, protection, removal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.errors import Conflict, NotFound, PbsError
from pbs_cloud.formats import blob
from pbs_cloud.formats.prune import KeepOptions
from testkit.faults.acts import MISSING, Act, act, fresh, gone, group, reading, snapshot, times
from testkit.faults.world import FaultWorld
from testkit.maintenance import ADMIN, STORE, member


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    yield data


@act
async def snapshot_list(world: FaultWorld) -> Act:
    ref = group()
    for number in range(2):
        await snapshot(world, ref, number)
    return await reading(lambda: world.snapshots("", STORE, backup_type="host", backup_id=ref.backup_id))


@act
async def group_list(world: FaultWorld) -> Act:
    ns = fresh("ns")
    await world.catalogue.create_namespace(ADMIN, STORE, ns)
    await snapshot(world, group(ns))

    async def run() -> Any:
        return [item async for item in world.catalogue.list_groups(ADMIN, STORE, ns)]

    return await reading(run)


@act
async def file_list(world: FaultWorld) -> Act:
    key = await snapshot(world)
    return await reading(lambda: world.catalogue.list_files(ADMIN, key))


@act
async def notes(world: FaultWorld) -> Act:
    key = await snapshot(world)

    async def run() -> None:
        await world.catalogue.set_notes(ADMIN, key, "kept")

    async def check() -> None:
        assert await world.catalogue.notes(ADMIN, key) == "kept"

    return Act(run, check)


@act
async def notes_read(world: FaultWorld) -> Act:
    key = await snapshot(world)
    await world.catalogue.set_notes(ADMIN, key, "kept")
    return await reading(lambda: world.catalogue.notes(ADMIN, key))


@act
async def group_notes(world: FaultWorld) -> Act:
    ref = (await snapshot(world)).group

    async def run() -> None:
        await world.catalogue.set_group_notes(ADMIN, ref, "kept")

    async def check() -> None:
        assert await world.catalogue.group_notes(ADMIN, ref) == "kept"

    return Act(run, check)


@act
async def group_notes_read(world: FaultWorld) -> Act:
    ref = (await snapshot(world)).group
    return await reading(lambda: world.catalogue.group_notes(ADMIN, ref))


@act
async def protection_read(world: FaultWorld) -> Act:
    key = await snapshot(world)
    return await reading(lambda: world.catalogue.protected(ADMIN, key))


@act
async def protection(world: FaultWorld) -> Act:
    key = await snapshot(world)

    async def run() -> None:
        await world.catalogue.set_protected(ADMIN, key, True)

    async def check() -> None:
        assert await world.catalogue.protected(ADMIN, key)
        await world.catalogue.set_protected(ADMIN, key, False)

    return Act(run, check)


@act
async def protection_taken_away(world: FaultWorld) -> Act:
    key = await snapshot(world)
    await world.catalogue.set_protected(ADMIN, key, True)

    async def run() -> None:
        await world.catalogue.set_protected(ADMIN, key, False)

    async def check() -> None:
        assert not await world.catalogue.protected(ADMIN, key)

    return Act(run, check)


@act
async def owner(world: FaultWorld) -> Act:
    ref = (await snapshot(world)).group

    async def run() -> None:
        await world.catalogue.change_owner(ADMIN, ref, "other@pbs")

    async def check() -> None:
        found = {item.backup_id: item.owner async for item in world.catalogue.list_groups(ADMIN, STORE, "")}
        assert found[ref.backup_id] == "other@pbs"

    return Act(run, check)


@act
async def client_log(world: FaultWorld) -> Act:
    key, log = await snapshot(world), blob.encode(b"all went well")

    async def run() -> None:
        await world.catalogue.upload_log(ADMIN, key, _pieces(log))

    async def check() -> None:
        names = [file.filename for file in await world.catalogue.list_files(ADMIN, key)]
        assert "client.log.blob" in names

    return Act(run, check, done=(Conflict,))


@act
async def verify_state(world: FaultWorld) -> Act:
    key = await snapshot(world)
    upid = await world.catalogue.create_task(ADMIN, "verificationjob", None, process_id="test")
    await world.catalogue.finish_task(ADMIN, upid, "OK")

    async def run() -> None:
        await world.catalogue.set_verify_state(ADMIN, key, t.Verification(upid, "ok"))

    async def check() -> None:
        assert await world.verdict(key) == "ok"

    return Act(run, check)


@act
async def forgetting(world: FaultWorld) -> Act:
    key = await snapshot(world)

    async def run() -> None:
        await world.catalogue.delete_snapshot(ADMIN, key)

    async def check() -> None:
        await gone(world, key)

    async def between() -> None:
        if key.backup_time not in await times(world, key.group):
            world.promised.pop(key, None)

    return Act(run, check, done=MISSING, between=between)


@act
async def group_deletion(world: FaultWorld) -> Act:
    ref = group()
    keys = [await snapshot(world, ref, number) for number in range(2)]

    async def run() -> None:
        await world.catalogue.delete_group(ADMIN, ref, error_on_protected=True)

    async def check() -> None:
        for key in keys:
            await gone(world, key)

    return Act(run, check, done=MISSING, between=_forget_missing(world, ref, keys))


def _forget_missing(world: FaultWorld, ref: t.GroupRef, keys: list[t.SnapshotKey]) -> Any:
    """Of several snapshots that shall go, some may have gone; the others restore."""

    async def between() -> None:
        left = await times(world, ref)
        for key in keys:
            if key.backup_time not in left:
                world.promised.pop(key, None)
        await world.check_promises(ref)

    return between


@act
async def group_deletion_beside_a_protected_snapshot(world: FaultWorld) -> Act:
    ref = group()
    keys = [await snapshot(world, ref, number) for number in range(2)]
    await world.catalogue.set_protected(ADMIN, keys[0], True)

    async def run() -> None:
        await world.catalogue.delete_group(ADMIN, ref, error_on_protected=False)

    async def check() -> None:
        await gone(world, keys[1])
        assert await times(world, ref) == [keys[0].backup_time]
        await world.catalogue.set_protected(ADMIN, keys[0], False)

    return Act(run, check, between=_forget_missing(world, ref, keys))


@act
async def group_pruning(world: FaultWorld) -> Act:
    ref = group()
    keys = [await snapshot(world, ref, number) for number in range(3)]

    async def run() -> None:
        found, _ = await world.gc.prune_group(ADMIN, ref, KeepOptions(last=1))
        for verdict in found:
            if verdict.error:
                raise Conflict(verdict.error)

    async def check() -> None:
        for key in keys[:2]:
            await gone(world, key)
        assert await times(world, ref) == [keys[2].backup_time]

    return Act(run, check, done=(NotFound,), between=_forget_missing(world, ref, keys))


@act
async def foreign_owner(world: FaultWorld) -> Act:
    """Somebody else's group stays closed, whatever fails."""
    ref = (await snapshot(world)).group
    stranger = member("stranger@pbs", "DatastoreBackup")

    async def run() -> str:
        try:
            await world.catalogue.set_group_notes(stranger, ref, "mine")
        except (Conflict, NotFound) as error:
            raise AssertionError(f"refused for another reason: {error}") from error
        except PbsError as error:
            if error.code not in ("not_owner", "permission_denied"):
                raise
            return "refused"
        return "allowed"

    return await reading(run)
