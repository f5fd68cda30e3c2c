"""Typed client of the billing service (rest-api D.8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import grpc

from pbs_cloud.contracts.client import ServiceClient
from pbs_cloud.contracts.codec import from_message
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.webhooks import Webhook, WebhookFields
from pbs_cloud.proto.billing.v1 import billing_pb2 as pb
from pbs_cloud.proto.billing.v1 import billing_pb2_grpc
from pbs_cloud.proto.common.v1 import common_pb2

HISTORY_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes and counts of a tenant; storage is the present value, the others count since creation."""

    storage_bytes: int
    upload_bytes: int
    download_bytes: int
    backup_count: int
    api_requests: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class StoreHistory:
    """Usage of a datastore over time in bytes: one value for each slot from ``start`` (Unix seconds); NaN = unknown.

    ``read_bytes`` and ``write_bytes``: what restores read and backups wrote, in bytes per second; it is counted when
    their sessions end, spread over the time that they lasted.
    """

    store: str
    start: int
    total: tuple[float, ...]
    used: tuple[float, ...]
    available: tuple[float, ...]
    read_bytes: tuple[float, ...]
    write_bytes: tuple[float, ...]


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

    async def get_history(
        self, ctx: CallContext, step: int, since: int, *, stores: Sequence[str] = (), maximum: bool = False
    ) -> dict[str, StoreHistory]:
        """Slots of ``step`` seconds from ``since`` to now, by store; without ``stores`` all that may be seen.

        Waits three seconds at most for a service that is away (Unavailable): nothing depends on it.
        """
        request = pb.GetHistoryRequest(stores=stores, step=step, since=since, maximum=maximum)
        answer = await self._unary(self._stub.GetHistory, request, ctx, timeout=HISTORY_SECONDS)
        return {history.store: from_message(history, StoreHistory) for history in answer.stores}

    async def list_webhooks(self, ctx: CallContext) -> tuple[Webhook, ...]:
        """The tenant's webhooks, the oldest first. Raises PermissionDenied."""
        answer = await self._unary(self._stub.ListWebhooks, common_pb2.Empty(), ctx)
        return tuple(from_message(webhook, Webhook) for webhook in answer.webhooks)

    async def get_webhook(self, ctx: CallContext, webhook_id: str) -> Webhook:
        """One webhook with its first waiting deliveries. Raises PermissionDenied, NotFound."""
        return from_message(await self._unary(self._stub.GetWebhook, pb.WebhookRequest(id=webhook_id), ctx), Webhook)

    async def create_webhook(self, ctx: CallContext, fields: WebhookFields) -> Webhook:
        """Raises PermissionDenied, InvalidArgument, Conflict (too many)."""
        return from_message(await self._unary(self._stub.CreateWebhook, _fields(fields), ctx), Webhook)

    async def update_webhook(self, ctx: CallContext, webhook_id: str, changes: WebhookFields) -> Webhook:
        """Raises PermissionDenied, NotFound, InvalidArgument."""
        request = pb.UpdateWebhookRequest(id=webhook_id, changes=_fields(changes))
        return from_message(await self._unary(self._stub.UpdateWebhook, request, ctx), Webhook)

    async def delete_webhook(self, ctx: CallContext, webhook_id: str) -> None:
        """What waits for delivery goes with it. Raises PermissionDenied, NotFound."""
        await self._unary(self._stub.DeleteWebhook, pb.WebhookRequest(id=webhook_id), ctx)


def _fields(fields: WebhookFields) -> pb.WebhookFields:
    return pb.WebhookFields(
        url=fields.url,
        secret=fields.secret,
        event_filter=fields.event_filter or (),
        has_event_filter=fields.event_filter is not None,
        headers=fields.headers or {},
        has_headers=fields.headers is not None,
        max_retries=fields.max_retries,
    )
