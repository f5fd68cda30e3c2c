"""Two tenants with equal names never meet; quotas end uploads; revoked rights end within two seconds."""

import asyncio
import secrets
import time

import pytest
from testkit.client import (
    T1,
    T2,
    Backup,
    BackupSession,
    PlainCodec,
    ReaderSession,
    Refused,
    Rest,
    Restore,
    Snapshot,
    try_backup,
)
from testkit.product import ProductServer
from testkit.sources import make_image
from testkit.world import Tenant, endpoint_of, eventually, new_tenant, root_token

CHUNK = 4 << 20


async def test_equal_names_never_meet(server: ProductServer, own_tenant: Tenant) -> None:
    """Same datastore, group, time and content in two tenants: no listing, chunk, task or name crosses over."""
    tenant, snapshot = own_tenant, own_tenant.snapshot("100", backup_type="vm")
    async with new_tenant(server) as other:
        contents = {tenant.id: b"of the first", other.id: b"of the second"}
        for owner in (tenant, other):
            async with await Backup.open(owner.endpoint, owner.admin.credential, snapshot) as backup:
                assert backup.previous is None
                await backup.blob("a.conf.blob", contents[owner.id])
                await backup.finish()
        for owner in (tenant, other):
            async with await Restore.open(owner.endpoint, owner.admin.credential, snapshot) as restore:
                assert await restore.blob("a.conf.blob") == contents[owner.id]
            (group,) = await owner.rest.get("/admin/datastore/default/groups")
            assert group["owner"] == owner.admin.auth_id
            users = await owner.rest.get("/access/users")
            assert {user["userid"].rpartition("@")[2] for user in users} == {owner.realm}
            assert [store["store"] for store in await owner.rest.get("/admin/datastore")] == ["default"]
        (task,) = await other.rest.get("/nodes/localhost/tasks", typefilter="backup")
        for call in ("status", "log"):
            answer = await tenant.rest.exchange("GET", f"/nodes/localhost/tasks/{task['upid']}/{call}")
            assert answer.status == 400
        with pytest.raises(Refused) as refused:
            parameters = {"backup-type": "vm", "backup-id": "100", "new-owner": other.admin.auth_id}
            await tenant.rest.call("POST", "/admin/datastore/default/change-owner", parameters)
        assert refused.value.status == 400


async def test_digest_of_another_tenant_is_worth_nothing(server: ProductServer, tenant: Tenant) -> None:
    """Neither append nor read nor deduplication reveals that a chunk exists elsewhere."""
    codec, data = PlainCodec(), secrets.token_bytes(CHUNK)
    digest = codec.digest(data)
    async with new_tenant(server) as other:
        async with await Backup.open(other.endpoint, other.admin.credential, other.snapshot()) as backup:
            await backup.image("disk", data)
            await backup.finish()
        async with await Backup.open(tenant.endpoint, tenant.admin.credential, tenant.snapshot()) as backup:
            wid = await backup.session.create("fixed", "disk.img.fidx", CHUNK)
            with pytest.raises(Refused) as refused:
                await backup.session.append("fixed", wid, [digest], [0])
            assert refused.value.status == 400
            await backup.blob("a.conf.blob", b"x")
            await backup.abort()
        async with await Backup.open(tenant.endpoint, tenant.admin.credential, tenant.snapshot("h2")) as backup:
            await backup.image("disk", data)
            await backup.finish()
        async with await Restore.open(tenant.endpoint, tenant.admin.credential, tenant.snapshot("h2")) as restore:
            assert restore.manifest.unprotected["chunk_upload_stats"]["duplicates"] == 0
            assert await restore.archive("disk.img.fidx") == data


async def test_reader_serves_only_chunks_of_opened_indexes(tenant: Tenant) -> None:
    """A digest of the same datastore, but of no index opened in this session: 401."""
    codec, data = PlainCodec(), bytes(make_image(1))
    for name in ("h1", "h2"):
        async with await Backup.open(tenant.endpoint, tenant.admin.credential, tenant.snapshot(name)) as backup:
            await backup.image("disk", data if name == "h1" else bytes(make_image(1, seed=2)))
            await backup.finish()
    async with await ReaderSession.open(tenant.endpoint, tenant.admin.credential, tenant.snapshot("h2")) as reader:
        await reader.download("disk.img.fidx")
        with pytest.raises(Refused) as refused:
            await reader.chunk(codec.digest(data))
        assert refused.value.status == 401


async def test_unknown_and_foreign_stores_answer_alike(tenant: Tenant) -> None:
    """Without a right on the path: 403 for a backup, whatever exists."""
    reader = await tenant.token("read")
    for store in ("default", "nosuchstore"):
        refused = await try_backup(tenant.endpoint, reader.credential, Snapshot(store, "h1"))
        assert refused is not None
        assert refused.status == 403


