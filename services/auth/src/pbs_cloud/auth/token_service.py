"""API tokens (rest-api C.3, D.5)."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import asyncpg

from pbs_cloud.auth.db import acl, tokens
from pbs_cloud.auth.db.changes import Change, change, check_digest, read_revisions
from pbs_cloud.auth.db.tokens import TokenRow
from pbs_cloud.auth.guard import denied, holds, protect_operator, require_user_access
from pbs_cloud.auth.levels import covers, parse_level, set_level
from pbs_cloud.auth.names import check_comment, check_expire, token_id
from pbs_cloud.auth.secret_hashes import new_secret, secret_hash
from pbs_cloud.auth.user_service import check_deletable, require_user
from pbs_cloud.auth.views import group_by_auth_id, token_view
from pbs_cloud.contracts.auth import ApiToken, TokenSettings
from pbs_cloud.contracts.context import SYSTEM_AUTH_ID, CallContext, Caller
from pbs_cloud.contracts.errors import AlreadyExists, InvalidArgument, NotFound
from pbs_cloud.contracts.rights import Privilege
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.database import Connection, Database


class TokenService:
    """Tokens of users of the caller's tenant. Secrets leave only in the answer that makes them."""

    def __init__(self, database: Database, clock: Clock = SYSTEM_CLOCK) -> None:
        self._database = database
        self._clock = clock

    async def list_tokens(self, ctx: CallContext, userid: str) -> tuple[list[ApiToken], str]:
        """Tokens of one user, and the digest."""
        require_user_access(ctx.caller, userid, Privilege.SYS_AUDIT)
        async with self._database.tenant(ctx.tenant_id) as connection:
            revisions = await read_revisions(connection, ctx.tenant_id)
            user = await require_user(connection, ctx.tenant_id, userid)
            rows = await tokens.of_user(connection, ctx.tenant_id, user.id)
            entries = group_by_auth_id(await acl.all_entries(connection, ctx.tenant_id))
        return [token_view(row, entries) for row in rows], revisions.users_digest

    async def get(self, ctx: CallContext, userid: str, name: str) -> tuple[ApiToken, str]:
        require_user_access(ctx.caller, userid, Privilege.SYS_AUDIT)
        async with self._database.tenant(ctx.tenant_id) as connection:
            revisions = await read_revisions(connection, ctx.tenant_id)
            row = await _require_token(connection, ctx.tenant_id, userid, name)
            return await _view(connection, ctx.tenant_id, row), revisions.users_digest

    async def create(
        self,
        ctx: CallContext,
        userid: str,
        name: str,
        settings: TokenSettings,
        digest: str | None,
        *,
        level_within_user: bool = False,
    ) -> tuple[ApiToken, str]:
        """The token and its secret; no rights unless a level is given.

        ``level_within_user``: refuse a level with rights that the user lacks (rest-api D.5), instead of letting rule 4
        of A.8 cut them down.
        """
        require_user_access(ctx.caller, userid, Privilege.PERMISSIONS_MODIFY)
        whole, values, level = token_id(userid, name), _checked_values(settings), _checked_level(ctx, userid, settings)
        secret = new_secret()
        async with change(self._database, ctx, ctx.tenant_id, self._clock) as running:
            user = await require_user(running.connection, ctx.tenant_id, userid)
            protect_operator(ctx.caller, userid)
            check_digest(digest, running.revisions.users_digest)
            if level is not None and level_within_user:
                await _require_covered(running.connection, ctx.tenant_id, userid, level)
            row = await self._insert(running, user.id, whole, secret_hash(secret), values)
            if level is not None:
                await set_level(running, whole, level)
            running.users_touched = True
            running.affected.add(whole)
            await running.audit("token.create", whole, {"permission": level} if level else {})
            return await _view(running.connection, ctx.tenant_id, row), secret

    async def update(
        self,
        ctx: CallContext,
        userid: str,
        name: str,
        settings: TokenSettings,
        *,
        regenerate: bool,
        delete: Sequence[str],
        digest: str | None,
    ) -> str | None:
        """Change a token; the new secret with ``regenerate``."""
        require_user_access(ctx.caller, userid, Privilege.PERMISSIONS_MODIFY)
        check_deletable(delete, ("comment",))
        values = _checked_values(settings) | dict.fromkeys(delete)
        level, secret = _checked_level(ctx, userid, settings), new_secret() if regenerate else None
        async with change(self._database, ctx, ctx.tenant_id, self._clock) as running:
            row = await _require_token(running.connection, ctx.tenant_id, userid, name)
            protect_operator(ctx.caller, userid)
            check_digest(digest, running.revisions.users_digest)
            await tokens.update(running.connection, row.id, values)
            if secret is not None:
                await tokens.replace_secret(running.connection, row.id, secret_hash(secret))
            if level is not None:
                await set_level(running, row.token_id, level)
            running.users_touched = bool(values or regenerate)
            running.affected.add(row.token_id)
            detail = {"fields": sorted(values), "permission": level, "regenerated": regenerate}
            await running.audit("token.update", row.token_id, detail)
        return secret

    async def delete(self, ctx: CallContext, userid: str, name: str, digest: str | None) -> None:
        """Remove a token and its ACL entries."""
        require_user_access(ctx.caller, userid, Privilege.PERMISSIONS_MODIFY)
        async with change(self._database, ctx, ctx.tenant_id, self._clock) as running:
            row = await tokens.by_token_id(running.connection, ctx.tenant_id, f"{userid}!{name}")
            if row is None:
                raise NotFound(f"token '{name}' of user '{userid}' does not exist.")
            check_digest(digest, running.revisions.users_digest)
            await _delete(running, row)

    async def delete_by_id(self, ctx: CallContext, identity: str) -> None:
        """As ``delete`` for the id of rest-api D.5: own tokens, others' for administrators; else denied (E.10)."""
        try:
            wanted = uuid.UUID(identity)
        except ValueError:
            raise denied() from None
        async with change(self._database, ctx, ctx.tenant_id, self._clock) as running:
            row = await tokens.by_id(running.connection, ctx.tenant_id, wanted)
            own = row is not None and row.token_id.partition("!")[0] == ctx.caller.auth_id
            if row is None or not (own or holds(ctx.caller, "/access", Privilege.PERMISSIONS_MODIFY)):
                raise denied()
            await _delete(running, row)

    async def _insert(
        self, running: Change, user_id: uuid.UUID, whole: str, hashed: bytes, values: dict[str, Any]
    ) -> TokenRow:
        try:
            async with running.connection.transaction():
                return await tokens.insert(
                    running.connection, running.tenant_id, user_id, whole, hashed, int(self._clock.time()), values
                )
        except asyncpg.UniqueViolationError as error:
            userid, _, name = whole.partition("!")
            raise AlreadyExists(f"token '{name}' for user '{userid}' already exists.") from error


