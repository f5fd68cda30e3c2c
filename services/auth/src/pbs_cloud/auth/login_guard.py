"""Failed logins make the next ones wait: per user and address, per user, and per address (rest-api A.6).

Counters leak: each failure adds one, time takes it away again, and while a counter is full, logins that it stands for
are refused without a look at the password, with the same text and after the same time as a wrong one. They are kept in
Postgres, so all replicas agree, and also for names that nobody has, so nothing can be learnt. A user's own address,
from where a login succeeded before, has a counter of its own and is not held up by what strangers try. Only passwords
are counted: API tokens and tickets cannot be guessed, so nobody can lock a token out.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from weakref import WeakValueDictionary

from pbs_cloud.auth.db import attempts
from pbs_cloud.auth.db.attempts import Counter
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.database import Database

_TRUST_SECONDS = 30 * 86_400
_REFRESH_TRUST_SECONDS = 86_400
_IPV6_NETWORK = 64


@dataclass(frozen=True, slots=True)
class Limit:
    """``failures`` at once, then one more every ``seconds``."""

    failures: int
    seconds: float

    @property
    def leak(self) -> float:
        return 1.0 / self.seconds

    def level(self, counter: Counter, now: float) -> float:
        """What is left of a counter."""
        return max(0.0, counter.level - max(now - counter.at, 0.0) * self.leak)

    def is_full(self, counter: Counter, now: float) -> bool:
        """Whether there is no room for another failure."""
        return self.level(counter, now) > self.failures - 1


PAIR, USER, ADDRESS = "user and address", "user", "address"
LIMITS = {PAIR: Limit(5, 60.0), USER: Limit(20, 20.0), ADDRESS: Limit(300, 2.0)}


@dataclass(slots=True)
class Attempt:
    """One attempt that may be made; ``succeeded`` is set when the password was right."""

    succeeded: bool = False


class LoginGuard:
    """Counts attempts with passwords and refuses those that come too fast."""

    def __init__(self, database: Database, clock: Clock = SYSTEM_CLOCK) -> None:
        self._database = database
        self._clock = clock
        self._running: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def attempt(self, userid: str, address: str) -> AsyncIterator[Attempt | None]:
        """A block that checks one password; None: too many failed, refuse it.

        Attempts for one user come one after the other in a process, so that many at once are not more than one.
        """
        lock = self._running.setdefault(userid, asyncio.Lock())
        async with lock:
            keys = _keys(userid, address)
            counters = await self._read(keys)
            now = self._clock.time()
            if any(LIMITS[scope].is_full(counters[scope], now) for scope in _that_count(counters, now)):
                yield None
                return
            attempt = Attempt()
            yield attempt
            await (self._succeeded(keys, counters) if attempt.succeeded else self._failed(keys))

    async def _read(self, keys: dict[str, bytes]) -> dict[str, Counter]:
        async with self._database.system() as connection:
            found = await attempts.read(connection, list(keys.items()))
        empty = {scope: Counter(scope, key) for scope, key in keys.items()}
        return empty | {counter.scope: counter for counter in found}

    async def _failed(self, keys: dict[str, bytes]) -> None:
        now = self._clock.time()
        async with self._database.system() as connection:
            for scope, key in keys.items():
                limit = LIMITS[scope]
                forget_at = now + limit.failures * limit.seconds
                await attempts.add_failure(connection, (scope, key), now, limit.leak, limit.failures, forget_at)
            await attempts.clean_up(connection, now)

    async def _succeeded(self, keys: dict[str, bytes], counters: dict[str, Counter]) -> None:
        """Reset the pair; also the user unless the pair was not held up by it. An address may have many users."""
        now, pair = self._clock.time(), counters[PAIR]
        was_trusted = _is_trusted(pair, now)
        if was_trusted and not pair.level and now - pair.trusted_at < _REFRESH_TRUST_SECONDS:
            return
        async with self._database.system() as connection:
            await attempts.trust(connection, (PAIR, keys[PAIR]), now, now + _TRUST_SECONDS)
            if not was_trusted:
                await attempts.remove(connection, (USER, keys[USER]))


def _is_trusted(pair: Counter, now: float) -> bool:
    return pair.trusted_at > now - _TRUST_SECONDS


def _that_count(counters: dict[str, Counter], now: float) -> tuple[str, ...]:
    return (PAIR,) if _is_trusted(counters[PAIR], now) else (PAIR, USER, ADDRESS)


def _keys(userid: str, address: str) -> dict[str, bytes]:
    """Hashes in a fixed order, so that nobody waits for each other's rows in a circle."""
    place = _network(address)
    return {PAIR: _hash(userid, place), USER: _hash(userid), ADDRESS: _hash(place)}


def _hash(*parts: str) -> bytes:
    return hashlib.sha256("\0".join(parts).encode()).digest()


def _network(address: str) -> str:
    """An IPv4 address, or the network of an IPv6 address that one customer usually has."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found) >> _IPV6_NETWORK << _IPV6_NETWORK, _IPV6_NETWORK)))
