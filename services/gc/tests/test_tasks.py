"""Tasks of the gc service: log, result, lease, stop, predecessors."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from testkit.maintenance import ADMIN, FIRST_TIME, STORE, Maintained

from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import SystemContext
from pbs_cloud.contracts.errors import Conflict, Unavailable
from pbs_cloud.gc import tasks as module
from pbs_cloud.gc.tasks import ABORTED, TaskLog, TaskRunner

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def runner(world: Maintained, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TaskRunner]:
    monkeypatch.setattr(module, "RENEW_SECONDS", 0.1)
    made = TaskRunner(world.catalogue, "test-runner")
    await made.start()
    yield made
    await made.stop()


async def hang(log: TaskLog) -> None:
    await log.line("hanging")
    await asyncio.Event().wait()


async def test_a_task_has_a_log_and_a_result(world: Maintained, runner: TaskRunner) -> None:
    async def body(log: TaskLog) -> None:
        for number in range(450):
            await log.line(f"line {number}")

    upid = await runner.begin(ADMIN, "verify", STORE, body)
    await runner.wait(upid)
    assert await world.ended(upid) == "OK"
    lines = (await world.log(upid)).splitlines()
    assert [line.partition(": ")[2] for line in lines[:-1]] == [f"line {number}" for number in range(450)]
    assert not runner.is_running(upid)


async def test_warnings_errors_and_defects(world: Maintained, runner: TaskRunner) -> None:
    async def warns(log: TaskLog) -> None:
        await log.warn("one")
        await log.warn("two")

    async def refuses(log: TaskLog) -> None:
        raise Conflict("it cannot be")

    async def breaks(log: TaskLog) -> None:
        raise RuntimeError("secret")

    found = [await world.ended(await runner.begin(ADMIN, "verify", STORE, body)) for body in (warns, refuses, breaks)]
    assert found == ["WARNINGS: 2", "it cannot be", "internal error"]


async def test_a_task_in_somebody_elses_name(world: Maintained, runner: TaskRunner) -> None:
    system = SystemContext().for_tenant(ADMIN.tenant_id)
    upid = await runner.begin(system, "verify", STORE, hang, auth_id="alice@pbs")
    assert (await world.catalogue.get_task(system, upid)).auth_id == "alice@pbs"
    await world.catalogue.stop_task(system, upid)
    assert await world.ended(upid, system) == ABORTED


async def test_log_lines_show_while_the_task_runs(world: Maintained, runner: TaskRunner) -> None:
    upid = await runner.begin(ADMIN, "verify", STORE, hang)
    async with asyncio.timeout(10):
        while "hanging" not in await world.log(upid):
            await asyncio.sleep(0.05)
    await world.catalogue.stop_task(ADMIN, upid)
    assert await world.ended(upid) == ABORTED
    assert "TASK ERROR: task aborted" in await world.log(upid)


async def test_leases_are_kept(world: Maintained, runner: TaskRunner) -> None:
    upid = await runner.begin(ADMIN, "verify", STORE, hang)
    async with world.database.system() as connection:
        await connection.execute(
            "UPDATE task SET lease_until = clock_timestamp() + interval '1 second' WHERE upid = $1", upid
        )
    await asyncio.sleep(0.5)
    async with world.database.system() as connection:
        left = await connection.fetchval(
            "SELECT extract(epoch FROM lease_until - clock_timestamp()) FROM task WHERE upid = $1", upid
        )
    assert left > 30
    await world.catalogue.stop_task(ADMIN, upid)
    await world.ended(upid)


async def test_a_log_that_cannot_be_written_costs_no_lease(
    world: Maintained, runner: TaskRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its own task's nor another's."""
    first, second = [await runner.begin(ADMIN, "verify", STORE, hang) for _ in range(2)]

    async def away(self: TaskLog) -> None:
        raise Unavailable("no catalogue")

    with monkeypatch.context() as patched:
        patched.setattr(TaskLog, "flush", away)
        async with world.database.system() as connection:
            await connection.execute("UPDATE task SET lease_until = clock_timestamp() + interval '1 second'")
        await asyncio.sleep(0.5)
    async with world.database.system() as connection:
        left = await connection.fetch(
            "SELECT extract(epoch FROM lease_until - clock_timestamp()) AS s FROM task WHERE upid = ANY($1)",
            [first, second],
        )
    assert [row["s"] > 30 for row in left] == [True, True]
    for upid in (first, second):
        await world.catalogue.stop_task(ADMIN, upid)
        assert await world.ended(upid) == ABORTED


async def test_a_task_whose_lease_ran_out_stops_working(world: Maintained, runner: TaskRunner) -> None:
    stopped = asyncio.Event()

    async def body(log: TaskLog) -> None:
        try:
            while True:
                await log.line("working")
                await asyncio.sleep(0.02)
        finally:
            stopped.set()

    upid = await runner.begin(ADMIN, "verify", STORE, body)
    await world.catalogue.finish_task(ADMIN, upid, "unknown")
    await asyncio.wait_for(stopped.wait(), 10)
    assert await world.ended(upid) == "unknown"


async def test_the_predecessors_tasks_end_before_the_first_one_starts(world: Maintained) -> None:
    left = await world.catalogue.create_task(ADMIN, "verify", STORE, process_id="again")
    runner = TaskRunner(world.catalogue, "again")
    beginning = asyncio.create_task(runner.begin(ADMIN, "verify", STORE, hang))
    await asyncio.sleep(0.05)
    assert not beginning.done(), "it waits until the predecessor's tasks have ended"
    await runner.start()
    mine = await asyncio.wait_for(beginning, 10)
    assert await world.ended(left) == "unknown"
    assert (await world.catalogue.get_task(ADMIN, mine)).endtime is None
    await runner.stop()
    assert await world.ended(mine) == ABORTED, "a process that ends aborts its tasks"


async def test_a_snapshot_is_pinned_while_it_is_read(world: Maintained, runner: TaskRunner) -> None:
    key = await world.backup(t.GroupRef(STORE, "", "vm", "pin"), FIRST_TIME)
    async with runner.reading(SystemContext().for_tenant(ADMIN.tenant_id), key) as session_id:
        async with world.database.system() as connection:
            await connection.execute(
                "UPDATE session SET lease_until = clock_timestamp() + interval '1 second' WHERE id::text = $1",
                session_id,
            )
        await asyncio.sleep(1.2)
        with pytest.raises(Conflict):
            await world.catalogue.delete_snapshot(ADMIN, key)
    await world.catalogue.delete_snapshot(ADMIN, key)
