"""Tasks (rest-api A.11, C.14, E.4)."""

import asyncio
import re

import pytest

from pbs_cloud.chunkstore.catalogue.task_rows import listed_store
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import Conflict, InvalidArgument
from pbs_cloud.formats.upid import Upid

from .conftest import Bench, caller


@pytest.fixture
def own(group: t.GroupRef) -> CallContext:
    """An administrator of a tenant that has no other tasks."""
    return caller(f"tasks-{group.backup_id}")


async def run(bench: Bench, ctx: CallContext, kind: str, worker: str | None, status: str | None = None) -> str:
    upid = await bench.services.tasks.create(ctx, kind, worker, "p1", None)
    if status is not None:
        await bench.services.tasks.finish(ctx, upid, status)
    return upid


async def listed(bench: Bench, ctx: CallContext, **filters: object) -> list[str]:
    tasks, _ = await bench.services.tasks.page(ctx, t.TaskFilter(**filters))  # type: ignore[arg-type]
    return [task.upid for task in tasks]


async def test_a_upid_tells_nothing_but_the_task(bench: Bench, own: CallContext) -> None:
    upids = [await run(bench, own, "prune", "tank:a/b:vm/1-0") for _ in range(3)]
    parsed = [Upid.parse(upid) for upid in upids]
    assert all(len({getattr(p, f) for p in parsed}) == 3 for f in ("pid", "pstart", "task_id"))
    assert {(p.node, p.worker_type, p.worker_id, p.auth_id) for p in parsed} == {
        ("pbs-cloud", "prune", "tank:a/b:vm/1-0", "admin@pbs")
    }
    task = await bench.task(own, upids[0])
    assert (task.upid, task.pid, task.pstart, task.starttime) == (
        upids[0],
        parsed[0].pid,
        parsed[0].pstart,
        parsed[0].start_time,
    )


async def test_log_lines_are_numbered_and_stamped(bench: Bench, own: CallContext) -> None:
    tasks = bench.services.tasks
    upid = await run(bench, own, "backup", "tank:vm/1")
    await tasks.append(own, upid, ["one", "two\nmore\x00", ""])
    page = await tasks.read_log(own, upid, 0, 2)
    assert ([line.n for line in page.lines], page.total, page.active) == ([1, 2], 4, True)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00: one", page.lines[0].text)
    assert [line.text[27:] if line.n != 3 else line.text for line in (await tasks.read_log(own, upid, 2, 0)).lines] == [
        "two",
        "more",
        "",
    ]
    assert await tasks.read_log(own, upid, 5, 10) == t.TaskLog((), 4, True)
    await tasks.finish(own, upid, "WARNINGS: 2")
    await tasks.finish(own, upid, "OK")
    page = await tasks.read_log(own, upid, 5, 500)
    assert ([line.text[27:] for line in page.lines], page.total, page.active) == (["TASK WARNINGS: 2"], 5, False)
    with pytest.raises(Conflict):
        await tasks.append(own, upid, ["late"])


async def test_lines_from_many_places_get_each_its_number(bench: Bench, own: CallContext) -> None:
    upid = await run(bench, own, "backup", "tank:vm/1")
    await asyncio.gather(*(bench.services.tasks.append(own, upid, [f"{n}a", f"{n}b"]) for n in range(12)))
    page = await bench.services.tasks.read_log(own, upid, 1, 0)
    assert [line.n for line in page.lines] == list(range(1, 25))
    texts = [line.text[27:] for line in page.lines]
    assert all(texts[n][:-1] == texts[n + 1][:-1] for n in range(0, 24, 2))


async def test_the_order_and_the_pages_of_the_list(bench: Bench, own: CallContext) -> None:
    ended = [await run(bench, own, "verify", "tank", status) for status in ("OK", "it broke", "WARNINGS: 1", "unknown")]
    running = [await run(bench, own, "backup", "tank:vm/1"), await run(bench, own, "prune", None)]
    everything = await listed(bench, own)
    assert everything == [*reversed(running), *reversed(ended)]
    for size in (1, 2, 3, 4):
        pages = [await listed(bench, own, start=start, limit=size) for start in range(0, 6, size)]
        assert [upid for page in pages for upid in page] == everything
    _, total = await bench.services.tasks.page(own, t.TaskFilter(start=1, limit=3))
    assert total == 1 + 3 + 1
    _, total = await bench.services.tasks.page(own, t.TaskFilter(start=4, limit=3))
    assert total == 4 + 2
    _, total = await bench.services.tasks.page(own, t.TaskFilter(start=9, limit=3))
    assert total == 9
    assert await listed(bench, own, limit=0) == everything


