"""From a password, a ticket, a token's secret or a second factor to a new ticket (rest-api A.7, C.2)."""

from __future__ import annotations

from pbs_cloud.auth.authentication import ATTEMPTS, by_subject
from pbs_cloud.auth.db import principals
from pbs_cloud.auth.db.principals import Principal
from pbs_cloud.auth.keys import KeyRing
from pbs_cloud.auth.login_guard import LoginGuard
from pbs_cloud.auth.names import check_length, check_userid
from pbs_cloud.auth.passwords import Passwords
from pbs_cloud.auth.second_factor import SecondFactors
from pbs_cloud.auth.secret_hashes import looks_like_secret, secret_hash
from pbs_cloud.auth.tickets import (
    PREFIX,
    is_partial_ticket,
    make_csrf,
    make_partial_ticket,
    make_ticket,
    read_ticket,
)
from pbs_cloud.contracts.context import SYSTEM_AUTH_ID, CallContext
from pbs_cloud.contracts.errors import InvalidArgument, Unauthenticated
from pbs_cloud.contracts.login import PARTIAL_CSRF, Login
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.logging import get_logger

_RECORD_SECONDS = 60
_log = get_logger(__name__)


def refused_login() -> Unauthenticated:
    """The answer to every login that fails, whatever the cause."""
    return Unauthenticated("permission check failed.")


class Logins:
    """Decides about every login; refusals never say why."""

    def __init__(
        self,
        database: Database,
        keys: KeyRing,
        passwords: Passwords,
        guard: LoginGuard,
        factors: SecondFactors,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._database = database
        self._keys = keys
        self._passwords = passwords
        self._guard = guard
        self._factors = factors
        self._clock = clock

    async def login(
        self,
        username: str,
        password: str | None,
        cookie_ticket: str | None,
        tfa_challenge: str | None,
        client_address: str = "",
    ) -> Login:
        """A new ticket for a password, a ticket of the same user, or the secret of one of its tokens.

        A password of a user with second factors gives a partial ticket, which comes back as ``tfa_challenge`` together
        with the answer as ``password``. Raises ``InvalidArgument``, or ``Unauthenticated`` alike for every other cause.
        """
        check_userid(username, "username")
        if password is None and cookie_ticket is None:
            raise InvalidArgument("no password provided")
        if password is not None:
            check_length("password", password, 0, 1024)
        if tfa_challenge is not None:
            principal = await self._second_step(username, password or "", tfa_challenge)
        else:
            principal = await self._without_password(username, password, cookie_ticket)
            if principal is None and password is not None and not _is_special(password):
                principal = await self._by_password(username, password, client_address)
                partial = await self._partial(principal)
                if partial is not None:
                    return partial
        return await self.grant(principal, username, client_address)

    async def grant(self, principal: Principal | None, username: str, client_address: str) -> Login:
        """The ticket of somebody who has shown who it is. Raises ``Unauthenticated`` for None and who is not active."""
        if principal is None or not principal.is_active(self._clock.time()):
            ATTEMPTS.labels("failure").inc()
            _log.warning("login refused", user=username, client=client_address)
            raise refused_login()
        ATTEMPTS.labels("success").inc()
        await self._record_login(principal)
        now = int(self._clock.time())
        key = self._keys.signing(now)
        return Login(
            username=principal.userid,
            ticket=make_ticket(key, principal.userid, principal.ticket_id, now, principal.login_id),
            csrf_token=make_csrf(key, principal.userid, now),
            tenant_id=principal.tenant_id,
        )

    async def require_password(self, ctx: CallContext, password: str | None) -> None:
        """The caller's own password once more; only ``root@pam`` may leave it out. Raises ``Unauthenticated``."""
        userid = ctx.caller.auth_id
        if password is None:
            if userid == SYSTEM_AUTH_ID:
                return
            raise Unauthenticated("missing password")
        if await self._by_password(userid, password, ctx.client_address) is None:
            raise Unauthenticated("invalid credentials")

    async def _without_password(
        self, username: str, password: str | None, cookie_ticket: str | None
    ) -> Principal | None:
        """Whom a cookie, or a ticket or token secret in place of a password, stands for."""
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
        return None

    async def _by_own_ticket(self, username: str, ticket: str) -> Principal | None:
        subject = read_ticket(self._keys.keys, ticket, self._clock.time())
        if subject is None or subject.userid != username:
            return None
        async with self._database.system() as connection:
            return await by_subject(connection, subject)

    async def _by_own_secret(self, username: str, secret: str) -> Principal | None:
        async with self._database.system() as connection:
            principal = await principals.by_secret_hash(connection, secret_hash(secret))
        return principal if principal is not None and principal.userid == username else None

    async def _by_password(self, username: str, password: str, client_address: str) -> Principal | None:
        """The user if the password is right; None also while too many attempts failed."""
        async with self._guard.attempt(username, client_address) as attempt:
            if attempt is None:
                _log.warning("login held up", user=username, client=client_address)
                return None
            async with self._database.system() as connection:
                principal = await principals.by_userid(connection, username)
            stored = principal.password_hash if principal else None
            attempt.succeeded = await self._passwords.verify(username, stored, password)
            return principal if attempt.succeeded else None

    async def _partial(self, principal: Principal | None) -> Login | None:
        """The partial ticket of a user who needs a second factor; None for everybody else."""
        now = int(self._clock.time())
        if principal is None or not principal.is_active(now):
            return None
        challenge = await self._factors.challenge(principal)
        if not challenge.is_needed:
            return None
        if not challenge.available:
            _log.warning("second factors are locked or used up", user=principal.userid)
            raise refused_login()
        key, who = self._keys.signing(now), principal.userid
        ticket = make_partial_ticket(key, who, principal.ticket_id, now, challenge.available)
        return Login(who, ticket, PARTIAL_CSRF, principal.tenant_id)

    async def _second_step(self, username: str, answer: str, challenge: str) -> Principal | None:
        async with self._database.system() as connection:
            principal = await principals.by_userid(connection, username)
        now = self._clock.time()
        if principal is None or not principal.is_active(now):
            return None
        if not is_partial_ticket(self._keys.keys, challenge, username, principal.ticket_id, now):
            return None
        return principal if await self._factors.check(principal, answer) else None

    async def _record_login(self, principal: Principal) -> None:
        now = int(self._clock.time())
        if now - (principal.last_login or 0) < _RECORD_SECONDS:
            return
        async with self._database.tenant(principal.tenant_id) as connection:
            await principals.record_login(connection, principal.userid, now)


def _is_ticket(password: str) -> bool:
    """Such a text is tried as a ticket only (rest-api C.2)."""
    return password.startswith(f"{PREFIX}:")


def _is_special(password: str) -> bool:
    """Whether the text is something else than a password."""
    return _is_ticket(password) or looks_like_secret(password)
