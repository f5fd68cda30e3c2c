"""The server's ticket keys: in Postgres, shared by all replicas, replaced in time (rest-api E.12)."""

from __future__ import annotations

import asyncio
import secrets
from itertools import pairwise

from pbs_cloud.auth.tickets import CLOCK_SKEW_SECONDS, LIFETIME_SECONDS, TicketKey, key_for
from pbs_cloud.contracts.errors import Unavailable
from pbs_cloud.runtime.cancelling import cancel_and_wait
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.database import Connection, Database
from pbs_cloud.runtime.lifecycle import Component
from pbs_cloud.runtime.logging import get_logger

# A new key is announced this long before it signs: every replica has read it by then.
LEAD_SECONDS = 600
ROTATION_SECONDS = 30 * 86_400
# A key is kept this long after its successor began to sign: nothing it signed is valid any more.
OVERLAP_SECONDS = LIFETIME_SECONDS + CLOCK_SKEW_SECONDS + LEAD_SECONDS

_REFRESH_SECONDS = 60.0
_LOCK = "pbs-cloud auth keys"
_log = get_logger(__name__)


class KeyRing(Component):
    """Keys as this process knows them; `start` reads them and makes the very first one."""

    name = "ticket keys"

    def __init__(self, database: Database, clock: Clock = SYSTEM_CLOCK) -> None:
        self._database = database
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self.keys: tuple[TicketKey, ...] = ()

    async def start(self) -> None:
        await self.refresh()
        self._task = asyncio.create_task(self._refresh_for_ever())

    async def stop(self) -> None:
        if self._task is not None:
            await cancel_and_wait([self._task])

    def ready(self) -> bool:
        return bool(self.keys)

    def signing(self, moment: int) -> TicketKey:
        """The key that signs at ``moment``; the same on every replica."""
        return key_for(self.keys, moment)

    async def refresh(self) -> None:
        """Read all keys; makes a new one when the newest is old, drops those that nothing needs any more."""
        now = int(self._clock.time())
        async with self._database.system() as connection:
            keys = await _read(connection)
            if _needs_new(keys, now) or _superseded(keys, now):
                await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", _LOCK)
                await _rotate(connection, await _read(connection), now)
                keys = await _read(connection)
        self.keys = keys

    async def _refresh_for_ever(self) -> None:
        while True:
            await self._clock.sleep(_REFRESH_SECONDS)
            try:
                await self.refresh()
            except Unavailable as error:
                _log.info("ticket keys not refreshed", reason=str(error))
            except Exception:
                _log.exception("ticket keys not refreshed")


def _needs_new(keys: tuple[TicketKey, ...], now: int) -> bool:
    """Whether there is no key, or the newest is old."""
    return not keys or keys[-1].active_from < now - ROTATION_SECONDS


def _superseded(keys: tuple[TicketKey, ...], now: int) -> list[int]:
    """Keys (by ``active_from``) whose successor signs for so long that nothing of theirs is valid."""
    limit = now - OVERLAP_SECONDS
    return [key.active_from for key, successor in pairwise(keys) if successor.active_from < limit]


async def _rotate(connection: Connection, keys: tuple[TicketKey, ...], now: int) -> None:
    if _needs_new(keys, now):
        # the very first key signs at once, also by a clock that is behind
        active_from = now + LEAD_SECONDS if keys else now - OVERLAP_SECONDS
        await connection.execute(
            "INSERT INTO signing_key (active_from, ticket_seed, csrf_secret) VALUES ($1, $2, $3)",
            active_from,
            secrets.token_bytes(32),
            secrets.token_bytes(32),
        )
    await connection.execute("DELETE FROM signing_key WHERE active_from = ANY($1::bigint[])", _superseded(keys, now))


async def _read(connection: Connection) -> tuple[TicketKey, ...]:
    rows = await connection.fetch("SELECT active_from, ticket_seed, csrf_secret FROM signing_key ORDER BY active_from")
    return tuple(TicketKey(row["active_from"], bytes(row["ticket_seed"]), bytes(row["csrf_secret"])) for row in rows)
