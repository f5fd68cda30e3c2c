"""What an endpoint gets (a :class:`Call`) and what it may answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pbs_cloud.contracts.auth import AuthClient
from pbs_cloud.contracts.billing import BillingClient
from pbs_cloud.contracts.chunkstore import CatalogueClient, ChunksClient
from pbs_cloud.contracts.configuration import ConfigurationClient
from pbs_cloud.contracts.context import CallContext, Caller
from pbs_cloud.contracts.errors import Internal
from pbs_cloud.contracts.gc import GcClient
from pbs_cloud.gateway.limits import RequestLimits
from pbs_cloud.gateway.rest.reading import Readers
from pbs_cloud.runtime.settings import Settings


@dataclass(frozen=True, slots=True)
class Clients:
    """The services that endpoints call."""

    auth: AuthClient
    catalogue: CatalogueClient
    chunks: ChunksClient
    billing: BillingClient
    gc: GcClient
    configuration: ConfigurationClient
    readers: Readers


@dataclass(frozen=True, slots=True)
class Node:
    """What this installation says about itself: ``started`` in Unix seconds, and the certificate's fingerprint."""

    settings: Settings
    started: float
    fingerprint: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Call:
    """One request to an endpoint, its parameters checked. ``context`` is None only on public endpoints."""

    clients: Clients
    node: Node
    limits: RequestLimits
    params: Mapping[str, Any]
    format: Literal["json", "extjs"]
    headers: Mapping[bytes, bytes]
    client_address: str
    body: Callable[[], AsyncIterator[bytes]]
    context: CallContext | None = None

    @property
    def ctx(self) -> CallContext:
        """The context of an authenticated call."""
        if self.context is None:
            raise Internal("internal error")
        return self.context

    @property
    def caller(self) -> Caller:
        return self.ctx.caller

    def text(self, name: str) -> str:
        """A string parameter that was given or has a default."""
        value = self.params[name]
        assert isinstance(value, str)
        return value


@dataclass(frozen=True, slots=True)
class Data:
    """``value`` in the envelope, ``attributes`` beside ``data``; ``own``: the same envelope in every format."""

    value: Any
    attributes: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str | None = "application/json;charset=UTF-8"
    own: bool = False


@dataclass(frozen=True, slots=True)
class Rows:
    """A list whose rows are sent while they arrive. ``chunked``: always streamed, else only when it gets long."""

    rows: AsyncIterator[Any]
    chunked: bool = True
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes without an envelope; a stream is sent chunked, and an error after its first piece cuts the connection."""

    content: bytes | AsyncIterator[bytes]
    content_type: str | None = "application/octet-stream"
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200


Answer = Data | Rows | Content
