"""The sweep of dead leases: one runner over all replicas, through the catalogue's real gRPC shell."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from testkit.servers import NatsServer, temporary_folder

from pbs_cloud.contracts.context import CallContext, Caller, SystemContext
from pbs_cloud.contracts.errors import PermissionDenied, Unavailable
from pbs_cloud.contracts.gc import GcClient
from pbs_cloud.gc.component import SWEEP_SECONDS, components
from pbs_cloud.gc.jobs import Job, JobRunner
from pbs_cloud.proto.chunkstore.v1 import chunkstore_pb2 as pb
from pbs_cloud.proto.chunkstore.v1 import chunkstore_pb2_grpc
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.grpc_channel import open_channel
from pbs_cloud.runtime.grpc_server import GrpcServer
from pbs_cloud.runtime.settings import Settings

OPERATOR = SystemContext().for_tenant("default")


@dataclass
class Catalogue(chunkstore_pb2_grpc.CatalogueServicer):
    """Answers ExpireDeadSessions with what ``dead`` holds."""

    dead: int = 3
    calls: int = 0
    running: int = 0
    most_at_once: int = 0
    failing: bool = False
    seconds: float = 0.0
    called: asyncio.Event = field(default_factory=asyncio.Event)

    async def ExpireDeadSessions(self, request: Any, context: Any) -> pb.ExpireDeadSessionsResponse:
        self.calls += 1
        self.called.set()
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        try:
            await asyncio.sleep(self.seconds)
            if self.failing:
                raise Unavailable("no database")
            expired, self.dead = self.dead, 0
            return pb.ExpireDeadSessionsResponse(expired=expired)
        finally:
            self.running -= 1


@pytest.fixture
async def settings(service_database: Callable[[str], Awaitable[str]], nats: NatsServer) -> Settings:
    run_dir = temporary_folder("gc")
    url = await service_database("gc")
    return Settings(gc_database_url=url, nats_url=nats.url, run_dir=run_dir, data_dir=run_dir)


async def serve(catalogue: Catalogue, settings: Settings) -> GrpcServer:
    server = GrpcServer("catalogue", settings.services.catalogue, settings)
    server.add_service(chunkstore_pb2_grpc.add_CatalogueServicer_to_server, catalogue)
    await server.start()
    return server


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    database = Database(settings.database_url_for("gc"), schema="gc", application_name="test")
    await database.start()
    yield database
    await database.stop()


async def test_the_process_sweeps_and_reports(settings: Settings) -> None:
    catalogue = Catalogue()
    server = await serve(catalogue, settings)
    parts = components(settings)
    for part in parts:
        await part.start()
    channel = open_channel(settings.services.gc, settings)
    client = GcClient(channel)
    try:
        async with asyncio.timeout(10):
            await catalogue.called.wait()
            while (status := await client.get_status(OPERATOR)).sweeps == 0:
                await asyncio.sleep(0.02)
        assert (status.sweeps, status.expired_sessions) == (1, 3)
        assert status.last_sweep is not None
        for caller in (Caller("acme", "alice@acme"), Caller("acme", "alice@acme", superuser=True)):
            with pytest.raises(PermissionDenied, match=r"^permission check failed$"):
                await client.get_status(CallContext(caller))
    finally:
        await channel.close()
        for part in reversed(parts):
            await part.stop()
        await server.stop()


async def test_before_the_first_sweep_there_is_no_time(settings: Settings) -> None:
    parts = components(settings)
    for part in parts:
        await part.start()
    channel = open_channel(settings.services.gc, settings)
    try:
        status = await GcClient(channel).get_status(OPERATOR)
        assert (status.sweeps, status.expired_sessions, status.last_sweep) == (0, 0, None)
    finally:
        await channel.close()
        for part in reversed(parts):
            await part.stop()


async def test_replicas_never_run_a_job_together_nor_too_often(database: Database) -> None:
    catalogue = Catalogue(seconds=0.05)

    async def work() -> int:
        return int((await catalogue.ExpireDeadSessions(None, None)).expired)

    runners = [JobRunner(database, Job("sweep", SWEEP_SECONDS, work)) for _ in range(4)]
    first = await asyncio.gather(*(runner.run_once() for runner in runners))
    assert sorted(first) == [False, False, False, True]
    assert await asyncio.gather(*(runner.run_once() for runner in runners)) == [False] * 4, "not due yet"
    assert (catalogue.calls, catalogue.most_at_once) == (1, 1)
    async with database.system() as connection:
        await connection.execute("UPDATE job_status SET last_run = last_run - interval '1 hour'")
    assert True in await asyncio.gather(*(runner.run_once() for runner in runners))
    assert (catalogue.calls, catalogue.most_at_once) == (2, 1)


async def test_jobs_do_not_wait_for_each_other(database: Database) -> None:
    inside = asyncio.Event()
    release = asyncio.Event()

    async def slow() -> int:
        inside.set()
        await release.wait()
        return 1

    async def quick() -> int:
        return 1

    running = asyncio.create_task(JobRunner(database, Job("slow", 60, slow)).run_once())
    await inside.wait()
    assert await JobRunner(database, Job("quick", 60, quick)).run_once()
    release.set()
    assert await running


async def test_a_failed_run_is_not_recorded_and_the_loop_goes_on(database: Database) -> None:
    attempts = 0

    async def work() -> int:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise Unavailable("the catalogue is away")
        return 5

    runner = JobRunner(database, Job("sweep", 0.05, work))
    with pytest.raises(Unavailable):
        await runner.run_once()
    async with database.system() as connection:
        assert await connection.fetchval("SELECT count(*) FROM job_status") == 0
    await runner.start()
    try:
        async with asyncio.timeout(10):
            while attempts < 4:
                await asyncio.sleep(0.02)
    finally:
        await runner.stop()
    async with database.system() as connection:
        assert await connection.fetchval("SELECT affected FROM job_status") >= 5


async def test_a_runner_that_dies_releases_the_job(database: Database) -> None:
    inside = asyncio.Event()

    async def hang() -> int:
        inside.set()
        await asyncio.Event().wait()
        return 0

    async def quick() -> int:
        return 1

    dying = asyncio.create_task(JobRunner(database, Job("sweep", 60, hang)).run_once())
    await inside.wait()
    other = JobRunner(database, Job("sweep", 60, quick))
    assert not await other.run_once()
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    assert await other.run_once()
