"""NATS: durable events through JetStream, hints and questions through plain subjects.

The record of an event is its outbox row; JetStream only carries it. So the bus may be away for any time: `publish`
then raises `Unavailable`, `hint` is dropped, and the connection is made again for ever in the background.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import nats
import nats.errors
import nats.js.errors
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, RetentionPolicy, StorageType, StreamConfig

from pbs_cloud.contracts.errors import Unavailable
from pbs_cloud.runtime.cancelling import cancel_and_wait
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.lifecycle import Component
from pbs_cloud.runtime.logging import get_logger

STREAM = "PBS_EVENTS"
STREAM_SUBJECTS = ["pbs.*.*"]
HEADER_SEQUENCE = "Pbs-Sequence"
HEADER_EPOCH = "Pbs-Epoch"
Reply = dict[str, Any]

_MAX_AGE_SECONDS = 30 * 86_400
_DUPLICATE_WINDOW_SECONDS = 120
_ACK_WAIT_SECONDS = 30
_TIMEOUT = 5.0
_RECONNECT_SECONDS = 0.5
_log = get_logger(__name__)
_FAILURES = (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError)


def resend_subject(producer: str) -> str:
    """Where the outbox relay of `producer` answers requests to send again."""
    return f"pbs-resend.{producer}"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One JetStream message of a consumer; `sequence` and `epoch` are the producer's outbox numbering."""

    subject: str
    payload: dict[str, Any]
    epoch: str
    sequence: int
    _message: Any

    @property
    def producer(self) -> str:
        """The service that announced it."""
        return self.subject.split(".")[1]

    async def ack(self) -> None:
        """Done: never delivered again."""
        await self._message.ack()

    async def nak(self, delay: float = 1.0) -> None:
        """Not done: deliver again after `delay` seconds."""
        await self._message.nak(delay=delay)


