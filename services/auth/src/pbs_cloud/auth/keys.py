"""The server's ticket keys: sealed in Postgres, shared by all replicas, replaced in time (rest-api E.12)."""

from __future__ import annotations

import asyncio
import secrets
from itertools import pairwise

from pbs_cloud.auth.tickets import CLOCK_SKEW_SECONDS, LIFETIME_SECONDS, TicketKey, key_for
from pbs_cloud.contracts.errors import Unavailable
from pbs_cloud.runtime.cancelling import cancel_and_wait
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.database import Connection, Database
from pbs_cloud.runtime.errors import ConfigError
from pbs_cloud.runtime.lifecycle import Component
from pbs_cloud.runtime.logging import get_logger
from pbs_cloud.runtime.secret_box import SecretBox
from pbs_cloud.runtime.secret_keys import NoSecretKey

# A new key is announced this long before it signs: every replica has read it by then.
LEAD_SECONDS = 600
ROTATION_SECONDS = 30 * 86_400
# A key is kept this long after its successor began to sign: nothing it signed is valid any more.
OVERLAP_SECONDS = LIFETIME_SECONDS + CLOCK_SKEW_SECONDS + LEAD_SECONDS

_KEY_BYTES = 32
_REFRESH_SECONDS = 60.0
_LOCK = "pbs-cloud auth keys"
_log = get_logger(__name__)


def seed_owner(active_from: int) -> str:
    """The row and column that a sealed seed belongs to."""
    return f"signing_key:{active_from}:ticket"


def csrf_owner(active_from: int) -> str:
    """The row and column that a sealed secret of CSRF tokens belongs to."""
    return f"signing_key:{active_from}:csrf"


class KeyRing(Component):
    """Keys as this process knows them; `start` reads them and makes the very first one."""

    name = "ticket keys"

    def __init__(self, database: Database, box: SecretBox, clock: Clock = SYSTEM_CLOCK) -> None:
        self._database = database
        self._box = box
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self.keys: tuple[TicketKey, ...] = ()

    async def start(self) -> None:
        """Raises ConfigError without the key that those in the database are sealed with."""
        try:
            await self.refresh()
        except NoSecretKey as error:
            reason = f": {error.__cause__}" if error.__cause__ else ""
            raise ConfigError(f"ticket keys cannot be read: {error.message}{reason}") from error
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
            keys = await self._read(connection)
            if _needs_new(keys, now) or _superseded(keys, now):
                await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", _LOCK)
                await self._rotate(connection, await self._read(connection), now)
                keys = await self._read(connection)
        self.keys = keys

    async def _read(self, connection: Connection) -> tuple[TicketKey, ...]:
        """All keys; those that were stored as they are, before secrets were sealed, are sealed now."""
        rows = await connection.fetch("SELECT * FROM signing_key ORDER BY active_from")
        found = []
        for row in rows:
            seed, secret = bytes(row["ticket_seed"]), bytes(row["csrf_secret"])
            if len(seed) == _KEY_BYTES:
                key = TicketKey(row["active_from"], seed, secret)
                await connection.execute(
                    "UPDATE signing_key SET ticket_seed = $2, csrf_secret = $3 WHERE id = $1",
                    row["id"],
                    *self._sealed(key),
                )
            else:
                key = self._opened(row["active_from"], seed, secret)
            found.append(key)
        return tuple(found)

    async def replace(self, *, end_tickets: bool) -> int:
        """A new key before its time; the second from which on it signs (one that is announced already is enough).

        With ``end_tickets`` it signs at once and all others go: every ticket ends, at the latest when each replica has
        read the keys again. Raises Unavailable.
        """
        now = int(self._clock.time())
        async with self._database.system() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", _LOCK)
            if end_tickets:
                await connection.execute("DELETE FROM signing_key")
            newest = await connection.fetchval("SELECT max(active_from) FROM signing_key")
            if newest is not None and newest > now:
                return int(newest)
            return await self._insert(connection, now, first=newest is None)

    async def _rotate(self, connection: Connection, keys: tuple[TicketKey, ...], now: int) -> None:
        if _needs_new(keys, now):
            await self._insert(connection, now, first=not keys)
        await connection.execute(
            "DELETE FROM signing_key WHERE active_from = ANY($1::bigint[])", _superseded(keys, now)
        )

    async def _insert(self, connection: Connection, now: int, *, first: bool) -> int:
        """The very first key signs at once, also by a clock that is behind."""
        active_from = now - OVERLAP_SECONDS if first else now + LEAD_SECONDS
        fresh = TicketKey(active_from, secrets.token_bytes(_KEY_BYTES), secrets.token_bytes(_KEY_BYTES))
        await connection.execute(
            "INSERT INTO signing_key (active_from, ticket_seed, csrf_secret) VALUES ($1, $2, $3)",
            active_from,
            *self._sealed(fresh),
        )
        return active_from

    def _sealed(self, key: TicketKey) -> tuple[bytes, bytes]:
        return (
            self._box.seal(key.ticket_seed.hex(), seed_owner(key.active_from)),
            self._box.seal(key.csrf_secret.hex(), csrf_owner(key.active_from)),
        )

    def _opened(self, active_from: int, seed: bytes, secret: bytes) -> TicketKey:
        return TicketKey(
            active_from,
            bytes.fromhex(self._box.open(seed, seed_owner(active_from))),
            bytes.fromhex(self._box.open(secret, csrf_owner(active_from))),
        )

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
