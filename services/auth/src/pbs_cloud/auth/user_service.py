"""Users of a tenant (rest-api C.3, D.4)."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import asyncpg

from pbs_cloud.auth.db import acl, factors, openid, tenants, tokens, users
from pbs_cloud.auth.db.changes import Change, change, check_digest, read_revisions
from pbs_cloud.auth.db.users import UserRow
from pbs_cloud.auth.guard import denied, holds, protect_operator, require_operator, require_user_access
from pbs_cloud.auth.levels import parse_level, set_level
from pbs_cloud.auth.names import check_comment, check_expire, check_password, check_person_field, check_userid
from pbs_cloud.auth.passwords import Passwords
from pbs_cloud.auth.views import group_by_auth_id, user_view
from pbs_cloud.contracts.auth import User, UserSettings
from pbs_cloud.contracts.context import SYSTEM_AUTH_ID, CallContext
from pbs_cloud.contracts.errors import AlreadyExists, InvalidArgument, NotFound, Unsupported
from pbs_cloud.contracts.rights import Privilege
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.database import Connection, Database

_PERSON_FIELDS = ("firstname", "lastname", "email")
DELETABLE_FIELDS = ("comment", *_PERSON_FIELDS)


def no_such_user(userid: str) -> NotFound:
    """To callers who may know."""
    return NotFound(f"no such user '{userid}'")


def check_deletable(fields: Sequence[str], allowed: Sequence[str]) -> None:
    """Raises ``InvalidArgument`` for a field that cannot be deleted."""
    for name in fields:
        if name not in allowed:
            raise InvalidArgument(f"value '{name}' is not defined in the enumeration.", field="delete")


class UserService:
    """Every call works in the caller's tenant; only the operator names another one."""

    def __init__(self, database: Database, passwords: Passwords, clock: Clock = SYSTEM_CLOCK) -> None:
        self._database = database
        self._passwords = passwords
        self._clock = clock

    async def list_users(self, ctx: CallContext, include_tokens: bool) -> tuple[list[User], str]:
        """Users that the caller may see, and the digest."""
        only = None if holds(ctx.caller, "/access/users", Privilege.SYS_AUDIT) else ctx.caller.user_id
        return await self._list(ctx.tenant_id, include_tokens, only)

    async def list_of_tenant(self, ctx: CallContext, tenant_id: str) -> list[User]:
        """All users of a tenant: the own one for its administrators, any for the operator (rest-api D.4)."""
        own = tenant_id == ctx.tenant_id and holds(ctx.caller, "/access", Privilege.PERMISSIONS_MODIFY)
        if not own:
            require_operator(ctx.caller)
        return (await self._list(tenant_id, True, None))[0]

    async def get(self, ctx: CallContext, userid: str) -> tuple[User, str]:
        require_user_access(ctx.caller, userid, Privilege.SYS_AUDIT)
        async with self._database.tenant(ctx.tenant_id) as connection:
            revisions = await read_revisions(connection, ctx.tenant_id)
            return await _view(
                connection, await require_user(connection, ctx.tenant_id, userid)
            ), revisions.users_digest

    async def create(self, ctx: CallContext, userid: str, settings: UserSettings, tenant_id: str | None) -> User:
        """A new user, without rights unless ``settings.permission`` names a level."""
        target = tenant_id or ctx.tenant_id
        if target != ctx.tenant_id:
            require_operator(ctx.caller)
        elif not holds(ctx.caller, "/access/users", Privilege.PERMISSIONS_MODIFY):
            raise denied()
        level = self._checked_level(ctx, settings)
        realm, values = check_userid(userid), _checked_values(settings)
        any_realm = ctx.caller.operator and (tenant_id is not None or level is not None)
        if settings.password is not None:
            values["password_hash"] = await self._passwords.hash(settings.password)
        await self._check_realm(realm, target, any_realm)
        if settings.password is not None:
            await self.require_passwords(realm)
        async with change(self._database, ctx, target, self._clock) as running:
            row = await self._insert(running, userid, values)
            if level is not None:
                await set_level(running, userid, level)
            running.users_touched = True
            running.affected.add(userid)
            await running.audit("user.create", userid, {"permission": level} if level else {})
            return await _view(running.connection, row)

    async def update(
        self, ctx: CallContext, userid: str, settings: UserSettings, delete: Sequence[str], digest: str | None
    ) -> None:
        """Change fields, password and level of a user."""
        require_user_access(ctx.caller, userid, Privilege.PERMISSIONS_MODIFY)
        check_deletable(delete, DELETABLE_FIELDS)
        values, level = _checked_values(settings), self._checked_level(ctx, settings)
        if settings.password is not None:
            if not holds(ctx.caller, "/access/users", Privilege.PERMISSIONS_MODIFY):
                raise InvalidArgument("you are not authorized to change the password.")
            await self.require_passwords(check_userid(userid))
            values["password_hash"] = await self._passwords.hash(settings.password)
        if settings.password is not None or settings.enable is False:
            values["ticket_id"] = str(uuid.uuid4())  # an administrator's change ends all tickets of the user
        values |= dict.fromkeys(delete)
        async with change(self._database, ctx, ctx.tenant_id, self._clock) as running:
            row = await require_user(running.connection, ctx.tenant_id, userid)
            protect_operator(ctx.caller, userid)
            check_digest(digest, running.revisions.users_digest)
            await users.update(running.connection, row.id, values)
            if level is not None:
                await set_level(running, userid, level)
            running.users_touched = bool(values)
            running.affected.add(userid)
            await running.audit("user.update", userid, {"fields": sorted(values), "permission": level})

    async def delete(self, ctx: CallContext, userid: str, digest: str | None) -> User:
        """Remove a user, its tokens and the ACL entries of both."""
        require_user_access(ctx.caller, userid, Privilege.PERMISSIONS_MODIFY)
        async with change(self._database, ctx, ctx.tenant_id, self._clock) as running:
            row = await users.by_userid(running.connection, ctx.tenant_id, userid)
            if row is None:
                raise NotFound(f"user '{userid}' does not exist.")
            check_digest(digest, running.revisions.users_digest)
            return await self._delete(running, row)

    async def delete_by_id(self, ctx: CallContext, user_id: str) -> User:
        """As ``delete`` for the id of rest-api D.4; what is not the caller's to delete: ``PermissionDenied`` (E.10)."""
        operator = ctx.caller.operator
        if not operator and not holds(ctx.caller, "/access", Privilege.PERMISSIONS_MODIFY):
            raise denied()
        row = await self._find(None if operator else ctx.tenant_id, user_id)
        if row is None:
            raise NotFound(f"no such user '{user_id}'") if operator else denied()
        async with change(self._database, ctx, row.tenant_id, self._clock) as running:
            return await self._delete(running, row)

    async def is_active(self, ctx: CallContext, auth_id: str) -> bool:
        """Whether the auth id exists in the caller's tenant, enabled and not expired (a token: its user too)."""
        async with self._database.tenant(ctx.tenant_id) as connection:
            user = await users.by_userid(connection, ctx.tenant_id, auth_id.partition("!")[0])
            token = await tokens.by_token_id(connection, ctx.tenant_id, auth_id) if "!" in auth_id else user
        now = self._clock.time()
        return all(row is not None and row.enable and not 0 < row.expire <= now for row in (user, token))

    async def set_password(self, ctx: CallContext, userid: str, password: str) -> bool:
        """Store a new password; False: no such user in the tenant. Rights are checked by the caller."""
        stored = await self._passwords.hash(password)
        async with change(self._database, ctx, ctx.tenant_id, self._clock) as running:
            row = await users.by_userid(running.connection, ctx.tenant_id, userid)
            if row is None:
                return False
            protect_operator(ctx.caller, userid)
            await users.update(running.connection, row.id, {"password_hash": stored})
            await running.audit("user.password", userid)
            return True

    def _checked_level(self, ctx: CallContext, settings: UserSettings) -> str | None:
        """Nobody raises himself: a user's level needs ``Permissions.Modify`` on ``/access/acl`` (rest-api A.8)."""
        if settings.permission is None:
            return None
        level = parse_level(settings.permission)
        if not ctx.caller.operator and not holds(ctx.caller, "/access/acl", Privilege.PERMISSIONS_MODIFY):
            raise denied()
        return level

    async def require_passwords(self, realm: str) -> None:
        """Raises ``Unsupported`` for a realm whose users log in elsewhere."""
        async with self._database.system() as connection:
            if await openid.by_name(connection, realm) is not None:
                raise Unsupported(f"users of realm '{realm}' have no password here")

    async def _check_realm(self, realm: str, tenant_id: str, any_realm: bool) -> None:
        """A tenant's users have its own realms; the operator may choose any that is no other tenant's (E.2)."""
        async with self._database.system() as connection:
            owner = await tenants.owner_of_realm(connection, realm)
            exists = await tenants.by_id(connection, tenant_id) is not None
        if not exists:
            raise NotFound(f"no such tenant '{tenant_id}'")
        if owner != tenant_id and (not any_realm or (owner is not None and realm not in tenants.BUILT_IN_REALMS)):
            raise InvalidArgument(f"unknown realm '{realm}'")

    async def _insert(self, running: Change, userid: str, values: dict[str, Any]) -> UserRow:
        try:
            async with running.connection.transaction():
                return await users.insert(
                    running.connection, running.tenant_id, userid, int(self._clock.time()), values
                )
        except asyncpg.UniqueViolationError as error:
            raise AlreadyExists(f"user '{userid}' already exists.") from error

    async def _delete(self, running: Change, row: UserRow) -> User:
        protect_operator(running.ctx.caller, row.userid)
        if row.userid == SYSTEM_AUTH_ID:
            raise InvalidArgument(f"user '{row.userid}' cannot be deleted.")
        view = await _view(running.connection, row)
        owned = await tokens.of_user(running.connection, row.tenant_id, row.id)
        auth_ids = [row.userid, *(token.token_id for token in owned)]
        running.acl_touched = await acl.remove_all_of(running.connection, row.tenant_id, auth_ids) > 0
        await users.delete(running.connection, row.id)
        running.users_touched = True
        running.affected.update(auth_ids)
        await running.audit("user.delete", row.userid)
        return view

    async def _find(self, tenant_id: str | None, user_id: str) -> UserRow | None:
        try:
            identity = uuid.UUID(user_id)
        except ValueError:
            return None
        scope = self._database.system() if tenant_id is None else self._database.tenant(tenant_id)
        async with scope as connection:
            return await users.by_id(connection, identity)

    async def _list(self, tenant_id: str, include_tokens: bool, only: str | None) -> tuple[list[User], str]:
        async with self._database.tenant(tenant_id) as connection:
            revisions = await read_revisions(connection, tenant_id)
            if only is None:
                rows = await users.all_users(connection, tenant_id)
            else:
                one = await users.by_userid(connection, tenant_id, only)
                rows = [one] if one else []
            entries = group_by_auth_id(await acl.all_entries(connection, tenant_id))
            owned: dict[uuid.UUID, list[Any]] = {}
            for token in await tokens.all_tokens(connection, tenant_id) if include_tokens else ():
                owned.setdefault(token.user_id, []).append(token)
            states = await factors.all_states(connection, tenant_id)
        now = self._clock.time()
        found = [user_view(row, entries, owned.get(row.id, ()), states.get(row.id), now) for row in rows]
        return found, revisions.users_digest


async def require_user(connection: Connection, tenant_id: str, userid: str) -> UserRow:
    """The user's row. Raises ``NotFound``."""
    row = await users.by_userid(connection, tenant_id, userid)
    if row is None:
        raise no_such_user(userid)
    return row


async def _view(connection: Connection, row: UserRow) -> User:
    entries = await acl.entries_of(connection, row.tenant_id, row.userid)
    return user_view(row, group_by_auth_id(entries))


def _checked_values(settings: UserSettings) -> dict[str, Any]:
    """Columns that the settings change, checked; an empty comment removes it."""
    values: dict[str, Any] = {}
    if settings.password is not None:
        check_password(settings.password)
    if settings.comment is not None:
        check_comment(settings.comment)
        values["comment"] = settings.comment or None
    for name in _PERSON_FIELDS:
        value = getattr(settings, name)
        if value is not None:
            check_person_field(name, value)
            values[name] = value
    if settings.enable is not None:
        values["enable"] = settings.enable
    if settings.expire is not None:
        check_expire(settings.expire)
        values["expire"] = settings.expire
    return values
