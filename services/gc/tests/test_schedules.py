"""Configured jobs: rules of changes, when they run, once over all replicas, and what is known after a restart."""

import asyncio
import itertools
import json
import time

import pytest
from testkit.maintenance import ADMIN, FIRST_TIME, STORE, TENANT, Maintained, member

from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.chunkstore.collection import CollectionClient
from pbs_cloud.contracts.context import AclEntry, CallContext, Caller, SystemContext
from pbs_cloud.contracts.errors import AlreadyExists, Conflict, InvalidArgument, Locked, NotFound, PermissionDenied
from pbs_cloud.contracts.jobs import Job, JobFields, JobKind
from pbs_cloud.gc.component import CONFIGURED, CONFIGURED_SECONDS
from pbs_cloud.gc.jobs import Job as Recurring
from pbs_cloud.gc.jobs import JobRunner
from pbs_cloud.gc.prune import Prune
from pbs_cloud.gc.schedules import rows
from pbs_cloud.gc.schedules.runs import JobRuns
from pbs_cloud.gc.schedules.service import ConfiguredJobs
from pbs_cloud.gc.tasks import TaskRunner
from pbs_cloud.runtime.database import Database

pytestmark = pytest.mark.asyncio(loop_scope="module")
_numbers = itertools.count(1)
PRUNE, VERIFY = JobKind.PRUNE, JobKind.VERIFY
SYSTEM = SystemContext().for_tenant(TENANT)
DAILY = JobFields(store=STORE, schedule="daily")


def fresh() -> str:
    return f"job{next(_numbers)}"


async def get(world: Maintained, kind: JobKind, job_id: str, ctx: CallContext = ADMIN) -> Job:
    return (await world.gc.get_job(ctx, kind, job_id))[0]


def database(world: Maintained) -> Database:
    """The gc service's."""
    return world.gc_database


async def make_due(world: Maintained, job_id: str) -> None:
    async with database(world).system() as connection:
        await connection.execute("UPDATE job SET next_run = 1 WHERE id = $1", job_id)


def runs_of(world: Maintained, tasks: TaskRunner) -> JobRuns:
    """Another replica."""
    from pbs_cloud.contracts.chunkstore.verifier import VerifierClient
    from pbs_cloud.gc.verification.verify import Verify

    verify = Verify(world.catalogue, VerifierClient(world._channels[1]), tasks)
    return JobRuns(database(world), world.catalogue, world.auth, tasks, Prune(world.catalogue, tasks), verify)


# ------------------------------------------------------------------------------------------------ configuration


@pytest.mark.parametrize("kind", JobKind)
async def test_a_jobs_life(world: Maintained, kind: JobKind) -> None:
    job_id = fresh()
    given = JobFields(store=STORE, schedule="daily", comment="c", max_depth=0, ns="a/b")
    await world.gc.create_job(ADMIN, kind, job_id, given)
    job = await get(world, kind, job_id)
    assert (job.kind, job.id, job.fields) == (kind, job_id, given)
    assert job.state.next_run is not None
    assert time.time() < job.state.next_run <= time.time() + 86_400
    assert job.state.next_run % 86_400 == 0
    with pytest.raises(AlreadyExists, match=f"^job '{job_id}' already exists.$"):
        await world.gc.create_job(ADMIN, kind, job_id, given)
    await world.gc.update_job(ADMIN, kind, job_id, JobFields(comment="d"), ["max-depth", "ns"])
    assert (await get(world, kind, job_id)).fields == JobFields(store=STORE, schedule="daily", comment="d")
    await world.gc.delete_job(ADMIN, kind, job_id)
    name = {PRUNE: "prune", VERIFY: "verification"}[kind]
    for call in (
        world.gc.get_job(ADMIN, kind, job_id),
        world.gc.delete_job(ADMIN, kind, job_id),
        world.gc.update_job(ADMIN, kind, job_id, JobFields()),
        world.gc.run_job(ADMIN, kind, job_id),
        world.gc.get_job(member("x@pbs", "NoAccess"), kind, job_id),
    ):
        with pytest.raises(NotFound, match=f"^no such {name} '{job_id}'$"):
            await call


