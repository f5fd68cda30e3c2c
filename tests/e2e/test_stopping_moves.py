"""A move of many groups that is stopped through the public API, and what it leaves."""

from urllib.parse import quote

from testkit.client import Backup, Refused
from testkit.world import Tenant, fresh, wait_for_task

GROUPS, MOMENT = 12, 1_700_000_000


async def _groups(tenant: Tenant, ns: str) -> set[str]:
    try:
        return {group["backup-id"] for group in await tenant.rest.get(f"{tenant.base}/groups", ns=ns)}
    except Refused:  # a namespace that a complete move deleted
        return set()


async def _backup(tenant: Tenant, ns: str, backup_id: str, moment: int) -> None:
    snapshot = tenant.snapshot(backup_id, backup_time=moment, ns=ns)
    async with await Backup.open(tenant.endpoint, tenant.admin.credential, snapshot) as backup:
        await backup.blob("a.conf.blob", b"content")
        await backup.finish()


async def test_a_move_stops_between_groups(tenant: Tenant) -> None:
    """Each group is at one of two places and free; the same call moves the rest."""
    source, target = f"{tenant.ns}/{fresh('s')}", f"{tenant.ns}/{fresh('t')}"
    await tenant.rest.post(f"{tenant.base}/namespace", parent=tenant.ns, name=source.rpartition("/")[2])
    names = {f"h{number}" for number in range(GROUPS)}
    for name in names:
        await _backup(tenant, source, name, MOMENT)
    for _ in range(4):
        upid = await tenant.rest.post(f"{tenant.base}/move-namespace", ns=source, target_ns=target)
        path = f"/nodes/localhost/tasks/{quote(upid, safe='')}"
        assert await tenant.rest.delete(path) is None
        status = await wait_for_task(tenant.rest, upid)
        if status != "OK":
            break
        source, target = target, source  # the move was faster than the request: now the way back
    assert status == "task aborted"
    log = await tenant.rest.get(f"{path}/log", limit=0)
    assert log[-1]["t"].endswith(": TASK ERROR: task aborted")
    assert await tenant.rest.delete(path) is None, "stopping what has ended is no error"
    left, gone = await _groups(tenant, source), await _groups(tenant, target)
    assert left
    assert (left | gone, left & gone) == (names, set())
    for ns, backup_id in ((source, min(left)), (target, min(gone, default="new"))):
        await tenant.rest.post(f"{tenant.base}/namespace", parent=tenant.ns, name=ns.rpartition("/")[2])
        await _backup(tenant, ns, backup_id, MOMENT + 60)
    again = await tenant.rest.post(f"{tenant.base}/move-namespace", ns=source, target_ns=target)
    assert await wait_for_task(tenant.rest, again) == "OK"
    assert names <= await _groups(tenant, target)
    assert not await _groups(tenant, source)
