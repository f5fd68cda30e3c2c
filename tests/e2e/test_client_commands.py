"""The REST calls behind the stock client's commands, on snapshots that the driver wrote."""

import re

import pytest
from testkit.client import T1, T2, T3, Backup, ReaderSession, Refused, Rest, try_backup
from testkit.client.connection import encode_query
from testkit.world import Tenant, eventually, wait_for_task

from pbs_cloud.formats.blob import encode

UPID = re.compile(r"UPID:[^:\s]+:[0-9A-F]{8}:[0-9A-F]{8,9}:[0-9A-F]{8,16}:[0-9A-F]{8}:[^:\s]+:[^:\s]*:[^:\s]+:")


async def _backup(tenant: Tenant, times: tuple[int, ...] = (T1, T2, T3)) -> None:
    for time in times:
        async with await Backup.open(tenant.endpoint, tenant.admin.credential, tenant.snapshot().at(time)) as backup:
            await backup.blob("a.conf.blob", b"%d" % time)
            await backup.finish()


async def test_list_files_notes_and_protection(tenant: Tenant) -> None:
    """`list`, `snapshot list`, `files`, `notes`, `protected`, `forget`."""
    await _backup(tenant)
    base, rest, snapshot = tenant.base, tenant.rest, tenant.snapshot()
    (group,) = await tenant.groups()
    assert (group["backup-id"], group["backup-count"], group["last-backup"]) == ("h1", 3, T3)
    assert group["owner"] == tenant.admin.auth_id
    files = await rest.call("GET", f"{base}/files", snapshot.parameters())
    assert {item["filename"] for item in files} == {"a.conf.blob", "index.json.blob"}

    await rest.call("PUT", f"{base}/notes", {**snapshot.parameters(), "notes": "first line\nsecond"})
    assert await rest.call("GET", f"{base}/notes", snapshot.parameters()) == "first line\nsecond"
    await rest.call("PUT", f"{base}/protected", {**snapshot.parameters(), "protected": True})
    assert await rest.call("GET", f"{base}/protected", snapshot.parameters()) is True
    listed = {item["backup-time"]: item for item in await tenant.snapshots()}
    assert listed[T1]["comment"] == "first line"
    assert listed[T1]["protected"] is True
    assert listed[T1]["size"] > 0

    with pytest.raises(Refused) as refused:
        await rest.call("DELETE", f"{base}/snapshots", snapshot.parameters())
    assert refused.value.status == 400
    await rest.call("PUT", f"{base}/protected", {**snapshot.parameters(), "protected": False})
    await rest.call("DELETE", f"{base}/snapshots", snapshot.parameters())
    assert {item["backup-time"] for item in await tenant.snapshots()} == {T2, T3}
    removed = await rest.call("DELETE", f"{base}/groups", {**snapshot.group(), "error-on-protected": False})
    assert (removed["removed-groups"], removed["removed-snapshots"]) == (1, 2)
    assert await tenant.groups() == []


async def test_snapshot_in_use_is_not_forgotten(tenant: Tenant) -> None:
    """A snapshot that is read, or is the base of a running backup, stays."""
    await _backup(tenant, (T1,))
    base, snapshot = tenant.base, tenant.snapshot()
    async with await ReaderSession.open(tenant.endpoint, tenant.admin.credential, snapshot):
        with pytest.raises(Refused):
            await tenant.rest.call("DELETE", f"{base}/snapshots", snapshot.parameters())
        assert await try_backup(tenant.endpoint, tenant.admin.credential, snapshot.at(T2)) is None

    async def group_is_free() -> object:  # the dropped session is cleaned up within milliseconds
        try:
            return await Backup.open(tenant.endpoint, tenant.admin.credential, snapshot.at(T3))
        except Refused:
            return None

    async with await eventually(group_is_free, 5, "free group") as backup:
        with pytest.raises(Refused):
            await tenant.rest.call("DELETE", f"{base}/snapshots", snapshot.parameters())
        second = await try_backup(tenant.endpoint, tenant.admin.credential, snapshot.at(T3 + 1))
        assert second is not None
        assert second.status == 400
        await backup.blob("a.conf.blob", b"x")
        await backup.finish()
    await tenant.rest.call("DELETE", f"{base}/snapshots", snapshot.parameters())


