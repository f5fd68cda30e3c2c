"""Datastores: create, change, delete, numbers (rest-api C.4, C.12, E.3, E.5)."""

import json
import shutil

import pytest

from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import AclEntry, CallContext, Caller
from pbs_cloud.contracts.errors import (
    AlreadyExists,
    Conflict,
    InvalidArgument,
    Locked,
    NotFound,
    PermissionDenied,
)

from .conftest import Bench, caller, with_caller

TIME = 1_700_000_000


async def store_of(bench: Bench, ctx: CallContext, name: str) -> t.Datastore:
    stores, _ = await bench.services.datastores.listed(ctx)
    return next(store for store in stores if store.name == name)


async def test_the_life_of_a_datastore(bench: Bench, admin: CallContext) -> None:
    stores = bench.services.datastores
    upid = await stores.create(admin, "life", {"comment": "first", "path": "/mnt/x"}, reuse=False)
    task = await bench.ended(admin, upid)
    assert (task.worker_type, task.worker_id, task.status) == ("create-datastore", "life", "OK")
    with pytest.raises(AlreadyExists, match=r"^datastore 'life' already exists\.$") as taken:
        await stores.create(admin, "life", {}, reuse=False)
    assert taken.value.field == "name"
    shown = await store_of(bench, admin, "life")
    assert shown == t.Datastore("life", {"comment": "first", "path": "/mnt/x"}, None)

    ref = t.GroupRef("life", "", "vm", "1")
    await bench.backup(admin, ref, TIME, {"a.blob": b"x" * 100})
    used = (await bench.services.status.status(admin, "life", verbose=False)).used
    assert used > 100
    reader = await bench.read(admin, ref, TIME)
    with pytest.raises(Locked):
        await stores.delete(admin, "life", destroy_data=True, digest=None)
    await bench.close(admin, reader.session_id)

    total = (await bench.services.status.tenant(admin)).storage_bytes
    await bench.ended(admin, await stores.delete(admin, "life", destroy_data=False, digest=None))
    assert (await bench.services.status.tenant(admin)).storage_bytes == total
    with pytest.raises(NotFound, match=r"^no such datastore 'life'$"):
        await bench.snapshots(admin, "life")
    refused = await stores.create(admin, "life", {}, reuse=False)
    assert (await bench.ended(admin, refused)).status not in ("OK", None)
    upid = await stores.create(admin, "life", {}, reuse=True)
    assert (await bench.ended(admin, upid)).status == "OK"
    assert [s.backup_time for s in await bench.snapshots(admin, "life")] == [TIME]

    upid = await stores.delete(admin, "life", destroy_data=True, digest=None)
    assert (await bench.ended(admin, upid)).status == "OK"
    assert bench.files_of(admin, "", "life") == []
    assert (await bench.services.status.tenant(admin)).storage_bytes == total - used
    with pytest.raises(NotFound, match=r"^datastore 'life' does not exist\.$"):
        await stores.delete(admin, "life", destroy_data=True, digest=None)
    removed = [e for e in await bench.events(admin) if e["type"] == "datastore_removed"]
    assert [e["metadata"] for e in removed] == [{"store": "life"}] * 2


async def test_changes_need_the_digest_they_were_made_on(bench: Bench, admin: CallContext) -> None:
    stores = bench.services.datastores
    _, digest = await stores.listed(admin)
    await stores.update(admin, "tank", {"comment": "a"}, [], digest)
    with pytest.raises(Conflict, match=r"^detected modified configuration - file changed by other user\? Try again\.$"):
        await stores.update(admin, "tank", {"comment": "b"}, [], digest)
    with pytest.raises(Conflict):
        await stores.delete(admin, "tank", destroy_data=True, digest=digest)
    await stores.update(admin, "tank", {"gc-schedule": "daily"}, ["comment"], None)
    assert (await store_of(bench, admin, "tank")).config == {"path": "/pbs-cloud/tank", "gc-schedule": "daily"}
    await stores.update(admin, "tank", {}, ["gc-schedule"], None)
    for changes, delete in (({"path": "/y"}, []), ({"keep-last": "1"}, []), ({"name": "x"}, []), ({}, ["path"])):
        with pytest.raises(InvalidArgument):
            await stores.update(admin, "tank", changes, delete, None)


