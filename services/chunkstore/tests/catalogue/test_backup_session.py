"""The life of a backup session (wire-protocol 4.1, 4.10, 4.12, 4.14)."""

import asyncio
import hashlib
import shutil

import pytest

from pbs_cloud.chunkstore.catalogue.corruption import names_any
from pbs_cloud.chunkstore.catalogue.rows import find_store
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import (
    Conflict,
    DataCorrupt,
    InvalidArgument,
    Locked,
    NamespaceNotFound,
    NotFound,
    NotOwner,
    PermissionDenied,
    QuotaExceeded,
    SessionLost,
    Unavailable,
)
from pbs_cloud.formats import blob
from pbs_cloud.formats.manifest import BackupManifest
from pbs_cloud.formats.names import ArchiveName, ArchiveType

from .conftest import Bench, caller, dynamic_index, manifest_blob, pieces, with_caller

TIME = 1_700_000_000


async def test_a_backup_becomes_visible_with_finish_and_not_before(
    bench: Bench, admin: CallContext, group: t.GroupRef
) -> None:
    session = await bench.open(admin, group, TIME)
    assert session.base is None
    assert session.upid.split(":")[6:8] == ["backup", f"tank\\x3ahost-{group.backup_id}"]
    files = bench.services.files
    index, csum, size = dynamic_index([(5, hashlib.sha256(b"a").digest()), (11, hashlib.sha256(b"b").digest())])
    await files.close_index(admin, session.session_id, "root.pxar.didx", csum, size, pieces(index))
    await files.put_blob(admin, session.session_id, "a.conf.blob", blob.encode(b"hello"))
    entry = {"filename": "root.pxar.didx", "size": size, "csum": csum.hex()}
    await files.put_blob(admin, session.session_id, "index.json.blob", manifest_blob(group, TIME, [entry]))

    [running] = await bench.snapshots(admin, "tank", backup_id=group.backup_id)
    assert running.size is None
    assert [f.filename for f in running.files] == ["a.conf.blob", "root.pxar.didx"]
    folder = f"host/{group.backup_id}/2023-11-14T22:13:20Z"
    assert "index.json.blob" not in bench.files_of(admin, folder)

    await bench.finish(admin, session)
    await bench.finish(admin, session)
    [done] = await bench.snapshots(admin, "tank", backup_id=group.backup_id)
    assert [f.filename for f in done.files] == ["root.pxar.didx", "index.json.blob", "a.conf.blob"]
    assert done.size == size + (done.files[1].size or 0)
    assert bench.files_of(admin, folder) == ["a.conf.blob", "index.json.blob", "root.pxar.didx"]
    stored = bench.folder / "datastores" / admin.tenant_id / "tank" / folder / "index.json.blob"
    statistics = {"compressed_size": 35, "count": 2, "duplicates": 0, "size": 335}
    assert BackupManifest.from_blob(stored.read_bytes()).unprotected["chunk_upload_stats"] == statistics

    await bench.close(admin, session.session_id, error="connection reset")
    assert (await bench.task(admin, session.upid)).status == "OK"
    assert await bench.snapshots(admin, "tank", backup_id=group.backup_id) == [done]
    counter, stored_bytes = await bench.counted(admin)
    assert counter == stored_bytes


