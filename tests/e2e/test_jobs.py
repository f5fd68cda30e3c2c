"""Jobs of a tenant through the public API: retention of a new datastore, verification of backups, runs and history."""

import json

from testkit.client import Backup
from testkit.world import Tenant, eventually, fresh, wait_for_task


async def ended(tenant: Tenant, upid: str) -> str:
    """How a task ended."""
    return await wait_for_task(tenant.rest, upid)


async def test_retention_of_a_new_datastore_is_a_job(own_tenant: Tenant) -> None:
    """It goes with the datastore, unless it is to be kept."""
    tenant = own_tenant
    for keep, left in ((0, 0), (1, 1)):
        store = fresh("st")
        given = {"name": store, "path": "/x", "prune-schedule": "daily", "keep-last": 3}
        await ended(tenant, await tenant.rest.call("POST", "/config/datastore", given))
        (job,) = await tenant.rest.get("/admin/prune", store=store)
        assert job["id"].startswith(f"default-{store}"[:20])
        assert (job["schedule"], job["keep-last"]) == ("daily", 3)
        upid = await tenant.rest.call("DELETE", f"/config/datastore/{store}?keep-job-configs={keep}", {})
        await ended(tenant, upid)
        assert len(await tenant.rest.get("/admin/prune", store=store)) == left


async def test_a_backup_is_verified_and_a_job_has_a_history(own_tenant: Tenant) -> None:
    tenant = own_tenant
    await tenant.rest.call("PUT", "/config/datastore/default", {"verify-new": True})
    async with await Backup.open(tenant.endpoint, tenant.admin.credential, tenant.snapshot("h1")) as backup:
        await backup.blob("a.conf.blob", b"content")
        await backup.finish()

    async def verified() -> object:
        (snapshot,) = await tenant.snapshots()
        return snapshot.get("verification")

    found = await eventually(verified, 30, "verification of the new backup")
    assert isinstance(found, dict)
    assert found["state"] == "ok"
    assert ":verify:" in found["upid"]

    await tenant.rest.call("POST", "/config/verify", {"id": "nightly", "store": "default", "schedule": "daily"})
    assert set(await tenant.rest.get("/admin/verify/nightly/status")) == {"next-run"}
    runs = []
    for _ in range(2):
        runs.insert(0, await tenant.rest.call("POST", "/admin/verify/nightly/run", {}))
        assert await ended(tenant, runs[0]) == "OK"
    state = await tenant.rest.get("/admin/verify/nightly/status")
    assert (state["last-run-upid"], state["last-run-state"]) == (runs[0], "OK")
    assert sorted(task["upid"] for task in await tenant.rest.get("/admin/verify/nightly/history")) == sorted(runs)
    assert await ended(tenant, await tenant.rest.call("POST", "/admin/verify/default/run", {})) == "OK"
    assert len(await tenant.rest.get("/admin/verify/nightly/history", limit=1)) == 1


async def test_what_is_scheduled_and_what_runs_is_told(own_tenant: Tenant) -> None:
    """Jobs of the tenant that have a next run; active operations in every maintenance mode."""
    tenant = own_tenant

    async def scheduled() -> int:
        answer = await tenant.rest.exchange("GET", "/status")
        return int(json.loads(answer.body)["summary"]["tasks"]["scheduled"])

    assert await scheduled() == 0
    await tenant.rest.post("/config/verify", id="nightly", store="default", schedule="daily 02:00 Europe/Vienna")
    await tenant.rest.post("/config/verify", id="by-hand", store="default")
    await tenant.rest.post("/config/prune", id="weekly", store="default", schedule="weekly", keep_last=3)
    assert await scheduled() == 2
    async with await Backup.open(tenant.endpoint, tenant.admin.credential, tenant.snapshot("h1")):
        await tenant.rest.put("/config/datastore/default", maintenance_mode="offline,message=moved")
        assert await tenant.rest.get(f"{tenant.base}/active-operations") == {"read": 0, "write": 1}
    await tenant.rest.put("/config/datastore/default", delete="maintenance-mode")
