"""Who may read usage, and the counts of API calls."""

from __future__ import annotations

from typing import Any

import pytest

from pbs_cloud.billing.metering import count_event
from pbs_cloud.contracts.context import AclEntry, CallContext, Caller
from pbs_cloud.contracts.errors import InvalidArgument, PermissionDenied
from pbs_cloud.contracts.events import Event, EventType

READER = "DatastoreReader"


def context(
    path: str | None = None, role: str = READER, *, tenant_id: str = "acme", operator: bool = False
) -> CallContext:
    acl = (AclEntry(path, "alice@acme", role),) if path else ()
    return CallContext(Caller(tenant_id, "alice@acme", acl, operator=operator), "test")


@pytest.fixture
async def counted(billing: Any) -> Any:
    """Something is counted in two tenants."""
    async with billing.database.system() as connection:
        for tenant, size in (("acme", 5), ("globex", 8)):
            event = Event(EventType.BACKUP_CREATED, tenant, 1_700_000_000, size, {"store": "tank"})
            await count_event(connection, event)
    return billing


async def test_read_right_on_the_path_in_question(counted: Any) -> None:
    client = counted.client
    assert (await client.get_usage(context("/datastore"))).upload_bytes == 5
    assert (await client.get_usage(context("/datastore/tank"), store="tank")).upload_bytes == 5
    for ctx, store in (
        (context(), None),
        (context("/datastore/tank"), None),
        (context("/datastore/other"), "tank"),
        (context("/datastore", "DatastoreBackup"), None),
    ):
        with pytest.raises(PermissionDenied, match=r"^permission check failed$"):
            await client.get_usage(ctx, store=store)


async def test_other_tenants_are_for_the_operator(counted: Any) -> None:
    client = counted.client
    operator = context(operator=True)
    assert (await client.get_usage(operator, tenant_id="globex")).upload_bytes == 8
    assert await client.get_usage(operator, tenant_id="nosuch") is None
    for tenant_id in ("globex", "nosuch", "*"):
        with pytest.raises(PermissionDenied, match=r"^permission check failed$"):
            await client.get_usage(context("/", "Admin"), tenant_id=tenant_id)
    with pytest.raises(PermissionDenied):
        await client.get_usage(operator, tenant_id="*")
    assert (await client.get_usage(context("/datastore"), tenant_id="acme")).upload_bytes == 5


async def test_api_requests_are_added(billing: Any) -> None:
    client = billing.client
    await client.report_api_requests({"acme": 3, "globex": 1})
    await client.report_api_requests({"acme": 4})
    usage = await client.get_usage(context("/datastore"))
    assert (usage.api_requests, usage.backup_count, usage.storage_bytes) == (7, 0, 0)
    for wrong in ({"": 1}, {"*": 1}, {"acme": -1}):
        with pytest.raises(InvalidArgument) as refused:
            await client.report_api_requests(wrong)
        assert refused.value.field == "requests_by_tenant"
    assert (await client.get_usage(context("/datastore"))).api_requests == 7