async def test_names_and_rights(bench: Bench, admin: CallContext) -> None:
    stores = bench.services.datastores
    for name in ("status", "ab", "x" * 33, "../x", ".abc", "a/b"):
        with pytest.raises(InvalidArgument) as wrong:
            await stores.create(admin, name, {}, reuse=False)
        assert wrong.value.field == "name"
    lesser = caller(admin.tenant_id, "d@pbs", "DatastoreAdmin")
    for call in (
        stores.create(lesser, "other", {}, reuse=False),
        stores.delete(lesser, "none", destroy_data=True, digest=None),
        stores.update(caller(admin.tenant_id, "r@pbs", "DatastoreReader"), "none", {}, [], None),
    ):
        with pytest.raises(PermissionDenied, match=r"^permission check failed$"):
            await call
    await stores.update(lesser, "tank", {}, ["comment"], None)


@pytest.mark.parametrize(
    ("text", "shown", "message"),
    [
        ("offline", "offline", ""),
        ('type=read-only,message="disk, swap"', 'read-only,message="disk, swap"', "disk, swap"),
        ("read-only,message=archive", "read-only,message=archive", "archive"),
    ],
)
async def test_maintenance_modes(bench: Bench, admin: CallContext, text: str, shown: str, message: str) -> None:
    stores = bench.services.datastores
    await stores.update(admin, "tank", {"maintenance-mode": text}, [], None)
    try:
        assert (await store_of(bench, admin, "tank")).maintenance == shown
        mode = shown.partition(",")[0]
        expected = f"datastore 'tank' is unavailable: {mode} maintenance mode: {message}"
        with pytest.raises(Conflict) as refused:
            await bench.open(admin, t.GroupRef("tank", "", "vm", "x"), TIME)
        assert refused.value.message == expected
        if mode == "offline":
            with pytest.raises(Conflict) as refused:
                await bench.services.status.status(admin, "tank", verbose=False)
            assert refused.value.message == expected
        else:
            await bench.services.status.status(admin, "tank", verbose=True)
    finally:
        await stores.update(admin, "tank", {}, ["maintenance-mode"], None)


@pytest.mark.parametrize("text", ["delete", "unmount", "", "offline,x=1", "read-only,message=" + "x" * 65, "offline,y"])
async def test_other_maintenance_modes_are_refused(bench: Bench, admin: CallContext, text: str) -> None:
    with pytest.raises(InvalidArgument) as wrong:
        await bench.services.datastores.update(admin, "tank", {"maintenance-mode": text}, [], None)
    assert wrong.value.field == "maintenance-mode"


async def test_an_operators_overlay_cannot_be_lifted(bench: Bench, admin: CallContext) -> None:
    overlay = with_caller(admin, maintenance="unpaid")
    assert (await store_of(bench, overlay, "tank")).maintenance == "read-only,message=unpaid"


