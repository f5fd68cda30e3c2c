"""A way to Postgres that can be cut, also exactly between a commit and its answer: what a failover looks like."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, field
from urllib.parse import parse_qs, quote, urlsplit

from testkit.servers import temporary_folder

_PIECE = 1 << 16
_NAME = b"__asyncpg_stmt_"


@dataclass(slots=True)
class _Cut:
    """Fall at the commit of the transaction in which `statement` was sent."""

    statement: bytes
    committed: bool
    fallen: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class _Link:
    """One connection: texts of prepared statements by name; `muted`: answers are kept from the client."""

    prepared: dict[bytes, bytes] = field(default_factory=dict)
    muted: bool = False
    answered: asyncio.Event = field(default_factory=asyncio.Event)


class CutConnections:
    """A proxy on a unix socket; lives in the test's event loop."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        folder = parse_qs(parts.query)["host"][0]
        port = parse_qs(parts.query).get("port", ["5432"])[0]
        self._target = f"{folder}/.s.PGSQL.{port}"
        self._folder = temporary_folder("cut")
        self._own = f"{self._folder}/.s.PGSQL.{port}"
        self.url = url.replace(quote(folder), quote(str(self._folder)))
        self._down = False
        self._cuts: list[_Cut] = []
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> CutConnections:
        self._server = await asyncio.start_unix_server(self._accept, self._own)
        return self

    async def stop(self) -> None:
        self._server.close()
        self.fall()
        shutil.rmtree(self._folder, ignore_errors=True)

    def fall(self) -> None:
        """Cut all connections, refuse new ones."""
        self._down = True
        for writer in self._writers:
            writer.transport.abort()

    def rise(self) -> None:
        """Accept connections again."""
        self._down = False

    def at_commit_of(self, statement: str, *, committed: bool) -> asyncio.Event:
        """All connections are cut once at the next commit after `statement` on the same connection.

        `committed`: the server commits, only its answer is lost; else the commit does not arrive. Set when it happened.
        """
        self._cuts.append(_Cut(statement.encode(), committed))
        return self._cuts[-1].fallen

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._down:
            writer.transport.abort()
            return
        server_reader, server_writer = await asyncio.open_unix_connection(self._target)
        self._writers |= {writer, server_writer}
        link = _Link()
        try:
            await asyncio.gather(
                self._to_server(reader, server_writer, link), _to_client(server_reader, writer, link),
                return_exceptions=True,
            )  # fmt: skip
        finally:
            for end in (writer, server_writer):
                self._writers.discard(end)
                end.close()

    async def _to_server(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: _Link) -> None:
        armed: _Cut | None = None
        while piece := await reader.read(_PIECE):
            armed = armed or self._matching(piece, link)
            if b"ROLLBACK;" in piece:
                armed = None
            if armed is not None and b"COMMIT;" in piece:
                await self._cut(armed, piece, writer, link)
                return
            writer.write(piece)
            await writer.drain()
        writer.close()

    def _matching(self, piece: bytes, link: _Link) -> _Cut | None:
        """The cut that waits for a statement in `piece`: its text at first, later its name."""
        sent = [piece]
        at = piece.find(_NAME)
        while at >= 0:
            end = piece.index(b"\0", at)
            text = piece[end + 1 : piece.find(b"\0", end + 1)]
            if b" " in text:
                link.prepared[piece[at:end]] = text
            sent.append(link.prepared.get(piece[at:end], b""))
            at = piece.find(_NAME, end)
        return next((cut for cut in self._cuts if any(cut.statement in text for text in sent)), None)

    async def _cut(self, cut: _Cut, piece: bytes, writer: asyncio.StreamWriter, link: _Link) -> None:
        self._cuts.remove(cut)
        if cut.committed:
            link.muted = True
            writer.write(piece)
            async with asyncio.timeout(10):
                await link.answered.wait()
        cut.fallen.set()
        for other in list(self._writers):
            other.transport.abort()


async def _to_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: _Link) -> None:
    while piece := await reader.read(_PIECE):
        if link.muted:
            link.answered.set()
            continue
        writer.write(piece)
        await writer.drain()
    writer.close()
