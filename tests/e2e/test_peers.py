"""A second PBS as sync peer of the product: pull and push jobs (wire-protocol 7)."""

import random
from urllib.parse import quote

from testkit.client import T1, T2, T3, Backup, BackupSession, Codec, EncryptingCodec, Refused, Restore, Token
from testkit.crypto import EncryptionKey
from testkit.peer import Place, Pull, Push, Replica
from testkit.peer.push import plain_archive
from testkit.product import ProductServer
from testkit.world import Caller, Tenant, fresh, new_tenant, wait_for_task

from pbs_cloud.formats.blob import encode
from pbs_cloud.formats.manifest import VerifyResult, VerifyState
from pbs_cloud.formats.upid import Upid

ARCHIVE = "root.pxar.didx"
UPID = "UPID:pbs:00000001:00000001:00000001:69546780:verify::root@pam:"


def _pieces(seed: int, count: int = 5) -> list[bytes]:
    return [random.Random(seed * 1000 + number).randbytes(20_000) for number in range(count)]


async def _back_up(caller: Caller, place: Place, store: str, pieces: list[bytes], codec: Codec | None = None) -> bytes:
    """Two archives with common chunks, a blob and a log; the content of the first archive."""
    async with await Backup.open(caller.endpoint, caller.credential, place.in_store(store), codec) as backup:
        await backup.archive(ARCHIVE, pieces)
        await backup.archive("etc.pxar.didx", pieces[:2])
        await backup.blob("a.conf.blob", b"%d" % place.backup_time)
        await backup.session.upload_blob("client.log.blob", encode(b"done"))
        await backup.finish()
    return b"".join(pieces)


async def _verify(tenant: Tenant, place: Place) -> None:
    parameters = place.in_store(tenant.store).parameters()
    upid = await tenant.rest.call("POST", f"{tenant.base}/verify", {**parameters, "ignore-verified": False})
    assert await wait_for_task(tenant.rest, upid) == "OK"


async def _backup_only(tenant: Tenant) -> Caller:
    """A token made with the stock calls whose only role is `DatastoreBackup`."""
    user = f"{fresh('u')}@{tenant.realm}"
    await tenant.rest.post("/access/users", userid=user)
    made = await tenant.rest.post(f"/access/users/{quote(user)}/token/sync")
    for auth_id in (user, made["tokenid"]):
        entry = {"path": "/datastore", "role": "DatastoreBackup", "auth-id": auth_id}
        await tenant.rest.call("PUT", "/access/acl", entry)
    return Caller(tenant.endpoint, Token(made["tokenid"], made["value"]))


async def test_pull_everything_and_again(tenant: Tenant) -> None:
    """All namespaces and groups, each chunk of a group once; the second run reads manifests only."""
    deep = await tenant.rest.post(f"{tenant.base}/namespace", name="deep", parent=tenant.ns)
    places = [Place(tenant.ns, "host", "h1", time) for time in (T1, T2)]
    places += [Place(deep, "vm", "100", T1), Place(tenant.ns, "ct", "200", T3)]
    contents = {}
    for number, place in enumerate(places):
        pieces = _pieces(1) + _pieces(2, 1) if place.backup_time == T2 else _pieces(number + 3)
        pieces = _pieces(1) if number == 0 else pieces
        contents[place] = await _back_up(tenant.admin, place, tenant.store, pieces)
    running = Place(tenant.ns, "host", "h1", T3)
    reader = await tenant.token("read")
    pull = Pull(reader, tenant.store, Replica(), parent=tenant.ns, worker_threads=3)
    async with await BackupSession.open(tenant.endpoint, tenant.admin.credential, running.in_store(tenant.store)):
        await pull.run()
    assert set(pull.replica.snapshots) == set(places)
    assert pull.skipped == [running]
    assert pull.requests["chunk"] == 6 + 5 + 5
    for place, content in contents.items():
        copy = pull.replica.snapshots[place]
        assert plain_archive(pull.replica, copy, ARCHIVE) == content
        assert copy.files["client.log.blob"] == encode(b"done")
    pull.requests.clear()
    await pull.run()
    assert (pull.requests["session"], pull.requests["file"], pull.requests["chunk"]) == (3, 0, 0)


