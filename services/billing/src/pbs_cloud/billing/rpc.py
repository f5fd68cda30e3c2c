"""gRPC methods of ``pbs_cloud.proto.billing.v1.Billing``."""

from __future__ import annotations

from pbs_cloud.billing.history import UsageHistory
from pbs_cloud.billing.service import BillingService
from pbs_cloud.billing.webhooks.rpc import WebhookRpc
from pbs_cloud.billing.webhooks.service import Webhooks
from pbs_cloud.contracts.codec import to_message
from pbs_cloud.proto.billing.v1 import billing_pb2 as pb
from pbs_cloud.proto.common.v1 import common_pb2
from pbs_cloud.runtime.grpc_server import RpcContext


class BillingRpc(WebhookRpc):
    """Thin on purpose."""

    def __init__(self, service: BillingService, history: UsageHistory, webhooks: Webhooks) -> None:
        WebhookRpc.__init__(self, webhooks)
        self._service = service
        self._history = history

    async def GetUsage(self, request: pb.GetUsageRequest, context: RpcContext) -> pb.GetUsageResponse:
        tenant_id = request.tenant_id if request.HasField("tenant_id") else None
        store = request.store if request.HasField("store") else None
        usage = await self._service.usage(context.call, tenant_id, store)
        return pb.GetUsageResponse(usage=to_message(usage, pb.Usage) if usage else None)

    async def ReportApiRequests(self, request: pb.ReportApiRequestsRequest, context: RpcContext) -> common_pb2.Empty:
        await self._service.add_api_requests(dict(request.requests_by_tenant))
        return common_pb2.Empty()

    async def GetHistory(self, request: pb.GetHistoryRequest, context: RpcContext) -> pb.GetHistoryResponse:
        found = await self._history.read(
            context.call, list(request.stores), request.step, request.since, maximum=request.maximum
        )
        return pb.GetHistoryResponse(stores=[to_message(history, pb.StoreHistory) for history in found])
