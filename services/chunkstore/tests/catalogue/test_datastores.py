"""Datastores: create, change, delete, numbers (rest-api C.4, C.12, E.3, E.5)."""

import json

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
    task = await bench.task(admin, upid)
    assert (task.worker_type, task.worker_id, task.status) == ("create-datastore", "life", "OK")
    with pytest.raises(AlreadyExists, match=r"^datastore 'life' already exists\.$") as taken:
        await stores.create(admin, "life", {}, reuse=False)
    assert taken.value.field == "name"
    shown = await store_of(bench, admin, "life")
    assert shown == t.Datastore("life", {"comment": "first", "path": "/mnt/x"}, "filesystem", None)

    ref = t.GroupRef("life", "", "vm", "1")
    await bench.backup(admin, ref, TIME, {"a.blob": b"x" * 100})
    used = (await bench.services.status.status(admin, "life", verbose=False)).used
    assert used > 100
    reader = await bench.read(admin, ref, TIME)
    with pytest.raises(Locked):
        await stores.delete(admin, "life", destroy_data=True, digest=None)
    await bench.close(admin, reader.session_id)

    total = (await bench.services.status.tenant(admin)).storage_bytes
    await stores.delete(admin, "life", destroy_data=False, digest=None)
    assert (await bench.services.status.tenant(admin)).storage_bytes == total
    with pytest.raises(NotFound, match=r"^no such datastore 'life'$"):
        await bench.snapshots(admin, "life")
    refused = await stores.create(admin, "life", {}, reuse=False)
    assert (await bench.task(admin, refused)).status not in ("OK", None)
    upid = await stores.create(admin, "life", {}, reuse=True)
    assert (await bench.task(admin, upid)).status == "OK"
    assert [s.backup_time for s in await bench.snapshots(admin, "life")] == [TIME]

    upid = await stores.delete(admin, "life", destroy_data=True, digest=None)
    assert (await bench.task(admin, upid)).status == "OK"
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
    await bench.services.datastores.create(ctx, "tank", {}, reuse=False)
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
