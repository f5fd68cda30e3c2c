"""Runs that nobody asks for: by each datastore's `gc-schedule`, else at the installation's interval (rest-api D.13)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC

from pbs_cloud.contracts.auth import AuthClient, Tenant
from pbs_cloud.contracts.chunkstore.collection import CollectionClient, CollectionState
from pbs_cloud.contracts.context import CallContext, SystemContext
from pbs_cloud.contracts.errors import Conflict, NotFound
from pbs_cloud.formats.calendar import CalendarEvent
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.gc.collection import Collection
from pbs_cloud.runtime.settings import Settings

JOB = "collections"
EVERY_SECONDS = 15.0
MOST_AT_ONCE = 2
_NO_TENANT = "*"


class CollectionSchedule:
    """One look at all datastores: starts what is due, and what a dead process left unfinished."""

    def __init__(self, client: CollectionClient, auth: AuthClient, collection: Collection, settings: Settings) -> None:
        self._client = client
        self._auth = auth
        self._collection = collection
        self._automatic = settings.automatic_gc
        self._interval_seconds = settings.gc_interval_hours * 3600

    async def take_over(self) -> None:
        """Carry on at once with what the predecessor of this process left unfinished. Raises Unavailable."""
        await self._collection.wait_until_cleared()
        await self._start(lambda state: state.abandoned)

    async def run(self) -> int:
        """How many runs were started. Raises Unavailable."""
        return await self._start(self._wanted)

    async def _start(self, wanted: Callable[[CollectionState], bool]) -> int:
        """Begin the runs that are wanted; how many.

        A suspended tenant's datastores are left alone; the operator's maintenance binds runs as it binds people.
        """
        started = 0
        tenants: dict[str, Tenant] | None = None
        async for state in self._client.all_states():
            if self._collection.running >= MOST_AT_ONCE:
                break
            if state.running or state.maintenance is not None or not wanted(state):
                continue
            if tenants is None:
                everybody = await self._auth.list_tenants(SystemContext().for_tenant(_NO_TENANT))
                tenants = {tenant.id: tenant for tenant in everybody}
            tenant = tenants.get(state.tenant_id)
            if tenant is None or not tenant.active:
                continue
            try:
                await self._collection.start_scheduled(_system(tenant), state.store)
            except (Conflict, NotFound):
                continue
            started += 1
        return started

    def _wanted(self, state: CollectionState) -> bool:
        """By the database's clock. A run that was cut off goes on also where none begins by itself."""
        if state.abandoned:
            return True
        return self._automatic and is_due(state, self._interval_seconds)


def _system(tenant: Tenant) -> CallContext:
    """``root@pam`` in a tenant, bound by the operator's maintenance of it."""
    ctx = SystemContext().for_tenant(tenant.id)
    return replace(ctx, caller=replace(ctx.caller, maintenance=tenant.maintenance))


def is_due(state: CollectionState, interval_seconds: int) -> bool:
    """Whether a run should have begun by now."""
    if state.schedule is None:
        return state.last_start + interval_seconds <= state.now
    try:
        following = CalendarEvent.parse(state.schedule).next_after(state.last_start, UTC)
    except FormatError:
        return False
    return following is not None and following <= state.now
