"""What every change shares: the tenant's lock and revisions, the audit log, the event that ends caches."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import Conflict, NotFound
from pbs_cloud.contracts.events import Event, EventType
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.database import Connection, Database
from pbs_cloud.runtime.outbox import emit

PRODUCER = "auth"


@dataclass(frozen=True, slots=True)
class Revisions:
    """Numbers that change with each change of a tenant's users and tokens, of its ACL, and of its realms."""

    salt: uuid.UUID
    users: int
    acl: int
    realms: int

    @property
    def users_digest(self) -> str:
        """64 hex digits (rest-api A.9); says nothing about contents, nor about other tenants (E.10)."""
        return self._digest("users", self.users)

    @property
    def acl_digest(self) -> str:
        return self._digest("acl", self.acl)

    @property
    def realms_digest(self) -> str:
        """As ``users_digest``."""
        return self._digest("realms", self.realms)

    def _digest(self, what: str, revision: int) -> str:
        return hashlib.sha256(f"{self.salt}:{what}:{revision}".encode()).hexdigest()


async def read_revisions(connection: Connection, tenant_id: str) -> Revisions:
    """Raises ``NotFound`` when the tenant is gone."""
    statement = "SELECT salt, users_revision, acl_revision, realms_revision FROM tenant WHERE id = $1"
    return _revisions(tenant_id, await connection.fetchrow(statement, tenant_id))


async def _lock_revisions(connection: Connection, tenant_id: str) -> Revisions:
    """As ``read_revisions``; nobody else changes the tenant until the commit."""
    statement = "SELECT salt, users_revision, acl_revision, realms_revision FROM tenant WHERE id = $1 FOR NO KEY UPDATE"
    return _revisions(tenant_id, await connection.fetchrow(statement, tenant_id))


def _revisions(tenant_id: str, row: Any) -> Revisions:
    if row is None:
        raise NotFound(f"no such tenant '{tenant_id}'")
    return Revisions(*row)


def check_digest(wanted: str | None, current: str) -> None:
    """Optimistic locking. Raises ``Conflict``."""
    if wanted is not None and wanted != current:
        raise Conflict("detected modified configuration - file changed by other user? Try again.")


@dataclass(slots=True)
class Change:
    """One running change of a tenant: what was touched and what to write down about it."""

    connection: Connection
    ctx: CallContext
    tenant_id: str
    revisions: Revisions
    users_touched: bool = False
    acl_touched: bool = False
    realms_touched: bool = False
    affected: set[str] = field(default_factory=set)

    async def audit(self, action: str, target: str, detail: Mapping[str, object] | None = None) -> None:
        """Write a line of the audit log; ``detail`` must hold no secret."""
        await write_audit(self.connection, self.ctx, self.tenant_id, action, target, detail)


async def write_audit(
    connection: Connection,
    ctx: CallContext,
    tenant_id: str,
    action: str,
    target: str,
    detail: Mapping[str, object] | None = None,
) -> None:
    """Who did what to which tenant."""
    await connection.execute(
        "INSERT INTO audit_log (tenant_id, actor_tenant_id, actor, action, target, detail, client_address, request_id)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        tenant_id,
        ctx.tenant_id,
        ctx.caller.auth_id,
        action,
        target,
        dict(detail or {}),
        ctx.client_address,
        ctx.request_id,
    )


@asynccontextmanager
async def change(
    database: Database, ctx: CallContext, tenant_id: str, clock: Clock = SYSTEM_CLOCK
) -> AsyncIterator[Change]:
    """A transaction that changes one tenant; changes of a tenant happen one after the other.

    At the end revisions move on and ``credentials_changed`` is announced for each auth id in ``affected``.
    """
    async with database.tenant(tenant_id) as connection:
        running = Change(connection, ctx, tenant_id, await _lock_revisions(connection, tenant_id))
        yield running
        await connection.execute(
            "UPDATE tenant SET users_revision = users_revision + $2, acl_revision = acl_revision + $3,"
            " realms_revision = realms_revision + $4 WHERE id = $1",
            tenant_id,
            int(running.users_touched),
            int(running.acl_touched),
            int(running.realms_touched),
        )
        for auth_id in sorted(running.affected):
            await announce_credentials(connection, tenant_id, auth_id, clock)


async def announce_credentials(connection: Connection, tenant_id: str, auth_id: str | None, clock: Clock) -> None:
    """Tell gateways to forget what they know about an auth id (None: about the whole tenant)."""
    await announce(connection, EventType.CREDENTIALS_CHANGED, tenant_id, {"auth_id": auth_id} if auth_id else {}, clock)


async def announce(
    connection: Connection, kind: EventType, tenant_id: str, metadata: dict[str, str], clock: Clock
) -> None:
    """An event of this service, sent if the transaction commits."""
    event = Event(type=kind, tenant_id=tenant_id, occurred_at=int(clock.time()), metadata=metadata)
    await emit(connection, event, producer=PRODUCER)
