"""The fault layer: sees every call to Postgres, storage and NATS, knows from where, and can spoil it.

It wraps the methods of the real asyncpg connection, of the storage backends and of the NATS client. A process of the
world can be killed at a call: from then on nothing that it does reaches the outside, until it is started again.
"""

from __future__ import annotations

import asyncio
import sys
import weakref
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
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
from testkit.faults.modes import Mode, Plan
from testkit.faults.sites import STORAGE, Kind, Site, all_sites, relative

_STATEMENT_METHODS = (
    "fetch", "fetchrow", "fetchval", "execute", "executemany", "copy_records_to_table", "copy_from_query",
)  # fmt: skip
_STREAMS = frozenset({"read_file", "list_files"})
_RAISE = "DO $$ BEGIN RAISE EXCEPTION 'injected fault' USING ERRCODE = '{}'; END $$"
_SWEEPERS = ("sweeping.py", "orphans.py", "strays.py", "deleting.py")
_lost = asyncpg.exceptions.ConnectionDoesNotExistError


class Layer:
    """Wraps the classes for as long as it is installed."""

    def __init__(self) -> None:
        self.reached: Counter[Site] = Counter()
        self.dead: set[str] = set()
        self.owners: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
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
        self._plan = Plan(site, mode)
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

    def kill_soon(self, process: str) -> None:
        """`kill` for other threads than that of the connections."""
        self.dead.add(process)
        if self._plan is not None:
            self._plan.loop.call_soon_threadsafe(self.kill, process)

    def revive(self, process: str) -> None:
        """A new process of that name may begin."""
        self.dead.discard(process)

    # ------------------------------------------------------------------------------------------------ wrapping

    def install(self) -> Layer:
        """Begin to see calls."""
        for method in _STATEMENT_METHODS:
            self.replace(asyncpg.Connection, method, self._statement)
        self.replace(asyncpg.Connection, "cursor", self._cursor)
        self.replace(Transaction, "start", self._begin)
        self.replace(Transaction, "commit", self._commit)
        self.wrap_storage(LocalBackend, STORAGE)
        for owner, names in (
            (Client, ("publish", "request", "subscribe")),
            (JetStreamContext, ("publish", "stream_info", "add_stream", "pull_subscribe")),
            (JetStreamContext.PullSubscription, ("fetch",)),
            (Msg, ("ack", "nak", "term", "respond")),
            (nats, ("connect",)),
        ):
            for name in names:
                self.replace(owner, name, self._nats)
        return self

    def wrap_storage(self, backend: type[Any], methods: Iterable[str]) -> None:
        """See the calls of one kind of storage."""
        for method in methods:
            self.replace(backend, method, self._stream if method in _STREAMS else self._storage)

    def wrapped_storage(self, name: str, work: Any) -> Any:
        """A method that stands in for one of a backend, with the layer around it."""
        return self._storage(name, work)

    def remove(self) -> None:
        """Leave no trace."""
        while self._undo:
            owner, name, original = self._undo.pop()
            setattr(owner, name, original)

    def replace(self, owner: Any, name: str, make: Callable[[str, Any], Any]) -> None:
        """Let what `make` answers stand in for an attribute until `remove`."""
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
        mode = self.take(site, process)
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
            mode = self.take(site, process)
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
            if self.take(self._site(Kind.TRANSACTION, sys._getframe(1)), process, begins=True) is not None:
                _cut(connection)
            return await original(transaction)

        return call

    def _commit(self, _name: str, original: Any) -> Any:
        async def call(transaction: Any) -> Any:
            connection = transaction._connection
            process = self._alive(connection)
            mode = self.take(self._site(Kind.TRANSACTION, sys._getframe(1)), process)
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
        if site is not None:
            self.owners[args[0]] = process
        if process in self.dead:
            raise Unavailable("the process is dead")
        mode = self.take(site, process)
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
            if site is not None:
                self.owners[backend] = _storage_process(site)
            return self._run_stream(site, original(backend, *args, **kwargs))

        return call

    async def _run_stream(self, site: Site | None, items: AsyncIterator[Any]) -> AsyncIterator[Any]:
        process = _storage_process(site)
        if process in self.dead:
            raise Unavailable("the process is dead")
        mode = self.take(site, process)
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
        mode = self.take(site, "")
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
                site = self.site_at(path, kind, frame.f_lineno)
                if site is not None:
                    return site
                if kind is not Kind.TRANSACTION:
                    return None
            elif kind is Kind.STATEMENT and not frame.f_code.co_filename.endswith("asyncpg/pool.py"):
                return None
            frame = frame.f_back
        return None

    def site_at(self, path: str, kind: Kind, line: int) -> Site | None:
        """The site at a line, counted as reached."""
        candidates = [site for site in self._by_place[path, kind] if site.line <= line <= site.last]
        found = min(candidates, key=lambda site: site.last - site.line, default=None)
        if found is not None:
            self.reached[found] += 1
        return found

    def take(self, site: Site | None, process: str, *, begins: bool = False) -> Mode | None:
        """What happens to this call of a site."""
        plan = self._plan
        if site is None or plan is None or plan.site != site:
            return None
        if plan.struck:
            return plan.mode if plan.mode is Mode.AWAY else None
        if begins != (plan.mode is Mode.REFUSED):
            return None
        plan.process = process
        plan.strikes()
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
    return "" if site is None else process_at(site.path)


def process_at(path: str) -> str:
    """Which process works with storage in a source file of chunkstore."""
    if path.startswith("chunkstore/chunks/") or path.endswith(_SWEEPERS):
        return "chunks"
    return "maintenance" if path.startswith("chunkstore/maintenance/") else "catalogue"
