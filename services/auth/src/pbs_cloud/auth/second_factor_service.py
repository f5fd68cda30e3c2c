"""Administration of second factors: who may see them, who may change them, and what a change needs."""

from __future__ import annotations

import uuid

from pbs_cloud.auth.db import factors, users
from pbs_cloud.auth.db.changes import Change, change
from pbs_cloud.auth.db.factors import FactorState, TotpEntry
from pbs_cloud.auth.db.users import UserRow
from pbs_cloud.auth.guard import denied, holds, protect_operator, require_user_access
from pbs_cloud.auth.login import Logins
from pbs_cloud.auth.names import check_one_line
from pbs_cloud.auth.second_factor import (
    RECOVERY_KEYS,
    is_totp_locked,
    new_recovery_key,
    recovery_hash,
    secret_owner,
)
from pbs_cloud.auth.totp import Totp, parse_uri
from pbs_cloud.auth.user_service import require_user
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import InvalidArgument, NotFound
from pbs_cloud.contracts.rights import Privilege
from pbs_cloud.contracts.second_factor import Factor, NewFactor, UserFactors
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.database import Connection, Database
from pbs_cloud.runtime.secret_box import SecretBox

RECOVERY_ID = "recovery"
_MAX_ENTRIES = 16


class SecondFactorService:
    """Calls about second factors; all of them in the caller's tenant."""

    def __init__(self, database: Database, box: SecretBox, logins: Logins, clock: Clock = SYSTEM_CLOCK) -> None:
        self._database = database
        self._box = box
        self._logins = logins
        self._clock = clock

    async def list_users(self, ctx: CallContext) -> list[UserFactors]:
        """Users with second factors: all with ``Sys.Audit`` on ``/access/users``, else the caller's own user."""
        see_all = holds(ctx.caller, "/access/users", Privilege.SYS_AUDIT)
        async with self._database.tenant(ctx.tenant_id) as connection:
            states = await factors.all_states(connection, ctx.tenant_id)
            rows = [row for row in await users.all_users(connection, ctx.tenant_id) if row.id in states]
            entries: dict[uuid.UUID, list[TotpEntry]] = {}
            for entry in await factors.all_entries(connection, ctx.tenant_id):
                entries.setdefault(entry.user_id, []).append(entry)
        shown = [row for row in rows if see_all or row.userid == ctx.caller.user_id]
        found = [self._view(row.userid, entries.get(row.id, []), states[row.id]) for row in shown]
        return [user for user in found if user.entries or user.totp_locked or user.tfa_locked_until]

    async def get(self, ctx: CallContext, userid: str) -> UserFactors:
        """Second factors of one user."""
        require_user_access(ctx.caller, userid, Privilege.SYS_AUDIT)
        async with self._database.tenant(ctx.tenant_id) as connection:
            row = await require_user(connection, ctx.tenant_id, userid)
            state = await factors.state_of(connection, row.id)
            return self._view(userid, await factors.entries_of(connection, row.id), state)

    async def add(
        self,
        ctx: CallContext,
        userid: str,
        kind: str,
        description: str | None,
        totp_uri: str | None,
        value: str | None,
        password: str | None,
    ) -> NewFactor:
        """A device that shows one-time codes, or a new set of recovery keys in place of the former."""
        await self._require_change(ctx, userid, password)
        check_one_line("description", description or "", 0, 255)
        if kind not in ("totp", "recovery"):
            raise InvalidArgument(f"type: '{kind}' is not offered", field="type")
        totp, step = self._proven(totp_uri, value) if kind == "totp" else (None, 0)
        async with change(self._database, ctx, ctx.tenant_id, self._clock) as running:
            row = await self._locked_user(running, userid)
            if totp is None:
                return await self._add_recovery(running, row, description or "")
            return await self._add_totp(running, row, totp, step, description or "")

    async def update(
        self,
        ctx: CallContext,
        userid: str,
        factor_id: str,
        description: str | None,
        enable: bool | None,
        password: str | None,
    ) -> None:
        """Change description and whether it counts."""
        await self._require_change(ctx, userid, password)
        check_one_line("description", description or "", 0, 255)
        async with change(self._database, ctx, ctx.tenant_id, self._clock) as running:
            row = await self._locked_user(running, userid)
            if factor_id == RECOVERY_ID:
                await _require_recovery(running.connection, row, userid)
                await factors.update_recovery(running.connection, row.id, description, enable)
            elif not await factors.update_entry(
                running.connection, row.id, _entry_id(factor_id, userid), description, enable
            ):
                raise _no_such_entry(factor_id, userid)
            await running.audit("tfa.update", userid, {"id": factor_id, "enable": enable})

    async def delete(self, ctx: CallContext, userid: str, factor_id: str, password: str | None) -> None:
        """Remove one; without any the user logs in with the password alone."""
        await self._require_change(ctx, userid, password)
        async with change(self._database, ctx, ctx.tenant_id, self._clock) as running:
            row = await self._locked_user(running, userid)
            if factor_id == RECOVERY_ID:
                await _require_recovery(running.connection, row, userid)
                await factors.replace_recovery(running.connection, ctx.tenant_id, row.id, (), None)
            elif not await factors.delete_entry(running.connection, row.id, _entry_id(factor_id, userid)):
                raise _no_such_entry(factor_id, userid)
            await running.audit("tfa.delete", userid, {"id": factor_id})

    async def unlock(self, ctx: CallContext, userid: str) -> bool:
        """Accept second factors again; whether they were locked. ``NotFound`` for a user that never had any."""
        if not holds(ctx.caller, "/access/users", Privilege.PERMISSIONS_MODIFY):
            raise denied()
        async with change(self._database, ctx, ctx.tenant_id, self._clock) as running:
            row = await users.by_userid(running.connection, ctx.tenant_id, userid)
            if row is None:
                raise NotFound("no such user")
            protect_operator(ctx.caller, userid)
            state = await factors.lock_state(running.connection, row.id)
            if state is None:
                raise NotFound("no such user")
            await factors.set_failures(running.connection, row.id, 0, 0, 0)
            await running.audit("tfa.unlock", userid)
            return is_totp_locked(state) or state.locked_until > self._clock.time()

    async def _require_change(self, ctx: CallContext, userid: str, password: str | None) -> None:
        """Oneself or an administrator, never a token, and with the own password once more."""
        if ctx.caller.is_token:
            raise InvalidArgument("API tokens cannot access this API endpoint")
        require_user_access(ctx.caller, userid, Privilege.PERMISSIONS_MODIFY)
        await self._logins.require_password(ctx, password)

    async def _locked_user(self, running: Change, userid: str) -> UserRow:
        row = await require_user(running.connection, running.tenant_id, userid)
        protect_operator(running.ctx.caller, userid)
        await factors.ensure_state(running.connection, running.tenant_id, row.id)
        return row

    def _proven(self, uri: str | None, value: str | None) -> tuple[Totp, int]:
        """The secret, and the step of the code that proves that the device has it."""
        if uri is None or value is None:
            missing = "totp" if uri is None else "value"
            raise InvalidArgument(f"{missing}: is needed for one-time codes", field=missing)
        totp = parse_uri(uri)
        step = totp.accepted_step(value, self._clock.time(), -1)
        if step is None:
            raise InvalidArgument("value: the code is wrong", field="value")
        return totp, step

    async def _add_totp(self, running: Change, row: UserRow, totp: Totp, step: int, description: str) -> NewFactor:
        if len(await factors.entries_of(running.connection, row.id)) >= _MAX_ENTRIES:
            raise InvalidArgument(f"type: a user may have {_MAX_ENTRIES} entries of this type", field="type")
        entry_id = uuid.uuid4()
        entry = TotpEntry(
            id=entry_id,
            user_id=row.id,
            description=description,
            created_at=int(self._clock.time()),
            enable=True,
            secret=self._box.seal(totp.secret.hex(), secret_owner(entry_id)),
            algorithm=totp.algorithm,
            digits=totp.digits,
            period=totp.period,
            last_step=step,
        )
        await factors.insert_entry(running.connection, running.tenant_id, entry)
        await running.audit("tfa.add", row.userid, {"id": str(entry_id), "type": "totp"})
        return NewFactor(str(entry_id))

    async def _add_recovery(self, running: Change, row: UserRow, description: str) -> NewFactor:
        keys = tuple(new_recovery_key() for _ in range(RECOVERY_KEYS))
        hashes, now = [recovery_hash(key) for key in keys], int(self._clock.time())
        await factors.replace_recovery(running.connection, running.tenant_id, row.id, hashes, now, description)
        await running.audit("tfa.add", row.userid, {"id": RECOVERY_ID, "type": "recovery"})
        return NewFactor(RECOVERY_ID, keys)

    def _view(self, userid: str, entries: list[TotpEntry], state: FactorState | None) -> UserFactors:
        shown = [Factor(str(e.id), "totp", e.description, e.created_at, e.enable) for e in entries]
        if state is None:
            return UserFactors(userid, tuple(shown))
        if state.recovery_created_at is not None:
            created, enable = state.recovery_created_at, state.recovery_enable
            shown.append(Factor(RECOVERY_ID, "recovery", state.recovery_description, created, enable))
        until = state.locked_until if state.locked_until > self._clock.time() else None
        return UserFactors(userid, tuple(shown), is_totp_locked(state), until)


async def _require_recovery(connection: Connection, row: UserRow, userid: str) -> None:
    state = await factors.state_of(connection, row.id)
    if state is None or state.recovery_created_at is None:
        raise _no_such_entry(RECOVERY_ID, userid)


def _entry_id(text: str, userid: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise _no_such_entry(text, userid) from None


def _no_such_entry(factor_id: str, userid: str) -> NotFound:
    return NotFound(f"no such tfa entry '{factor_id}' of user '{userid}'")
