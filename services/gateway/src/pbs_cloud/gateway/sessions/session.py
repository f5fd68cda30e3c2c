"""A session on a live connection: requests in, calls to chunkstore, answers out."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, Final

from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import PbsError, SessionLost
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.gateway.errors import HttpError, reason_phrase
from pbs_cloud.gateway.http2.connection import Connection
from pbs_cloud.gateway.http2.sinks import DiscardSink, Memory, MemorySink, SlotSink
from pbs_cloud.gateway.http2.streams import Handler, Stream
from pbs_cloud.gateway.protocol import answers as a
from pbs_cloud.gateway.protocol import effects as do
from pbs_cloud.gateway.protocol.backup import BackupSessionMachine
from pbs_cloud.gateway.protocol.endpoints import MAX_PARAMETER_BODY, Body, BodyKind, Call, Steps, refusal
from pbs_cloud.gateway.protocol.reader import ReaderSessionMachine
from pbs_cloud.gateway.sessions.calls import SessionCalls, Surroundings
from pbs_cloud.gateway.sessions.replies import Replies
from pbs_cloud.gateway.sessions.tasklog import TaskLog
from pbs_cloud.runtime.logging import get_logger

log = get_logger(__name__)

MAX_SLOT_BODIES: Final = 10
"""Unfinished bodies of one connection that are received into slots; others wait in memory of their own."""
HANG_UP_SECONDS: Final = 0.5
"""Time for the last answers of a session that was lost."""

_EXPECTED = (PbsError, FormatError, HttpError)


class Session(Handler):
    """What backup and reader sessions have in common. ``attach`` first, ``ended`` when the connection is gone."""

    kind = "session"
    slack = 0
    """Receive credit of an idle connection beyond the 64 KiB that it always has."""

    def __init__(self, around: Surroundings, ctx: CallContext, session_id: str, upid: str) -> None:
        self.session_id = session_id
        self.upid = upid
        self.around = around
        self.ctx = ctx
        self.task_log = TaskLog(around.catalogue, ctx, upid)
        self.error: str | None = None
        self._calls = SessionCalls(around, ctx, session_id)
        self._connection: Connection | None = None
        self._replies: Replies | None = None
        self._hang_up: Callable[[], None] = lambda: None
        self._open_calls: dict[int, Call] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._slot_bodies: set[int] = set()
        self._ended: asyncio.Task[None] | None = None

    @property
    @abstractmethod
    def machine(self) -> BackupSessionMachine | ReaderSessionMachine:
        """The protocol."""

    @abstractmethod
    async def close(self) -> None:
        """Tell chunkstore that the session ended. Raises PbsError."""

    def sent(self, count: int) -> None:
        """Bytes of files and chunks go to the client."""

    def attach(self, connection: Connection, wake: Callable[[], None], hang_up: Callable[[], None]) -> None:
        """Live on ``connection``: ``wake`` writes its output soon, ``hang_up`` closes the transport at once."""
        self._connection = connection
        self._replies = Replies(connection, self._calls, wake, self.sent)
        self._hang_up = hang_up
        connection.start(self, wake)

    @property
    def connection(self) -> Connection:
        """The HTTP/2 connection."""
        assert self._connection is not None
        return self._connection

    @property
    def replies(self) -> Replies:
        """Sends answers."""
        assert self._replies is not None
        return self._replies

    @property
    def busy(self) -> int:
        return len(self._tasks)

    def stop(self, error: str) -> None:
        """End the session from this side: the connection is closed at once."""
        self.error = self.error or error
        self._hang_up()

    def ended(self) -> asyncio.Task[None]:
        """The connection is gone: close the session; the task ends when that is done."""
        if self._ended is None:
            if self._connection is not None:
                self._connection.close()
            self._ended = asyncio.create_task(self._end())
        return self._ended

    async def _end(self) -> None:
        self._calls.close()
        await self.task_log.close()
        try:
            await self.close()
        except PbsError as error:
            # its lease ends soon, and whoever meets it then cleans up
            log.warning("session not closed", session=self.session_id, error=error.message)

    # ------------------------------------------------------------------------------------------------- requests
    def request(self, stream: Stream) -> None:
        head = stream.head
        call = self.machine.begin(head.method, head.path, head.query, head.content_type)
        if head.too_large:
            call.refused = a.ErrorAnswer(431, "", typed=False)
        self._open_calls[stream.id] = call
        if call.body is BodyKind.CHUNK:
            stream.sink = SlotSink(call.announced, lambda size: self._take(stream.id, size))
        elif call.body is BodyKind.BLOB:
            stream.sink = MemorySink(call.announced)
            stream.sink.announced = call.announced
        elif call.body is BodyKind.PARAMETERS:
            stream.sink = MemorySink(MAX_PARAMETER_BODY)

    def _take(self, stream_id: int, size: int) -> Memory:
        """Memory for a body; a client that sends many at a time gets slots only for the first of them."""
        allowed = len(self._slot_bodies) < MAX_SLOT_BODIES
        if allowed:
            self._slot_bodies.add(stream_id)
        return self.around.transfer.take(size, slot_allowed=allowed)

    def body_complete(self, stream: Stream) -> None:
        call = self._open_calls.pop(stream.id)
        self._slot_bodies.discard(stream.id)
        sink = stream.sink
        content = sink.content() if isinstance(sink, MemorySink) and call.body is BodyKind.PARAMETERS else b""
        length = sink.total if isinstance(sink, DiscardSink) or sink.too_long else sink.length
        steps = self.machine.steps(call, Body(length, content, sink.too_long))
        try:
            effect = next(steps)
        except StopIteration as stop:
            self.connection.free(sink)
            self._finish(stream, call, stop.value)
            return
        self._spawn(self._serve(stream, call, steps, effect))

    def reset(self, stream: Stream) -> None:
        self._slot_bodies.discard(stream.id)
        if self._open_calls.pop(stream.id, None) is not None:
            self.connection.free(stream.sink)

    def _finish(self, stream: Stream, call: Call, answer: a.Answer) -> None:
        """Answer a request that needed nobody."""
        if isinstance(answer, a.JsonAnswer):
            self.replies.json(stream, answer)
        else:
            self._spawn(self._answer(stream, call, answer))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, stream: Stream, call: Call, steps: Steps, effect: do.Effect) -> None:
        try:
            answer = await self._drive(stream, steps, effect)
        except Exception:
            log.exception("request failed", path=call.path, session=self.session_id)
            answer = a.ErrorAnswer(500, "internal error")
        finally:
            self.connection.free(stream.sink)
        await self._answer(stream, call, answer)

    async def _drive(self, stream: Stream, steps: Steps, effect: do.Effect) -> a.Answer:
        """Run the effects of a request until it has its answer."""
        while True:
            try:
                try:
                    result = await self._calls.perform(effect, stream.sink)
                except _EXPECTED as error:
                    self._check_lost(error)
                    effect = steps.throw(error)
                else:
                    effect = steps.send(result)
            except StopIteration as stop:
                answer: a.Answer = stop.value
                return answer

    def _check_lost(self, error: Exception) -> None:
        """Nothing can be done in a lost session: let answers go out, then hang up."""
        if isinstance(error, SessionLost) and self.error is None:
            self.error = error.message
            asyncio.get_running_loop().call_later(HANG_UP_SECONDS, self._hang_up)

    async def _answer(self, stream: Stream, call: Call, answer: a.Answer) -> None:
        try:
            await self.replies.send(stream, answer)
        except _EXPECTED as error:
            self._check_lost(error)
            answer = refusal(error)
            self.replies.error(stream, answer)
        except Exception:
            log.exception("answer failed", path=call.path, session=self.session_id)
            answer = a.ErrorAnswer(500, "internal error")
            self.replies.error(stream, answer)
        if isinstance(answer, a.ErrorAnswer):
            reason = reason_phrase(answer.status)
            self.task_log.line(f"{call.method} {call.path}: {answer.status} {reason}: {answer.message}")
