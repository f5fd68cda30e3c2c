"""The auth process: one kind, any number of replicas."""

from __future__ import annotations

from pbs_cloud.auth.authentication import Authenticator
from pbs_cloud.auth.keys import KeyRing
from pbs_cloud.auth.passwords import Passwords
from pbs_cloud.auth.rpc import AuthRpc
from pbs_cloud.auth.token_service import TokenService
from pbs_cloud.auth.token_use import TokenUse
from pbs_cloud.auth.user_service import UserService
from pbs_cloud.proto.auth.v1 import auth_pb2_grpc
from pbs_cloud.runtime.bus import Bus
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.grpc_server import GrpcServer
from pbs_cloud.runtime.lifecycle import Component, ProcessSpec, run_components
from pbs_cloud.runtime.outbox import OutboxRelay
from pbs_cloud.runtime.settings import Settings

SERVICE = "auth"


def processes(settings: Settings) -> list[ProcessSpec]:
    """Processes of this service under the supervisor."""
    return [ProcessSpec(name=SERVICE, target="pbs_cloud.auth.component:main")]


def components(settings: Settings, *, address: str | None = None, clock: Clock = SYSTEM_CLOCK) -> list[Component]:
    """The parts of one process in starting order; ``address`` overrides where it listens."""
    database = Database(
        settings.database_url_for(SERVICE), schema=SERVICE, application_name=settings.process_name, clock=clock
    )
    bus = Bus(settings.required_nats_url, name=settings.process_name)
    keys, passwords, use = KeyRing(database, clock), Passwords(clock), TokenUse(database, clock)
    authenticator = Authenticator(database, keys, passwords, use, clock)
    server = GrpcServer(SERVICE, address or settings.services.auth, settings, ready=database.ready)
    rpc = AuthRpc(database, authenticator, UserService(database, passwords, clock), TokenService(database, clock))
    server.add_service(auth_pb2_grpc.add_AuthServicer_to_server, rpc)
    return [database, bus, OutboxRelay(database, bus, producer=SERVICE), keys, passwords, use, server]


async def main(settings: Settings) -> None:
    """Serve until SIGTERM."""
    await run_components(settings, components(settings))