async def test_what_is_no_job(world: Maintained) -> None:
    for kind, fields in (
        (PRUNE, JobFields(store=STORE)),
        (PRUNE, JobFields(schedule="daily")),
        (PRUNE, JobFields(store=STORE, schedule="nonsense")),
        (PRUNE, JobFields(store=STORE, schedule="daily", keep_last=0)),
        (VERIFY, JobFields()),
        (VERIFY, JobFields(store=STORE, schedule="nonsense")),
    ):
        with pytest.raises(InvalidArgument):
            await world.gc.create_job(ADMIN, kind, fresh(), fields)
    job_id = fresh()
    await world.gc.create_job(ADMIN, PRUNE, job_id, DAILY)
    for name in ("store", "schedule", "id"):
        with pytest.raises(InvalidArgument):
            await world.gc.update_job(ADMIN, PRUNE, job_id, JobFields(), [name])


async def test_equal_jobs_of_two_tenants_have_different_digests() -> None:
    assert rows.digest_of("acme", []) != rows.digest_of("globex", []) == rows.digest_of("globex", [])


async def test_the_digest_guards_changes(world: Maintained) -> None:
    job_id = fresh()
    await world.gc.create_job(ADMIN, VERIFY, job_id, DAILY)
    _, stale = await world.gc.list_jobs(ADMIN, VERIFY)
    await world.gc.update_job(ADMIN, VERIFY, job_id, JobFields(comment="x"), digest=stale)
    for call in (
        world.gc.update_job(ADMIN, VERIFY, job_id, JobFields(comment="y"), digest=stale),
        world.gc.delete_job(ADMIN, VERIFY, job_id, digest=stale),
    ):
        with pytest.raises(Conflict, match=r"^detected modified configuration"):
            await call
    assert (await get(world, VERIFY, job_id)).fields.comment == "x"
    _, digest = await world.gc.get_job(ADMIN, VERIFY, job_id)
    await world.gc.delete_job(ADMIN, VERIFY, job_id, digest=digest)


@pytest.mark.parametrize(
    ("kind", "role", "sees", "reads", "changes"),
    [
        (PRUNE, "DatastoreAudit", True, True, False),
        (PRUNE, "DatastoreAdmin", True, True, True),
        (PRUNE, "DatastoreReader", True, True, False),
        (PRUNE, "DatastoreBackup", False, False, False),
        (VERIFY, "DatastoreAudit", True, True, False),
        (VERIFY, "DatastoreReader", True, True, True),
        (VERIFY, "DatastoreBackup", False, False, False),
    ],
)
async def test_who_may_what(
    world: Maintained, kind: JobKind, role: str, sees: bool, reads: bool, changes: bool
) -> None:
    job_id, who = fresh(), member("who@pbs", role, f"/datastore/{STORE}/a")
    fields = JobFields(store=STORE, ns="a", schedule="daily", keep_last=99)
    await world.gc.create_job(ADMIN, kind, job_id, fields)
    assert (job_id in {job.id for job in (await world.gc.list_jobs(who, kind))[0]}) is sees
    for allowed, call in (
        (reads, world.gc.get_job(who, kind, job_id)),
        (changes, world.gc.create_job(who, kind, fresh(), fields)),
        (changes, world.gc.update_job(who, kind, job_id, JobFields(comment="x"))),
        (False, world.gc.update_job(who, kind, job_id, JobFields(ns="b"))),
        (changes, world.gc.run_job(who, kind, job_id)),
        (changes, world.gc.delete_job(who, kind, job_id)),
    ):
        if allowed:
            await call
        else:
            with pytest.raises(Conflict, match=rf"^missing permissions 'Datastore\..*' on '/datastore/{STORE}/[ab]'$"):
                await call


async def test_tenants_do_not_meet(world: Maintained) -> None:
    job_id = fresh()
    await world.gc.create_job(ADMIN, VERIFY, job_id, DAILY)
    other = CallContext(Caller("other", "admin@pbs", (AclEntry("/", "admin@pbs", "Admin"),)))
    assert (await world.gc.list_jobs(other, VERIFY))[0] == ()
    with pytest.raises(NotFound):
        await world.gc.run_job(other, VERIFY, job_id)
    await world.gc.create_job(other, VERIFY, job_id, DAILY)
    await world.gc.delete_job(other, VERIFY, job_id)
    assert (await get(world, VERIFY, job_id)).fields == DAILY


async def test_jobs_of_a_datastore(world: Maintained) -> None:
    await world.gc.create_default_prune_job(
        ADMIN, "with-a-rather-long-name-for-a-store", JobFields(keep_last=3, schedule="daily")
    )
    (job,) = (await world.gc.list_jobs(ADMIN, PRUNE, "with-a-rather-long-name-for-a-store"))[0]
    assert job.id.startswith("default-with-a-rather")
    assert 3 <= len(job.id) <= 32
    assert job.fields == JobFields(store="with-a-rather-long-name-for-a-store", schedule="daily", keep_last=3)
    backup = member("b@pbs", "DatastoreAdmin")
    for call in (
        world.gc.create_default_prune_job(backup, STORE, DAILY),
        world.gc.delete_jobs_of_datastore(backup, STORE),
    ):
        with pytest.raises(PermissionDenied):
            await call
    await world.gc.delete_jobs_of_datastore(ADMIN, "with-a-rather-long-name-for-a-store")
    assert (await world.gc.list_jobs(ADMIN, PRUNE, "with-a-rather-long-name-for-a-store"))[0] == ()