class Bus(Component):
    """The connection of one process. Nobody needs to wait for it: it is `ready` also while NATS is away."""

    name = "bus"

    def __init__(self, url: str, *, name: str, clock: Clock = SYSTEM_CLOCK) -> None:
        self._url = url
        self._client_name = name
        self._clock = clock
        self._client: Any = None
        self._connecting: asyncio.Task[None] | None = None
        self._connected = asyncio.Event()
        self._subscriptions: list[tuple[str, Callable[[Any], Awaitable[None]]]] = []
        self._stream_known = False

    async def start(self) -> None:
        """Begin to connect; does not wait for the server."""
        self._connecting = asyncio.create_task(self._connect_for_ever())

    async def stop(self) -> None:
        if self._connecting is not None:
            await cancel_and_wait([self._connecting])
        if self._client is not None:
            try:
                async with asyncio.timeout(2.0):
                    await self._client.close()
            except _FAILURES:
                _log.debug("bus closed without goodbye")

    @property
    def connected(self) -> bool:
        """Whether NATS can be reached right now."""
        return self._client is not None and bool(self._client.is_connected)

    async def wait_connected(self, timeout: float | None = None) -> None:
        """Wait for the first connection.

        Raises:
            TimeoutError: not in `timeout` seconds.
        """
        async with asyncio.timeout(timeout):
            await self._connected.wait()

    async def publish(
        self, subject: str, payload: dict[str, Any], *, message_id: str, headers: dict[str, str] | None = None
    ) -> None:
        """Store a message in JetStream; equal `message_id`s within two minutes are stored once.

        Raises:
            Unavailable: not acknowledged; it may or may not be stored.
        """
        self._require_connection()
        try:
            await self._ensure_stream()
            await self._client.jetstream(timeout=_TIMEOUT).publish(
                subject, json.dumps(payload).encode(), headers={"Nats-Msg-Id": message_id, **(headers or {})}
            )
        except _FAILURES as error:
            self._stream_known = False
            raise Unavailable("the event bus is not available") from error

    async def hint(self, subject: str, payload: dict[str, Any]) -> None:
        """Tell whoever listens, at most once; dropped when NATS is away. Subjects begin with `pbs-hint.`."""
        if not self.connected:
            return
        try:
            await self._client.publish(subject, json.dumps(payload).encode())
        except _FAILURES as error:
            _log.debug("hint dropped", subject=subject, error=str(error))

    async def listen(self, subject: str, handler: Callable[[str, dict[str, Any]], Awaitable[None]]) -> None:
        """Call `handler(subject, payload)` for each hint or event on `subject` (may hold wildcards) while connected."""

        async def receive(message: Any) -> None:
            try:
                await handler(message.subject, json.loads(message.data))
            except Exception:
                _log.exception("listener failed", subject=message.subject)

        await self._subscribe(subject, receive)

    async def answer(self, subject: str, handler: Callable[[Reply], Awaitable[Reply]]) -> None:
        """Answer requests on `subject`; a failing handler leaves the request unanswered."""

        async def receive(message: Any) -> None:
            try:
                await message.respond(json.dumps(await handler(json.loads(message.data))).encode())
            except Exception:
                _log.exception("request failed", subject=subject)

        await self._subscribe(subject, receive)

    async def request(self, subject: str, payload: dict[str, Any], *, timeout: float = _TIMEOUT) -> Reply:
        """Ask whoever answers `subject`.

        Raises:
            Unavailable: nobody answered in time.
        """
        self._require_connection()
        try:
            answer = await self._client.request(subject, json.dumps(payload).encode(), timeout=timeout)
        except _FAILURES as error:
            raise Unavailable(f"no answer from {subject}") from error
        return dict(json.loads(answer.data))

    async def deliveries(self, durable: str, subject: str, *, batch: int = 50) -> AsyncIterator[Delivery]:
        """Messages of the durable pull consumer `durable`, for ever; waits while NATS is away.

        Each has to be acknowledged within 30 s, else it comes again. Several processes may share a durable.
        """
        subscription: Any = None
        while True:
            try:
                if subscription is None:
                    subscription = await self._pull_subscription(durable, subject)
                messages = await subscription.fetch(batch, timeout=2.0)
            except (TimeoutError, nats.errors.TimeoutError):
                continue
            except (*_FAILURES, Unavailable) as error:
                _log.debug("consumer waits", durable=durable, error=str(error))
                subscription, self._stream_known = None, False
                await self._clock.sleep(_RECONNECT_SECONDS)
                continue
            for message in messages:
                delivery = await _read(message)
                if delivery is not None:
                    yield delivery

    async def _pull_subscription(self, durable: str, subject: str) -> Any:
        self._require_connection()
        await self._ensure_stream()
        config = ConsumerConfig(
            durable_name=durable,
            filter_subject=subject,
            ack_policy=AckPolicy.EXPLICIT,
            deliver_policy=DeliverPolicy.ALL,
            ack_wait=_ACK_WAIT_SECONDS,
            max_ack_pending=1000,
        )
        return await self._client.jetstream(timeout=_TIMEOUT).pull_subscribe(
            subject, durable=durable, stream=STREAM, config=config
        )

    async def _subscribe(self, subject: str, receive: Callable[[Any], Awaitable[None]]) -> None:
        self._subscriptions.append((subject, receive))
        if self._client is not None:
            await self._client.subscribe(subject, cb=receive)

    async def _ensure_stream(self) -> None:
        if self._stream_known:
            return
        config = StreamConfig(
            name=STREAM,
            subjects=STREAM_SUBJECTS,
            retention=RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            max_age=_MAX_AGE_SECONDS,
            duplicate_window=_DUPLICATE_WINDOW_SECONDS,
        )
        context = self._client.jetstream(timeout=_TIMEOUT)
        try:
            await context.stream_info(STREAM)
        except nats.js.errors.NotFoundError:
            await context.add_stream(config)
        self._stream_known = True

    def _require_connection(self) -> None:
        if not self.connected:
            raise Unavailable("the event bus is not available")

    async def _connect_for_ever(self) -> None:
        while True:
            try:
                client = await nats.connect(
                    self._url,
                    name=self._client_name,
                    allow_reconnect=True,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=_RECONNECT_SECONDS,
                    connect_timeout=2,
                    pending_size=8 * 1024 * 1024,
                    error_cb=_log_error,
                    reconnected_cb=self._reconnected,
                )
                break
            except _FAILURES as error:
                _log.info("waiting for the event bus", error=str(error) or type(error).__name__)
                await self._clock.sleep(_RECONNECT_SECONDS)
        self._client = client
        for subject, receive in self._subscriptions:
            await client.subscribe(subject, cb=receive)
        self._connected.set()

    async def _reconnected(self) -> None:
        self._stream_known = False


async def _read(message: Any) -> Delivery | None:
    """The message as a delivery; what cannot be read is logged and never delivered again."""
    headers = message.headers or {}
    try:
        payload = json.loads(message.data)
        return Delivery(message.subject, payload, headers[HEADER_EPOCH], int(headers[HEADER_SEQUENCE]), message)
    except (ValueError, KeyError):
        _log.error("unreadable event dropped", subject=message.subject)
        await message.term()
        return None


async def _log_error(error: Exception) -> None:
    _log.debug("event bus", error=str(error) or type(error).__name__)