async def _delete(running: Change, row: TokenRow) -> None:
    protect_operator(running.ctx.caller, row.token_id)
    running.acl_touched = await acl.remove_all_of(running.connection, running.tenant_id, [row.token_id]) > 0
    await tokens.delete(running.connection, row.id)
    running.users_touched = True
    running.affected.add(row.token_id)
    await running.audit("token.delete", row.token_id)


async def _require_token(connection: Connection, tenant_id: str, userid: str, name: str) -> TokenRow:
    row = await tokens.by_token_id(connection, tenant_id, f"{userid}!{name}")
    if row is None:
        raise NotFound(f"no such token '{userid}!{name}'")
    return row


async def _require_covered(connection: Connection, tenant_id: str, userid: str, level: str) -> None:
    """Raises ``InvalidArgument`` when the level has rights that the user lacks."""
    entries = await acl.entries_of(connection, tenant_id, userid)
    user = Caller(tenant_id=tenant_id, auth_id=userid, acl=entries, superuser=userid == SYSTEM_AUTH_ID)
    if not covers(user, level):
        raise InvalidArgument(f"user '{userid}' lacks rights of level '{level}'", field="permission")


async def _view(connection: Connection, tenant_id: str, row: TokenRow) -> ApiToken:
    return token_view(row, group_by_auth_id(await acl.entries_of(connection, tenant_id, row.token_id)))


def _checked_level(ctx: CallContext, userid: str, settings: TokenSettings) -> str | None:
    """A user sets levels of its own tokens, others need ``Permissions.Modify`` on ``/access/acl`` (rest-api A.8)."""
    if settings.permission is None:
        return None
    if ctx.caller.auth_id != userid and not holds(ctx.caller, "/access/acl", Privilege.PERMISSIONS_MODIFY):
        raise denied()
    return parse_level(settings.permission)


def _checked_values(settings: TokenSettings) -> dict[str, Any]:
    """Columns that the settings change, checked; an empty comment removes it."""
    values: dict[str, Any] = {}
    if settings.comment is not None:
        check_comment(settings.comment)
        values["comment"] = settings.comment or None
    if settings.enable is not None:
        values["enable"] = settings.enable
    if settings.expire is not None:
        check_expire(settings.expire)
        values["expire"] = settings.expire
    return values
