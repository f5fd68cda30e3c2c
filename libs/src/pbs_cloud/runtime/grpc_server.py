"""One gRPC server: socket, health, and around each method the same shell.

From outside to inside: metrics (see every outcome), error mapping (so that nothing but the closed taxonomy leaves), log
context, then the method. Rights, tenant and deadline are checked by the service itself (house rule 5).
"""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import grpc
import structlog
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from pbs_cloud.contracts.context import CONTEXT_METADATA_KEY, REQUEST_METADATA_KEY, CallContext
from pbs_cloud.contracts.errors import Internal, InvalidArgument, PbsError, Unauthenticated, Unavailable, to_metadata
from pbs_cloud.runtime.addresses import is_unix
from pbs_cloud.runtime.grpc_options import server_credentials, server_options
from pbs_cloud.runtime.lifecycle import Component
from pbs_cloud.runtime.logging import get_logger
from pbs_cloud.runtime.settings import Settings
from pbs_cloud.runtime.telemetry import DURATION_BUCKETS, Counter, Histogram

M = TypeVar("M", bound=Message)
_log = get_logger(__name__)
_DETAIL_LIMIT = 1000
# Only what never got an answer is repeated by the channel; an answered error is the caller's to judge.
_DO_NOT_REPEAT = ("grpc-retry-pushback-ms", "-1")
# How long an error waits for the rest of what its caller sends.
_DRAIN_SECONDS = 30.0
_REQUESTS = Counter("pbs_grpc_requests", "Answered gRPC calls", ["service", "method", "code"])
_SECONDS = Histogram("pbs_grpc_request_seconds", "Time per gRPC call", ["service", "method"], buckets=DURATION_BUCKETS)


