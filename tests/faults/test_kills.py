"""kill -9 of each process in the middle of a backup: an error or a complete backup, never something in between."""

import asyncio
import time

import pytest
from testkit.client import T1, T2, T3, Backup, Lost, Refused, Restore, Snapshot, StreamReset
from testkit.product import ProductServer
from testkit.servers import wait_until
from testkit.sources import make_image
from testkit.world import Caller, Tenant, eventually, new_tenant

pytestmark = [pytest.mark.xdist_group("faults-kills"), pytest.mark.timeout(200)]

PROCESSES = ("gateway-front", "gateway-rest", "auth", "chunks", "catalogue", "gc", "billing", "nats", "postgres")
FAILURES = (Lost, Refused, StreamReset, ConnectionError, TimeoutError)
CHUNK = 4 << 20


def _matching(product: ProductServer, name: str) -> dict[str, int]:
    """Processes of that name; of a replicated one all, since the session is on any of them."""
    return {found: pid for found, pid in product.pids().items() if found == name or found.startswith(f"{name}-")}


async def _commit(caller: Caller, snapshot: Snapshot, image: bytes) -> None:
    async with await Backup.open(caller.endpoint, caller.credential, snapshot) as backup:
        await backup.image("disk", image)
        await backup.blob("a.conf.blob", b"%d" % snapshot.backup_time)
        await backup.finish()


async def _interrupted(product: ProductServer, name: str, caller: Caller, snapshot: Snapshot, image: bytes) -> bool:
    """A backup during which the process is killed; whether it was committed all the same."""
    backup = await Backup.open(caller.endpoint, caller.credential, snapshot)
    try:
        await backup.image("before", image[: 4 * CHUNK])
        for found in _matching(product, name):
            product.kill(found)
        async with asyncio.timeout(60):
            await backup.image("disk", image)
            await backup.blob("a.conf.blob", b"%d" % snapshot.backup_time)
            await backup.finish()
    except FAILURES:
        return False
    finally:
        await backup.session.close(abort=True)
    return True


async def _restored(caller: Caller, snapshot: Snapshot) -> bytes:
    async with await Restore.open(caller.endpoint, caller.credential, snapshot) as restore:
        assert await restore.blob("a.conf.blob") == b"%d" % snapshot.backup_time
        return await restore.archive("disk.img.fidx", parallel=4)


@pytest.mark.parametrize("name", PROCESSES)
async def test_kill_in_the_middle_of_a_backup(victim: ProductServer, tenant: Tenant, name: str) -> None:
    """What was committed restores; what was not is not there; the group works again at once after the restart."""
    caller, group = await tenant.token(), tenant.snapshot()
    images = {time: bytes(make_image(8, 100, seed=time)) for time in (T1, T2, T3)}
    await _commit(caller, group, images[T1])
    killed = _matching(victim, name)
    assert killed, f"no process {name}"
    committed = {T1}
    if await _interrupted(victim, name, caller, group.at(T2), images[T2]):
        committed.add(T2)
    assert name != "gateway-front" or committed == {T1}, "the session's own process was killed"
    for found, pid in killed.items():
        victim.wait_restarted(found, pid, 30)

    started = time.monotonic()
    await tenant.rest.close()
    listed = await tenant.snapshots()
    finished = {item["backup-time"] for item in listed if "size" in item}
    assert finished <= {T1, T2}
    assert committed <= finished

    async def next_backup() -> bool:
        try:
            await _commit(caller, group.at(T3), images[T3])
        except FAILURES:
            return False
        return True

    await eventually(next_backup, 60, f"backup after the kill of {name}", pause=1)
    waited = time.monotonic() - started
    assert waited < 20, f"the group was free only after {waited:.0f} s"
    listed = await tenant.snapshots()
    assert {item["backup-time"] for item in listed} == finished | {T3}
    for committed_time in sorted(finished | {T3}):
        assert await _restored(caller, group.at(committed_time)) == images[committed_time]


async def test_kill_of_the_supervisor_and_a_new_start() -> None:
    """Everything ends with the supervisor; the next start finds what was committed and no orphan."""
    server = ProductServer().start()
    try:
        async with new_tenant(server) as tenant:
            image, group = bytes(make_image(3)), tenant.snapshot()
            await _commit(tenant.admin, group, image)
            running = await Backup.open(tenant.endpoint, tenant.admin.credential, group.at(T2))
            await running.image("disk", image)
            pids = server.pids()
            server.kill_supervisor()
            wait_until(lambda: not any(map(_alive, pids.values())), seconds=20, what="end of all processes")
            await running.session.close(abort=True)
            server.start()
            await tenant.rest.close()
            listed = await tenant.snapshots()
            assert [item["backup-time"] for item in listed if "size" in item] == [T1]
            assert await _restored(tenant.admin, group) == image
            await _commit(tenant.admin, group.at(T3), image)
    finally:
        server.close()


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