# ------------------------------------------------------------------------------------------------ runs


async def test_a_prune_job_prunes_and_reports(world: Maintained) -> None:
    ns, job_id = fresh(), fresh()
    await world.catalogue.create_namespace(ADMIN, STORE, ns)
    for number in range(3):
        await world.backup(t.GroupRef(STORE, ns, "vm", "1"), FIRST_TIME + number)
    await world.gc.create_job(ADMIN, PRUNE, job_id, JobFields(store=STORE, schedule="daily", ns=ns, keep_last=1))
    assert (await get(world, PRUNE, job_id)).state.last_run_upid is None
    upid = await world.gc.run_job(ADMIN, PRUNE, job_id)
    assert await world.ended(upid) == "OK"
    assert len(await world.snapshots(ns)) == 1
    task = await world.catalogue.get_task(ADMIN, upid)
    assert (task.worker_type, task.worker_id, task.auth_id) == ("prunejob", f"{STORE}:{ns}", "admin@pbs")
    state = (await get(world, PRUNE, job_id)).state
    assert (state.last_run_upid, state.last_run_state, state.last_run_endtime) == (upid, "OK", task.endtime)


@pytest.mark.parametrize(
    ("schedule", "kept"), [("daily", 2), ("daily 02:00 +02:00", 1), ("daily TZ=Europe/Helsinki", 1)]
)
async def test_a_schedules_time_zone_is_that_of_its_periods(world: Maintained, schedule: str, kept: int) -> None:
    """22:30 and 0:30 UTC are two days there, and one day two hours further east."""
    ns, job_id = fresh(), fresh()
    await world.catalogue.create_namespace(ADMIN, STORE, ns)
    for backup_time in (1_700_001_000, 1_700_008_200):
        await world.backup(t.GroupRef(STORE, ns, "vm", "1"), backup_time)
    await world.gc.create_job(ADMIN, PRUNE, job_id, JobFields(store=STORE, schedule=schedule, ns=ns, keep_daily=5))
    assert await world.ended(await world.gc.run_job(ADMIN, PRUNE, job_id)) == "OK"
    assert len(await world.snapshots(ns)) == kept


async def test_a_new_process_knows_next_run_and_last_state(world: Maintained) -> None:
    """Everything is in rows: processes that start later tell the same, also of a run whose end nobody has seen."""
    jobs = {PRUNE: fresh(), VERIFY: fresh()}
    for kind, job_id in jobs.items():
        await world.gc.create_job(ADMIN, kind, job_id, JobFields(store=STORE, schedule="hourly"))
        await world.ended(await world.gc.run_job(ADMIN, kind, job_id))
    collected, _ = await world.gc.start_collection(ADMIN, STORE)
    await world.ended(collected)
    later = Database(world.settings.database_url_for("gc"), schema="gc", application_name="later", max_size=2)
    await later.start()
    tasks = TaskRunner(world.catalogue, "replica-z")
    configured = ConfiguredJobs(later, runs_of(world, tasks))
    for kind, job_id in jobs.items():
        (told, _), here = await configured.get(ADMIN, kind, job_id), await get(world, kind, job_id)
        assert told == here
        assert (told.state.last_run_state, told.state.last_run_endtime is None) == ("OK", False)
        assert told.state.next_run is not None
        assert 0 < told.state.next_run - time.time() <= 3600
    await later.stop()
    (state,) = [s async for s in CollectionClient(world._channels[0]).states(ADMIN, STORE, with_chunks=False)]
    assert (state.running, state.last_result) == (False, "OK")
    assert json.loads(state.gc_status)["upid"] == collected


async def test_a_verification_job_that_fails_says_so(world: Maintained) -> None:
    job_id = fresh()
    fields = JobFields(store=STORE, ns="nosuch", outdated_after=0, ignore_verified=False)
    await world.gc.create_job(ADMIN, VERIFY, job_id, fields)
    upid = await world.gc.run_job(ADMIN, VERIFY, job_id)
    status = await world.ended(upid)
    assert status.startswith("verification failed")
    task = await world.catalogue.get_task(ADMIN, upid)
    assert (task.worker_type, task.worker_id) == ("verificationjob", f"{STORE}:{job_id}")
    state = (await get(world, VERIFY, job_id)).state
    assert (state.next_run, state.last_run_state) == (None, status), "without a schedule there is no next run"


