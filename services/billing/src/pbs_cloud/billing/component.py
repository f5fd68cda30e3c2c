"""The billing process: one kind, any number of replicas."""

from __future__ import annotations

from pbs_cloud.billing.history import UsageHistory
from pbs_cloud.billing.metering import OldEvents, count_event
from pbs_cloud.billing.rpc import BillingRpc
from pbs_cloud.billing.sampling import UsageSampler
from pbs_cloud.billing.service import BillingService
from pbs_cloud.billing.webhooks.delivery import WebhookDelivery
from pbs_cloud.billing.webhooks.sending import Sender
from pbs_cloud.billing.webhooks.service import Webhooks
from pbs_cloud.contracts.auth import AuthClient
from pbs_cloud.proto.billing.v1 import billing_pb2_grpc
from pbs_cloud.runtime.bus import Bus
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.grpc_channel import ChannelComponent
from pbs_cloud.runtime.grpc_server import GrpcServer
from pbs_cloud.runtime.inbox import EventConsumer
from pbs_cloud.runtime.lifecycle import Component, ProcessSpec, run_components
from pbs_cloud.runtime.outgoing_tls import outgoing_tls
from pbs_cloud.runtime.secret_box import SecretBox
from pbs_cloud.runtime.settings import Settings

SERVICE = "billing"
PRODUCERS = ("chunkstore", "auth")


def processes(settings: Settings) -> list[ProcessSpec]:
    """Processes of this service under the supervisor."""
    return [ProcessSpec(name=SERVICE, target="pbs_cloud.billing.component:main")]


def components(settings: Settings) -> list[Component]:
    """The parts of one process in starting order."""
    name = settings.process_name
    database = Database(settings.database_url_for(SERVICE), schema=SERVICE, application_name=name)
    bus = Bus(settings.required_nats_url, name=name)
    consumer = EventConsumer(database, bus, durable=SERVICE, producers=PRODUCERS, handler=count_event)
    auth, box = ChannelComponent(settings.services.auth, settings), SecretBox(settings)
    allow_internal = settings.webhook_allow_internal
    webhooks = Webhooks(database, box, allow_internal=allow_internal)
    delivery = WebhookDelivery(database, Sender(allow_internal=allow_internal, tls=outgoing_tls(settings)), box)
    sampler = UsageSampler(database, AuthClient(auth.channel))
    server = GrpcServer(SERVICE, settings.services.billing, settings, ready=database.ready)
    rpc = BillingRpc(BillingService(database), UsageHistory(database), webhooks)
    server.add_service(billing_pb2_grpc.add_BillingServicer_to_server, rpc)
    return [database, bus, auth, consumer, OldEvents(database), delivery, sampler, server]


async def main(settings: Settings) -> None:
    """Serve until SIGTERM."""
    await run_components(settings, components(settings))
