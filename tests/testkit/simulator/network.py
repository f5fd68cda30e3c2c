"""gRPC between simulated processes: the real clients and the real rpc modules, with a network that loses things.

A call may be lost before it arrives, its answer may be lost after it was carried out, the caller may give up while it
runs: then gRPC cancels it, after its stream of requests has ended as if it were complete.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import traceback
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from testkit.simulator.loop import CURRENT, Process, SimLoop

from pbs_cloud.contracts.context import CONTEXT_METADATA_KEY, REQUEST_METADATA_KEY, CallContext
from pbs_cloud.contracts.errors import Internal, PbsError, Unavailable
from pbs_cloud.runtime.grpc_options import repeatable_methods

_REPEATABLE = {f"/{entry['service']}/{entry['method']}" for entry in repeatable_methods()}
_AWAY = "the service is not available"
_MOST_ATTEMPTS = 4


class Context:
    """What an rpc module sees of a call."""

    def __init__(self, metadata: dict[str, bytes]) -> None:
        self._metadata = metadata

    @property
    def call(self) -> CallContext:
        return CallContext.from_bytes(self._metadata[CONTEXT_METADATA_KEY])

    @property
    def has_call(self) -> bool:
        return CONTEXT_METADATA_KEY in self._metadata

    def parameters(self, message_type: Any) -> Any:
        return message_type.FromString(self._metadata[REQUEST_METADATA_KEY])

    def time_remaining(self) -> float | None:
        return None


class _Capture:
    """Takes the place of gRPC's server when a generated function registers its methods."""

    def __init__(self) -> None:
        self.handlers: dict[str, Any] = {}

    def add_generic_rpc_handlers(self, _handlers: Any) -> None:
        """The second form has what is needed."""

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        self.handlers = {f"/{service}/{name}": handler for name, handler in handlers.items()}


@dataclass(frozen=True, slots=True)
class Method:
    """How a method is called."""

    name: str
    takes_stream: bool
    gives_stream: bool


class _Anybody:
    """A servicer of any kind: its methods are their names."""

    def __getattr__(self, name: str) -> str:
        return name


@lru_cache(maxsize=64)
def _methods_of(add_to_server: Callable[[Any, Any], None]) -> dict[str, Method]:
    """What a generated function registers, by path."""
    capture = _Capture()
    add_to_server(_Anybody(), capture)
    found = {}
    for path, handler in capture.handlers.items():
        takes, gives = bool(handler.request_streaming), bool(handler.response_streaming)
        unary = handler.unary_stream if gives else handler.unary_unary
        stream = handler.stream_stream if gives else handler.stream_unary
        found[path] = Method(stream if takes else unary, takes, gives)
    return found


@dataclass(eq=False)
class Server:
    """Takes the place of `GrpcServer` in one process."""

    process: Process
    methods: dict[str, tuple[Any, Method]] = field(default_factory=dict)

    def add_service(self, add_to_server: Callable[[Any, Any], None], servicer: Any, **_raw: Any) -> None:
        self.methods.update({path: (servicer, method) for path, method in _methods_of(add_to_server).items()})


@dataclass(eq=False)
class Network:
    """Who serves what, and how bad the lines are. `trouble`: probability that a message is lost; `cut`: dead lines."""

    loop: SimLoop
    servers: dict[str, list[Server]] = field(default_factory=dict)
    trouble: float = 0.0
    slow: float = 0.0
    cut: set[tuple[str, str]] = field(default_factory=set)
    surprises: list[str] = field(default_factory=list)
    """Exceptions of services that are no error of the contract."""

    def serve(self, address: str, server: Server) -> None:
        found = self.servers.setdefault(address, [])
        found.append(server)
        server.process.at_death.append(lambda: found.remove(server))

    def channel(self, address: str) -> Channel:
        return Channel(self, address)

    def delay(self) -> float:
        """How long a message is under way."""
        rng = self.loop.rng
        if self.slow and rng.random() < self.slow:
            return rng.random() * 2.0
        return rng.random() * rng.random() * 0.01

    def is_lost(self, one: str, other: str) -> bool:
        """Whether the next message between two processes gets lost."""
        if (one, other) in self.cut or (other, one) in self.cut:
            return True
        return self.trouble > 0 and self.loop.rng.random() < self.trouble


