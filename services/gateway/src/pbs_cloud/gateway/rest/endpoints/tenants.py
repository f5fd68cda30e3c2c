"""Tenants, for the operator (rest-api D.3, D.4)."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any, Final

from pbs_cloud.contracts.auth import Tenant
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import Conflict
from pbs_cloud.gateway.errors import HttpError
from pbs_cloud.gateway.rest.access import Operator
from pbs_cloud.gateway.rest.calls import Call, Clients, Data
from pbs_cloud.gateway.rest.endpoint import Area
from pbs_cloud.gateway.rest.endpoints.shared import rfc3339
from pbs_cloud.gateway.rest.endpoints.users import extra_user
from pbs_cloud.gateway.schema import Integer, Param, String, common, optional, required
from pbs_cloud.gateway.schema.types import Nullable, StringMap

AREA = Area("Tenants")
DEFAULT_STORE: Final = "default"
_PARALLEL: Final = 8
_ID: Final = {"id": required(String(pattern="[A-Za-z0-9_][A-Za-z0-9_.-]*", maximum=64), "id of the tenant")}
_NAME: Final = String(pattern="[A-Za-z0-9 ._-]+", minimum=1, maximum=128)
_QUOTA: Final = Nullable(Integer(minimum=0))
_METADATA: Final = optional(StringMap(), "object of strings")
_FIELDS: Final[dict[str, Param]] = {
    "name": optional(_NAME),
    "quota_bytes": optional(_QUOTA, "bytes; null is unlimited"),
    "active": optional(common.BOOLEAN, "an inactive tenant cannot authenticate"),
    "metadata": _METADATA,
    "maintenance": optional(Nullable(String(maximum=256)), "text of a read-only overlay; null ends it"),
}


def context_of(ctx: CallContext, tenant_id: str) -> CallContext:
    """The operator acting in another tenant (rest-api E.11)."""
    caller = dataclasses.replace(ctx.caller, tenant_id=tenant_id, acl=(), superuser=True, quota_bytes=None)
    return dataclasses.replace(ctx, caller=caller)


async def shown_tenant(clients: Clients, ctx: CallContext, tenant: Tenant) -> dict[str, Any]:
    """Tenant object with the bytes it uses."""
    usage = await clients.catalogue.tenant_usage(context_of(ctx, tenant.id))
    return {
        "id": tenant.id,
        "name": tenant.name,
        "slug": tenant.slug,
        "created_at": rfc3339(tenant.created_at),
        "active": tenant.active,
        "quota_bytes": tenant.quota_bytes,
        "used_bytes": usage.storage_bytes,
        "metadata": tenant.metadata,
        "maintenance": tenant.maintenance,
    }


async def _answer(call: Call, tenant: Tenant, status: int = 200) -> Data:
    value = await shown_tenant(call.clients, call.ctx, tenant)
    return Data(value, status=status, content_type="application/json")


@AREA.get("tenants", access=Operator(), extra=True)
async def tenants(call: Call) -> Any:
    """All tenants."""
    limit = asyncio.Semaphore(_PARALLEL)

    async def shown(tenant: Tenant) -> dict[str, Any]:
        async with limit:
            return await shown_tenant(call.clients, call.ctx, tenant)

    found = await call.clients.auth.list_tenants(call.ctx)
    return Data(await asyncio.gather(*(shown(tenant) for tenant in found)), content_type="application/json")


@AREA.post(
    "tenants",
    {
        "name": required(_NAME),
        "slug": optional(String(pattern=common.SAFE_NAME.pattern, minimum=2, maximum=32), "realm of its users"),
        "quota_bytes": optional(_QUOTA, "bytes; null is unlimited"),
        "metadata": _METADATA,
    },
    access=Operator(),
    extra=True,
)
async def create_tenant(call: Call) -> Any:
    """Create a tenant with its datastore `default`."""
    tenant = await call.clients.auth.create_tenant(
        call.ctx,
        call.text("name"),
        slug=call.params.get("slug"),
        quota_bytes=call.params.get("quota_bytes"),
        metadata=call.params.get("metadata"),
    )
    await call.clients.catalogue.ensure_datastore(tenant.id, DEFAULT_STORE)
    return await _answer(call, tenant, 201)


@AREA.get("tenants/{id}", _ID, access=Operator(), extra=True)
async def tenant(call: Call) -> Any:
    """One tenant."""
    return await _answer(call, await call.clients.auth.get_tenant(call.ctx, call.text("id")))


@AREA.put("tenants/{id}", {**_ID, **_FIELDS}, access=Operator(), extra=True)
async def update_tenant(call: Call) -> Any:
    """Change a tenant."""
    changes = {name: call.params[name] for name in _FIELDS if name in call.params}
    return await _answer(call, await call.clients.auth.update_tenant(call.ctx, call.text("id"), changes))


@AREA.delete(
    "tenants/{id}",
    {**_ID, "force": optional(common.BOOLEAN, "delete its datastores and all their data", False)},
    access=Operator(),
    extra=True,
)
async def delete_tenant(call: Call) -> Any:
    """Delete a tenant; one that has more than an empty `default` datastore only with `force`."""
    tenant_id = call.text("id")
    if tenant_id == call.node.settings.default_tenant:
        raise HttpError(400, "the built-in tenant cannot be deleted")
    found = await call.clients.auth.get_tenant(call.ctx, tenant_id)
    shown = await shown_tenant(call.clients, call.ctx, found)
    acting = context_of(call.ctx, tenant_id)
    stores, _ = await call.clients.catalogue.list_datastores(acting)
    usage = await call.clients.catalogue.tenant_usage(acting)
    filled = usage.snapshot_count or any(store.name != DEFAULT_STORE for store in stores)
    if filled and not call.params["force"]:
        raise Conflict("the tenant still has datastores")
    await call.clients.auth.update_tenant(call.ctx, tenant_id, {"active": False})
    for store in stores:
        await call.clients.catalogue.delete_datastore(acting, store.name, destroy_data=True)
    await call.clients.auth.delete_tenant(call.ctx, tenant_id)
    return Data({"deleted": True, "tenant": {**shown, "active": False}}, content_type="application/json")


@AREA.get("tenants/{id}/users", _ID, access=Operator(), extra=True)
async def tenant_users(call: Call) -> Any:
    """Users of a tenant."""
    found = await call.clients.auth.list_tenant_users(call.ctx, call.text("id"))
    return Data([extra_user(user) for user in found], content_type="application/json")