async def test_an_unfinished_backup_leaves_nothing(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    session = await bench.open(admin, group, TIME)
    await bench.services.files.put_blob(admin, session.session_id, "a.conf.blob", blob.encode(b"hello"))
    assert bench.files_of(admin, f"host/{group.backup_id}") == ["2023-11-14T22:13:20Z", "owner"]
    await bench.close(admin, session.session_id, error="connection reset")
    await bench.close(admin, session.session_id, error="again")
    assert bench.files_of(admin, f"host/{group.backup_id}") == []
    assert group.backup_id not in {g.backup_id for g in await bench.groups(admin, "tank")}
    assert (await bench.task(admin, session.upid)).status == "connection reset"
    assert (await bench.log(admin, session.upid))[-1].endswith(": TASK ERROR: connection reset")
    with pytest.raises(SessionLost):
        await bench.services.files.put_blob(admin, session.session_id, "b.conf.blob", blob.encode(b""))
    with pytest.raises(SessionLost):
        await bench.finish(admin, session)
    again = await bench.open(admin, group, TIME)
    await bench.close(admin, again.session_id)
    counter, stored = await bench.counted(admin)
    assert counter == stored


async def test_a_group_of_another_server_is_whose_its_owner_file_says(
    bench: Bench, admin: CallContext, group: t.GroupRef
) -> None:
    """The catalogue knows none of its snapshots: its owner file is not written over, and decides."""
    folder = bench.folder / "datastores" / admin.tenant_id / "tank" / "host" / group.backup_id
    (folder / "2020-01-01T00:00:00Z").mkdir(parents=True)
    (folder / "2020-01-01T00:00:00Z" / "index.json.blob").write_bytes(b"theirs")
    (folder / "owner").write_text("alice@pbs!t\n")
    for _ in range(2):
        with pytest.raises(NotOwner, match=r"^backup owner check failed \(admin@pbs != alice@pbs!t\)$"):
            await bench.open(admin, group, TIME)
        assert group.backup_id not in [found.backup_id for found in await bench.groups(admin, "tank")]
    user = caller(admin.tenant_id, "alice@pbs", "DatastoreBackup")
    session = await bench.open(user, group, TIME)
    listed = {found.backup_id: found.owner for found in await bench.groups(admin, "tank")}
    assert listed[group.backup_id] == "alice@pbs!t"
    await bench.close(user, session.session_id)
    assert bench.files_of(admin, f"host/{group.backup_id}") == ["2020-01-01T00:00:00Z", "owner"]
    (folder / "owner").write_text("nobody\n")
    with pytest.raises(Unavailable, match="the owner of the group could not be stored"):
        await bench.open(user, group, TIME)
    assert (folder / "owner").read_text() == "nobody\n"
    shutil.rmtree(folder)


async def test_a_folder_of_another_server_keeps_its_time(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    """A backup that a real PBS did not finish, or one that nobody has taken in yet."""
    left = bench.folder / "datastores" / admin.tenant_id / "tank" / "host" / group.backup_id / "2023-11-14T22:13:20Z"
    left.mkdir(parents=True)
    (left / "a.pxar.didx").write_bytes(b"theirs")
    with pytest.raises(Conflict, match=r"^backup directory already exists\.$"):
        await bench.open(admin, group, TIME)
    later = await bench.open(admin, group, TIME + 1)
    assert later.base is None
    await bench.close(admin, later.session_id)
    assert (left / "a.pxar.didx").read_bytes() == b"theirs"
    shutil.rmtree(left.parent)


async def test_one_backup_of_a_group_at_a_time(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    results = await asyncio.gather(*(bench.open(admin, group, TIME + n) for n in range(6)), return_exceptions=True)
    opened = [r for r in results if isinstance(r, t.BackupSession)]
    assert len(opened) == 1
    assert sum(isinstance(r, Locked) for r in results) == 5
    await bench.close(admin, opened[0].session_id)
    await bench.close(admin, (await bench.open(admin, group, TIME)).session_id)


async def test_the_next_backup_sees_the_last_one_at_once(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    first = await bench.open(admin, group, TIME)
    await bench.services.files.put_blob(admin, first.session_id, "index.json.blob", manifest_blob(group, TIME))
    await bench.finish(admin, first)
    second = await bench.open(admin, group, TIME + 1)
    assert second.base == t.BaseSnapshot(TIME, ("index.json.blob",))
    read = [p async for p in bench.services.files.read(admin, second.session_id, "index.json.blob")]
    assert BackupManifest.from_blob(b"".join(read)).backup_time == TIME
    await bench.close(admin, second.session_id)


@pytest.mark.parametrize("offset", [0, -1])
async def test_a_backup_must_be_newer_than_the_last(
    bench: Bench, admin: CallContext, group: t.GroupRef, offset: int
) -> None:
    await bench.backup(admin, group, TIME)
    with pytest.raises(Conflict, match=r"^backup timestamp is older than last backup\.$"):
        await bench.open(admin, group, TIME + offset)


async def test_a_failed_verification_takes_the_base_away(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    upid = "UPID:a:00000001:00000001:00000001:00000001:verify:x:root@pam:"
    state = {"verify_state": {"state": "failed", "upid": upid}}
    await bench.backup(admin, group, TIME, unprotected=state)
    older = await bench.open(admin, group, TIME - 1)
    assert older.base is None
    await bench.close(admin, older.session_id)
    with pytest.raises(Conflict, match=r"^backup directory already exists\.$"):
        await bench.open(admin, group, TIME)


async def test_an_unreadable_manifest_of_the_last_backup_refuses_the_next(
    bench: Bench, admin: CallContext, group: t.GroupRef
) -> None:
    await bench.backup(admin, group, TIME)
    async with bench.database.tenant(admin.tenant_id) as connection:
        await connection.execute(
            "UPDATE snapshot SET manifest = '{}' FROM backup_group g WHERE g.id = group_id AND g.backup_id = $1",
            group.backup_id,
        )
    with pytest.raises(DataCorrupt):
        await bench.open(admin, group, TIME + 1)


async def test_checks_come_in_their_order(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    nobody = caller(admin.tenant_id, "bob@pbs", "DatastoreReader")
    missing = t.GroupRef("missing", "no/such", "host", "x")
    with pytest.raises(
        PermissionDenied, match=r"^missing permissions 'Datastore.Backup' on '/datastore/missing/no/such'"
    ):
        await bench.open(nobody, missing, TIME)
    with pytest.raises(NotFound, match=r"^no such datastore 'missing'$"):
        await bench.open(admin, missing, TIME)
    with pytest.raises(NamespaceNotFound, match=r"^namespace not found$"):
        await bench.open(admin, t.GroupRef("tank", "no/such", "host", "benchmark"), TIME)
    with pytest.raises(InvalidArgument):
        await bench.open(admin, t.GroupRef("tank", "", "host", "benchmark"), TIME)
    with pytest.raises(InvalidArgument):
        await bench.open(admin, group, TIME, benchmark=True)
    with pytest.raises(InvalidArgument) as wrong:
        await bench.open(admin, group, 0)
    assert wrong.value.field == "backup-time"


async def test_the_owner_check_holds_for_everybody(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    token = caller(admin.tenant_id, "alice@pbs!t", "DatastoreBackup")
    user = caller(admin.tenant_id, "alice@pbs", "DatastoreBackup")
    await bench.backup(token, group, TIME)
    with pytest.raises(NotOwner, match=r"^backup owner check failed \(admin@pbs != alice@pbs!t\)$"):
        await bench.open(admin, group, TIME + 1)
    await bench.close(user, (await bench.open(user, group, TIME + 1)).session_id)
    [listed] = [g for g in await bench.groups(user, "tank") if g.backup_id == group.backup_id]
    assert listed.owner == "alice@pbs!t"
    own = t.GroupRef("tank", "", "host", group.backup_id + "-own")
    await bench.backup(user, own, TIME)
    with pytest.raises(NotOwner):
        await bench.open(token, own, TIME + 1)


async def test_maintenance_refuses_backups(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    overlay = with_caller(admin, maintenance="payment overdue")
    with pytest.raises(Conflict) as refused:
        await bench.open(overlay, group, TIME)
    expected = "datastore 'tank' is unavailable: read-only maintenance mode: payment overdue"
    assert refused.value.message == expected


async def test_the_quota_is_checked_at_the_start_and_for_each_blob(
    bench: Bench, admin: CallContext, group: t.GroupRef
) -> None:
    await bench.backup(admin, group, TIME, {"a.conf.blob": b"x" * 1000})
    used, _ = await bench.counted(admin)
    with pytest.raises(QuotaExceeded) as refused:
        await bench.open(with_caller(admin, quota_bytes=used), group, TIME + 1)
    assert refused.value.message == f"Quota exceeded: {used} of {used} bytes are used"
    session = await bench.open(with_caller(admin, quota_bytes=used + 50), group, TIME + 1)
    small = blob.encode(b"y", compress=False)
    await bench.services.files.put_blob(admin, session.session_id, "s.conf.blob", small)
    with pytest.raises(QuotaExceeded):
        await bench.services.files.put_blob(
            admin, session.session_id, "b.conf.blob", blob.encode(b"y" * 50, compress=False)
        )
    await bench.close(admin, session.session_id)


async def test_a_benchmark_ends_well_and_leaves_nothing(bench: Bench, admin: CallContext) -> None:
    ref = t.GroupRef("tank", "", "host", "benchmark")
    session = await bench.open(admin, ref, TIME, benchmark=True)
    await bench.close(admin, session.session_id, error="connection closed")
    task = await bench.task(admin, session.upid)
    assert (task.worker_type, task.worker_id, task.status) == ("benchmark", "tank:host/benchmark", "OK")
    assert "benchmark" not in {g.backup_id for g in await bench.groups(admin, "tank")}


@pytest.mark.parametrize(
    "raw",
    [
        None,
        blob.encode(b"no json"),
        blob.encode(b'{"backup-type": "host", "backup-id": "x", "backup-time": 1}'),
        blob.assemble(blob.BlobKind.ENCRYPTED, b"secret", bytes(16), bytes(16)),
    ],
)
async def test_a_wrong_manifest_closes_the_way_to_finish(
    bench: Bench, admin: CallContext, group: t.GroupRef, raw: bytes | None
) -> None:
    session = await bench.open(admin, group, TIME)
    if raw is not None:
        await bench.services.files.put_blob(admin, session.session_id, "index.json.blob", raw)
    with pytest.raises(InvalidArgument):
        await bench.finish(admin, session)
    await bench.services.files.put_blob(admin, session.session_id, "index.json.blob", manifest_blob(group, TIME))
    with pytest.raises(Conflict, match=r"cannot be finished"):
        await bench.finish(admin, session)
    await bench.close(admin, session.session_id)
    assert await bench.snapshots(admin, "tank", backup_id=group.backup_id) == []


async def test_blobs_are_checked(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    session = await bench.open(admin, group, TIME)
    put = bench.services.files.put_blob
    good = blob.encode(b"hello", compress=False)
    for name in ("x.didx", "../x.blob", "a/b.blob", ".hidden.blob", "x"):
        with pytest.raises(InvalidArgument) as wrong:
            await put(admin, session.session_id, name, good)
        assert wrong.value.field == "file-name"
    for raw in (good[:-1], b"", bytes(20), good[:8] + bytes(4) + good[12:], good + bytes(16 * 1024 * 1024 + 44)):
        with pytest.raises(InvalidArgument):
            await put(admin, session.session_id, "a.blob", raw)
    await put(admin, session.session_id, "a.blob", blob.encode(b""))
    await put(admin, session.session_id, "a.blob", good)
    path = f"host/{group.backup_id}/2023-11-14T22:13:20Z/a.blob"
    assert (bench.folder / "datastores" / admin.tenant_id / "tank" / path).read_bytes() == good
    await bench.close(admin, session.session_id)


async def test_indexes_are_checked(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    session = await bench.open(admin, group, TIME)
    digest = hashlib.sha256(b"a").digest()
    index, csum, size = dynamic_index([(5, digest), (11, digest)])
    backwards, backwards_csum, _ = dynamic_index([(5, digest), (5, digest)])

    async def close(name: str, file: bytes, checksum: bytes, length: int) -> None:
        await bench.services.files.close_index(admin, session.session_id, name, checksum, length, pieces(file))

    wrong = [
        ("a.blob", index, csum, size),
        ("a.fidx", index, csum, size),
        ("a.didx", index, bytes(32), size),
        ("a.didx", index, csum, size + 1),
        ("a.didx", index[:-1], csum, size),
        ("a.didx", index[:4096], csum, size),
        ("a.didx", backwards, backwards_csum, 5),
    ]
    for case in wrong:
        with pytest.raises(InvalidArgument):
            await close(*case)
    assert bench.files_of(admin, f"host/{group.backup_id}/2023-11-14T22:13:20Z") == []
    await close("a.didx", index, csum, size)
    await bench.close(admin, session.session_id)


async def test_an_index_waits_for_its_chunks_and_refuses_damaged_ones(
    bench: Bench, admin: CallContext, group: t.GroupRef
) -> None:
    await bench.backup(admin, group, TIME)
    session = await bench.open(admin, group, TIME + 1)
    digest = hashlib.sha256(group.backup_id.encode()).digest()
    index, csum, size = dynamic_index([(5, digest)])

    async def set_state(state: int) -> None:
        async with bench.database.tenant(admin.tenant_id) as connection:
            await connection.execute("DELETE FROM chunk WHERE digest = $1", digest)
            await connection.execute(
                "INSERT INTO chunk"
                " (datastore_id, digest, tenant_id, kind, size, raw_size, state, touch_epoch, owner_session)"
                " SELECT datastore_id, $1, tenant_id, 1, 5, 5, $2, 0, id FROM session WHERE id::text = $3",
                digest,
                state,
                session.session_id,
            )

    async def close() -> None:
        await bench.services.files.close_index(admin, session.session_id, "a.didx", csum, size, pieces(index))

    for state in (1, 3):
        await set_state(state)
        with pytest.raises(Conflict):
            await close()
    await set_state(2)
    await close()
    await bench.close(admin, session.session_id)


async def test_an_index_that_is_not_read_back_whole_is_not_taken_for_sound(
    bench: Bench, admin: CallContext, group: t.GroupRef
) -> None:
    """What is missing could name a damaged chunk."""
    async with bench.database.tenant(admin.tenant_id) as connection:
        backend = bench.parts.backends.of(await find_store(connection, admin.tenant_id, "tank"))
    first, second = hashlib.sha256(b"a").digest(), hashlib.sha256(b"b").digest()
    raw, _, _ = dynamic_index([(5, first), (11, second)])
    key, name = f"host/{group.backup_id}/a.didx", ArchiveName("a.didx", ArchiveType.DYNAMIC)
    await backend.put_file(key, raw)
    assert await names_any(backend, key, name, [second])
    assert not await names_any(backend, key, name, [bytes(32)])
    for length in (len(raw) - 40, len(raw) - 1, 4096, 100, 0):
        await backend.put_file(key, raw[:length])
        with pytest.raises(DataCorrupt):
            await names_any(backend, key, name, [second])
    await backend.delete_file(key)


async def test_finish_called_twice_at_once_commits_once(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    session = await bench.open(admin, group, TIME)
    await bench.services.files.put_blob(admin, session.session_id, "index.json.blob", manifest_blob(group, TIME))
    await asyncio.gather(*(bench.finish(admin, session) for _ in range(3)))
    path = f"host/{group.backup_id}/2023-11-14T22:13:20Z"
    created = [e["metadata"]["snapshot"] for e in await bench.events(admin) if e["type"] == "backup_created"]
    assert created.count(path) == 1
    assert bench.files_of(admin, path) == ["index.json.blob"]


async def test_closing_and_finishing_at_once_keeps_all_or_nothing(
    bench: Bench, admin: CallContext, group: t.GroupRef
) -> None:
    for number in range(6):
        ref = t.GroupRef("tank", "", "host", f"{group.backup_id}-{number}")
        session = await bench.open(admin, ref, TIME)
        await bench.services.files.put_blob(admin, session.session_id, "index.json.blob", manifest_blob(ref, TIME))

        async def late_close(session: t.BackupSession = session, delay: float = number * 0.004) -> None:
            await asyncio.sleep(delay)
            await bench.close(admin, session.session_id, error="gone")

        finished, closed = await asyncio.gather(bench.finish(admin, session), late_close(), return_exceptions=True)
        assert closed is None
        listed = await bench.snapshots(admin, "tank", backup_id=ref.backup_id)
        files = bench.files_of(admin, f"host/{ref.backup_id}/2023-11-14T22:13:20Z")
        if finished is None:
            assert ([s.size is not None for s in listed], files) == ([True], ["index.json.blob"])
        else:
            assert isinstance(finished, SessionLost), finished
            assert (listed, files) == ([], [])
    counter, stored = await bench.counted(admin)
    assert counter == stored


async def test_a_blob_in_flight_when_its_session_ends_leaves_nothing(
    bench: Bench, admin: CallContext, group: t.GroupRef
) -> None:
    for number in range(6):
        ref = t.GroupRef("tank", "", "host", f"{group.backup_id}-{number}")
        session = await bench.open(admin, ref, TIME)
        puts = [
            bench.services.files.put_blob(admin, session.session_id, f"{n}.blob", blob.encode(bytes(100)))
            for n in range(4)
        ]
        await asyncio.gather(*puts, bench.close(admin, session.session_id), return_exceptions=True)
        assert bench.files_of(admin, f"host/{ref.backup_id}") == []
    counter, stored = await bench.counted(admin)
    assert counter == stored