async def test_a_due_job_runs_as_root_and_is_due_again_later(world: Maintained) -> None:
    job_id = fresh()
    await world.gc.create_job(ADMIN, VERIFY, job_id, JobFields(store=STORE, ns="nosuch", schedule="hourly"))
    await make_due(world, job_id)
    tasks = TaskRunner(world.catalogue, "replica-a")
    await tasks.start()
    runs = runs_of(world, tasks)
    await runs.start_due()  # or the world's own replica was faster
    state = (await get(world, VERIFY, job_id)).state
    assert state.last_run_upid is not None
    assert state.next_run is not None and state.next_run > time.time()
    assert (await world.catalogue.get_task(SYSTEM, state.last_run_upid)).auth_id == "root@pam"
    await world.ended(state.last_run_upid, SYSTEM)
    assert await runs.start_due() == 0
    await tasks.stop()


async def test_the_operators_maintenance_binds_jobs(world: Maintained) -> None:
    """Nothing is pruned under a read-only overlay."""
    ns, job_id = fresh(), fresh()
    await world.catalogue.create_namespace(ADMIN, STORE, ns)
    for number in range(2):
        await world.backup(t.GroupRef(STORE, ns, "vm", "1"), FIRST_TIME + number)
    await world.gc.create_job(ADMIN, PRUNE, job_id, JobFields(store=STORE, schedule="daily", ns=ns, keep_last=1))
    tasks = TaskRunner(world.catalogue, "replica-b")
    await tasks.start()
    runs = runs_of(world, tasks)
    try:
        await world.auth.update_tenant(SYSTEM, TENANT, {"maintenance": "payment overdue"})
        await make_due(world, job_id)
        await runs.start_due()
        state = (await get(world, PRUNE, job_id)).state
        assert "read-only maintenance mode: payment overdue" in await world.ended(state.last_run_upid or "", SYSTEM)
        assert len(await world.snapshots(ns)) == 2
    finally:
        await world.auth.update_tenant(SYSTEM, TENANT, {"maintenance": None})
        await tasks.stop()


async def test_runs_of_suspended_and_of_unknown_tenants_are_left_out(world: Maintained) -> None:
    suspended = (await world.auth.create_tenant(SYSTEM, "Suspended", slug="suspended")).id
    await world.auth.update_tenant(SYSTEM, suspended, {"active": False})
    tasks = TaskRunner(world.catalogue, "replica-c")
    await tasks.start()
    for tenant in (suspended, "unknown"):
        job_id = fresh()
        ctx = CallContext(Caller(tenant, "admin@pbs", (AclEntry("/", "admin@pbs", "Admin"),)))
        await world.gc.create_job(ctx, PRUNE, job_id, DAILY)
        await make_due(world, job_id)
        await runs_of(world, tasks).start_due()
        state = (await get(world, PRUNE, job_id, ctx)).state
        assert state.last_run_upid is None
        assert (state.next_run or 0) > time.time()
    await tasks.stop()


async def test_jobs_go_with_their_tenant(world: Maintained) -> None:
    tenant = (await world.auth.create_tenant(SYSTEM, "Leaving", slug="leaving")).id
    ctx = CallContext(Caller(tenant, "admin@pbs", (AclEntry("/", "admin@pbs", "Admin"),)))
    await world.gc.create_job(ctx, PRUNE, "mine", DAILY)
    await world.gc.create_job(ADMIN, PRUNE, "theirs", DAILY)
    await world.auth.delete_tenant(SYSTEM, tenant)
    async with asyncio.timeout(40):
        while (await world.gc.list_jobs(ctx, PRUNE))[0]:
            await asyncio.sleep(0.1)
    assert (await get(world, PRUNE, "theirs")).id == "theirs"


