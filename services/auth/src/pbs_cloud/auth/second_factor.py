"""The second step of a login: one-time codes that work once, recovery keys, and what too many wrong ones lead to.

Eight wrong codes lock the user's one-time codes until a recovery key is used or an administrator unlocks them; a
hundred wrong answers of whatever kind lock all second factors for an hour (what users of a stock server expect).
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from dataclasses import dataclass
from typing import Any

from pbs_cloud.auth.db import factors
from pbs_cloud.auth.db.factors import FactorState, TotpEntry
from pbs_cloud.auth.db.principals import Principal
from pbs_cloud.auth.totp import Totp
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.database import Connection, Database
from pbs_cloud.runtime.secret_box import SecretBox

TOTP_FAILURES = 8
FAILURES = 100
LOCK_SECONDS = 3600
RECOVERY_KEYS = 10
_KEY_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


def new_recovery_key() -> str:
    """Four groups of four letters: 80 random bits."""
    return "-".join("".join(secrets.choice(_KEY_LETTERS) for _ in range(4)) for _ in range(4))


def recovery_hash(key: str) -> bytes:
    """What is stored of a recovery key. Random keys need no slow hash."""
    return hashlib.sha256(key.strip().lower().encode(errors="replace")).digest()


def secret_owner(entry_id: uuid.UUID) -> str:
    """The row that a sealed secret belongs to."""
    return f"totp:{entry_id}"


def totp_of(box: SecretBox, entry: TotpEntry) -> Totp:
    """The entry with its secret. Raises ``Unavailable`` without the right key."""
    secret = bytes.fromhex(box.open(entry.secret, secret_owner(entry.id)))
    return Totp(secret, entry.algorithm, entry.digits, entry.period)


def is_totp_locked(state: FactorState) -> bool:
    """Whether one-time codes are refused until somebody unlocks them."""
    return state.totp_failures >= TOTP_FAILURES


@dataclass(frozen=True, slots=True)
class Challenge:
    """Second factors of a user who gave the right password; ``available`` is what a partial ticket announces."""

    is_needed: bool
    available: dict[str, Any]


class SecondFactors:
    """Asks for and checks second factors."""

    def __init__(self, database: Database, box: SecretBox, clock: Clock = SYSTEM_CLOCK) -> None:
        self._database = database
        self._box = box
        self._clock = clock

    async def challenge(self, principal: Principal) -> Challenge:
        """What the user has to answer; needed but nothing available: no login."""
        async with self._database.tenant(principal.tenant_id) as connection:
            state = await factors.state_of(connection, principal.user_uuid)
            if state is None:
                return Challenge(False, {})
            entries = [e for e in await factors.entries_of(connection, principal.user_uuid) if e.enable]
            has_recovery = state.recovery_created_at is not None and state.recovery_enable
            unused = await factors.unused_recovery(connection, principal.user_uuid) if has_recovery else []
        available: dict[str, Any] = {}
        if state.locked_until <= self._clock.time():
            available |= {"totp": True} if entries and not is_totp_locked(state) else {}
            available |= {"recovery": unused} if unused else {}
        return Challenge(bool(entries) or has_recovery, available)

    async def check(self, principal: Principal, answer: str) -> bool:
        """Whether ``totp:<code>`` or ``recovery:<key>`` is right; wrong ones are counted, right ones used up."""
        kind, _, text = answer.partition(":")
        async with self._database.tenant(principal.tenant_id) as connection:
            state = await factors.lock_state(connection, principal.user_uuid)
            if state is None or state.locked_until > self._clock.time():
                return False
            if kind == "totp":
                right = not is_totp_locked(state) and await self._is_code(connection, principal, text)
            elif kind == "recovery":
                right = state.recovery_enable and await factors.use_recovery(
                    connection, principal.user_uuid, recovery_hash(text)
                )
            else:
                right = False
            await self._count(connection, state, kind, right)
        return right

    async def _is_code(self, connection: Connection, principal: Principal, code: str) -> bool:
        now = self._clock.time()
        for entry in await factors.entries_of(connection, principal.user_uuid):
            if not entry.enable:
                continue
            step = totp_of(self._box, entry).accepted_step(code, now, entry.last_step)
            if step is not None:
                await factors.accept_step(connection, entry.id, step)
                return True
        return False

    async def _count(self, connection: Connection, state: FactorState, kind: str, right: bool) -> None:
        if right:
            await factors.set_failures(connection, state.user_id, 0, 0, 0)
            return
        failures = state.failures + 1
        totp_failures = min(state.totp_failures + (kind == "totp"), TOTP_FAILURES)
        locked_until = int(self._clock.time()) + LOCK_SECONDS if failures >= FAILURES else 0
        await factors.set_failures(
            connection, state.user_id, totp_failures, 0 if locked_until else failures, locked_until
        )
