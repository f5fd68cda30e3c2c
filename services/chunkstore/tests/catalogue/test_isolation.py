"""Two tenants with equal names see nothing of each other (rest-api E)."""

import uuid
from collections.abc import Awaitable

import pytest

from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import Conflict, NotFound, SessionLost
from pbs_cloud.formats import blob

from .conftest import Bench, caller, manifest_blob

TIME = 1_700_000_000


@pytest.fixture
async def other(bench: Bench) -> CallContext:
    """An administrator of another tenant with a datastore of the same name."""
    await bench.services.datastores.ensure("isolated", "tank")
    return caller("isolated")


async def test_equal_names_are_different_things(
    bench: Bench, admin: CallContext, other: CallContext, group: t.GroupRef
) -> None:
    await bench.backup(admin, group, TIME, {"a.blob": b"mine"})
    await bench.services.namespaces.create(admin, "tank", group.backup_id)
    assert await bench.snapshots(other, "tank") == []
    assert await bench.groups(other, "tank") == []
    assert await bench.services.namespaces.below(other, "tank", "", None) == [""]
    assert (await bench.services.status.status(other, "tank", verbose=True)).used == 0
    assert (await bench.services.status.tenant(other)).snapshot_count == 0
    assert await bench.events(other) == []
    key = t.SnapshotKey(group, TIME)
    missing: list[Awaitable[object]] = [
        bench.read(other, group, TIME),
        bench.services.snapshots.delete(other, key),
        bench.services.snapshots.files(other, key),
        bench.services.snapshots.set_notes(other, key, "x"),
        bench.services.groups.delete(other, group, error_on_protected=False),
        bench.services.groups.change_owner(other, group, "x@pbs"),
    ]
    for call in missing:
        with pytest.raises(NotFound):
            await call
    _, mine = await bench.services.datastores.listed(admin)
    _, theirs = await bench.services.datastores.listed(other)
    assert mine != theirs


async def test_sessions_and_tasks_of_another_tenant_do_not_exist(
    bench: Bench, admin: CallContext, other: CallContext, group: t.GroupRef
) -> None:
    session = await bench.open(admin, group, TIME)
    raw = manifest_blob(group, TIME)
    for call in (
        bench.services.files.put_blob(other, session.session_id, "a.blob", blob.encode(b"x")),
        bench.finish(other, session),
    ):
        with pytest.raises(SessionLost):
            await call
    await bench.close(other, session.session_id, error="not yours")
    with pytest.raises(Conflict, match=r"^task access not allowed$"):
        await bench.task(other, session.upid)
    with pytest.raises(Conflict):
        await bench.services.tasks.append(other, session.upid, ["x"])
    await bench.services.tasks.finish(other, session.upid, "not yours")
    await bench.services.files.put_blob(admin, session.session_id, "index.json.blob", raw)
    await bench.finish(admin, session)
    await bench.close(admin, session.session_id)
    assert (await bench.task(admin, session.upid)).status == "OK"


async def test_a_query_with_the_wrong_tenant_finds_nothing_whatever_it_asks(
    bench: Bench, admin: CallContext, group: t.GroupRef
) -> None:
    await bench.backup(admin, group, TIME, {"a.blob": b"x"})
    reader = await bench.read(admin, group, TIME)
    tables = (
        "datastore", "namespace", "backup_group", "snapshot", "snapshot_file", "session", "pin",
        "usage_counter", "task", "task_log", "outbox", "tenant_salt", "chunk", "chunk_p0",
    )  # fmt: skip
    async with bench.database.tenant(f"nobody-{uuid.uuid4()}") as connection:
        for table in tables:
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0, table
            assert await connection.execute(f"DELETE FROM {table}") == "DELETE 0", table
    await bench.close(admin, reader.session_id)
    async with bench.database.tenant(admin.tenant_id) as connection:
        for table in tables[:6]:
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") > 0, table
