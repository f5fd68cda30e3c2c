"""Outgoing webhooks of a tenant (rest-api D.8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

EVENT_TYPES: Final = ("backup_created", "backup_deleted", "data_restored", "storage_updated", "api_request")
MAX_RETRIES: Final = 20


@dataclass(frozen=True, slots=True)
class WebhookFields:
    """What a tenant sets; None = leave as it is (at creation: the default). An empty secret means none."""

    url: str | None = None
    secret: str | None = None
    event_filter: tuple[str, ...] | None = None
    headers: Mapping[str, str] | None = None
    max_retries: int | None = None


@dataclass(frozen=True, slots=True)
class WaitingDelivery:
    """An event that is still to be delivered; ``id`` is the event's, times in Unix seconds."""

    id: str
    event_type: str
    created_at: int
    attempts: int
    next_attempt: int
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook and how its deliveries fare; times in Unix seconds.

    ``failures``: since the last success; from the third on the receiver is left alone until ``paused_until``.
    ``waiting``: the first ones that wait, only when one webhook was asked for.
    """

    id: str
    url: str
    event_filter: tuple[str, ...]
    max_retries: int
    has_secret: bool
    header_names: tuple[str, ...]
    created_at: int
    pending: int
    delivered: int
    dropped: int
    failures: int
    paused_until: int | None = None
    last_attempt: int | None = None
    last_status: str | None = None
    last_success: int | None = None
    waiting: tuple[WaitingDelivery, ...] = ()
