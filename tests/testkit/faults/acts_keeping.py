"""Verification, and jobs by schedule."""

from __future__ import annotations

import asyncio
from typing import Any

from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.configuration import ConfigEntry, Section
from pbs_cloud.contracts.errors import AlreadyExists, Conflict, Locked, NotFound
from pbs_cloud.contracts.jobs import JobFields, JobKind, VerifyOptions, VerifyScope
from pbs_cloud.gc.component import CONFIGURED
from testkit.faults.acts import Act, act, fresh, group, key_of, reading, snapshot
from testkit.faults.acts_accounts import ROOT
from testkit.faults.acts_collection import due
from testkit.faults.world import FaultWorld
from testkit.maintenance import ADMIN, STORE, member

_EVERYTHING = VerifyOptions(ignore_verified=False)


def _scope(ref: t.GroupRef) -> VerifyScope:
    return VerifyScope(ref.store, ref.ns, ref.backup_type, ref.backup_id)


@act
async def verification(world: FaultWorld) -> Act:
    key = await snapshot(world)

    async def run() -> None:
        await world.must(await world.gc.verify(ADMIN, _scope(key.group), _EVERYTHING))

    async def check() -> None:
        assert await world.verdict(key) == "ok"

    return Act(run, check, between=_never(world, key, "failed"))


def _never(world: FaultWorld, key: t.SnapshotKey, verdict: str) -> Any:
    async def between() -> None:
        assert await world.verdict(key) != verdict

    return between


@act
async def verification_of_a_corrupt_chunk(world: FaultWorld) -> Act:
    """Found, set aside and told, however often it is interrupted; never called sound. An upload heals."""
    key = await snapshot(world)
    known = world.promised[key].archives["a.pxar.didx"]

    async def run() -> None:
        if await world.stored(known[0]) is not None:
            await world.damage(known[0])
        status = await world.ended(await world.gc.verify(ADMIN, _scope(key.group), _EVERYTHING))
        assert status != "OK", "a corrupt chunk was not found"
        if await world.verdict(key) != "failed":
            raise Conflict(status)

    async def check() -> None:
        assert await world.verdict(key) == "failed"
        await world.back_up(key_of(group()), {"a.pxar.didx": known})
        await world.check_promises(key.group)

    return Act(run, check, between=_never(world, key, "ok"))


@act
async def verification_of_leftovers(world: FaultWorld) -> Act:
    """A chunk that is known to be corrupt and whose file nobody has set aside yet."""
    key = await snapshot(world)
    known = world.promised[key].archives["a.pxar.didx"]
    async with world.database.system() as connection:
        await connection.execute("UPDATE chunk SET state = 3 WHERE digest = $1", known[0].digest)

    async def run() -> None:
        status = await world.ended(await world.gc.verify(ADMIN, _scope(key.group), _EVERYTHING))
        assert status != "OK"
        if await world.verdict(key) != "failed":
            raise Conflict(status)

    async def check() -> None:
        await world.back_up(key_of(group()), {"a.pxar.didx": known})
        await world.check_promises(key.group)

    return Act(run, check, between=_never(world, key, "ok"))


@act
async def new_backups(world: FaultWorld) -> Act:
    """A datastore that wants it has each new backup verified, whatever dies in between."""
    await world.catalogue.update_datastore(ROOT, STORE, {"verify-new": "true"})
    made: list[t.SnapshotKey] = []

    async def run() -> None:
        made.append(await snapshot(world))
        async with asyncio.timeout(20):
            while await world.verdict(made[-1]) != "ok":
                await asyncio.sleep(0.1)

    async def check() -> None:
        if not made:
            await run()
        async with asyncio.timeout(20):
            while await world.verdict(made[-1]) != "ok":
                await asyncio.sleep(0.1)
        await world.catalogue.update_datastore(ROOT, STORE, {}, ["verify-new"])

    return Act(run, check)


def _prune_job() -> JobFields:
    return JobFields(store=STORE, schedule="daily", keep_last=1, ns="nowhere")


