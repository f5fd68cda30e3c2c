"""Lines of a session's task log, sent in batches (wire-protocol 9.3)."""

from __future__ import annotations

import asyncio
from typing import Final

from pbs_cloud.contracts.chunkstore.catalogue import CatalogueClient
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import PbsError
from pbs_cloud.runtime.logging import get_logger

log = get_logger(__name__)

DELAY_SECONDS: Final = 0.5
BATCH_LINES: Final = 500
MAX_WAITING: Final = 5_000
MAX_LINE: Final = 2_000


class TaskLog:
    """Collects lines and appends them half a second later; lines beyond a bound are counted instead of kept."""

    def __init__(self, catalogue: CatalogueClient, ctx: CallContext, upid: str) -> None:
        self._catalogue = catalogue
        self._ctx = ctx
        self._upid = upid
        self._lines: list[str] = []
        self._dropped = 0
        self._sender: asyncio.Task[None] | None = None
        self._sending = asyncio.Lock()
        self._closed = False

    def line(self, text: str) -> None:
        """Add a line."""
        if self._closed or not self._upid:
            return
        if len(self._lines) >= MAX_WAITING:
            self._dropped += 1
            return
        self._lines.append(text[:MAX_LINE].replace("\n", " "))
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_later())

    async def close(self) -> None:
        """Send what is there; no line is taken any more."""
        self._closed = True
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)
        await self._send()

    async def _send_later(self) -> None:
        while self._lines:
            await asyncio.sleep(DELAY_SECONDS)
            await asyncio.shield(self._send())

    async def _send(self) -> None:
        """Returns when these lines, and those that were on their way, have arrived."""
        async with self._sending:
            if self._dropped:
                self._lines.append(f"{self._dropped} lines left out")
                self._dropped = 0
            while self._lines:
                batch, self._lines = self._lines[:BATCH_LINES], self._lines[BATCH_LINES:]
                try:
                    await self._catalogue.append_task_log(self._ctx, self._upid, batch)
                except PbsError as error:
                    log.warning("task log lines lost", upid=self._upid, lines=len(batch), error=error.message)