async def test_the_filters_of_the_list(bench: Bench, own: CallContext) -> None:
    ok = await run(bench, own, "garbage_collection", "tank", "OK")
    bad = await run(bench, own, "verify_snapshot", "tank:vm/1/00000001", "it broke")
    warned = await run(bench, own, "prune", "tank2:", "WARNINGS: 1")
    lost = await run(bench, own, "backup", "tank:vm/1", "unknown")
    reader = await run(bench, own, "reader", "tank:vm/1/00000001")
    assert set(await listed(bench, own, running=True)) == {reader}
    assert set(await listed(bench, own, errors=True)) == {reader, bad, warned, lost}
    assert set(await listed(bench, own, store="tank")) == {ok, bad, lost}
    assert set(await listed(bench, own, store="tank2")) == {warned}
    assert set(await listed(bench, own, typefilter="r")) == {ok, bad, warned, reader}
    assert set(await listed(bench, own, typefilter="%")) == set()
    assert set(await listed(bench, own, userfilter="in@p")) == {ok, bad, warned, lost, reader}
    assert set(await listed(bench, own, statusfilter=("error", "unknown"))) == {bad, lost}
    assert set(await listed(bench, own, statusfilter=("ok", "warning"))) == {ok, warned}
    started = (await bench.task(own, reader)).starttime
    assert len(await listed(bench, own, since=started - 100, until=started)) >= 1
    assert await listed(bench, own, since=started + 100) == []
    assert await listed(bench, own, until=started - 100) == []
    with pytest.raises(InvalidArgument):
        await listed(bench, own, statusfilter=("good",))


@pytest.mark.parametrize(
    ("kind", "worker", "store"),
    [
        ("backup", "tank:vm/1", "tank"),
        ("syncjob", "-:src:tank::job1", "tank"),
        ("verificationjob", "tank:job", "tank"),
        ("prune", "tank::vm/1", "tank"),
        ("reader", "tank:vm/1/00000001", None),
        ("garbage_collection", None, None),
        ("create-datastore", "tank", None),
    ],
)
def test_which_list_of_a_datastore_shows_a_task(kind: str, worker: str | None, store: str | None) -> None:
    assert listed_store(kind, worker) == store


async def test_who_sees_a_task(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    tenant, name = admin.tenant_id, f"x{group.backup_id}"
    token, sibling = (caller(tenant, f"{name}@pbs!{t_}", "DatastoreBackup") for t_ in "ab")
    user = caller(tenant, f"{name}@pbs", "DatastoreBackup")
    auditor = caller(tenant, "audit@pbs", "Audit", "/system")
    pruner = caller(tenant, "prune@pbs", "DatastoreAdmin", "/datastore/tank")
    stranger = caller(tenant, "stranger@pbs", "DatastoreBackup")
    upid = await run(bench, token, "backup", "tank:vm/1")
    job = await run(bench, caller(tenant, "root@pam"), "garbage_collection", "tank")
    for who, sees, sees_job in (
        (token, True, False),
        (user, True, False),
        (sibling, False, False),
        (stranger, False, False),
        (auditor, True, True),
        (pruner, False, True),
        (caller("nobody-else"), False, False),
    ):
        assert (upid in await listed(bench, who, limit=0)) == sees
        assert (job in await listed(bench, who, limit=0)) == sees_job
        if sees:
            assert (await bench.task(who, upid)).upid == upid
            continue
        for call in (bench.task(who, upid), bench.log(who, upid)):
            with pytest.raises(Conflict, match=r"^task access not allowed$"):
                await call


async def test_stopping(bench: Bench, own: CallContext) -> None:
    tasks, user = bench.services.tasks, caller(own.tenant_id, "s@pbs", "DatastoreBackup")
    token = caller(own.tenant_id, "s@pbs!t", "DatastoreBackup")
    upid = await run(bench, token, "backup", "tank:vm/1")
    for who in (user, caller("other-tenant", "x@pbs", "DatastoreAdmin")):
        with pytest.raises(Conflict, match=r"^missing permissions 'Sys.Modify' on '/system/tasks'$"):
            await tasks.stop(who, upid)
    assert (await bench.services.leases.renew("p1", [], [upid])).stop_requested_upids == ()
    await tasks.stop(caller("other-tenant", "s@pbs!t", "DatastoreBackup"), upid)
    assert (await bench.services.leases.renew("p1", [], [upid])).stop_requested_upids == ()
    await tasks.stop(token, upid)
    assert (await bench.services.leases.renew("p1", [], [upid])).stop_requested_upids == (upid,)
    [event] = [e for e in await bench.events(own) if e["type"] == "task_stop_requested"]
    assert event["metadata"] == {"upid": upid, "process_id": "p1"}
    await tasks.finish(own, upid, "task aborted")
    await tasks.stop(own, upid)
    never = str(Upid("n", 1, 1, 1, 1, "backup", "x", "s@pbs!t"))
    await tasks.stop(token, never)
    await tasks.stop(own, never)
    with pytest.raises(InvalidArgument):
        await tasks.stop(own, "UPID:x")