async def _job(world: FaultWorld, kind: JobKind = JobKind.VERIFY, **fields: Any) -> str:
    name = fresh("job")
    await world.gc.create_job(ADMIN, kind, name, JobFields(store=STORE, **fields))
    return name


@act
async def job_creation(world: FaultWorld) -> Act:
    name = fresh("job")

    async def run() -> None:
        await world.gc.create_job(ADMIN, JobKind.PRUNE, name, _prune_job())

    async def check() -> None:
        assert name in [job.id for job in (await world.gc.list_jobs(ADMIN, JobKind.PRUNE))[0]]

    return Act(run, check, done=(AlreadyExists,))


@act
async def job_change(world: FaultWorld) -> Act:
    name = await _job(world)
    _, digest = await world.gc.get_job(ADMIN, JobKind.VERIFY, name)

    async def run() -> None:
        await world.gc.update_job(ADMIN, JobKind.VERIFY, name, JobFields(comment="changed"), digest=digest)

    async def check() -> None:
        assert (await world.gc.get_job(ADMIN, JobKind.VERIFY, name))[0].fields.comment == "changed"

    return Act(run, check, done=(Conflict,))


@act
async def job_deletion(world: FaultWorld) -> Act:
    name = await _job(world)

    async def run() -> None:
        await world.gc.delete_job(ADMIN, JobKind.VERIFY, name)

    async def check() -> None:
        assert name not in [job.id for job in (await world.gc.list_jobs(ADMIN, JobKind.VERIFY))[0]]

    return Act(run, check, done=(NotFound,))


@act
async def jobs_of_a_datastore(world: FaultWorld) -> Act:
    name = fresh("store")
    await world.gc.create_default_prune_job(ROOT, name, JobFields(schedule="daily", keep_last=3))

    async def run() -> None:
        await world.gc.delete_jobs_of_datastore(ROOT, name)

    async def check() -> None:
        assert (await world.gc.list_jobs(ROOT, JobKind.PRUNE, name))[0] == ()

    return Act(run, check)


@act
async def job_list(world: FaultWorld) -> Act:
    name = await _job(world, ns=fresh("ns"))

    async def run() -> Any:
        found, _ = await world.gc.list_jobs(ADMIN, JobKind.VERIFY)
        return [job.id for job in found if job.id == name]

    return await reading(run)


@act
async def job_run(world: FaultWorld) -> Act:
    """The run of a job is remembered with its end."""
    namespace = fresh("ns")
    await world.catalogue.create_namespace(ADMIN, STORE, namespace)
    name = await _job(world, ns=namespace)

    async def run() -> None:
        upid = await world.gc.run_job(ADMIN, JobKind.VERIFY, name)
        await world.must(upid)
        job, _ = await world.gc.get_job(ADMIN, JobKind.VERIFY, name)
        assert job.state.last_run_state == "OK"

    async def check() -> None:
        job, _ = await world.gc.get_job(ADMIN, JobKind.VERIFY, name)
        assert job.state.last_run_upid and job.state.last_run_endtime

    return Act(run, check, done=(Locked,))


async def _makedue(world: FaultWorld, name: str) -> None:
    async with world.gc_database.system() as connection:
        await connection.execute("UPDATE job SET next_run = 1 WHERE id = $1", name)


@act
async def job_by_schedule(world: FaultWorld) -> Act:
    namespace = fresh("ns")
    await world.catalogue.create_namespace(ADMIN, STORE, namespace)
    name = await _job(world, ns=namespace, schedule="daily")
    await _makedue(world, name)

    async def run() -> None:
        await due(world, CONFIGURED)

    async def check() -> None:
        async with asyncio.timeout(20):
            while True:
                job, _ = await world.gc.get_job(ADMIN, JobKind.VERIFY, name)
                if job.state.last_run_endtime:
                    break
                await due(world, CONFIGURED)
                await asyncio.sleep(0.1)
        await world.gc.delete_job(ADMIN, JobKind.VERIFY, name)

    return Act(run, check)


