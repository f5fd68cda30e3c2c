"""kill -9 of everything at random under mixed load: three short rounds here, minutes of them in `make soak`."""

import time
from collections import Counter

import pytest
from testkit.client import T1, T2, T3, Backup, Restore, Snapshot
from testkit.faults.rounds import Rounds
from testkit.product import ProductServer
from testkit.servers import wait_until
from testkit.sources import make_image
from testkit.world import Caller, new_tenant

pytestmark = [pytest.mark.xdist_group("faults-kills"), pytest.mark.timeout(600)]

ROUNDS = 3
SECONDS = 8.0


async def test_nothing_acknowledged_is_lost() -> None:
    """Three rounds on one start of the product; the seed is in the failure."""
    seed = int(time.time())
    server = ProductServer({"PBS_GC_GRACE_SECONDS": "0"}).start()
    try:
        async with new_tenant(server) as tenant:
            rounds = Rounds(server, tenant, seed)
            for number in range(ROUNDS):
                try:
                    await rounds.run(SECONDS)
                except AssertionError as error:
                    raise AssertionError(f"seed {seed}, round {number}: {error}\n{dict(rounds.counts)}") from error
            print(dict(rounds.counts))
            assert _total(rounds.counts, "killed") >= ROUNDS
            assert rounds.counts["checked"] >= ROUNDS
    finally:
        server.close()


def _total(counts: Counter[str], prefix: str) -> int:
    return sum(count for name, count in counts.items() if name.startswith(prefix))


async def _commit(caller: Caller, snapshot: Snapshot, image: bytes) -> None:
    async with await Backup.open(caller.endpoint, caller.credential, snapshot) as backup:
        await backup.image("disk", image)
        await backup.blob("a.conf.blob", b"%d" % snapshot.backup_time)
        await backup.finish()


async def _restored(caller: Caller, snapshot: Snapshot) -> bytes:
    async with await Restore.open(caller.endpoint, caller.credential, snapshot) as restore:
        assert await restore.blob("a.conf.blob") == b"%d" % snapshot.backup_time
        return await restore.archive("disk.img.fidx", parallel=4)


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