class Channel:
    """What stubs ask for their methods."""

    def __init__(self, network: Network, address: str) -> None:
        self.network = network
        self.address = address

    def unary_unary(self, path: str, *_: Any, **__: Any) -> Any:
        return lambda request, metadata=(), timeout=35.0: self._unary(path, request, dict(metadata), timeout)

    def stream_unary(self, path: str, *_: Any, **__: Any) -> Any:
        return lambda pieces, metadata=(), timeout=35.0: self._unary(path, None, dict(metadata), timeout, pieces)

    def unary_stream(self, path: str, *_: Any, **__: Any) -> Any:
        return lambda request, metadata=(), timeout=35.0: _AnswerStream(self, path, request, dict(metadata), timeout)

    stream_stream = unary_stream

    async def _unary(self, path: str, request: Any, metadata: Any, timeout: float, pieces: Any = None) -> Any:
        attempts = _MOST_ATTEMPTS if path in _REPEATABLE else 1
        deadline = self.network.loop.now + timeout
        while True:
            attempts -= 1
            try:
                return await self._attempt(path, request, metadata, deadline, pieces)
            except _CutOff as error:
                if attempts <= 0 or self.network.loop.now >= deadline:
                    raise Unavailable(_AWAY) from error
            await asyncio.sleep(0.1)

    async def _attempt(self, path: str, request: Any, metadata: Any, deadline: float, pieces: Any) -> Any:
        server = await self.reach(path, deadline)
        call = Call(self.network, server, path, request, metadata)
        pump = None if pieces is None else asyncio.ensure_future(call.send_all(pieces))
        try:
            return await call.answer(deadline)
        finally:
            if pump is not None:
                pump.cancel()
            call.hang_up()

    async def reach(self, path: str, deadline: float) -> Server:
        """Some server of the address; calls wait for one as long as they may. Raises Unavailable, _CutOff."""
        network, me = self.network, CURRENT.get()
        while True:
            await network.loop.nap(network.delay())
            usable = [
                server
                for server in network.servers.get(self.address, ())
                if (me.name, server.process.name) not in network.cut and path in server.methods
            ]
            if usable:
                server = usable[int(network.loop.rng.random() * len(usable))]
                if network.is_lost(me.name, server.process.name):
                    raise _CutOff
                return server
            if network.loop.now >= deadline:
                raise Unavailable(_AWAY)
            await asyncio.sleep(1.0)


class _CutOff(Exception):
    """The connection broke: nobody knows whether the call was carried out."""