class RpcContext:
    """What a method gets beside its request."""

    __slots__ = ("_call", "_metadata", "grpc")

    def __init__(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        self.grpc = context
        self._metadata: dict[str, Any] = dict(context.invocation_metadata() or ())
        self._call: CallContext | None = None

    @property
    def call(self) -> CallContext:
        """Who calls.

        Raises:
            Unauthenticated: the call carries no context. InvalidArgument: it cannot be read.
        """
        if self._call is None:
            data = self._metadata.get(CONTEXT_METADATA_KEY)
            if data is None:
                raise Unauthenticated("the call carries no context")
            try:
                self._call = CallContext.from_bytes(data)
            except DecodeError as error:
                raise InvalidArgument("the call's context cannot be read") from error
        return self._call

    @property
    def has_call(self) -> bool:
        """Whether the call carries a context."""
        return CONTEXT_METADATA_KEY in self._metadata

    def parameters(self, message_type: type[M]) -> M:
        """The parameters of a raw method, from the metadata.

        Raises:
            InvalidArgument: missing or unreadable.
        """
        try:
            return message_type.FromString(self._metadata[REQUEST_METADATA_KEY])
        except (KeyError, DecodeError) as error:
            raise InvalidArgument("the call's parameters cannot be read") from error

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline; None without one."""
        remaining: float | None = self.grpc.time_remaining()
        return remaining


class GrpcServer(Component):
    """Serves the methods of one address: a unix socket of mode 0600, or TCP with mutual TLS.

    A method is `async def Name(self, request, context: RpcContext)`, an async generator where its answer is a stream;
    it raises contracts errors. Anything else becomes `Internal` with the traceback in the log only.
    """

    def __init__(
        self,
        name: str,
        address: str,
        settings: Settings,
        *,
        ready: Callable[[], bool] = lambda: True,
        grace: float = 5.0,
    ) -> None:
        self.name = f"grpc {name}"
        self._address = address
        self._settings = settings
        self._ready = ready
        self._grace = grace
        self._services: list[grpc.GenericRpcHandler] = []
        self._server: grpc.aio.Server | None = None
        self._serving = False
        self.port: int | None = None

    def add_service(
        self,
        add_to_server: Callable[[Any, Any], None],
        servicer: Any,
        *,
        raw_requests: Iterable[str] = (),
        raw_responses: Iterable[str] = (),
    ) -> None:
        """Serve `servicer` through the generated `add_…Servicer_to_server`.

        Methods named in `raw_requests` / `raw_responses` take / give bytes instead of messages (identity serializer).
        """
        capture = _Capture()
        add_to_server(servicer, capture)
        wrapped = {
            method: _wrap(capture.service, method, handler, method in set(raw_requests), method in set(raw_responses))
            for method, handler in capture.handlers.items()
        }
        self._services.append(grpc.method_handlers_generic_handler(capture.service, wrapped))

    async def start(self) -> None:
        server = grpc.aio.server(options=server_options())
        health_pb2_grpc.add_HealthServicer_to_server(_Health(self._is_serving), server)
        server.add_generic_rpc_handlers(tuple(self._services))
        self._bind(server)
        await server.start()
        self._server, self._serving = server, True

    async def stop(self) -> None:
        """Refuse new calls, let running ones finish for `grace` seconds."""
        self._serving = False
        if self._server is not None:
            await self._server.stop(self._grace)

    def ready(self) -> bool:
        return self._serving

    def _is_serving(self) -> bool:
        return self._serving and self._ready()

    def _bind(self, server: grpc.aio.Server) -> None:
        if not is_unix(self._address):
            self.port = server.add_secure_port(
                self._address.removeprefix("dns:///"), server_credentials(self._settings)
            )
            return
        path = Path(self._address.removeprefix("unix:"))
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.unlink(missing_ok=True)
        previous = os.umask(0o177)
        try:
            server.add_insecure_port(self._address)
        finally:
            os.umask(previous)


class _Capture:
    """Takes the place of a server to get at the method handlers of the generated code."""

    def __init__(self) -> None:
        self.service = ""
        self.handlers: dict[str, Any] = {}

    def add_generic_rpc_handlers(self, _handlers: Any) -> None:
        """The generated code registers twice; the second form has what is needed."""

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        self.service, self.handlers = service, handlers


class _Health:
    """The standard health service, answering for the whole server."""

    def __init__(self, is_serving: Callable[[], bool]) -> None:
        self._is_serving = is_serving

    async def Check(self, _request: Any, _context: Any) -> Any:
        return self._answer()

    async def List(self, _request: Any, _context: Any) -> Any:
        return health_pb2.HealthListResponse(statuses={"": self._answer()})

    async def Watch(self, _request: Any, _context: Any) -> AsyncIterator[Any]:
        last = None
        while True:
            answer = self._answer()
            if answer != last:
                yield answer
            last = answer
            await asyncio.sleep(0.5)

    def _answer(self) -> Any:
        states = health_pb2.HealthCheckResponse
        return states(status=states.SERVING if self._is_serving() else states.NOT_SERVING)


def _wrap(service: str, method: str, handler: Any, raw_request: bool, raw_response: bool) -> Any:
    """The same handler with the shell around it and, for raw methods, without (de)serializers."""
    shell = _Shell(service.rpartition(".")[2], method)
    deserializer = None if raw_request else handler.request_deserializer
    serializer = None if raw_response else handler.response_serializer
    if handler.response_streaming:
        behavior = handler.stream_stream if handler.request_streaming else handler.unary_stream
        make = (
            grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler
        )
        return make(shell.streaming(behavior), deserializer, serializer)
    behavior = handler.stream_unary if handler.request_streaming else handler.unary_unary
    make = grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
    return make(shell.unary(behavior, sends_more=handler.request_streaming), deserializer, serializer)


class _Shell:
    """Metrics, error mapping and log context of one method."""

    def __init__(self, service: str, method: str) -> None:
        self._service, self._method = service, method
        self._seconds = _SECONDS.labels(service, method)
        self._ok = _REQUESTS.labels(service, method, "ok")

    def unary(self, behavior: Callable[..., Any], *, sends_more: bool) -> Callable[..., Any]:
        async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            began = time.perf_counter()
            try:
                answer = await behavior(request, self._enter(context))
            except Exception as error:
                if sends_more:
                    await _drain(request)
                await self._fail(context, error)
            else:
                self._ok.inc()
                return answer
            finally:
                self._seconds.observe(time.perf_counter() - began)

        return call

    def streaming(self, behavior: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
        async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            began = time.perf_counter()
            try:
                async for item in behavior(request, self._enter(context)):
                    yield item
                self._ok.inc()
            except Exception as error:
                await self._fail(context, error)
            finally:
                self._seconds.observe(time.perf_counter() - began)

        return call

    def _enter(self, context: grpc.aio.ServicerContext[Any, Any]) -> RpcContext:
        rpc = RpcContext(context)
        structlog.contextvars.bind_contextvars(method=self._method)
        if rpc.has_call:
            structlog.contextvars.bind_contextvars(request_id=rpc.call.request_id, tenant=rpc.call.tenant_id)
        return rpc

    async def _fail(self, context: grpc.aio.ServicerContext[Any, Any], error: Exception) -> None:
        known = self._as_pbs_error(error)
        _REQUESTS.labels(self._service, self._method, known.code).inc()
        trailer: tuple[tuple[str, str | bytes], ...] = (*to_metadata(known), _DO_NOT_REPEAT)
        await context.abort(known.status, known.message[:_DETAIL_LIMIT], trailing_metadata=trailer)

    def _as_pbs_error(self, error: Exception) -> PbsError:
        if isinstance(error, PbsError):
            if isinstance(error, Internal):
                _log.error("internal error", error=error.message, exc_info=error)
            return error
        if isinstance(error, TimeoutError):
            _log.warning("call timed out", exc_info=error)
            return Unavailable("the call took too long")
        _log.error("unexpected error", exc_info=error)
        return Internal("internal error")


async def _drain(pieces: AsyncIterable[Any]) -> None:
    """Read what the caller still sends: an error that overtakes it reaches callers as INTERNAL (grpc issue 36066)."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for _ in pieces:
                pass