async def test_owner_and_change_owner(tenant: Tenant) -> None:
    """A group belongs to its first writer, until the owner is changed."""
    first, second = await tenant.token(), await tenant.token()
    base, snapshot = tenant.base, tenant.snapshot()
    async with await Backup.open(tenant.endpoint, first.credential, snapshot) as backup:
        await backup.blob("a.conf.blob", b"x")
        await backup.finish()
    refused = await try_backup(tenant.endpoint, second.credential, snapshot.at(T2))
    assert refused is not None
    assert refused.status == 400
    await tenant.rest.call("POST", f"{base}/change-owner", {**snapshot.group(), "new-owner": second.auth_id})
    assert await try_backup(tenant.endpoint, second.credential, snapshot.at(T2)) is None
    refused = await try_backup(tenant.endpoint, first.credential, snapshot.at(T2))
    assert refused is not None
    assert refused.status == 400


async def test_session_tasks_and_logs(tenant: Tenant) -> None:
    """Each session is a task with a log; an aborted one ends with an error."""
    caller = await tenant.token("admin")
    async with await Backup.open(tenant.endpoint, caller.credential, tenant.snapshot()) as backup:
        running = await caller.rest.get("/nodes/localhost/tasks", running=True, userfilter=caller.auth_id)
        assert [task["worker_type"] for task in running] == ["backup"]
        assert running[0]["worker_id"] == f"{tenant.store}:host/h1"
        await backup.blob("a.conf.blob", b"x")
        await backup.finish()
    aborted = await Backup.open(tenant.endpoint, caller.credential, tenant.snapshot("h2"))
    await aborted.abort()
    tasks = await caller.rest.get("/nodes/localhost/tasks", userfilter=caller.auth_id)
    results = {}
    for task in tasks:
        assert UPID.fullmatch(task["upid"])
        assert task["user"] == caller.auth_id
        results[task["worker_id"]] = await wait_for_task(caller.rest, task["upid"], 10)
    assert results[f"{tenant.store}:host/h1"] == "OK"
    assert results[f"{tenant.store}:host/h2"] not in ("OK", "")
    upid = next(task["upid"] for task in tasks if task["worker_id"].endswith("h1"))
    log = await caller.rest.get(f"/nodes/localhost/tasks/{upid}/log")
    assert [line["n"] for line in log] == list(range(1, len(log) + 1))
    assert log[-1]["t"].endswith("TASK OK")
    assert any("a.conf.blob" in line["t"] for line in log)


async def test_login_version_status_and_login_with_a_ticket(tenant: Tenant) -> None:
    """`login`, `version`, `status`; a ticket works as a password."""
    rest = await Rest.login(tenant.endpoint, f"admin@{tenant.realm}", tenant.password)
    version = await rest.get("/version")
    assert re.fullmatch(r"\d+\.\d+", version["version"])
    status = await rest.get(f"{tenant.base}/status")
    assert status["total"] > 0
    assert status["used"] >= 0
    assert rest.credential is not None
    again = await Rest.login(tenant.endpoint, f"admin@{tenant.realm}", getattr(rest.credential, "ticket", ""))
    assert await again.get("/version") == version
    async with await Backup.open(
        tenant.endpoint, again.credential or tenant.admin.credential, tenant.snapshot()
    ) as backup:
        await backup.blob("a.conf.blob", b"written with a ticket")
        await backup.finish()
    (group,) = await tenant.groups()
    assert group["owner"] == f"admin@{tenant.realm}"
    await rest.close()
    await again.close()


async def test_client_log_upload(tenant: Tenant) -> None:
    """`upload-log` works once, within its limit, and the log can be downloaded but is not in the manifest."""
    await _backup(tenant, (T1,))
    path, snapshot = f"{tenant.base}/upload-backup-log", tenant.snapshot()
    octets = ("content-type: application/octet-stream",)
    log = encode(b"log line\n" * 100)
    assert tenant.admin.credential
    for expected, sent in ((413, bytes(64 * 1024 * 1024 + 1)), (200, log), (400, log)):
        target = path + "?" + encode_query(snapshot.parameters())
        answer = await tenant.rest.exchange("POST", target, None, sent, octets)
        assert answer.status == expected, answer.body
    async with await ReaderSession.open(tenant.endpoint, tenant.admin.credential, snapshot) as reader:
        assert await reader.download("client.log.blob") == log


async def test_usage_is_counted(own_tenant: Tenant) -> None:
    """Committed snapshots appear in `billing/usage` of the tenant."""
    await _backup(own_tenant)

    async def counted() -> object:
        usage = await own_tenant.rest.get("/billing/usage")
        return usage and usage["backup_count"] == 3 and usage["storage_bytes"] > 0

    await eventually(counted, 20, "usage of three backups")
