"""The gRPC face of webhooks."""

from __future__ import annotations

from pbs_cloud.billing.webhooks.service import Webhooks
from pbs_cloud.contracts.codec import to_message
from pbs_cloud.contracts.webhooks import WebhookFields
from pbs_cloud.proto.billing.v1 import billing_pb2 as pb
from pbs_cloud.proto.common.v1 import common_pb2
from pbs_cloud.runtime.grpc_server import RpcContext


class WebhookRpc:
    """Part of the servicer of ``Billing``."""

    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks

    async def ListWebhooks(self, request: common_pb2.Empty, context: RpcContext) -> pb.ListWebhooksResponse:
        found = await self._webhooks.list(context.call)
        return pb.ListWebhooksResponse(webhooks=[to_message(webhook, pb.Webhook) for webhook in found])

    async def GetWebhook(self, request: pb.WebhookRequest, context: RpcContext) -> pb.Webhook:
        return to_message(await self._webhooks.get(context.call, request.id), pb.Webhook)

    async def CreateWebhook(self, request: pb.WebhookFields, context: RpcContext) -> pb.Webhook:
        return to_message(await self._webhooks.create(context.call, _fields(request)), pb.Webhook)

    async def UpdateWebhook(self, request: pb.UpdateWebhookRequest, context: RpcContext) -> pb.Webhook:
        changed = await self._webhooks.update(context.call, request.id, _fields(request.changes))
        return to_message(changed, pb.Webhook)

    async def DeleteWebhook(self, request: pb.WebhookRequest, context: RpcContext) -> common_pb2.Empty:
        await self._webhooks.delete(context.call, request.id)
        return common_pb2.Empty()


def _fields(message: pb.WebhookFields) -> WebhookFields:
    return WebhookFields(
        url=message.url if message.HasField("url") else None,
        secret=message.secret if message.HasField("secret") else None,
        event_filter=tuple(message.event_filter) if message.has_event_filter else None,
        headers=dict(message.headers) if message.has_headers else None,
        max_retries=message.max_retries if message.HasField("max_retries") else None,
    )
