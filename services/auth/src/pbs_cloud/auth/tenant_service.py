"""Tenants, for the operator alone (rest-api D.3, E.11), and the first start (D.13)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import asyncpg

from pbs_cloud.auth.db import tenants
from pbs_cloud.auth.db.changes import announce, announce_credentials, write_audit
from pbs_cloud.auth.guard import require_operator
from pbs_cloud.auth.names import check_one_line, check_slug, check_tenant_name, slug_from
from pbs_cloud.contracts.auth import Tenant
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import AlreadyExists, InvalidArgument, NotFound
from pbs_cloud.contracts.events import EventType
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.database import Connection, Database

_MAX_QUOTA = 2**63 - 1
_MAX_METADATA = 64
_MAX_METADATA_TEXT = 1024
_MAX_MAINTENANCE = 256


class TenantService:
    """Everything here needs the operator; every change stands in the audit log of the tenant it concerns."""

    def __init__(self, database: Database, clock: Clock = SYSTEM_CLOCK) -> None:
        self._database = database
        self._clock = clock

    async def list_tenants(self, ctx: CallContext) -> list[Tenant]:
        require_operator(ctx.caller)
        async with self._database.system() as connection:
            return await tenants.all_tenants(connection)

    async def get(self, ctx: CallContext, tenant_id: str) -> Tenant:
        require_operator(ctx.caller)
        async with self._database.system() as connection:
            return await _require_tenant(connection, tenant_id)

    async def create(
        self, ctx: CallContext, name: str, slug: str | None, quota_bytes: int | None, metadata: Mapping[str, str]
    ) -> Tenant:
        """A tenant without users; its first user is made by the operator."""
        require_operator(ctx.caller)
        check_tenant_name(name)
        _check_quota(quota_bytes)
        _check_metadata(metadata)
        if slug is not None:
            check_slug(slug)
        async with self._database.system() as connection:
            tenant = Tenant(
                id=str(uuid.uuid4()),
                name=name,
                slug=await _free_slug(connection, name) if slug is None else await _checked_slug(connection, slug),
                created_at=int(self._clock.time()),
                active=True,
                quota_bytes=quota_bytes,
                metadata=dict(metadata),
            )
            try:
                await tenants.insert(connection, tenant)
            except asyncpg.UniqueViolationError as error:
                raise AlreadyExists(f"slug '{tenant.slug}' is taken") from error
            await announce(connection, EventType.TENANT_CREATED, tenant.id, {}, self._clock)
            await write_audit(
                connection, ctx, tenant.id, "tenant.create", tenant.id, {"name": name, "slug": tenant.slug}
            )
        return tenant

    async def update(self, ctx: CallContext, tenant_id: str, changes: Mapping[str, Any]) -> Tenant:
        """``changes``: any of name, quota_bytes, active, metadata, maintenance; None clears quota and maintenance."""
        require_operator(ctx.caller)
        _check_changes(changes)
        async with self._database.system() as connection:
            await _require_tenant(connection, tenant_id, lock=True)
            if changes.get("active") is False and tenant_id == await tenants.root_tenant(connection):
                raise InvalidArgument("the tenant of root@pam cannot be switched off", field="active")
            await tenants.update(connection, tenant_id, changes)
            await announce_credentials(connection, tenant_id, None, self._clock)
            await write_audit(connection, ctx, tenant_id, "tenant.update", tenant_id, changes)
            return await _require_tenant(connection, tenant_id)

    async def delete(self, ctx: CallContext, tenant_id: str) -> Tenant:
        """Remove a tenant with users, tokens and ACL; its data is the business of who hears ``tenant_removed``."""
        require_operator(ctx.caller)
        async with self._database.system() as connection:
            tenant = await _require_tenant(connection, tenant_id, lock=True)
            if tenant_id == await tenants.root_tenant(connection):
                raise InvalidArgument(f"tenant '{tenant_id}' cannot be deleted")
            await tenants.delete(connection, tenant_id)
            await announce_credentials(connection, tenant_id, None, self._clock)
            await announce(connection, EventType.TENANT_REMOVED, tenant_id, {}, self._clock)
            await write_audit(connection, ctx, tenant_id, "tenant.delete", tenant_id, {"name": tenant.name})
        return tenant


async def _require_tenant(connection: Connection, tenant_id: str, *, lock: bool = False) -> Tenant:
    tenant = await (tenants.lock if lock else tenants.by_id)(connection, tenant_id)
    if tenant is None:
        raise NotFound(f"no such tenant '{tenant_id}'")
    return tenant


async def _checked_slug(connection: Connection, slug: str) -> str:
    if await tenants.is_slug_taken(connection, slug):
        raise AlreadyExists(f"slug '{slug}' is taken")
    return slug


async def _free_slug(connection: Connection, name: str) -> str:
    """A slug made from the name, with a random tail when it is taken."""
    base = slug_from(name)
    candidate = base
    while await tenants.is_slug_taken(connection, candidate):
        candidate = f"{base[:23]}-{uuid.uuid4().hex[:8]}"
    return candidate


def _check_quota(value: object) -> None:
    if value is None:
        return
    if not isinstance(value, int) or not 0 <= value <= _MAX_QUOTA:
        raise InvalidArgument(f"value must have a minimum value of 0 (got {value})", field="quota_bytes")


def _check_metadata(value: Mapping[str, str]) -> None:
    if len(value) > _MAX_METADATA:
        raise InvalidArgument(f"value may only have {_MAX_METADATA} keys", field="metadata")
    for text in (*value, *value.values()):
        check_one_line("metadata", text, 0, _MAX_METADATA_TEXT)


def _check_changes(changes: Mapping[str, Any]) -> None:
    if "name" in changes:
        check_tenant_name(changes["name"])
    if "maintenance" in changes and changes["maintenance"] is not None:
        check_one_line("maintenance", changes["maintenance"], 1, _MAX_MAINTENANCE)
    _check_quota(changes.get("quota_bytes"))
    _check_metadata(changes.get("metadata", {}))