async def test_numbers_follow_quota_and_rights(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    await bench.backup(admin, group, TIME)
    status = bench.services.status.status
    unlimited = await status(admin, "tank", verbose=False)
    assert unlimited.total == unlimited.used + unlimited.avail
    assert unlimited.counts == ()
    assert json.loads(unlimited.gc_status or "")["upid"] is None
    tenant = (await bench.services.status.tenant(admin)).storage_bytes
    limited = await status(with_caller(admin, quota_bytes=tenant + 77), "tank", verbose=True)
    assert (limited.total, limited.avail) == (tenant + 77, 77)
    over = await status(with_caller(admin, quota_bytes=0), "tank", verbose=False)
    assert (over.total, over.avail) == (1, 0)
    assert json.loads(limited.gc_status or "")["upid"] is None
    reader = caller(admin.tenant_id, "n@pbs", "DatastoreReader")
    only_read = CallContext(
        Caller(admin.tenant_id, "m@pbs", (AclEntry("/datastore/tank/x", "m@pbs", "DatastoreAudit"),))
    )
    assert (await status(reader, "tank", verbose=False)).total == unlimited.total
    zeros = await status(only_read, "tank", verbose=True)
    assert (zeros.total, zeros.used, zeros.avail, zeros.gc_status) == (0, 0, 0, None)
    with pytest.raises(PermissionDenied, match=r"^permission check failed$"):
        await status(caller(admin.tenant_id, "o@pbs", "Audit", "/system"), "tank", verbose=False)


async def test_counts_are_of_what_the_caller_sees(bench: Bench) -> None:
    ctx = caller("counting")
    await bench.ended(ctx, await bench.services.datastores.create(ctx, "tank", {}, reuse=False))
    await bench.services.namespaces.create(ctx, "tank", "a")
    user = caller("counting", "u@pbs", "DatastoreBackup")
    for number in range(3):
        await bench.backup(ctx, t.GroupRef("tank", "a", "vm", f"{number}"), TIME)
    await bench.backup(user, t.GroupRef("tank", "", "host", "x"), TIME)
    await bench.backup(user, t.GroupRef("tank", "", "host", "x"), TIME + 1)
    assert (await bench.services.status.status(ctx, "tank", verbose=True)).counts == (
        t.TypeCount("host", 1, 2),
        t.TypeCount("vm", 3, 3),
    )
    assert (await bench.services.status.status(user, "tank", verbose=True)).counts == (t.TypeCount("host", 1, 2),)
    assert (await bench.services.status.tenant(ctx)).snapshot_count == 5


async def test_what_a_dying_process_left_of_a_creation_or_a_deletion(bench: Bench) -> None:
    ctx = caller("cut-off")
    stores, tenant = bench.services.datastores, bench.database.tenant
    for name in ("whole", "missing", "dying"):
        await bench.ended(ctx, await stores.create(ctx, name, {}, reuse=False))
    await bench.backup(ctx, t.GroupRef("dying", "", "vm", "1"), TIME)
    async with tenant("cut-off") as connection:
        creating = "UPDATE datastore SET state = 'creating', created_at = clock_timestamp() - interval '1 hour'"
        await connection.execute(f"{creating} WHERE name IN ('whole', 'missing')")
        await connection.execute("UPDATE datastore SET state = 'deleting' WHERE name = 'dying'")
    shutil.rmtree(bench.folder / "datastores/cut-off/missing")
    with pytest.raises(Conflict, match=r"^datastore 'dying' is unavailable: datastore is being deleted$"):
        await bench.snapshots(ctx, "dying")
    await bench.services.upkeep.once()
    listed, _ = await stores.listed(ctx)
    assert [store.name for store in listed] == ["whole"]
    assert bench.files_of(ctx, "", "dying") == []
    upid = await stores.create(ctx, "missing", {}, reuse=False)
    assert (await bench.ended(ctx, upid)).status == "OK"


async def test_bytes_of_somebody_else_are_neither_taken_nor_deleted(bench: Bench) -> None:
    ctx = caller("occupied")
    foreign = bench.folder / "datastores/occupied/mine/.chunks/0000/x"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"precious")
    for reuse in (False, True):
        upid = await bench.services.datastores.create(ctx, "mine", {}, reuse=reuse)
        assert (await bench.ended(ctx, upid)).status != "OK"
        assert foreign.read_bytes() == b"precious"
    async with bench.database.tenant("occupied") as connection:
        assert await connection.fetchval("SELECT count(*) FROM datastore") == 0
        await connection.execute(
            "INSERT INTO datastore (tenant_id, name, backend_type, location, state, created_at) VALUES"
            " ('occupied', 'mine', 'filesystem', 'datastores/occupied/mine', 'creating', now() - interval '1 day')"
        )
    await bench.services.upkeep.once()
    assert foreign.read_bytes() == b"precious"
    assert (await bench.services.datastores.listed(ctx))[0] == []
