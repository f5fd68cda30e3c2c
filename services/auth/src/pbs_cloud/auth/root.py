"""The first start: tenant, ``root@pam`` and its token (rest-api D.13)."""

from __future__ import annotations

from pbs_cloud.auth.db import acl, tenants, tokens, users
from pbs_cloud.auth.db.changes import announce, announce_credentials, write_audit
from pbs_cloud.auth.levels import entries_for
from pbs_cloud.auth.secret_hashes import new_secret, secret_hash
from pbs_cloud.contracts.auth import Tenant
from pbs_cloud.contracts.context import SYSTEM_AUTH_ID, CallContext, SystemContext
from pbs_cloud.contracts.errors import Conflict
from pbs_cloud.contracts.events import EventType
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.database import Connection, Database
from pbs_cloud.runtime.logging import get_logger

TOKEN_NAME = "root-token"  # noqa: S105 - a name
_TOKEN_ID = f"{SYSTEM_AUTH_ID}!{TOKEN_NAME}"
_LOCK = "pbs-cloud auth root"
_log = get_logger(__name__)


async def ensure_root(
    database: Database, tenant_id: str, *, renew: bool = False, clock: Clock = SYSTEM_CLOCK
) -> str | None:
    """Make what is missing; the token's secret if this call made ``root@pam``, or with ``renew``; else None.

    ``renew`` gives the token a new secret (and level admin again), for an operator who lost it.
    Raises ``Conflict`` when ``root@pam`` belongs to another tenant.
    """
    ctx = SystemContext("first-start").for_tenant(tenant_id)
    async with database.system() as connection:
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", _LOCK)
        owner = await tenants.root_tenant(connection)
        if owner not in (None, tenant_id):
            raise Conflict(f"root@pam belongs to tenant '{owner}': PBS_DEFAULT_TENANT must be that")
        if owner is not None and not renew:
            return None
        secret = new_secret()
        if owner is None:
            await _create(connection, ctx, secret, clock)
        else:
            await _renew(connection, ctx, secret, clock)
        return secret


async def _create(connection: Connection, ctx: CallContext, secret: str, clock: Clock) -> None:
    tenant_id, now = ctx.tenant_id, int(clock.time())
    if await tenants.by_id(connection, tenant_id) is None:
        tenant = Tenant(id=tenant_id, name=tenant_id, slug=tenants.BUILT_IN_REALMS[0], created_at=now, active=True)
        await tenants.insert(connection, tenant)
        await announce(connection, EventType.TENANT_CREATED, tenant_id, {}, clock)
    user = await users.insert(connection, tenant_id, SYSTEM_AUTH_ID, now, {})
    await tokens.insert(connection, tenant_id, user.id, _TOKEN_ID, secret_hash(secret), now, {})
    await acl.put(connection, tenant_id, entries_for("admin", _TOKEN_ID))
    await write_audit(connection, ctx, tenant_id, "root.create", _TOKEN_ID)
    _log.info("operator created", user=SYSTEM_AUTH_ID, token=_TOKEN_ID)


async def _renew(connection: Connection, ctx: CallContext, secret: str, clock: Clock) -> None:
    tenant_id = ctx.tenant_id
    user = await users.by_userid(connection, tenant_id, SYSTEM_AUTH_ID)
    if user is None:
        raise Conflict(f"root@pam is not in tenant '{tenant_id}'")
    await users.update(connection, user.id, {"enable": True, "expire": 0})
    token = await tokens.by_token_id(connection, tenant_id, _TOKEN_ID)
    if token is None:
        await tokens.insert(connection, tenant_id, user.id, _TOKEN_ID, secret_hash(secret), int(clock.time()), {})
    else:
        await tokens.update(connection, token.id, {"enable": True, "expire": 0})
        await tokens.replace_secret(connection, token.id, secret_hash(secret))
    await acl.remove_all_of(connection, tenant_id, [_TOKEN_ID])
    await acl.put(connection, tenant_id, entries_for("admin", _TOKEN_ID))
    await connection.execute(
        "UPDATE tenant SET users_revision = users_revision + 1, acl_revision = acl_revision + 1 WHERE id = $1",
        tenant_id,
    )
    await announce_credentials(connection, tenant_id, _TOKEN_ID, clock)
    await write_audit(connection, ctx, tenant_id, "root.renew", _TOKEN_ID)
    _log.info("operator token renewed", token=_TOKEN_ID)
