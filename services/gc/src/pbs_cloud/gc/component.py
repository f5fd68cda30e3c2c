"""The gc process: one kind, any number of replicas."""

from __future__ import annotations

from pbs_cloud.contracts.auth import AuthClient
from pbs_cloud.contracts.chunkstore.catalogue import CatalogueClient
from pbs_cloud.contracts.chunkstore.collection import CollectionClient, SweeperClient
from pbs_cloud.contracts.chunkstore.verifier import VerifierClient
from pbs_cloud.gc import collection_schedule
from pbs_cloud.gc.collection import Collection
from pbs_cloud.gc.collection_schedule import CollectionSchedule
from pbs_cloud.gc.configuration.rpc import ConfigurationRpc
from pbs_cloud.gc.configuration.service import KeptConfiguration
from pbs_cloud.gc.facts import PRODUCERS, take_note
from pbs_cloud.gc.jobs import Job, JobRunner
from pbs_cloud.gc.prune import Prune
from pbs_cloud.gc.rpc import GcRpc
from pbs_cloud.gc.schedules.runs import JobRuns
from pbs_cloud.gc.schedules.service import ConfiguredJobs
from pbs_cloud.gc.service import SWEEP, GcService
from pbs_cloud.gc.tasks import TaskRunner
from pbs_cloud.gc.verification.new_backups import NewBackups
from pbs_cloud.gc.verification.verify import Verify
from pbs_cloud.proto.gc.v1 import configuration_pb2_grpc, gc_pb2_grpc
from pbs_cloud.runtime.bus import Bus
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.grpc_channel import ChannelComponent
from pbs_cloud.runtime.grpc_server import GrpcServer
from pbs_cloud.runtime.inbox import EventConsumer
from pbs_cloud.runtime.lifecycle import BackgroundTask, Component, ProcessSpec, run_components
from pbs_cloud.runtime.secret_box import SecretBox
from pbs_cloud.runtime.settings import Settings

SERVICE = "gc"
# Leases last 60 s (formats 9.9); whoever meets a dead one expires it, the sweep finds the rest.
SWEEP_SECONDS = 5.0
CONFIGURED = "configured jobs"
CONFIGURED_SECONDS = 10.0


def processes(settings: Settings) -> list[ProcessSpec]:
    """Processes of this service under the supervisor."""
    return [ProcessSpec(name=SERVICE, target="pbs_cloud.gc.component:main")]


def jobs(catalogue: CatalogueClient, schedule: CollectionSchedule, runs: JobRuns) -> list[Job]:
    """Everything that this service does by itself."""
    return [
        Job(SWEEP, SWEEP_SECONDS, catalogue.expire_dead_sessions),
        Job(collection_schedule.JOB, collection_schedule.EVERY_SECONDS, schedule.run),
        Job(CONFIGURED, CONFIGURED_SECONDS, runs.start_due),
    ]


def components(settings: Settings) -> list[Component]:
    """The parts of one process in starting order."""
    database = Database(settings.database_url_for(SERVICE), schema=SERVICE, application_name=settings.process_name)
    channel = ChannelComponent(settings.services.catalogue, settings)
    chunks = ChannelComponent(settings.services.chunks, settings)
    catalogue = CatalogueClient(channel.channel)
    process_id = f"gc-{settings.host_name}-{settings.worker_index}"
    tasks = TaskRunner(catalogue, process_id)
    collections = CollectionClient(channel.channel)
    collection = Collection(collections, SweeperClient(chunks.channel), tasks, process_id)
    auth = ChannelComponent(settings.services.auth, settings)
    schedule = CollectionSchedule(collections, AuthClient(auth.channel), collection, settings)
    prune = Prune(catalogue, tasks)
    verify = Verify(catalogue, VerifierClient(chunks.channel), tasks)
    runs = JobRuns(database, catalogue, AuthClient(auth.channel), tasks, prune, verify)
    take_over = BackgroundTask("take over", schedule.take_over)
    runners = [JobRunner(database, job) for job in jobs(catalogue, schedule, runs)]
    bus = Bus(settings.required_nats_url, name=settings.process_name)
    consumer = EventConsumer(database, bus, durable=SERVICE, producers=PRODUCERS, handler=take_note)
    new_backups = NewBackups(database, catalogue, tasks, verify)
    server = GrpcServer(SERVICE, settings.services.gc, settings, ready=database.ready)
    rpc = GcRpc(GcService(database), prune, verify, collection, ConfiguredJobs(database, runs))
    server.add_service(gc_pb2_grpc.add_GcServicer_to_server, rpc)
    kept = ConfigurationRpc(KeptConfiguration(database, SecretBox(settings)))
    server.add_service(configuration_pb2_grpc.add_ConfigurationServicer_to_server, kept)
    return [database, bus, channel, chunks, auth, tasks, consumer, new_backups, take_over, *runners, server]


async def main(settings: Settings) -> None:
    """Serve until SIGTERM."""
    await run_components(settings, components(settings))