async def test_quota(server: ProductServer) -> None:
    """507 inside the session, 507 at the next upgrade; reading and deleting go on, and room comes back."""
    async with new_tenant(server, quota_bytes=20 << 20) as tenant:
        first = tenant.snapshot("first")
        image = bytes(make_image(2))
        async with await Backup.open(tenant.endpoint, tenant.admin.credential, first) as backup:
            await backup.image("disk", image)
            await backup.finish()
        with pytest.raises(Refused) as refused:
            async with await Backup.open(tenant.endpoint, tenant.admin.credential, tenant.snapshot("second")) as backup:
                await backup.image("disk", bytes(make_image(16, seed=7)))
                await backup.finish()
        assert refused.value.status == 507
        assert refused.value.text.startswith("Quota exceeded")
        listed = await tenant.rest.get("/admin/datastore/default/snapshots")
        assert [item["backup-id"] for item in listed if "size" in item] == ["first"]
        async with await Restore.open(tenant.endpoint, tenant.admin.credential, first) as restore:
            assert await restore.archive("disk.img.fidx") == image
        status = await tenant.rest.get("/admin/datastore/default/status")
        assert status["total"] == 20 << 20
        assert status["avail"] >= 0


async def test_quota_that_is_used_up_refuses_the_upgrade(server: ProductServer) -> None:
    """Used ≥ quota: the upgrade answers 507 and says why; restore and delete work."""
    async with new_tenant(server, quota_bytes=6 << 20) as tenant:
        operator = Rest(endpoint_of(server), root_token(server))
        async with await Backup.open(tenant.endpoint, tenant.admin.credential, tenant.snapshot()) as backup:
            await backup.image("disk", bytes(make_image(2)))
            await backup.finish()
        await operator.call("PUT", f"/tenants/{tenant.id}", {"quota_bytes": 1 << 20})
        await operator.close()

        async def refused() -> object:
            return await try_backup(tenant.endpoint, tenant.admin.credential, tenant.snapshot().at(T2))

        refusal = await eventually(refused, 5, "refusal over quota")
        assert refusal.status == 507
        assert refusal.text.startswith("Quota exceeded")
        async with await Restore.open(tenant.endpoint, tenant.admin.credential, tenant.snapshot()) as restore:
            assert len(await restore.archive("disk.img.fidx")) == 2 * CHUNK

        async def deleted() -> object:
            parameters = tenant.snapshot().parameters()
            answer = await tenant.rest.exchange("DELETE", "/admin/datastore/default/snapshots", parameters)
            return answer.status == 200

        await eventually(deleted, 5, "deletion once the reader has gone")


async def test_revoked_token_is_refused_within_two_seconds(tenant: Tenant) -> None:
    """On every gateway process: eight connections are warm, then the token is deleted."""
    caller = await tenant.token()
    warm = [Rest(tenant.endpoint, caller.credential) for _ in range(8)]
    for rest in warm:
        await rest.get("/version")
    user, _, name = caller.auth_id.partition("!")
    running = await BackupSession.open(tenant.endpoint, caller.credential, tenant.snapshot())
    await tenant.rest.delete(f"/access/users/{user}/token/{name}")
    revoked = time.monotonic()
    await asyncio.sleep(2)
    answers = await asyncio.gather(*(rest.exchange("GET", "/version") for rest in warm))
    assert [answer.status for answer in answers] == [401] * 8
    refusals = [await try_backup(tenant.endpoint, caller.credential, tenant.snapshot(f"x{n}")) for n in range(2)]
    assert [refusal and refusal.status for refusal in refusals] == [401, 401]
    assert time.monotonic() - revoked < 60
    assert await running.previous_backup_time() is None  # a running session is authenticated once
    await running.close()
    for rest in warm:
        await rest.close()


async def test_lost_right_ends_new_sessions(tenant: Tenant) -> None:
    """Taking the ACL entry away refuses backups within two seconds."""
    caller = await tenant.token()
    assert await try_backup(tenant.endpoint, caller.credential, tenant.snapshot()) is None
    for entry in await tenant.rest.get("/access/acl"):
        if entry["ugid"] == caller.auth_id:
            removal = {"path": entry["path"], "role": entry["roleid"], "auth-id": entry["ugid"], "delete": True}
            await tenant.rest.call("PUT", "/access/acl", removal)
    await asyncio.sleep(2)
    refused = await try_backup(tenant.endpoint, caller.credential, tenant.snapshot("h1", backup_time=T1))
    assert refused is not None
    assert refused.status == 403
