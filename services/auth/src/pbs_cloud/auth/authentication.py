"""From credentials to a ``Caller``, and from a password to a ticket (rest-api A.7, C.2, E.1)."""

from __future__ import annotations

import hmac

from pbs_cloud.auth.db import principals
from pbs_cloud.auth.db.principals import Principal
from pbs_cloud.auth.keys import KeyRing
from pbs_cloud.auth.names import check_length, check_userid
from pbs_cloud.auth.passwords import Passwords
from pbs_cloud.auth.secret_hashes import looks_like_secret, secret_hash
from pbs_cloud.auth.tickets import PREFIX, TicketSubject, is_valid_csrf, make_csrf, make_ticket, read_ticket
from pbs_cloud.auth.token_use import TokenUse
from pbs_cloud.contracts.auth import Credentials, Login
from pbs_cloud.contracts.context import SYSTEM_AUTH_ID, Caller
from pbs_cloud.contracts.errors import InvalidArgument, Unauthenticated
from pbs_cloud.contracts.rights import ALL_PRIVILEGES, propagation
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.database import Connection, Database
from pbs_cloud.runtime.logging import get_logger
from pbs_cloud.runtime.telemetry import Counter

_ATTEMPTS = Counter("pbs_auth_attempts", "Requests and logins that were authenticated or refused", ["result"])
_RECORD_SECONDS = 60
_log = get_logger(__name__)


def _refused_request() -> Unauthenticated:
    return Unauthenticated("authentication failed")


def _refused_login() -> Unauthenticated:
    return Unauthenticated("permission check failed.")


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
    """Decides about every request and every login; refusals never say why."""

    def __init__(
        self, database: Database, keys: KeyRing, passwords: Passwords, use: TokenUse, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._database = database
        self._keys = keys
        self._passwords = passwords
        self._use = use
        self._clock = clock

    async def authenticate(self, credentials: Credentials) -> Caller:
        """The caller of one request (wire-protocol 3.1). Raises ``Unauthenticated`` alike for every cause."""
        principal = await self._principal_of(credentials)
        if principal is None or not principal.is_active(self._clock.time()):
            _ATTEMPTS.labels("failure").inc()
            raise _refused_request()
        _ATTEMPTS.labels("success").inc()
        if principal.token_uuid is not None:
            self._use.seen(principal.token_uuid, principal.last_used)
        return caller_of(principal)

    async def login(
        self,
        username: str,
        password: str | None,
        cookie_ticket: str | None,
        tfa_challenge: str | None,
        client_address: str = "",
    ) -> Login:
        """A new ticket for a password, a ticket of the same user, or the secret of one of its tokens.

        Raises ``InvalidArgument``, or ``Unauthenticated`` alike for every other cause.
        """
        check_userid(username, "username")
        if password is None and cookie_ticket is None:
            raise InvalidArgument("no password provided")
        if password is not None:
            check_length("password", password, 0, 1024)
        principal = None
        if tfa_challenge is None:
            principal = await self._login_principal(username, password, cookie_ticket)
        if principal is None or not principal.is_active(self._clock.time()):
            _ATTEMPTS.labels("failure").inc()
            _log.warning("login refused", user=username, client=client_address)
            raise _refused_login()
        _ATTEMPTS.labels("success").inc()
        await self._record_login(principal)
        return self._new_login(principal)

    async def confirm_password(self, userid: str, password: str) -> bool:
        """Whether ``password`` is the password of the user (not a ticket, not a token secret)."""
        async with self._database.system() as connection:
            principal = await principals.by_userid(connection, userid)
        stored = principal.password_hash if principal else None
        return await self._passwords.verify(userid, stored, password)

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
            return await _by_subject(connection, subject)

    async def _login_principal(
        self, username: str, password: str | None, cookie_ticket: str | None
    ) -> Principal | None:
        if cookie_ticket is not None:
            found = await self._by_own_ticket(username, cookie_ticket)
            if found is not None or password is None or _is_ticket(password):
                return found
        if password is None:
            return None
        if _is_ticket(password):
            return await self._by_own_ticket(username, password)
        if looks_like_secret(password):
            return await self._by_own_secret(username, password)
        return await self._by_password(username, password)

    async def _by_own_ticket(self, username: str, ticket: str) -> Principal | None:
        subject = read_ticket(self._keys.keys, ticket, self._clock.time())
        if subject is None or subject.userid != username:
            return None
        async with self._database.system() as connection:
            return await _by_subject(connection, subject)

    async def _by_own_secret(self, username: str, secret: str) -> Principal | None:
        async with self._database.system() as connection:
            principal = await principals.by_secret_hash(connection, secret_hash(secret))
        return principal if principal is not None and principal.userid == username else None

    async def _by_password(self, username: str, password: str) -> Principal | None:
        async with self._database.system() as connection:
            principal = await principals.by_userid(connection, username)
        stored = principal.password_hash if principal else None
        return principal if await self._passwords.verify(username, stored, password) else None

    async def _record_login(self, principal: Principal) -> None:
        now = int(self._clock.time())
        if now - (principal.last_login or 0) < _RECORD_SECONDS:
            return
        async with self._database.tenant(principal.tenant_id) as connection:
            await principals.record_login(connection, principal.userid, now)

    def _new_login(self, principal: Principal) -> Login:
        now = int(self._clock.time())
        key = self._keys.signing(now)
        return Login(
            username=principal.userid,
            ticket=make_ticket(key, principal.userid, principal.user_uuid, now, principal.login_id),
            csrf_token=make_csrf(key, principal.userid, now),
            tenant_id=principal.tenant_id,
        )


def _is_ticket(password: str) -> bool:
    """Such a text is tried as a ticket only (rest-api C.2)."""
    return password.startswith(f"{PREFIX}:")


async def _by_subject(connection: Connection, subject: TicketSubject) -> Principal | None:
    """Who a ticket stands for, if user (and token secret) are still those it was made for."""
    if subject.login_id is None:
        principal = await principals.by_userid(connection, subject.userid)
    else:
        principal = await principals.by_login_id(connection, subject.login_id)
    if principal is None or principal.userid != subject.userid or principal.user_uuid != subject.user_uuid:
        return None
    return principal
