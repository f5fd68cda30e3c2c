"""The auth process: one kind, any number of replicas."""

from __future__ import annotations

from pbs_cloud.auth.authentication import Authenticator
from pbs_cloud.auth.keys import KeyRing
from pbs_cloud.auth.login import Logins
from pbs_cloud.auth.login_guard import LoginGuard
from pbs_cloud.auth.openid.fetch import Fetcher
from pbs_cloud.auth.openid.flow import OpenidLogins
from pbs_cloud.auth.openid.provider import Providers
from pbs_cloud.auth.openid.realm_service import RealmService
from pbs_cloud.auth.passwords import Passwords
from pbs_cloud.auth.rpc import AuthRpc
from pbs_cloud.auth.rpc_realms import RealmsRpc
from pbs_cloud.auth.rpc_second_factor import SecondFactorRpc
from pbs_cloud.auth.second_factor import SecondFactors
from pbs_cloud.auth.second_factor_service import SecondFactorService
from pbs_cloud.auth.token_service import TokenService
from pbs_cloud.auth.token_use import TokenUse
from pbs_cloud.auth.user_service import UserService
from pbs_cloud.proto.auth.v1 import auth_pb2_grpc, realms_pb2_grpc, second_factor_pb2_grpc
from pbs_cloud.runtime.bus import Bus
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.grpc_server import GrpcServer
from pbs_cloud.runtime.lifecycle import Component, ProcessSpec, run_components
from pbs_cloud.runtime.outbox import OutboxRelay
from pbs_cloud.runtime.outgoing_tls import outgoing_tls
from pbs_cloud.runtime.secret_box import SecretBox
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
    box = SecretBox(settings)
    keys, passwords, use = KeyRing(database, box, clock), Passwords(clock), TokenUse(database, clock)
    factors = SecondFactors(database, box, clock)
    logins = Logins(database, keys, passwords, LoginGuard(database, clock), factors, clock)
    server = GrpcServer(SERVICE, address or settings.services.auth, settings, ready=database.ready)
    rpc = AuthRpc(
        database,
        Authenticator(database, keys, use, clock),
        logins,
        UserService(database, passwords, clock),
        TokenService(database, clock),
    )
    server.add_service(auth_pb2_grpc.add_AuthServicer_to_server, rpc)
    second_factors = SecondFactorRpc(SecondFactorService(database, box, logins, clock))
    server.add_service(second_factor_pb2_grpc.add_SecondFactorServicer_to_server, second_factors)
    fetcher = Fetcher(settings.openid_allow_internal, outgoing_tls(settings))
    openid = OpenidLogins(database, box, Providers(fetcher, clock), logins, settings.openid_redirect_origins, clock)
    realms = RealmsRpc(RealmService(database, box, fetcher, clock), openid)
    server.add_service(realms_pb2_grpc.add_RealmsServicer_to_server, realms)
    return [database, bus, OutboxRelay(database, bus, producer=SERVICE), keys, passwords, use, fetcher, server]


async def main(settings: Settings) -> None:
    """Serve until SIGTERM."""
    await run_components(settings, components(settings))
