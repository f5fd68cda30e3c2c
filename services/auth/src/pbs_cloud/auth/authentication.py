"""From the credentials of a request to a ``Caller`` (rest-api A.7, E.1)."""

from __future__ import annotations

import hmac

from pbs_cloud.auth.db import principals
from pbs_cloud.auth.db.principals import Principal
from pbs_cloud.auth.keys import KeyRing
from pbs_cloud.auth.secret_hashes import secret_hash
from pbs_cloud.auth.tickets import TicketSubject, is_valid_csrf, read_ticket
from pbs_cloud.auth.token_use import TokenUse
from pbs_cloud.contracts.auth import Credentials
from pbs_cloud.contracts.context import SYSTEM_AUTH_ID, Caller
from pbs_cloud.contracts.errors import Unauthenticated
from pbs_cloud.contracts.rights import ALL_PRIVILEGES, propagation
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.database import Connection, Database
from pbs_cloud.runtime.telemetry import Counter

ATTEMPTS = Counter("pbs_auth_attempts", "Requests and logins that were authenticated or refused", ["result"])


def _refused_request() -> Unauthenticated:
    return Unauthenticated("authentication failed")


def caller_of(principal: Principal) -> Caller:
    """What rights are judged by. Operator: ``root@pam`` and its tokens with role Admin on ``/`` (rest-api E.11)."""
    caller = Caller(
        tenant_id=principal.tenant_id,
        auth_id=principal.auth_id,
        acl=principal.acl,
        superuser=principal.auth_id == SYSTEM_AUTH_ID,
        quota_bytes=principal.quota_bytes,
        maintenance=principal.maintenance,
    )
    if principal.userid != SYSTEM_AUTH_ID or not _rules_everything(caller):
        return caller
    return Caller(**{name: getattr(caller, name) for name in caller.__slots__} | {"operator": True})


def _rules_everything(caller: Caller) -> bool:
    held = propagation(caller, "/")
    return held.keys() >= ALL_PRIVILEGES and all(held.values())


class Authenticator:
    """Decides about every request; refusals never say why."""

    def __init__(self, database: Database, keys: KeyRing, use: TokenUse, clock: Clock = SYSTEM_CLOCK) -> None:
        self._database = database
        self._keys = keys
        self._use = use
        self._clock = clock

    async def authenticate(self, credentials: Credentials) -> Caller:
        """The caller of one request (wire-protocol 3.1). Raises ``Unauthenticated`` alike for every cause."""
        principal = await self._principal_of(credentials)
        if principal is None or not principal.is_active(self._clock.time()):
            ATTEMPTS.labels("failure").inc()
            raise _refused_request()
        ATTEMPTS.labels("success").inc()
        if principal.token_uuid is not None:
            self._use.seen(principal.token_uuid, principal.last_used)
        return caller_of(principal)

    async def _principal_of(self, credentials: Credentials) -> Principal | None:
        if credentials.ticket is not None:
            return await self._by_ticket_request(credentials)
        if credentials.token_id is not None:
            return await self._by_token(credentials.token_id, credentials.token_secret or "")
        if credentials.bearer_secret is not None:
            async with self._database.system() as connection:
                return await principals.by_secret_hash(connection, secret_hash(credentials.bearer_secret))
        return None

    async def _by_token(self, token_id: str, secret: str) -> Principal | None:
        offered = secret_hash(secret)
        if "\0" in token_id:  # no text for the database
            return None
        async with self._database.system() as connection:
            principal = await principals.by_token_id(connection, token_id)
        stored = (principal.secret_hash if principal else None) or b""
        return principal if hmac.compare_digest(stored, offered) else None

    async def _by_ticket_request(self, credentials: Credentials) -> Principal | None:
        now = self._clock.time()
        subject = read_ticket(self._keys.keys, credentials.ticket or "", now)
        if subject is None:
            return None
        if credentials.csrf_required and not is_valid_csrf(
            self._keys.keys, credentials.csrf_token, subject.userid, now
        ):
            return None
        async with self._database.system() as connection:
            return await by_subject(connection, subject)


async def by_subject(connection: Connection, subject: TicketSubject) -> Principal | None:
    """Who a ticket stands for, if user (and token secret) are still those it was made for."""
    if subject.login_id is None:
        principal = await principals.by_userid(connection, subject.userid)
    else:
        principal = await principals.by_login_id(connection, subject.login_id)
    if principal is None or principal.userid != subject.userid or principal.ticket_id != subject.ticket_id:
        return None
    return principal