@act
async def job_of_a_suspended_tenant(world: FaultWorld) -> Act:
    """It is left out and not run; with its tenant it goes."""
    tenant = await world.auth.create_tenant(ROOT, "Asleep", slug=fresh("tenant"))
    name = fresh("job")
    ctx = member("admin@pbs", "Admin", tenant=tenant.id)
    await world.gc.create_job(ctx, JobKind.VERIFY, name, JobFields(store=STORE, schedule="daily"))
    await world.auth.update_tenant(ROOT, tenant.id, {"active": False})
    await _makedue(world, name)

    async def run() -> None:
        await due(world, CONFIGURED)

    async def check() -> None:
        assert (await world.gc.get_job(ctx, JobKind.VERIFY, name))[0].state.last_run_upid is None
        await world.auth.delete_tenant(ROOT, tenant.id)
        async with asyncio.timeout(30):
            while (await world.gc.list_jobs(ctx, JobKind.VERIFY))[0]:
                await asyncio.sleep(0.1)

    return Act(run, check)


@act
async def tenant_that_goes(world: FaultWorld) -> Act:
    """Its jobs go with it, sooner or later."""
    tenant = await world.auth.create_tenant(ROOT, "Away", slug=fresh("tenant"))
    ctx = member("admin@pbs", "Admin", tenant=tenant.id)
    await world.gc.create_job(ctx, JobKind.VERIFY, fresh("job"), JobFields(store=STORE))

    async def run() -> None:
        await world.auth.delete_tenant(ROOT, tenant.id)
        await check()

    async def check() -> None:
        async with asyncio.timeout(45):
            while (await world.gc.list_jobs(ctx, JobKind.VERIFY))[0]:
                await asyncio.sleep(0.1)

    return Act(run, check, done=(NotFound,))


@act
async def remote(world: FaultWorld) -> Act:
    """Configuration that is kept for clients."""
    entry = ConfigEntry(fresh("remote"), {"host": "192.0.2.1", "auth-id": "sync@pbs"})

    async def run() -> None:
        await world.configuration.create_entry(ADMIN, Section.REMOTE, entry, "secret")

    async def check() -> None:
        assert entry.id in [found.id for found in (await world.configuration.list_entries(ADMIN, Section.REMOTE))[0]]

    return Act(run, check, done=(AlreadyExists,))


@act
async def remote_change(world: FaultWorld) -> Act:
    entry = ConfigEntry(fresh("remote"), {"host": "192.0.2.1", "auth-id": "sync@pbs"})
    await world.configuration.create_entry(ADMIN, Section.REMOTE, entry, "secret")

    async def run() -> None:
        await world.configuration.update_entry(ADMIN, Section.REMOTE, ConfigEntry(entry.id, {"host": "192.0.2.2"}))

    async def check() -> None:
        found, _ = await world.configuration.get_entry(ADMIN, Section.REMOTE, entry.id)
        assert found.fields["host"] == "192.0.2.2"

    return Act(run, check)


@act
async def remote_deletion(world: FaultWorld) -> Act:
    entry = ConfigEntry(fresh("remote"), {"host": "192.0.2.1", "auth-id": "sync@pbs"})
    await world.configuration.create_entry(ADMIN, Section.REMOTE, entry, "secret")

    async def run() -> None:
        await world.configuration.delete_entry(ADMIN, Section.REMOTE, entry.id)

    async def check() -> None:
        assert entry.id not in [
            found.id for found in (await world.configuration.list_entries(ADMIN, Section.REMOTE))[0]
        ]

    return Act(run, check, done=(NotFound,))


@act
async def remote_read(world: FaultWorld) -> Act:
    entry = ConfigEntry(fresh("remote"), {"host": "192.0.2.1", "auth-id": "sync@pbs"})
    await world.configuration.create_entry(ADMIN, Section.REMOTE, entry, "secret")
    return await reading(lambda: world.configuration.get_entry(ADMIN, Section.REMOTE, entry.id))


@act
async def remote_list(world: FaultWorld) -> Act:
    entry = ConfigEntry(fresh("remote"), {"host": "192.0.2.1", "auth-id": "sync@pbs"})
    await world.configuration.create_entry(ADMIN, Section.REMOTE, entry, "secret")
    return await reading(lambda: world.configuration.list_entries(ADMIN, Section.REMOTE))
