"""Argon2id in threads, with a short memory of passwords that were right (rest-api E.9)."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type

from pbs_cloud.contracts.errors import RateLimited
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.lifecycle import Component

T = TypeVar("T")

# OWASP's recommendation for Argon2id; about 30 ms and 19 MiB for one hash.
TIME_COST = 2
MEMORY_KIB = 19_456
LANES = 1

_THREADS = 2
_MAX_WAITING = 200
_MEMORY_SECONDS = 60.0
_MEMORY_ENTRIES = 10_000


class Passwords(Component):
    """Makes and checks password hashes; at most two at a time, at most 200 waiting."""

    name = "passwords"

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._hasher = PasswordHasher(time_cost=TIME_COST, memory_cost=MEMORY_KIB, parallelism=LANES, type=Type.ID)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="argon2")
        self._waiting = 0
        self._mac_key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, float] = OrderedDict()
        self._nobody = self._hasher.hash(secrets.token_hex(16))

    async def stop(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """The text that is stored. Raises ``RateLimited`` when too many wait."""
        return await self._in_thread(self._hasher.hash, password)

    async def verify(self, userid: str, stored: str | None, password: str) -> bool:
        """Whether ``password`` belongs to ``stored``; with None the same work is done and the answer is False.

        Raises ``RateLimited`` when too many wait.
        """
        key = self._memory_key(userid, stored or self._nobody, password)
        if self._known.get(key, 0.0) > self._clock.monotonic():
            return True
        right = await self._in_thread(self._matches, stored or self._nobody, password) and stored is not None
        if right:
            self._remember(key)
        return right

    def _matches(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False

    def _memory_key(self, userid: str, stored: str, password: str) -> bytes:
        """The stored hash is part of it: a changed password is forgotten by itself, on every replica."""
        text = b"".join(
            len(part).to_bytes(4, "big") + part for part in (v.encode() for v in (userid, stored, password))
        )
        return hmac.new(self._mac_key, text, hashlib.sha256).digest()

    def _remember(self, key: bytes) -> None:
        self._known[key] = self._clock.monotonic() + _MEMORY_SECONDS
        self._known.move_to_end(key)
        while len(self._known) > _MEMORY_ENTRIES:
            self._known.popitem(last=False)

    async def _in_thread(self, work: Callable[..., T], *arguments: str) -> T:
        if self._waiting >= _MAX_WAITING:
            raise RateLimited("too many logins at the same time")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        finally:
            self._waiting -= 1
