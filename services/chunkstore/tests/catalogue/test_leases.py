"""Leases: renewal, expiry, restarted processes, work cut off in the middle (formats 9.9, wire-protocol 4.14)."""

import asyncio
import dataclasses

import pytest

from pbs_cloud.chunkstore.catalogue.rows import find_store
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import Conflict, Locked, NotFound, SessionLost, Unavailable
from pbs_cloud.formats import blob

from .conftest import Bench, caller, manifest_blob

TIME = 1_700_000_000
SHORT = 1.0


async def test_a_renewed_lease_lives_on_and_a_dead_one_is_lost(
    bench: Bench, admin: CallContext, group: t.GroupRef
) -> None:
    session = await bench.with_lease(SHORT).open(admin, group, TIME, process="p1")
    leases = await bench.services.leases.renew("p1", [session.session_id, "no-uuid"], [])
    assert leases.lost_session_ids == ("no-uuid",)
    await asyncio.sleep(SHORT * 1.2)
    assert await bench.services.leases.renew("p1", [session.session_id], []) == t.Leases((), ())
    foreign = await bench.services.leases.renew("p2", [session.session_id], [])
    assert foreign.lost_session_ids == (session.session_id,)
    await bench.with_lease(SHORT).services.leases.renew("p1", [session.session_id], [])
    await asyncio.sleep(SHORT * 1.2)
    leases = await bench.services.leases.renew("p1", [session.session_id], [])
    assert leases.lost_session_ids == (session.session_id,)
    with pytest.raises(SessionLost):
        await bench.services.files.put_blob(admin, session.session_id, "a.blob", blob.encode(b"x"))
    with pytest.raises(SessionLost):
        await bench.finish(admin, session)
    await bench.close(admin, session.session_id)


async def test_a_finished_session_is_not_lost_while_its_connection_stays(
    bench: Bench, admin: CallContext, group: t.GroupRef
) -> None:
    session = await bench.open(admin, group, TIME, process="p1")
    await bench.services.files.put_blob(admin, session.session_id, "index.json.blob", manifest_blob(group, TIME))
    await bench.finish(admin, session)
    leases = await bench.services.leases.renew("p1", [session.session_id], [])
    assert leases == t.Leases((), ())
    assert (await bench.task(admin, session.upid)).status is None
    await bench.close(admin, session.session_id)
    assert (await bench.task(admin, session.upid)).status == "OK"


