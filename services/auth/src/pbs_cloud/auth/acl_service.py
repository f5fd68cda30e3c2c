"""The ACL of a tenant and what follows from it: C.2 ``access/acl`` and ``access/permissions``."""

from __future__ import annotations

from pbs_cloud.auth.db import acl, tokens, users
from pbs_cloud.auth.db.changes import change, check_digest, read_revisions
from pbs_cloud.auth.guard import holds, protect_operator
from pbs_cloud.auth.names import check_acl_path_grammar, is_known_acl_path
from pbs_cloud.contracts.context import SYSTEM_AUTH_ID, AclEntry, CallContext, Caller
from pbs_cloud.contracts.errors import InvalidArgument, NotFound
from pbs_cloud.contracts.rights import ROLES, Privilege, propagation
from pbs_cloud.runtime.database import Connection, Database

_DEFAULT_PATHS = ("/", "/access", "/datastore", "/remote", "/system")


class AclService:
    """Entries are rows of the caller's tenant; nothing here reaches another one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_entries(self, ctx: CallContext, path: str | None, exact: bool) -> tuple[tuple[AclEntry, ...], str]:
        """Entries at and below ``path`` that the caller may see, and the digest."""
        if path is not None:
            check_acl_path_grammar(path)
        async with self._database.tenant(ctx.tenant_id) as connection:
            revisions = await read_revisions(connection, ctx.tenant_id)
            entries = await acl.all_entries(connection, ctx.tenant_id)
        visible = [e for e in entries if _is_visible(ctx.caller, e) and _is_selected(e.path, path, exact)]
        return tuple(visible), revisions.acl_digest

    async def update(self, ctx: CallContext, entry: AclEntry, *, delete: bool, digest: str | None) -> None:
        """Set or remove one entry (``PUT access/acl``)."""
        _check_entry(entry)
        _require_update(ctx.caller, entry.auth_id)
        if not is_known_acl_path(entry.path):
            raise InvalidArgument(f"invalid acl path '{entry.path}'.")
        async with change(self._database, ctx, ctx.tenant_id) as running:
            await _check_target(running.connection, ctx, entry.auth_id, delete)
            check_digest(digest, running.revisions.acl_digest)
            work = acl.remove if delete else acl.put
            await work(running.connection, ctx.tenant_id, [entry])
            running.acl_touched = True
            running.affected.add(entry.auth_id)
            await running.audit(
                "acl.delete" if delete else "acl.set",
                entry.auth_id,
                {"path": entry.path, "role": entry.role, "propagate": entry.propagate},
            )

    async def permissions(self, ctx: CallContext, auth_id: str | None, path: str | None) -> dict[str, dict[str, bool]]:
        """Path -> privilege -> propagates (``GET access/permissions``); paths without any are left out."""
        caller, target = ctx.caller, auth_id or ctx.caller.auth_id
        if target != caller.auth_id and not _may_inspect(caller, target):
            raise InvalidArgument(f"not allowed to list permissions of {target}")
        if path is not None:
            check_acl_path_grammar(path)
        async with self._database.tenant(ctx.tenant_id) as connection:
            entries = await acl.all_entries(connection, ctx.tenant_id)
            known = target == caller.auth_id or await _exists(connection, ctx.tenant_id, target)
        if not known:
            return {}
        subject = _subject(ctx.tenant_id, target, entries)
        paths = [path] if path is not None else sorted({*_DEFAULT_PATHS, *(entry.path for entry in entries)})
        found = {each: {p.value: spread for p, spread in propagation(subject, each).items()} for each in paths}
        return {each: dict(sorted(held.items())) for each, held in found.items() if held}


async def _check_target(connection: Connection, ctx: CallContext, auth_id: str, delete: bool) -> None:
    if await _exists(connection, ctx.tenant_id, auth_id):
        protect_operator(ctx.caller, auth_id)
    elif not delete:
        raise NotFound("no such API token." if "!" in auth_id else "no such user.")


def _subject(tenant_id: str, auth_id: str, entries: tuple[AclEntry, ...]) -> Caller:
    mine = tuple(entry for entry in entries if entry.auth_id in (auth_id, auth_id.partition("!")[0]))
    return Caller(tenant_id=tenant_id, auth_id=auth_id, acl=mine, superuser=auth_id == SYSTEM_AUTH_ID)


async def _exists(connection: Connection, tenant_id: str, auth_id: str) -> bool:
    if "!" in auth_id:
        return await tokens.by_token_id(connection, tenant_id, auth_id) is not None
    return await users.by_userid(connection, tenant_id, auth_id) is not None


def _is_own_token(caller: Caller, auth_id: str) -> bool:
    return not caller.is_token and auth_id.startswith(f"{caller.auth_id}!")


def _is_visible(caller: Caller, entry: AclEntry) -> bool:
    return holds(caller, "/access/acl", Privilege.SYS_AUDIT) or _is_own_token(caller, entry.auth_id)


def _is_selected(path: str, start: str | None, exact: bool) -> bool:
    if start is None:
        return True
    return path == start or (not exact and path.startswith(start.rstrip("/") + "/"))


def _may_inspect(caller: Caller, target: str) -> bool:
    return holds(caller, "/access", Privilege.SYS_AUDIT) or _is_own_token(caller, target)


def _check_entry(entry: AclEntry) -> None:
    check_acl_path_grammar(entry.path)
    if entry.role not in ROLES:
        raise InvalidArgument(f"value '{entry.role}' is not defined in the enumeration.", field="role")
    if not entry.auth_id:
        raise InvalidArgument("missing 'userid' or 'group' parameter.")


def _require_update(caller: Caller, auth_id: str) -> None:
    """``Permissions.Modify``, or a user and its own token."""
    if holds(caller, "/access/acl", Privilege.PERMISSIONS_MODIFY):
        return
    if caller.is_token:
        raise InvalidArgument("Unprivileged API tokens can't set ACL items.")
    if "!" not in auth_id:
        raise InvalidArgument("Unprivileged users can only set ACL items for API tokens.")
    if not _is_own_token(caller, auth_id):
        raise InvalidArgument("Unprivileged users can only set ACL items for their own API tokens.")