class Call:
    """One call at a server."""

    def __init__(self, network: Network, server: Server, path: str, request: Any, metadata: dict[str, bytes]) -> None:
        self._network = network
        self._server = server
        self._caller = CURRENT.get()
        self._pieces: deque[Any] | None = None
        self._more: asyncio.Event | None = None
        self._answers: deque[tuple[str, Any]] = deque()
        self._waits: asyncio.Future[None] | None = None
        self._gone = False
        servicer, method = server.methods[path]
        self.streams = method.gives_stream
        behavior = getattr(servicer, method.name)
        argument = request
        if method.takes_stream:
            self._pieces, self._more = deque(), asyncio.Event()
            argument = self._requests(self._pieces, self._more)
        self._path = path
        work = self._stream(behavior, argument, metadata) if self.streams else self._run(behavior, argument, metadata)
        self._task = network.loop.spawn(server.process, work)
        server.process.at_death.append(self._broken)
        self._caller.at_death.append(self._caller_died)

    # ------------------------------------------------------------------------------------------------ caller

    async def answer(self, deadline: float) -> Any:
        """The answer of a unary call. Raises a ``PbsError``, _CutOff."""
        loop = self._network.loop
        late = loop.call_at(max(deadline, loop.now + 0.001), self._arrives, "error", Unavailable(_AWAY))
        try:
            return (await self.next())[1]
        finally:
            late.cancel()

    async def next(self) -> tuple[str, Any]:
        """What came next: `value` or `end`, and the answer. Raises a ``PbsError``, _CutOff."""
        while not self._answers:
            self._waits = self._network.loop.create_future()
            await self._waits
        kind, value = self._answers.popleft()
        if kind == "error":
            try:
                raise value
            finally:
                del value  # it knows this frame
        return kind, value

    def _arrives(self, kind: str, value: Any) -> None:
        self._answers.append((kind, value))
        if self._waits is not None and not self._waits.done():
            self._waits.set_result(None)

    async def send_all(self, pieces: Any) -> None:
        """Requests of a call that streams them."""
        try:
            async for piece in pieces:
                await self._network.loop.nap(self._network.delay())
                self._offer(piece)
        except Exception:
            self._gone = True  # the call is cancelled, and its stream ends
        self._offer(None)
        if self._gone:
            self._cancel_soon()

    def _offer(self, piece: Any) -> None:
        """The next request of a stream, or None: its end."""
        if self._pieces is not None and self._more is not None:
            self._pieces.append(piece)
            self._more.set()

    def hang_up(self) -> None:
        """The caller is done; what still runs there is cancelled."""
        self._forget()
        if not self._task.done():
            self._caller_died()

    def _caller_died(self) -> None:
        """gRPC ends the stream of requests, and cancels the call a moment later."""
        if self._task.done() or self._server.process.dead:
            return
        self._offer(None)
        self._cancel_soon()

    def _cancel_soon(self) -> None:
        loop, process = self._network.loop, self._server.process
        loop.call_later(self._network.delay(), self._task.cancel, context=process.context)

    def _forget(self) -> None:
        for process, callback in ((self._server.process, self._broken), (self._caller, self._caller_died)):
            with contextlib.suppress(ValueError):
                process.at_death.remove(callback)

    # ------------------------------------------------------------------------------------------------ server

    async def _requests(self, pieces: deque[Any], more: asyncio.Event) -> AsyncIterator[Any]:
        while True:
            while pieces:
                piece = pieces.popleft()
                if piece is None:
                    return
                yield piece
            more.clear()
            await more.wait()

    async def _run(self, behavior: Any, argument: Any, metadata: dict[str, bytes]) -> None:
        try:
            answer = await behavior(argument, Context(metadata))
        except Exception as error:
            self._tell("error", self._as_pbs_error(error))
        else:
            self._tell("value", answer)

    async def _stream(self, behavior: Any, argument: Any, metadata: dict[str, bytes]) -> None:
        try:
            async for item in behavior(argument, Context(metadata)):
                self._tell("value", item)
            self._tell("end", None)
        except Exception as error:
            self._tell("error", self._as_pbs_error(error))

    def _as_pbs_error(self, error: Exception) -> PbsError:
        if isinstance(error, PbsError) and not isinstance(error, Internal):
            return type(error)(error.message, field=error.field)
        if isinstance(error, TimeoutError):
            return Unavailable("the call took too long")
        if "SIMULATOR_LOG" in os.environ:
            traceback.print_exception(error)
        self._network.surprises.append(f"{self._path.rpartition('/')[2]}: {type(error).__name__}: {error}")
        return Internal("internal error")

    def _tell(self, kind: str, value: Any) -> None:
        """Messages keep their order; when one is lost, the connection is."""
        if self._network.is_lost(self._caller.name, self._server.process.name):
            kind, value = "error", _CutOff()
        loop, context = self._network.loop, self._caller.context
        if self.streams:
            loop.call_soon(self._arrives, kind, value, context=context)
        else:
            loop.call_later(self._network.delay(), self._arrives, kind, value, context=context)

    def _broken(self) -> None:
        """The server died."""
        self._network.loop.call_later(0.001, self._arrives, "error", _CutOff(), context=self._caller.context)


class _AnswerStream:
    """What a call with a streamed answer gives."""

    def __init__(self, channel: Channel, path: str, request: Any, metadata: Any, timeout: float) -> None:
        self._channel = channel
        self._arguments = (path, request, metadata)
        self._deadline = channel.network.loop.now + timeout
        self._call: Call | None = None

    def cancel(self) -> None:
        if self._call is not None:
            self._call.hang_up()

    async def __aiter__(self) -> AsyncIterator[Any]:
        path, request, metadata = self._arguments
        try:
            server = await self._channel.reach(path, self._deadline)
            call = self._call = Call(self._channel.network, server, path, request, metadata)
            while (found := await call.next())[0] == "value":
                yield found[1]
        except _CutOff as error:
            raise Unavailable(_AWAY) from error
