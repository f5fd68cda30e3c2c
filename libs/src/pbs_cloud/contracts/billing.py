"""Typed client of the billing service (rest-api D.8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import grpc

from pbs_cloud.contracts.client import ServiceClient
from pbs_cloud.contracts.codec import from_message
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.proto.billing.v1 import billing_pb2 as pb
from pbs_cloud.proto.billing.v1 import billing_pb2_grpc


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes and counts of a tenant; storage is the present value, the others count since creation."""

    storage_bytes: int
    upload_bytes: int
    download_bytes: int
    backup_count: int
    api_requests: int
    updated_at: int


class BillingClient(ServiceClient):
    """Calls of ``pbs_cloud.proto.billing.v1.Billing``."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__(channel)
        self._stub = billing_pb2_grpc.BillingStub(channel)

    async def get_usage(
        self, ctx: CallContext, *, tenant_id: str | None = None, store: str | None = None
    ) -> Usage | None:
        """None when nothing was counted yet. ``tenant_id`` other than the caller's: operator only."""
        answer = await self._unary(self._stub.GetUsage, pb.GetUsageRequest(tenant_id=tenant_id, store=store), ctx)
        return from_message(answer.usage, Usage) if answer.HasField("usage") else None

    async def report_api_requests(self, requests_by_tenant: Mapping[str, int]) -> None:
        """Add API calls counted by a gateway process since its last report."""
        await self._unary(
            self._stub.ReportApiRequests, pb.ReportApiRequestsRequest(requests_by_tenant=requests_by_tenant), None
        )
