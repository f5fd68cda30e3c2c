"""Who calls: ``auth`` is asked, the answer is kept for at most two seconds (architecture: Rights)."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections import OrderedDict
from dataclasses import astuple, dataclass
from typing import Final

from pbs_cloud.contracts.auth import AuthClient, Credentials
from pbs_cloud.contracts.context import Caller
from pbs_cloud.contracts.errors import Unauthenticated
from pbs_cloud.gateway.errors import AUTHENTICATION_FAILED
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock

CACHE_SECONDS: Final = 2.0
CACHE_ENTRIES: Final = 20_000


@dataclass(frozen=True, slots=True)
class FailureDelays:
    """Least time between the start of a check and the answer that it failed (rest-api A.6), in seconds."""

    unauthenticated: float = 3.0
    forbidden: float = 0.5


async def wait_since(clock: Clock, started: float, seconds: float) -> None:
    """Return ``seconds`` after ``started`` (monotonic), at once if that is over."""
    if (rest := started + seconds - clock.monotonic()) > 0:
        await clock.sleep(rest)


class Authenticator:
    """``AuthClient.authenticate`` with a cache, keyed by a MAC of the credentials with a key of this process."""

    def __init__(self, client: AuthClient, clock: Clock = SYSTEM_CLOCK) -> None:
        self._client = client
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, tuple[float, Caller]] = OrderedDict()
        self._asked: dict[bytes, asyncio.Task[Caller]] = {}
        self._generation = 0

    async def authenticate(self, credentials: Credentials | None, client_address: str = "") -> Caller:
        """The caller. Raises Unauthenticated alike for every cause (the delay is the caller's part), Unavailable."""
        if credentials is None or not (
            credentials.ticket or (credentials.token_id and credentials.token_secret) or credentials.bearer_secret
        ):
            raise Unauthenticated(AUTHENTICATION_FAILED)
        key = self._mac(credentials)
        known = self._known.get(key)
        if known is not None and known[0] > self._clock.monotonic():
            return known[1]
        asked = self._asked.get(key)
        if asked is None:
            asked = asyncio.create_task(self._ask(key, credentials, client_address))
            self._asked[key] = asked
            asked.add_done_callback(lambda task: self._answered(key, task))
        return await asyncio.shield(asked)

    def drop(self, tenant_id: str | None = None, user_id: str | None = None) -> None:
        """Forget the callers of a tenant or user, or all of them: their credentials or rights have changed."""
        self._generation += 1
        for key, (_, caller) in list(self._known.items()):
            if (tenant_id is None or caller.tenant_id == tenant_id) and (user_id is None or caller.user_id == user_id):
                del self._known[key]

    async def _ask(self, key: bytes, credentials: Credentials, client_address: str) -> Caller:
        generation, asked_at = self._generation, self._clock.monotonic()
        try:
            caller = await self._client.authenticate(credentials, client_address)
        except Unauthenticated:
            raise Unauthenticated(AUTHENTICATION_FAILED) from None
        if generation == self._generation:
            self._known[key] = (asked_at + CACHE_SECONDS, caller)
            self._known.move_to_end(key)
            while len(self._known) > CACHE_ENTRIES:
                self._known.popitem(last=False)
        return caller

    def _answered(self, key: bytes, task: asyncio.Task[Caller]) -> None:
        self._asked.pop(key, None)
        if not task.cancelled():
            task.exception()  # nobody may be left to take it

    def _mac(self, credentials: Credentials) -> bytes:
        fields = (b"-" if value is None else b"+" + str(value).encode() for value in astuple(credentials))
        text = b"".join(len(part).to_bytes(4, "big") + part for part in fields)
        return hmac.digest(self._key, text, "sha256")
