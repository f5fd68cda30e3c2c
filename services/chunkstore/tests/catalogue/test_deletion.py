"""Deleting snapshots and groups; protection, notes, logs (rest-api C.5, C.8)."""

import asyncio

import pytest

from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import (
    Conflict,
    InvalidArgument,
    Locked,
    NotFound,
    NotOwner,
    PermissionDenied,
    QuotaExceeded,
)
from pbs_cloud.formats import blob
from pbs_cloud.formats.manifest import BackupManifest

from .conftest import Bench, caller, pieces, with_caller

TIME = 1_700_000_000
FOLDER = "2023-11-14T22:13:20Z"


def key(group: t.GroupRef, offset: int = 0) -> t.SnapshotKey:
    return t.SnapshotKey(group, TIME + offset)


async def test_a_deleted_snapshot_is_gone_and_counted(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    await bench.backup(admin, group, TIME, {"a.blob": b"x" * 500})
    await bench.backup(admin, group, TIME + 1)
    [first, _] = await bench.snapshots(admin, "tank", backup_id=group.backup_id)
    await bench.services.snapshots.delete(admin, key(group))
    assert [s.backup_time for s in await bench.snapshots(admin, "tank", backup_id=group.backup_id)] == [TIME + 1]
    assert bench.files_of(admin, f"host/{group.backup_id}") == ["2023-11-14T22:13:21Z", "owner"]
    counter, stored = await bench.counted(admin)
    assert counter == stored
    events = await bench.events(admin)
    deleted = [e for e in events if e["metadata"].get("snapshot") == f"host/{group.backup_id}/{FOLDER}"]  # type: ignore[attr-defined]
    assert [(e["type"], e["bytes"]) for e in deleted][-1] == ("backup_deleted", first.size)
    with pytest.raises(NotFound):
        await bench.services.snapshots.delete(admin, key(group))
    await bench.services.snapshots.delete(admin, key(group, 1))
    assert group.backup_id not in {g.backup_id for g in await bench.groups(admin, "tank")}
    assert bench.files_of(admin, f"host/{group.backup_id}") == []


async def test_what_must_not_be_deleted(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    await bench.backup(admin, group, TIME)
    await bench.backup(admin, group, TIME + 1)
    await bench.services.snapshots.set_protected(admin, key(group), True)
    assert await bench.services.snapshots.protected(admin, key(group))
    assert ".protected" in bench.files_of(admin, f"host/{group.backup_id}/{FOLDER}")
    with pytest.raises(Conflict, match=r"^failed to delete snapshot - cannot remove protected snapshot$"):
        await bench.services.snapshots.delete(admin, key(group))
    await bench.services.snapshots.set_protected(admin, key(group), False)
    assert ".protected" not in bench.files_of(admin, f"host/{group.backup_id}/{FOLDER}")
    running = await bench.open(admin, group, TIME + 2)
    for offset in (1, 2):
        with pytest.raises(Locked):
            await bench.services.snapshots.delete(admin, key(group, offset))
    with pytest.raises(Locked):
        await bench.services.groups.delete(admin, group, error_on_protected=False)
    with pytest.raises(Locked):
        await bench.services.snapshots.set_protected(admin, key(group, 2), True)
    await bench.services.snapshots.delete(admin, key(group))
    await bench.close(admin, running.session_id)
    await bench.services.snapshots.delete(admin, key(group, 1))


async def test_deleting_and_opening_at_once_never_leaves_a_session_without_its_base(
    bench: Bench, admin: CallContext, group: t.GroupRef
) -> None:
    for number in range(5):
        ref = t.GroupRef("tank", "", "host", f"{group.backup_id}-{number}")
        await bench.backup(admin, ref, TIME)
        opened, deleted = await asyncio.gather(
            bench.open(admin, ref, TIME + 1),
            bench.services.snapshots.delete(admin, key(ref)),
            return_exceptions=True,
        )
        assert isinstance(opened, t.BackupSession), opened
        if opened.base is None:
            assert deleted is None
        else:
            assert isinstance(deleted, Locked)
            read = [p async for p in bench.services.files.read(admin, opened.session_id, "index.json.blob")]
            assert read
        await bench.close(admin, opened.session_id)


async def test_a_group_goes_but_for_its_protected_snapshots(
    bench: Bench, admin: CallContext, group: t.GroupRef
) -> None:
    for offset in range(4):
        await bench.backup(admin, group, TIME + offset)
    await bench.services.snapshots.set_protected(admin, key(group, 2), True)
    with pytest.raises(Conflict, match=r"^group only partially deleted due to protected snapshots$"):
        await bench.services.groups.delete(admin, group, error_on_protected=True)
    assert [s.backup_time for s in await bench.snapshots(admin, "tank", backup_id=group.backup_id)] == [TIME + 2]
    done = await bench.services.groups.delete(admin, group, error_on_protected=False)
    assert done == t.DeleteStatistics(removed_groups=0, protected_snapshots=1, removed_snapshots=0)
    await bench.services.snapshots.set_protected(admin, key(group, 2), False)
    done = await bench.services.groups.delete(admin, group, error_on_protected=True)
    assert done == t.DeleteStatistics(removed_groups=1, protected_snapshots=0, removed_snapshots=1)
    with pytest.raises(NotFound, match=r"ENOENT: No such file or directory"):
        await bench.services.groups.delete(admin, group, error_on_protected=True)


async def test_a_group_whose_name_begins_another_one_goes_alone(
    bench: Bench, admin: CallContext, group: t.GroupRef
) -> None:
    longer = t.GroupRef("tank", "", "host", f"{group.backup_id}0")
    await bench.backup(admin, group, TIME)
    await bench.backup(admin, longer, TIME)
    await bench.services.groups.delete(admin, group, error_on_protected=True)
    assert bench.files_of(admin, f"host/{longer.backup_id}/{FOLDER}") == ["index.json.blob"]


async def test_who_may_delete(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    owner = caller(admin.tenant_id, "p@pbs", "DatastorePowerUser")
    other = caller(admin.tenant_id, "q@pbs", "DatastorePowerUser")
    reader = caller(admin.tenant_id, "r@pbs", "DatastoreReader")
    await bench.backup(owner, group, TIME)
    missing = t.GroupRef("missing", "", "host", "x")
    for ref in (group, missing):
        with pytest.raises(
            PermissionDenied, match=r"^permission check failed - missing Datastore.Modify\|Datastore.Prune"
        ):
            await bench.services.snapshots.delete(reader, key(ref))
    with pytest.raises(NotFound, match=r"^no such datastore 'missing'$"):
        await bench.services.snapshots.delete(admin, key(missing))
    with pytest.raises(NotOwner):
        await bench.services.snapshots.delete(other, key(group))
    with pytest.raises(NotOwner):
        await bench.services.groups.delete(other, group, error_on_protected=True)
    await bench.services.snapshots.delete(owner, key(group))


async def test_maintenance_lets_reading_through(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    await bench.backup(admin, group, TIME)
    overlay = with_caller(admin, maintenance="read-only,message=unpaid")
    for refused in (
        bench.services.snapshots.delete(overlay, key(group)),
        bench.services.snapshots.set_notes(overlay, key(group), "x"),
        bench.services.snapshots.set_protected(overlay, key(group), True),
        bench.services.groups.delete(overlay, group, error_on_protected=True),
    ):
        with pytest.raises(Conflict, match=r"is unavailable: read-only maintenance mode: unpaid$"):
            await refused
    assert len(await bench.snapshots(overlay, "tank", backup_id=group.backup_id)) == 1
    await bench.close(overlay, (await bench.read(overlay, group, TIME)).session_id)


async def test_notes_live_in_the_manifest(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    await bench.backup(admin, group, TIME, signature="ab" * 32, unprotected={"other": [1]})
    notes = "first line\nsecond with \x00 and ü"
    await bench.services.snapshots.set_notes(admin, key(group), notes)
    assert await bench.services.snapshots.notes(admin, key(group)) == notes
    [listed] = await bench.snapshots(admin, "tank", backup_id=group.backup_id)
    assert listed.comment == "first line"
    assert listed.files[-1].crypt_mode == "sign-only"
    path = bench.folder / "datastores" / admin.tenant_id / "tank/host" / group.backup_id / FOLDER / "index.json.blob"
    stored = BackupManifest.from_blob(path.read_bytes())
    assert (stored.notes, stored.signature, stored.unprotected["other"]) == (notes, "ab" * 32, [1])
    assert listed.files[-1].size == path.stat().st_size
    await bench.services.snapshots.set_notes(admin, key(group), "")
    assert await bench.services.snapshots.notes(admin, key(group)) == ""
    counter, counted = await bench.counted(admin)
    assert counter == counted


async def test_notes_and_protection_of_what_is_not_there(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    snapshots = bench.services.snapshots
    limited = caller(admin.tenant_id, "b@pbs", "DatastoreBackup")
    assert await snapshots.protected(admin, key(group)) is False
    with pytest.raises(NotFound):
        await snapshots.protected(limited, key(group))
    with pytest.raises(NotFound, match=rf"^snapshot host/{group.backup_id}/{FOLDER} does not exist!$"):
        await snapshots.set_protected(admin, key(group), True)
    for missing in (snapshots.notes(admin, key(group)), snapshots.set_notes(admin, key(group), "x")):
        with pytest.raises(NotFound):
            await missing
    running = await bench.open(admin, group, TIME)
    with pytest.raises(Conflict, match=r"^manifest not found for snapshot"):
        await snapshots.notes(admin, key(group))
    with pytest.raises(Conflict):
        await snapshots.set_notes(admin, key(group), "x")
    with pytest.raises(Conflict, match=r"^manifest not found for snapshot"):
        await snapshots.files(admin, key(group))
    await bench.close(admin, running.session_id)


async def test_group_notes(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    groups = bench.services.groups
    assert await groups.notes(admin, group) == ""
    with pytest.raises(NotFound):
        await groups.notes(caller(admin.tenant_id, "b@pbs", "DatastoreBackup"), group)
    await bench.backup(admin, group, TIME)
    await groups.set_notes(admin, group, "web\nfrontend")
    assert await groups.notes(admin, group) == "web\nfrontend"
    [listed] = [g for g in await bench.groups(admin, "tank") if g.backup_id == group.backup_id]
    assert listed.comment == "web"
    path = bench.folder / "datastores" / admin.tenant_id / "tank/host" / group.backup_id / "notes"
    assert path.read_text() == "web\nfrontend"
    with pytest.raises(InvalidArgument):
        await groups.set_notes(admin, group, "\x00")
    await groups.set_notes(admin, group, "")
    [listed] = [g for g in await bench.groups(admin, "tank") if g.backup_id == group.backup_id]
    assert listed.comment is None
    await bench.services.snapshots.delete(admin, key(group))
    assert bench.files_of(admin, f"host/{group.backup_id}") == []


async def test_the_client_log(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    logs, owner = bench.services.logs, caller(admin.tenant_id, "log@pbs", "DatastoreBackup")
    raw = blob.encode(b"all went well")
    await bench.backup(owner, group, TIME)
    with pytest.raises(NotOwner):
        await logs.upload(admin, key(group), pieces(raw))
    for bad in (b"", raw[:-1], raw[:12] + b"\x00" + raw[13:]):
        with pytest.raises(InvalidArgument):
            await logs.upload(owner, key(group), pieces(bad))
    with pytest.raises(QuotaExceeded):
        await logs.upload(with_caller(owner, quota_bytes=1), key(group), pieces(raw))
    with pytest.raises(NotFound):
        await logs.upload(owner, key(group, 5), pieces(raw))
    results = await asyncio.gather(
        *(logs.upload(owner, key(group), pieces(raw, 7)) for _ in range(3)), return_exceptions=True
    )
    assert sorted(str(r) for r in results) == ["None", *["backup already contains a log."] * 2]
    [listed] = await bench.snapshots(owner, "tank", backup_id=group.backup_id)
    assert listed.files[-1] == t.File("client.log.blob")
    reader = await bench.read(owner, group, TIME)
    assert [p async for p in bench.services.files.read(owner, reader.session_id, "client.log.blob")] == [raw]
    await bench.close(owner, reader.session_id)
    counter, counted = await bench.counted(admin)
    assert counter == counted