async def test_who_meets_a_dead_holder_takes_the_group(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    dead = await bench.open(admin, group, TIME)
    await bench.services.files.put_blob(admin, dead.session_id, "a.blob", blob.encode(b"x"))
    with pytest.raises(Locked):
        await bench.open(admin, group, TIME + 1)
    await bench.end_lease(admin, dead)
    session = await bench.open(admin, group, TIME)
    folder = f"host/{group.backup_id}/2023-11-14T22:13:20Z"
    assert bench.files_of(admin, folder) == []
    assert bench.files_of(admin, f"host/{group.backup_id}") == ["owner"]
    assert (await bench.task(admin, dead.upid)).status == "unknown"
    await bench.close(admin, dead.session_id, error="too late")
    await bench.services.files.put_blob(admin, session.session_id, "index.json.blob", manifest_blob(group, TIME))
    await bench.finish(admin, session)
    assert [s.backup_time for s in await bench.snapshots(admin, "tank", backup_id=group.backup_id)] == [TIME]
    counter, stored = await bench.counted(admin)
    assert counter == stored


async def test_a_restarted_process_ends_what_its_predecessor_had(
    bench: Bench, admin: CallContext, group: t.GroupRef
) -> None:
    process = f"gw-{group.backup_id}"
    session = await bench.open(admin, group, TIME, process=process)
    task = await bench.services.tasks.create(admin, "prune", "tank:", process, None)
    await bench.services.closing.expire_process(process)
    assert bench.files_of(admin, f"host/{group.backup_id}") == []
    assert (await bench.task(admin, session.upid)).status == "unknown"
    assert (await bench.task(admin, task)).status == "unknown"
    assert (await bench.log(admin, task))[-1].endswith(": TASK unknown")


async def test_the_sweep_ends_dead_sessions_and_tasks(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    await bench.backup(admin, group, TIME)
    reader = await bench.read(admin, group, TIME)
    backup = await bench.open(admin, group, TIME + 1)
    await bench.end_lease(admin, reader)
    await bench.end_lease(admin, backup)
    assert await bench.services.closing.expire_dead() >= 2
    for upid in (reader.upid, backup.upid):
        assert (await bench.task(admin, upid)).status == "unknown"
    await bench.services.snapshots.delete(admin, t.SnapshotKey(group, TIME))
    assert bench.files_of(admin, f"host/{group.backup_id}") == []


async def test_a_commit_whose_answer_was_lost_ends_well_without_its_process(
    bench: Bench, admin: CallContext, group: t.GroupRef
) -> None:
    session = await bench.open(admin, group, TIME)
    await bench.services.files.put_blob(admin, session.session_id, "index.json.blob", manifest_blob(group, TIME))
    await bench.finish(admin, session)
    await bench.end_lease(admin, session)
    await bench.services.closing.expire_dead()
    assert (await bench.task(admin, session.upid)).status == "OK"
    assert len(await bench.snapshots(admin, "tank", backup_id=group.backup_id)) == 1
    await bench.finish(admin, session)


async def test_who_deletes_meets_a_dead_reader(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    await bench.backup(admin, group, TIME)
    reader = await bench.read(admin, group, TIME)
    with pytest.raises(Locked):
        await bench.services.snapshots.delete(admin, t.SnapshotKey(group, TIME))
    await bench.end_lease(admin, reader)
    await bench.services.snapshots.delete(admin, t.SnapshotKey(group, TIME))
    dead = await bench.open(admin, group, TIME)
    await bench.end_lease(admin, dead)
    with pytest.raises(NotFound):
        await bench.services.groups.change_owner(admin, group, "x@pbs")


async def test_a_storage_that_is_away_stops_nobody_else(
    bench: Bench, admin: CallContext, group: t.GroupRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = caller("away")
    await bench.services.datastores.ensure("away", "tank")
    sessions = [(ctx, await bench.open(ctx, group, TIME)) for ctx in (other, admin)]
    for ctx, session in sessions:
        await bench.services.files.put_blob(ctx, session.session_id, "a.blob", blob.encode(b"x"))
        await bench.end_lease(ctx, session)
    async with bench.database.tenant("away") as connection:
        store = await find_store(connection, "away", "tank")
    backend = bench.parts.backends.of(store)

    async def fail(_prefix: str) -> None:
        raise Unavailable("the storage is away")

    with monkeypatch.context() as patch:
        patch.setattr(backend, "delete_tree", fail)
        await bench.services.upkeep.once()
        assert bench.files_of(admin, f"host/{group.backup_id}") == []
        assert bench.files_of(other, f"host/{group.backup_id}") != []
        assert (await bench.task(other, sessions[0][1].upid)).status == "unknown"
    await bench.services.upkeep.once()
    assert bench.files_of(other, f"host/{group.backup_id}") == []


async def test_the_path_of_an_expired_session_rests_on_object_storage(
    bench: Bench, admin: CallContext, group: t.GroupRef
) -> None:
    """With late writes possible, the group is free at once and the path after their time (formats 9.9)."""
    resting = Bench(dataclasses.replace(bench.parts, late_write_seconds=2.0), bench.folder)
    async with bench.database.tenant(admin.tenant_id) as connection:
        bench.parts.backends.of(await find_store(connection, admin.tenant_id, "tank"))
        await connection.execute("UPDATE datastore SET backend_type = 's3' WHERE name = 'tank'")
    try:
        dead = await resting.open(admin, group, TIME)
        await resting.end_lease(admin, dead)
        with pytest.raises(Conflict, match=r"^backup directory already exists\.$"):
            await resting.open(admin, group, TIME)
        assert group.backup_id not in {g.backup_id for g in await bench.groups(admin, "tank")}
        second = await resting.open(admin, group, TIME + 1)
        await resting.close(admin, second.session_id)
        await asyncio.sleep(2.1)
        await resting.services.upkeep.once()
        again = await resting.open(admin, group, TIME)
        await resting.close(admin, again.session_id)
    finally:
        async with bench.database.tenant(admin.tenant_id) as connection:
            await connection.execute("UPDATE datastore SET backend_type = 'filesystem' WHERE name = 'tank'")


async def test_a_removal_cut_off_after_its_mark_is_finished_by_the_next_process(
    bench: Bench, admin: CallContext, group: t.GroupRef
) -> None:
    await bench.backup(admin, group, TIME, {"a.blob": b"x"})
    async with bench.database.tenant(admin.tenant_id) as connection:
        await connection.execute(
            "UPDATE snapshot SET state = 'removing', reusable_at = clock_timestamp() FROM backup_group g"
            " WHERE g.id = group_id AND g.backup_id = $1",
            group.backup_id,
        )
        await connection.execute(
            "UPDATE usage_counter SET bytes = bytes - (SELECT sum(stored_size) FROM snapshot_file f"
            " JOIN snapshot s ON s.id = f.snapshot_id JOIN backup_group g ON g.id = s.group_id WHERE g.backup_id = $1)"
            " WHERE datastore_id = (SELECT id FROM datastore WHERE name = 'tank')",
            group.backup_id,
        )
    assert await bench.snapshots(admin, "tank", backup_id=group.backup_id) == []
    await bench.services.upkeep.once()
    assert bench.files_of(admin, f"host/{group.backup_id}") == []
    assert group.backup_id not in {g.backup_id for g in await bench.groups(admin, "tank")}


async def test_a_close_cut_off_after_its_mark_is_finished_when_the_lease_ends(
    bench: Bench, admin: CallContext, group: t.GroupRef
) -> None:
    session = await bench.open(admin, group, TIME)
    await bench.services.files.put_blob(admin, session.session_id, "a.blob", blob.encode(b"x"))
    async with bench.database.tenant(admin.tenant_id) as connection:
        await connection.execute(
            "UPDATE snapshot SET state = 'removing', reusable_at = clock_timestamp() WHERE session_id::text = $1",
            session.session_id,
        )
        await connection.execute(
            "UPDATE usage_counter SET bytes = bytes - $1 WHERE datastore_id ="
            " (SELECT id FROM datastore WHERE name = 'tank')",
            len(blob.encode(b"x")),
        )
    await bench.services.upkeep.once()
    assert bench.files_of(admin, f"host/{group.backup_id}") != []
    await bench.end_lease(admin, session)
    await bench.services.upkeep.once()
    assert bench.files_of(admin, f"host/{group.backup_id}") == []


async def test_many_renewals_and_writes_at_once_do_not_disturb_each_other(
    bench: Bench, admin: CallContext, group: t.GroupRef
) -> None:
    groups = [t.GroupRef("tank", "", "vm", f"{group.backup_id}-{n}") for n in range(4)]
    sessions = [await bench.open(admin, ref, TIME, process="p9") for ref in groups]
    ids = [s.session_id for s in sessions]

    async def write(session: t.BackupSession, number: int) -> None:
        name = f"f{number % 3}.blob"
        await bench.services.files.put_blob(admin, session.session_id, name, blob.encode(bytes(number)))

    renewals = [bench.services.leases.renew("p9", ids[:: 1 if n % 2 else -1], []) for n in range(10)]
    writes = [write(session, n) for n in range(10) for session in sessions]
    answers = await asyncio.gather(*renewals, *writes)
    assert all(a.lost_session_ids == () for a in answers if isinstance(a, t.Leases))
    counter, stored = await bench.counted(admin)
    assert counter == stored
    await asyncio.gather(*(bench.close(admin, s) for s in ids))
