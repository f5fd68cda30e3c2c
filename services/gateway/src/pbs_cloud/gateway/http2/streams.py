"""A request on a connection, and what handles requests."""

from __future__ import annotations

from abc import ABC, abstractmethod

from pbs_cloud.gateway.http2.headers import RequestHead
from pbs_cloud.gateway.http2.inflow import Incoming
from pbs_cloud.gateway.http2.sinks import DiscardSink, Sink

Fields = list[tuple[bytes, bytes]]


class Stream:
    """A request that is not answered yet. ``sink`` takes its body; the handler replaces it at the start."""

    __slots__ = ("answered", "body", "complete", "head", "id", "sent", "sink")

    def __init__(self, stream_id: int, head: RequestHead) -> None:
        self.id = stream_id
        self.head = head
        self.sink: Sink = DiscardSink()
        self.body: Incoming | None = None
        self.complete = False
        self.answered = False
        self.sent = False


class Handler(ABC):
    """What lives on a connection: gets requests, sends answers with ``Connection.answer`` and ``send``."""

    @abstractmethod
    def request(self, stream: Stream) -> None:
        """A request began. With a body, ``stream.sink`` may be set now; ``complete`` tells that there is none."""

    @abstractmethod
    def body_complete(self, stream: Stream) -> None:
        """The last byte of the body is in the sink (also called right after ``request`` when there is no body)."""

    @abstractmethod
    def reset(self, stream: Stream) -> None:
        """The client gave the request up; nothing can be answered any more. The sink is the handler's to close."""

    @property
    @abstractmethod
    def busy(self) -> int:
        """Requests being worked on, those that were reset included."""
