"""One running supervisor: embedded servers, migrations, processes, first contents, and the stop in order."""

import asyncio
import contextlib
import shutil
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import asyncpg

from pbs_cloud.runtime.addresses import Endpoint
from pbs_cloud.runtime.health import HealthServer
from pbs_cloud.runtime.logging import get_logger
from pbs_cloud.runtime.migrations import migrate_all
from pbs_cloud.runtime.settings import Settings, load_settings
from pbs_cloud.server.datadir import DataDir
from pbs_cloud.server.nats import EmbeddedNats
from pbs_cloud.server.postgres import EmbeddedPostgres
from pbs_cloud.server.readiness import Readiness
from pbs_cloud.server.services import GROUP_BUS, GROUP_DATABASE, Surroundings, process_specs, service_job
from pbs_cloud.server.supervisor import Job, Supervisor

_log = get_logger(__name__)


class Installation:
    """The processes of `services`, with embedded servers where no address is set."""

    def __init__(self, settings: Settings, folder: DataDir, surroundings: Surroundings) -> None:
        self.settings = settings
        self.supervisor = Supervisor()
        self._folder = folder
        self._surroundings = surroundings
        self._names: list[str] = []
        self._nats: EmbeddedNats | None = None
        self._postgres: EmbeddedPostgres | None = None

    def plan_embedded(self) -> None:
        """Decide where the embedded servers will be, so that the services can be started before them."""
        if self.settings.nats_url is None:
            self._nats = EmbeddedNats(self._folder.nats, self._folder.logs / "nats.log")
            self._surroundings = replace(self._surroundings, nats_url=self._nats.url)
        if self.settings.database_url is None:
            folder = self._folder
            self._postgres = EmbeddedPostgres(folder.postgres, folder.postgres_socket, folder.logs / "postgres.log")
            self._surroundings = replace(self._surroundings, database_url=self._postgres.url)

    async def start_embedded(self) -> None:
        """Start the planned servers; returns when the database answers."""
        if self._nats is not None:
            self._nats.prepare()
            self.supervisor.run(Job("nats", self._nats.start, GROUP_BUS))
        if self._postgres is not None:
            await self._postgres.prepare()
            job = Job("postgres", self._postgres.start, GROUP_DATABASE, signal.SIGINT, stop_seconds=20.0)
            self.supervisor.run(job)
            await self._postgres.wait()

    async def migrate(self) -> None:
        """Bring all schemas to the newest revision."""
        reported = False
        while True:
            try:
                return await migrate_all(self._effective())
            except (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError) as error:
                if not reported:
                    _log.info("waiting for the database", reason=str(error))
                reported = True
                await asyncio.sleep(0.5)

    def start_services(self, services: tuple[str, ...]) -> None:
        """Start the processes of `services`; they wait for what they need."""
        for service in services:
            for spec in process_specs(service, self.settings):
                self._names.append(spec.name)
                self.supervisor.run(service_job(spec, self._surroundings, self.settings))

    @property
    def readiness(self) -> Readiness:
        """Of all started service processes."""
        return Readiness(self.settings, self._names)

    async def write_process_file(self) -> None:
        """Keep `<run>/processes` (lines `name pid`) up to date, for operators and tests."""
        path, last = self._folder.processes, ""
        while True:
            text = "".join(f"{name} {pid}\n" for name, pid in self.supervisor.pids.items())
            if text != last:
                await asyncio.to_thread(_replace_file, path, text)
                last = text
            await asyncio.sleep(0.1)

    def _effective(self) -> Settings:
        """The settings with the addresses of the embedded servers."""
        found = {"database_url": self._surroundings.database_url, "nats_url": self._surroundings.nats_url}
        return load_settings(**{name: url for name, url in found.items() if url is not None})


def _replace_file(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text)
    fresh.rename(path)


def empty_metrics(folder: DataDir) -> None:
    """Metrics begin at zero with each start of the supervisor."""
    shutil.rmtree(folder.metrics, ignore_errors=True)
    folder.metrics.mkdir(parents=True)


@contextlib.asynccontextmanager
async def health_page(address: Endpoint | None, readiness: Readiness) -> AsyncIterator[None]:
    """The supervisor's own `/health`, `/ready`, `/metrics` while the block runs, if an address is set."""
    if address is None:
        yield
        return
    server = HealthServer(address)
    await server.start()
    server.serve_readiness(readiness.missing)
    try:
        yield
    finally:
        await server.stop()
