"""Outgoing webhooks of the tenant (rest-api D.8): the secret and the values of headers are never shown again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from pbs_cloud.contracts.errors import NotFound, PermissionDenied
from pbs_cloud.contracts.rights import Privilege as P
from pbs_cloud.contracts.webhooks import EVENT_TYPES, MAX_RETRIES, WaitingDelivery, Webhook, WebhookFields
from pbs_cloud.gateway.errors import FORBIDDEN
from pbs_cloud.gateway.rest.access import Needs
from pbs_cloud.gateway.rest.calls import Call, Data
from pbs_cloud.gateway.rest.endpoint import Area
from pbs_cloud.gateway.rest.endpoints.shared import is_uuid, rfc3339
from pbs_cloud.gateway.schema import Array, Enum, Integer, Param, String, optional, required
from pbs_cloud.gateway.schema.types import Nullable, StringMap

AREA = Area("Webhooks")
T = TypeVar("T")
_ADMIN: Final = Needs("/access", (P.PERMISSIONS_MODIFY,))
_URL: Final = String(pattern=r"https?://[!-~]+", maximum=2048)
_ID: Final[dict[str, Param]] = {"id": required(String(minimum=1, maximum=256))}
_FIELDS: Final[dict[str, Param]] = {
    "secret": optional(Nullable(String(minimum=1, maximum=256)), "key of `X-Signature-256`; null: no signature"),
    "event_filter": optional(Array(Enum(EVENT_TYPES)), "only these events; empty: all"),
    "headers": optional(StringMap(), "further headers of each delivery"),
    "max_retries": optional(Integer(0, MAX_RETRIES), "repetitions of a delivery that failed; default 3"),
}


@AREA.get("billing/webhooks", access=_ADMIN, extra=True)
async def webhooks(call: Call) -> Any:
    """The tenant's webhooks and how their deliveries fare."""
    return _answer([_shown(found) for found in await call.clients.billing.list_webhooks(call.ctx)])


@AREA.post(
    "billing/webhooks",
    {"url": required(_URL, "https, to a public address"), **_FIELDS},
    access=_ADMIN,
    extra=True,
)
async def create_webhook(call: Call) -> Any:
    """Create a webhook."""
    made = await call.clients.billing.create_webhook(call.ctx, _given(call))
    return _answer(_shown(made), 201)


@AREA.get("billing/webhooks/{id}", _ID, access=_ADMIN, extra=True)
async def webhook(call: Call) -> Any:
    """One webhook, with the first of the deliveries that wait."""
    found = await _own(call, call.clients.billing.get_webhook)
    return _answer({**_shown(found), "waiting": [_shown_delivery(entry) for entry in found.waiting]})


@AREA.put("billing/webhooks/{id}", {**_ID, "url": optional(_URL), **_FIELDS}, access=_ADMIN, extra=True)
async def update_webhook(call: Call) -> Any:
    """Change a webhook; a receiver that was left alone is tried again at once."""

    async def change(ctx: Any, webhook_id: str) -> Webhook:
        return await call.clients.billing.update_webhook(ctx, webhook_id, _given(call))

    return _answer(_shown(await _own(call, change)))


@AREA.delete("billing/webhooks/{id}", _ID, access=_ADMIN, extra=True)
async def delete_webhook(call: Call) -> Any:
    """Remove a webhook and what waits for its delivery."""
    await _own(call, call.clients.billing.delete_webhook)
    return _answer({"deleted": True})


async def _own(call: Call, work: Callable[[Any, str], Awaitable[T]]) -> T:
    """What is not the tenant's own is forbidden, whether it exists or not (rest-api E.10)."""
    webhook_id = call.text("id")
    try:
        if not is_uuid(webhook_id):
            raise NotFound("no such webhook")
        return await work(call.ctx, webhook_id)
    except NotFound:
        if call.caller.operator:
            raise
        raise PermissionDenied(FORBIDDEN) from None


def _given(call: Call) -> WebhookFields:
    given = call.params
    events = given.get("event_filter")
    return WebhookFields(
        url=given.get("url"),
        secret=(given["secret"] or "") if "secret" in given else None,
        event_filter=None if events is None else tuple(events),
        headers=given.get("headers"),
        max_retries=given.get("max_retries"),
    )


def _answer(value: Any, status: int = 200) -> Data:
    return Data(value, status=status, content_type="application/json")


def _shown(found: Webhook) -> dict[str, Any]:
    return {
        "id": found.id,
        "url": found.url,
        "event_filter": list(found.event_filter),
        "max_retries": found.max_retries,
        "signed": found.has_secret,
        "header_names": list(found.header_names),
        "created_at": rfc3339(found.created_at),
        "pending": found.pending,
        "delivered": found.delivered,
        "dropped": found.dropped,
        "failures": found.failures,
        "paused_until": rfc3339(found.paused_until),
        "last_attempt": rfc3339(found.last_attempt),
        "last_status": found.last_status,
        "last_success": rfc3339(found.last_success),
    }


def _shown_delivery(entry: WaitingDelivery) -> dict[str, Any]:
    return {
        "id": entry.id,
        "event_type": entry.event_type,
        "created_at": rfc3339(entry.created_at),
        "attempts": entry.attempts,
        "next_attempt": rfc3339(entry.next_attempt),
        "last_error": entry.last_error,
    }
