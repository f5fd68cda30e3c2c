"""The fault layer: sees every call to Postgres, storage and NATS, knows from where, and can spoil it.

It wraps the methods of the real asyncpg connection, of the storage backends and of the NATS client. A process of the
world can be killed at a call: from then on nothing that it does reaches the outside, until it is started again.
"""

from __future__ import annotations

import asyncio
import sys
import weakref
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from types import FrameType
from typing import Any

import asyncpg
import nats.errors
from asyncpg.transaction import Transaction
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from pbs_cloud.chunkstore.backends.local import LocalBackend
from pbs_cloud.contracts.errors import NoSpace, Unavailable
from testkit.faults.sites import STORAGE, Kind, Site, all_sites, relative

_STATEMENT_METHODS = (
    "fetch", "fetchrow", "fetchval", "execute", "executemany", "copy_records_to_table", "copy_from_query",
)  # fmt: skip
_WRITES = frozenset({"create", "complete", "write_chunk", "put_file", "copy_file", "make_namespace"})
_READS = frozenset({"read_chunk", "read_chunk_into", "read_file"})
_STREAMS = frozenset({"read_file", "list_files"})
_RAISE = "DO $$ BEGIN RAISE EXCEPTION 'injected fault' USING ERRCODE = '{}'; END $$"
_SWEEPERS = ("sweeping.py", "orphans.py", "strays.py", "deleting.py")
_lost = asyncpg.exceptions.ConnectionDoesNotExistError


class Mode(StrEnum):
    """What happens to a call. `lost` and `crash` come before or after the call had its effect.

    `refused`: no transaction can be begun, once; `conflict`: a serialization failure.
    """

    REFUSED = "refused"
    ERROR = "error"
    CONFLICT = "conflict"
    TIMEOUT = "timeout"
    FULL = "full"
    LOST_BEFORE = "lost-before"
    LOST_AFTER = "lost-after"
    TRUNCATED = "truncated"
    SLOW = "slow"
    CRASH_BEFORE = "crash-before"
    CRASH_AFTER = "crash-after"


_MODES = {
    Kind.STATEMENT: (
        Mode.ERROR, Mode.LOST_AFTER, Mode.TIMEOUT, Mode.CRASH_BEFORE, Mode.CONFLICT, Mode.LOST_BEFORE, Mode.CRASH_AFTER,
    ),
    Kind.TRANSACTION: (
        Mode.LOST_BEFORE, Mode.LOST_AFTER, Mode.CRASH_AFTER, Mode.CONFLICT, Mode.CRASH_BEFORE, Mode.REFUSED,
    ),
    Kind.STORAGE: (Mode.ERROR, Mode.LOST_AFTER, Mode.CRASH_BEFORE, Mode.SLOW, Mode.CRASH_AFTER),
    Kind.NATS: (Mode.ERROR, Mode.LOST_AFTER, Mode.TIMEOUT, Mode.SLOW),
}  # fmt: skip


def modes_of(site: Site) -> tuple[Mode, ...]:
    """What can happen at a site."""
    modes = _MODES[site.kind]
    if site.method == "cursor":
        return (Mode.LOST_BEFORE, Mode.CRASH_BEFORE)
    if site.kind is Kind.STORAGE and site.method in _WRITES:
        modes = (*modes, Mode.FULL)
    if site.kind is Kind.STORAGE and site.method in _READS:
        modes = (*modes, Mode.TRUNCATED)
    if site.path.startswith("chunkstore/maintenance/"):  # a command: its crash is its end
        modes = tuple(mode for mode in modes if mode is not Mode.CRASH_AFTER)
    return modes


@dataclass
class Plan:
    """A fault that waits for its call; ``process`` is whose call it was."""

    site: Site
    mode: Mode
    fired: asyncio.Event
    process: str = ""


