"""Garbage collection as tasks, driven over gRPC: result, log, stop, take-over, schedule (rest-api C.7, D.6)."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from testkit.collection_world import STORE, CollectionWorld, make_world, some_chunks, soon, world_settings
from testkit.servers import PostgresServer

from pbs_cloud.chunkstore.backends import StoreLocation, open_backend
from pbs_cloud.chunkstore.states import ChunkState
from pbs_cloud.contracts.auth import Tenant
from pbs_cloud.contracts.chunkstore.catalogue import CatalogueClient
from pbs_cloud.contracts.chunkstore.collection import CollectionClient, CollectionState, SweeperClient
from pbs_cloud.contracts.context import CallContext, Caller
from pbs_cloud.contracts.errors import Conflict, NotFound, PermissionDenied
from pbs_cloud.gc import tasks as task_module
from pbs_cloud.gc.collection import Collection
from pbs_cloud.gc.collection_log import human
from pbs_cloud.gc.collection_schedule import CollectionSchedule, is_due
from pbs_cloud.gc.tasks import TaskRunner
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.grpc_channel import open_channel
from pbs_cloud.runtime.settings import Settings


@pytest.fixture(scope="module")
def data_dir() -> Iterator[Path]:
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="pbs-gc-", dir=base))

    async def make() -> None:
        with ThreadPoolExecutor(1) as executor:
            place = StoreLocation("filesystem", "stores/one")
            await open_backend(Settings(data_dir=folder), place, executor).create()

    asyncio.run(make())
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def database_url(postgres: PostgresServer) -> str:
    return asyncio.run(postgres.service_database("chunkstore"))


@pytest.fixture
async def world(database_url: str, data_dir: Path) -> AsyncIterator[CollectionWorld]:
    database = Database(database_url, schema="chunkstore", application_name="tests", max_size=10)
    await database.start()
    with ThreadPoolExecutor(4) as threads:
        made = await make_world(database, world_settings(data_dir), threads, "filesystem", "stores/one")
        servers = await made.serve()
        yield made
        for server in servers:
            await server.stop()
        await made.close()
    await database.stop()


class Service:
    """The gc side: clients over real channels."""

    def __init__(self, world: CollectionWorld, process: str = "gc-0", **options: Any) -> None:
        self.world = world
        self.channels = [open_channel(world.settings.services.catalogue, world.settings)]
        self.channels.append(open_channel(world.settings.services.chunks, world.settings))
        self.catalogue = CatalogueClient(self.channels[0])
        self.client = CollectionClient(self.channels[0])
        self.tasks = TaskRunner(self.catalogue, process)
        self.collection = Collection(self.client, SweeperClient(self.channels[1]), self.tasks, process, **options)

    async def run(self, **options: Any) -> tuple[str, list[str], Any]:
        """A run to its end: exit status, log, statistics."""
        upid, statistics = await self.collection.start(self.world.ctx, STORE, wait_seconds=30, **options)
        return await self.status(upid), await self.log(upid), statistics

    async def status(self, upid: str) -> str:
        task = await self.catalogue.get_task(self.world.ctx, upid)
        return task.status or "running"

    async def log(self, upid: str) -> list[str]:
        found = await self.catalogue.read_task_log(self.world.ctx, upid, 0, 0)
        return [line.text[27:] for line in found.lines]

    async def state(self) -> CollectionState:
        (found,) = await self.collection.states(self.world.ctx, STORE, with_chunks=False)
        return found

    async def close(self) -> None:
        await self.tasks.stop()
        for channel in self.channels:
            await channel.close()


@pytest.fixture
async def service(world: CollectionWorld, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    monkeypatch.setattr(task_module, "RENEW_SECONDS", 0.1)
    made = Service(world, start_wait_seconds=0.5, renew_seconds=0.1)
    await made.tasks.start()
    yield made
    await made.close()


async def test_a_run_is_a_task_with_pbs_words(service: Service) -> None:
    world = service.world
    kept, gone = some_chunks(2)
    await world.backup([kept])
    await world.forget(await world.backup([gone], "two"))
    status, log, statistics = await service.run()
    assert status == "OK"
    assert log[0] == f"starting garbage collection on store {STORE}"
    assert "Start GC phase1 (mark used chunks)" in log
    assert "Removed chunks: 1" in log
    assert f"On-Disk usage: {human(len(kept.data))} ({len(kept.data) * 100 / kept.size:.2f}%)" in log
    assert log[-1] == "TASK OK"
    assert (statistics.chunks_scanned, statistics.chunks_referenced, statistics.chunks_orphaned) == (2, 1, 1)
    assert (statistics.chunks_deleted, statistics.bytes_freed, statistics.errors) == (1, len(gone.data), ())
    state = await service.state()
    assert (state.last_result, state.running, state.last_duration is not None) == ("OK", False, True)
    assert '"removed-chunks": 1' in state.gc_status


async def test_a_dry_run_changes_nothing(service: Service) -> None:
    world = service.world
    (gone,) = some_chunks(1)
    await world.forget(await world.backup([gone]))
    _, _, statistics = await service.run(dry_run=True)
    assert (statistics.chunks_orphaned, statistics.chunks_deleted) == (1, 0)
    assert await world.state(gone) == int(ChunkState.LIVE)
    assert '"upid": null' in (await service.state()).gc_status


async def test_no_more_than_max_delete(service: Service) -> None:
    world = service.world
    await world.forget(await world.backup(some_chunks(5)))
    _, _, statistics = await service.run(max_delete=2)
    assert (statistics.chunks_orphaned, statistics.chunks_deleted) == (5, 2)
    _, _, statistics = await service.run()
    assert statistics.chunks_deleted == 3


async def test_a_missing_chunk_makes_a_warning(service: Service) -> None:
    world = service.world
    lost, kept = some_chunks(2)
    await world.backup([lost, kept])
    await world.execute("DELETE FROM chunk WHERE digest = $1", lost.digest)
    status, log, _ = await service.run()
    assert status == "WARNINGS: 1"
    assert f"WARN: missing chunk {lost.digest.hex()}: an index needs it" in log
    assert (await service.state()).last_result == "WARNINGS: 1"


async def test_a_damaged_index_is_the_tasks_result(service: Service) -> None:
    world = service.world
    await service.run()
    before = (await service.state()).gc_status
    await world.backup(some_chunks(1))
    next((world.settings.data_dir / "stores/one/host/one").glob("*/a.pxar.didx")).write_bytes(b"damaged")
    status, _, statistics = await service.run()
    assert status.startswith("unable to read index 'host/one/")
    assert statistics.errors == (status,)
    state = await service.state()
    assert (state.gc_status, state.last_result, state.running) == (before, status, False)


async def test_a_second_start_waits_and_is_refused(service: Service) -> None:
    run = await service.world.begin()
    began = asyncio.get_running_loop().time()
    with pytest.raises(Conflict, match=r"^garbage collection already running$"):
        await service.collection.start(service.world.ctx, STORE)
    assert asyncio.get_running_loop().time() - began >= 0.5
    starting = asyncio.create_task(service.collection.start(service.world.ctx, STORE, wait_seconds=30))
    await asyncio.sleep(0.2)
    await service.world.end(run)
    upid, _ = await starting
    assert await service.status(upid) == "OK"


async def test_rights_come_before_existence(service: Service) -> None:
    nobody = CallContext(Caller(service.world.tenant, "nobody@pbs"))
    for store in (STORE, "nosuch"):
        with pytest.raises(PermissionDenied):
            await service.collection.start(nobody, store)
        with pytest.raises(PermissionDenied):
            await service.client.begin(nobody, store, "x")
    with pytest.raises(NotFound, match=r"^no such datastore 'nosuch'$"):
        await service.collection.start(service.world.ctx, "nosuch")


async def hanging(service: Service, monkeypatch: pytest.MonkeyPatch) -> str:
    """UPID of a run that hangs in its first sweep."""

    async def hang(*_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(service.collection._sweeper, "sweep", hang)
    upid, _ = await service.collection.start(service.world.ctx, STORE)
    await soon(lambda: _in_phase(service.world, "delete"))
    return upid


async def _in_phase(world: CollectionWorld, phase: str) -> bool:
    sql = "SELECT phase FROM gc_run WHERE datastore_id = $1 AND ended_at IS NULL"
    return bool(await world.value(sql, world.datastore) == phase)


async def test_a_run_can_be_stopped(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    (gone,) = some_chunks(1)
    await service.world.forget(await service.world.backup([gone]))
    upid = await hanging(service, monkeypatch)
    assert (await service.state()).running
    await service.catalogue.stop_task(service.world.ctx, upid)
    await soon(lambda: _has_status(service, upid, "task aborted"))
    state = await service.state()
    assert (state.running, state.last_result, '"upid": null' in state.gc_status) == (False, "task aborted", True)
    monkeypatch.undo()
    assert (await service.run())[0] == "OK"
    assert await service.world.state(gone) is None


async def _has_status(service: Service, upid: str, status: str) -> bool:
    return await service.status(upid) == status


async def test_a_run_that_was_taken_over_stops(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    upid = await hanging(service, monkeypatch)
    await service.world.execute(
        "UPDATE gc_run SET token = gen_random_uuid(), lease_until = clock_timestamp() - interval '1 second'"
    )
    await soon(lambda: _has_status(service, upid, "the garbage collection run has ended or is held by somebody else"))
    assert (await service.state()).abandoned


class Tenants:
    """What auth says of the one tenant."""

    def __init__(self, tenant: str) -> None:
        self._tenant = Tenant(tenant, tenant, tenant, 0, True)
        self.changes: dict[str, Any] = {}

    async def list_tenants(self, ctx: CallContext) -> list[Tenant]:
        return [dataclasses.replace(self._tenant, **self.changes)]


async def test_replicas_start_what_is_due_once_and_take_over_what_is_dead(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = service.world
    (gone,) = some_chunks(1)
    await world.forget(await world.backup([gone]))
    settings = world.settings.model_copy(update={"gc_interval_hours": 1})
    tenants: Any = Tenants(world.tenant)
    schedules = [CollectionSchedule(service.client, tenants, service.collection, settings) for _ in range(3)]
    other = world.settings.model_copy(update={"gc_enabled": False, "gc_interval_hours": 1})
    never = CollectionSchedule(service.client, tenants, service.collection, other)
    await world.execute("UPDATE datastore SET created_at = created_at - interval '59 minutes'")
    assert await schedules[0].run() == 0
    await world.execute("UPDATE datastore SET created_at = created_at - interval '2 minutes'")
    assert await never.run() == 0
    for changes in ({"active": False}, {"id": "another"}, {"maintenance": "type=read-only"}):
        tenants.changes = changes
        assert await schedules[0].run() == 0, changes
    tenants.changes = {}
    assert sum(await asyncio.gather(*(schedule.run() for schedule in schedules))) == 1
    await soon(lambda: _ended(service))
    assert await world.state(gone) is None
    assert await schedules[0].run() == 0
    dead = await world.begin()
    await world.end_run_lease()
    assert await never.run() == 1, "what has begun is ended"
    await soon(lambda: _ended(service))
    assert dead.run_epoch == await world.value("SELECT max(run_epoch) FROM gc_run")


async def test_a_restarted_process_takes_over_at_once(service: Service) -> None:
    """Its predecessor's lease still lasts a minute; another process's run is left alone."""
    world = service.world
    (gone,) = some_chunks(1)
    await world.forget(await world.backup([gone]))
    dead = await service.client.begin(world.ctx, STORE, "gc-0")
    for process, taken in (("gc-1", 0), ("gc-0", 1)):
        successor = Service(world, process)
        schedule = CollectionSchedule(service.client, Tenants(world.tenant), successor.collection, world.settings)
        waiting = asyncio.create_task(schedule.take_over())
        await asyncio.sleep(0.05)
        assert not waiting.done(), "nothing is taken over before the predecessor's leases are ended"
        await successor.tasks.start()
        await waiting
        if taken:
            await soon(lambda: _ended(service))
        assert (await service.state()).running == (not taken)
        await successor.close()
    assert dead.run_epoch == await world.value("SELECT max(run_epoch) FROM gc_run")
    assert await world.state(gone) is None


async def _ended(service: Service) -> bool:
    state = await service.state()
    return not state.running and not state.abandoned and state.last_result == "OK"


def test_schedules() -> None:
    day = 86_400
    base = CollectionState("t", "s", "{}", False, False, last_start=10 * day + 3600, now=10 * day + 7200)

    def due(**changes: Any) -> bool:
        return is_due(dataclasses.replace(base, **changes), 3600 * 24)

    assert not due()
    assert due(now=11 * day + 3600)
    assert not due(schedule="daily")
    assert due(schedule="daily", now=11 * day)
    assert due(schedule="hourly")
    assert not due(schedule="no event", now=100 * day)


def test_sizes_for_people() -> None:
    assert [human(0), human(1023), human(1024), human(110_855), human(75_505_000)] == [
        "0 B", "1023 B", "1.000 KiB", "108.257 KiB", "72.007 MiB",
    ]  # fmt: skip