async def test_filters_and_resync(tenant: Tenant) -> None:
    """Only verified, only encrypted; a damaged copy is fetched again; a backup token sees its own groups only."""
    own = await _backup_only(tenant)
    verified, encrypted = Place(tenant.ns, "host", "h1", T1), Place(tenant.ns, "host", "h2", T1)
    mine = Place(tenant.ns, "host", "h3", T1)
    key = EncryptionKey(random.Random(5).randbytes(32))
    await _back_up(tenant.admin, verified, tenant.store, _pieces(1))
    await _back_up(tenant.admin, encrypted, tenant.store, _pieces(2), EncryptingCodec(key))
    await _back_up(own, mine, tenant.store, _pieces(3))
    await _verify(tenant, verified)
    expected = {"verified_only": {verified}, "encrypted_only": {encrypted}}
    for option, found in expected.items():
        pull = Pull(tenant.admin, tenant.store, Replica(), parent=tenant.ns, **{option: True})
        await pull.run()
        assert set(pull.replica.snapshots) == found, option

    pull = Pull(own, tenant.store, Replica(), parent=tenant.ns)
    await pull.run()
    assert set(pull.replica.snapshots) == {mine}
    copy = pull.replica.snapshots[mine]
    copy.corrupt = True
    damaged = next(iter(copy.digests()))
    pull.replica.chunks[damaged] = b"damaged"
    pull.resync_corrupt = True
    await pull.run()
    assert plain_archive(pull.replica, copy, ARCHIVE) == b"".join(_pieces(3))
    await own.rest.close()


async def test_push_into_another_tenant(tenant: Tenant, server: ProductServer) -> None:
    """Namespaces level by level, stored bytes unchanged, then only what is newer; what vanished goes."""
    places = [Place(f"{tenant.ns}/a/b", "host", "h1", time) for time in (T1, T2)]
    places.append(Place(tenant.ns, "vm", "100", T1))
    for name, parent in (("a", tenant.ns), ("b", f"{tenant.ns}/a")):
        await tenant.rest.post(f"{tenant.base}/namespace", name=name, parent=parent)
    contents = {}
    for number, place in enumerate(places):
        contents[place] = await _back_up(tenant.admin, place, tenant.store, _pieces(1) + _pieces(number + 4, 1))
    source = Pull(tenant.admin, tenant.store, Replica(), parent=tenant.ns)
    await source.run()
    replica = source.replica

    async with new_tenant(server) as target:
        peer = await target.token("datastore_admin")
        push = Push(peer, target.store, replica, parent="off", remove_vanished=True)
        await push.run()
        assert push.requests["namespace"] == 4
        assert push.requests["chunk"] == 6 + 1 + 6
        for place, content in contents.items():
            where = place._replace(ns=f"off/{place.ns}").in_store(target.store)
            async with await Restore.open(target.endpoint, peer.credential, where) as restore:
                assert await restore.archive(ARCHIVE) == content
                assert await restore.session.download("client.log.blob") == encode(b"done")
        push.requests.clear()
        await push.run()
        assert push.requests == {}

        ns = f"off/{tenant.ns}"
        protected = places[0]._replace(ns=f"off/{places[0].ns}").in_store(target.store)
        await target.rest.call("PUT", f"{target.base}/protected", {**protected.parameters(), "protected": True})
        foreign = await target.token("backup")
        await _back_up(foreign, Place(ns, "ct", "7", T1), target.store, _pieces(9))
        replica.snapshots[Place(tenant.ns, "ct", "7", T2)] = replica.snapshots[places[2]]
        for place in places[:2]:
            del replica.snapshots[place]
        push.parent = "off"
        await push.run()
        assert push.not_owned == ["ct/7"]
        assert push.removed[0] == {"removed-groups": 0, "protected-snapshots": 1, "removed-snapshots": 1}
        left = await target.rest.get(f"{target.base}/snapshots", ns=f"{ns}/a/b")
        assert [item["backup-time"] for item in left] == [T1]


async def test_a_pushed_failed_verification_is_no_base(tenant: Tenant) -> None:
    """`unprotected` travels; a snapshot that failed verification on the source is no previous one here."""
    place = Place(tenant.ns, "host", fresh("h"), T1)
    await _back_up(tenant.admin, place, tenant.store, _pieces(1))
    pull = Pull(tenant.admin, tenant.store, Replica(), parent=tenant.ns)
    await pull.run()
    copy = pull.replica.snapshots[place]
    manifest = copy.manifest
    manifest.notes = "from the source"
    manifest.verify_state = VerifyState(Upid.parse(UPID), VerifyResult.FAILED)
    copy.files["index.json.blob"] = manifest.to_blob()
    where = await tenant.rest.post(f"{tenant.base}/namespace", name="pushed", parent=tenant.ns)
    pull.replica.snapshots = {place._replace(ns=""): copy}
    await Push(tenant.admin, tenant.store, pull.replica, parent=where).run()
    (listed,) = await tenant.rest.get(f"{tenant.base}/snapshots", ns=where)
    assert listed["comment"] == "from the source"
    assert listed["verification"]["state"] == "failed"
    later = place._replace(ns=where, backup_time=T2).in_store(tenant.store)
    async with await BackupSession.open(tenant.endpoint, tenant.admin.credential, later) as session:
        try:
            previous = await session.previous("index.json.blob")
        except Refused as refused:
            previous, status = b"", refused.status
            assert status == 400
        assert previous == b""