class Layer:
    """Wraps the classes for as long as it is installed."""

    def __init__(self) -> None:
        self.reached: Counter[Site] = Counter()
        self.dead: set[str] = set()
        self._execute: Any = asyncpg.Connection.execute
        self._plan: Plan | None = None
        self._meanwhile: tuple[str, str, str, Callable[[], Awaitable[None]]] | None = None
        self._undo: list[tuple[Any, str, Any]] = []
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()
        self._by_place: dict[tuple[str, Kind], list[Site]] = defaultdict(list)
        for site in all_sites():
            self._by_place[site.path, site.kind].append(site)

    def arm(self, site: Site, mode: Mode) -> Plan:
        """Spoil the next call of a site."""
        self._plan = Plan(site, mode, asyncio.Event())
        return self._plan

    def disarm(self) -> None:
        """Nothing more is spoiled."""
        self._plan = None

    def meanwhile(self, path: str, function: str, method: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do something else, once, just before the next call of that statement."""
        self._meanwhile = (path, function, method, work)

    def kill(self, process: str) -> None:
        """Cut a process off: its connections end and nothing that it tries has an effect."""
        self.dead.add(process)
        for connection in list(self._connections):
            if _process_of(connection) == process:
                _cut(connection)

    def revive(self, process: str) -> None:
        """A new process of that name may begin."""
        self.dead.discard(process)

    # ------------------------------------------------------------------------------------------------ wrapping

    def install(self) -> Layer:
        """Begin to see calls."""
        for method in _STATEMENT_METHODS:
            self._replace(asyncpg.Connection, method, self._statement)
        self._replace(asyncpg.Connection, "cursor", self._cursor)
        self._replace(Transaction, "start", self._begin)
        self._replace(Transaction, "commit", self._commit)
        for method in STORAGE:
            self._replace(LocalBackend, method, self._stream if method in _STREAMS else self._storage)
        for owner, names in (
            (Client, ("publish", "request", "subscribe")),
            (JetStreamContext, ("publish", "stream_info", "add_stream", "pull_subscribe")),
            (JetStreamContext.PullSubscription, ("fetch",)),
            (Msg, ("ack", "nak", "term", "respond")),
            (nats, ("connect",)),
        ):
            for name in names:
                self._replace(owner, name, self._nats)
        return self

    def wrapped_storage(self, name: str, work: Any) -> Any:
        """A method that stands in for one of a backend, with the layer around it."""
        return self._storage(name, work)

    def remove(self) -> None:
        """Leave no trace."""
        while self._undo:
            owner, name, original = self._undo.pop()
            setattr(owner, name, original)

    def _replace(self, owner: Any, name: str, make: Callable[[str, Any], Any]) -> None:
        original = getattr(owner, name)
        self._undo.append((owner, name, original))
        setattr(owner, name, make(name, original))

    def _statement(self, _name: str, original: Any) -> Any:
        def call(connection: Any, *args: Any, **kwargs: Any) -> Any:
            site = self._site(Kind.STATEMENT, sys._getframe(1))
            return self._run_statement(site, connection, original, args, kwargs)

        return call

    async def _run_statement(self, site: Site | None, connection: Any, original: Any, args: Any, kwargs: Any) -> Any:
        process = self._alive(connection)
        if site is not None and self._meanwhile and (site.path, site.function, site.method) == self._meanwhile[:3]:
            work, self._meanwhile = self._meanwhile[3], None
            await work()
        mode = self._take(site, process)
        if mode in (Mode.ERROR, Mode.FULL):
            await self._execute(connection, _RAISE.format("53100"))
        elif mode is Mode.CONFLICT:
            await self._execute(connection, _RAISE.format("40001"))
        elif mode is Mode.TIMEOUT:
            await self._execute(connection, "SELECT pg_sleep(30)", timeout=0.01)
        await self._before(mode, process, connection)
        answer = await original(connection, *args, **kwargs)
        await self._after(mode, process, connection)
        return answer

    def _cursor(self, _name: str, original: Any) -> Any:
        def call(connection: Any, *args: Any, **kwargs: Any) -> Any:
            site = self._site(Kind.STATEMENT, sys._getframe(1))
            process = self._alive(connection)
            mode = self._take(site, process)
            if mode is Mode.CRASH_BEFORE:
                self.kill(process)
            elif mode is not None:
                _cut(connection)
            return original(connection, *args, **kwargs)

        return call

    def _begin(self, _name: str, original: Any) -> Any:
        async def call(transaction: Any) -> Any:
            connection = transaction._connection
            self._connections.add(_raw(connection))
            process = self._alive(connection)
            if self._take(self._site(Kind.TRANSACTION, sys._getframe(1)), process, begins=True) is not None:
                _cut(connection)
            return await original(transaction)

        return call

    def _commit(self, _name: str, original: Any) -> Any:
        async def call(transaction: Any) -> Any:
            connection = transaction._connection
            process = self._alive(connection)
            mode = self._take(self._site(Kind.TRANSACTION, sys._getframe(1)), process)
            if mode is Mode.CONFLICT:
                await transaction.rollback()
                raise asyncpg.SerializationError("injected fault")
            await self._before(mode, process, connection)
            answer = await original(transaction)
            await self._after(mode, process, connection)
            return answer

        return call

    async def _before(self, mode: Mode | None, process: str, connection: Any) -> None:
        if mode is Mode.LOST_BEFORE:
            _cut(connection)
        elif mode is Mode.CRASH_BEFORE:
            self.kill(process)
        else:
            return
        await asyncio.sleep(0)
        raise _lost("injected fault: connection lost")

    async def _after(self, mode: Mode | None, process: str, connection: Any) -> None:
        if mode is Mode.LOST_AFTER:
            _cut(connection)
        elif mode is Mode.CRASH_AFTER:
            self.kill(process)
        else:
            return
        await asyncio.sleep(0)
        raise _lost("injected fault: the answer was lost")

    def _storage(self, name: str, original: Any) -> Any:
        def call(backend: Any, *args: Any, **kwargs: Any) -> Any:
            site = self._site(Kind.STORAGE, sys._getframe(1))
            return self._run_storage(site, name, original, (backend, *args), kwargs)

        return call

    async def _run_storage(self, site: Site | None, name: str, original: Any, args: Any, kwargs: Any) -> Any:
        process = _storage_process(site)
        if process in self.dead:
            raise Unavailable("the process is dead")
        mode = self._take(site, process)
        self._spoil_storage(mode, process)
        if mode is Mode.SLOW:
            await asyncio.sleep(0.2)
        answer = await original(*args, **kwargs)
        if mode is Mode.CRASH_AFTER:
            self.kill(process)
        if mode in (Mode.LOST_AFTER, Mode.CRASH_AFTER):
            raise Unavailable("injected fault: the answer was lost")
        if mode is Mode.TRUNCATED:
            return answer - 1 if name == "read_chunk_into" else answer[:-1]
        return answer

    def _stream(self, _name: str, original: Any) -> Any:
        def call(backend: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            site = self._site(Kind.STORAGE, sys._getframe(1))
            return self._run_stream(site, original(backend, *args, **kwargs))

        return call

    async def _run_stream(self, site: Site | None, items: AsyncIterator[Any]) -> AsyncIterator[Any]:
        process = _storage_process(site)
        if process in self.dead:
            raise Unavailable("the process is dead")
        mode = self._take(site, process)
        self._spoil_storage(mode, process)
        async for item in items:
            if mode is Mode.TRUNCATED:
                yield item[: len(item) // 2]
                return
            yield item
            if mode in (Mode.LOST_AFTER, Mode.CRASH_AFTER):
                if mode is Mode.CRASH_AFTER:
                    self.kill(process)
                raise Unavailable("injected fault: cut off")

    def _spoil_storage(self, mode: Mode | None, process: str) -> None:
        if mode is Mode.CRASH_BEFORE:
            self.kill(process)
        if mode in (Mode.ERROR, Mode.CRASH_BEFORE):
            raise Unavailable("injected fault: storage does not answer")
        if mode is Mode.FULL:
            raise NoSpace("injected fault: no space left")

    def _nats(self, _name: str, original: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            return self._run_nats(self._site(Kind.NATS, sys._getframe(1)), original, args, kwargs)

        return call

    async def _run_nats(self, site: Site | None, original: Any, args: Any, kwargs: Any) -> Any:
        mode = self._take(site, "")
        if mode is Mode.ERROR:
            raise nats.errors.ConnectionClosedError
        if mode is Mode.TIMEOUT:
            raise nats.errors.TimeoutError
        if mode is Mode.SLOW:
            await asyncio.sleep(0.2)
        answer = await original(*args, **kwargs)
        if mode is Mode.LOST_AFTER:
            raise nats.errors.TimeoutError
        return answer

    # ------------------------------------------------------------------------------------------------ who calls

    def _site(self, kind: Kind, frame: FrameType | None) -> Site | None:
        """The site that calls; None for a call from somewhere else."""
        while frame is not None:
            path = relative(frame.f_code.co_filename)
            if path is not None:
                site = self._at(path, kind, frame.f_lineno)
                if site is not None:
                    self.reached[site] += 1
                    return site
                if kind is not Kind.TRANSACTION:
                    return None
            elif kind is Kind.STATEMENT and not frame.f_code.co_filename.endswith("asyncpg/pool.py"):
                return None
            frame = frame.f_back
        return None

    def _at(self, path: str, kind: Kind, line: int) -> Site | None:
        found = [site for site in self._by_place[path, kind] if site.line <= line <= site.last]
        return min(found, key=lambda site: site.last - site.line, default=None)

    def _take(self, site: Site | None, process: str, *, begins: bool = False) -> Mode | None:
        plan = self._plan
        if site is None or plan is None or plan.site != site or plan.fired.is_set():
            return None
        if begins != (plan.mode is Mode.REFUSED):
            return None
        plan.process = process
        plan.fired.set()
        return plan.mode

    def _alive(self, connection: Any) -> str:
        process = _process_of(connection)
        if process in self.dead:
            _cut(connection)
            raise _lost("the process is dead")
        return process


def _raw(connection: Any) -> Any:
    return getattr(connection, "_con", None) or connection


def _process_of(connection: Any) -> str:
    settings = _raw(connection)._params.server_settings or {}
    return str(settings.get("application_name", ""))


def _cut(connection: Any) -> None:
    """The network between: no goodbye."""
    transport = _raw(connection)._transport
    if transport is not None:
        transport.abort()


def _storage_process(site: Site | None) -> str:
    if site is None:
        return ""
    if site.path.startswith("chunkstore/chunks/") or site.path.endswith(_SWEEPERS):
        return "chunks"
    return "maintenance" if site.path.startswith("chunkstore/maintenance/") else "catalogue"