async def test_a_job_runs_once_at_a_time_over_all_replicas(world: Maintained, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = fresh()
    await world.gc.create_job(ADMIN, PRUNE, job_id, DAILY)
    release = asyncio.Event()

    async def slow(*_: object, **__: object) -> None:
        await release.wait()

    replicas = [TaskRunner(world.catalogue, f"replica-{number}") for number in range(3)]
    for replica in replicas:
        await replica.start()
    runs = [runs_of(world, replica) for replica in replicas]
    with monkeypatch.context() as patched:
        patched.setattr(Prune, "run", slow)
        found = await asyncio.gather(*(run.start(SYSTEM, PRUNE, job_id) for run in runs), return_exceptions=True)
        assert sorted(type(item).__name__ for item in found) == ["Locked", "Locked", "str"]
        with pytest.raises(Locked, match="is already running"):
            await world.gc.run_job(ADMIN, PRUNE, job_id)
        state = (await get(world, PRUNE, job_id)).state
        assert (state.last_run_state, state.last_run_endtime) == (None, None)
        await make_due(world, job_id)
        assert await runs[0].start_due() == 0, "it still runs"
        async with database(world).system() as connection:
            await connection.execute("UPDATE job SET next_run = NULL WHERE id = $1", job_id)
        release.set()
        await world.ended(state.last_run_upid or "", SYSTEM)
        again = await runs[1].start(SYSTEM, PRUNE, job_id)
        assert again != state.last_run_upid
        await world.ended(again, SYSTEM)
    for replica in replicas:
        await replica.stop()


async def test_one_replica_looks_for_due_jobs(world: Maintained) -> None:
    calls = 0

    async def look() -> int:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.05)
        return 0

    async with database(world).system() as connection:
        await connection.execute("DELETE FROM job_status WHERE job = 'look'")
    runners = [JobRunner(database(world), Recurring("look", CONFIGURED_SECONDS, look)) for _ in range(3)]
    assert sorted(await asyncio.gather(*(runner.run_once() for runner in runners))) == [False, False, True]
    assert calls == 1
    async with asyncio.timeout(20):
        while True:
            async with database(world).system() as connection:
                if await connection.fetchval("SELECT runs FROM job_status WHERE job = $1", CONFIGURED):
                    break
            await asyncio.sleep(0.1)


async def test_a_run_that_died_with_its_process_is_over(world: Maintained) -> None:
    """After a restart the state is that of the task, and the job may run again."""
    job_id = fresh()
    await world.gc.create_job(ADMIN, VERIFY, job_id, JobFields(store=STORE, ns="nosuch"))
    dead = await world.catalogue.create_task(SYSTEM, "verificationjob", f"{STORE}:{job_id}", process_id="dead")
    async with database(world).tenant(TENANT) as connection:
        job = await rows.find(connection, TENANT, VERIFY, job_id)
        assert job is not None
        await rows.started(connection, job, dead)
    with pytest.raises(Locked):
        await world.gc.run_job(ADMIN, VERIFY, job_id)
    await world.catalogue.expire_process("dead")
    state = (await get(world, VERIFY, job_id)).state
    assert (state.last_run_upid, state.last_run_state) == (dead, "unknown")
    async with database(world).tenant(TENANT) as connection:
        kept = await rows.find(connection, TENANT, VERIFY, job_id)
    assert kept is not None and kept.last_state == "unknown", "kept with the job, tasks are forgotten one day"
    await world.ended(await world.gc.run_job(ADMIN, VERIFY, job_id))


async def test_when_a_schedule_counts_from(world: Maintained) -> None:
    """From the creation, then from the start of the last run; a changed schedule from its change."""
    fields = {"store": STORE, "schedule": "02:30"}
    day = 1_700_006_400  # midnight
    assert rows.next_run(fields, day) == day + 9000
    assert rows.next_run(fields, day + 9000) == day + 86_400 + 9000, "strictly later"
    assert rows.next_run({**fields, "disable": True}, day) is None
    assert rows.next_run({"store": STORE}, day) is None
    job_id = fresh()
    await world.gc.create_job(ADMIN, PRUNE, job_id, JobFields(store=STORE, schedule="yearly"))
    async with database(world).tenant(TENANT) as connection:
        await connection.execute("UPDATE job SET base = 5, next_run = 6 WHERE id = $1", job_id)
    await world.gc.update_job(ADMIN, PRUNE, job_id, JobFields(comment="x"))
    assert ((await get(world, PRUNE, job_id)).state.next_run or 0) < time.time(), "what is due stays due"
    await world.gc.update_job(ADMIN, PRUNE, job_id, JobFields(schedule="daily"))
    assert ((await get(world, PRUNE, job_id)).state.next_run or 0) > time.time()
    await world.gc.update_job(ADMIN, PRUNE, job_id, JobFields(disable=True))
    assert (await get(world, PRUNE, job_id)).state.next_run is None
    await world.gc.update_job(ADMIN, PRUNE, job_id, JobFields(), ["disable"])
    assert ((await get(world, PRUNE, job_id)).state.next_run or 0) > time.time()
