"""Postgres or the object store gone for ten seconds; a full disk: clear errors, recovery without a restart."""

import asyncio
import random
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from testkit.client import T1, T2, T3, Backup, Lost, Refused, Restore, StreamReset
from testkit.product import ProductServer
from testkit.servers import NatsServer, PostgresServer, S3Server
from testkit.sources import make_image
from testkit.world import Tenant, eventually, new_tenant

pytestmark = [pytest.mark.xdist_group("faults-outages"), pytest.mark.timeout(240)]

FAILURES = (Lost, Refused, StreamReset, ConnectionError, TimeoutError)
OUTAGE = 10
CHUNK = 4 << 20


async def _commit(tenant: Tenant, backup_time: int, image: bytes) -> None:
    snapshot = tenant.snapshot().at(backup_time)
    async with await Backup.open(tenant.endpoint, tenant.admin.credential, snapshot) as backup:
        await backup.image("disk", image)
        await backup.finish()


async def _backup_during(tenant: Tenant, image: bytes, outage: Callable[[], object]) -> bool:
    """A backup that runs into an outage: whether it was committed, which it must be or be refused clearly."""
    try:
        async with await Backup.open(tenant.endpoint, tenant.admin.credential, tenant.snapshot().at(T2)) as backup:
            await backup.image("before", image[: 2 * CHUNK])
            outage()
            async with asyncio.timeout(90):
                await backup.image("disk", image)
                await backup.finish()
    except Refused as refused:
        assert refused.status >= 400
        assert refused.text
        return False
    except FAILURES:
        return False
    return True


async def _during_the_outage(tenant: Tenant, wanted: int, seconds: float) -> list[int]:
    """Lists asked for again and again: complete, or a clear error; never an empty 200."""
    statuses, deadline = [], time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = await tenant.rest.exchange("GET", f"/admin/datastore/{tenant.store}/snapshots")
        statuses.append(answer.status)
        if answer.status == 200:
            assert answer.body.count(b'"backup-time"') >= wanted, answer.body
        else:
            assert answer.status in (400, 429, 500, 503), answer
            assert answer.body
        await asyncio.sleep(0.5)
    return statuses


async def _recovers(product: ProductServer, tenant: Tenant, committed: dict[int, bytes], image: bytes) -> None:
    async def works() -> bool:
        try:
            await _commit(tenant, T3, image)
        except FAILURES:
            return False
        return True

    await eventually(works, 60, "backup after the outage", pause=1)
    for backup_time, content in {**committed, T3: image}.items():
        snapshot = tenant.snapshot().at(backup_time)
        async with await Restore.open(tenant.endpoint, tenant.admin.credential, snapshot) as restore:
            assert await restore.archive("disk.img.fidx") == content
    await asyncio.to_thread(product.wait_ready, 20)


async def test_postgres_gone_for_ten_seconds() -> None:
    """`/ready` says so, `/health` does not care; lists fail or wait, and everything works again by itself."""
    postgres = await asyncio.to_thread(PostgresServer().start)
    product = ProductServer({"PBS_DATABASE_URL": postgres.url})
    try:
        await asyncio.to_thread(product.start)
        async with new_tenant(product) as tenant:
            first, second = bytes(make_image(4)), bytes(make_image(4, seed=2))
            await _commit(tenant, T1, first)
            running = asyncio.create_task(_backup_during(tenant, second, postgres.kill))
            await eventually(_not(product.is_ready), 15, "/ready notices")
            assert product.status("/health") == 200
            listing = asyncio.create_task(_during_the_outage(tenant, 1, OUTAGE))
            await asyncio.sleep(OUTAGE)
            await asyncio.to_thread(postgres.start_only)
            assert await listing
            committed = {T1: first}
            if await running:
                committed[T2] = second
            await _recovers(product, tenant, committed, bytes(make_image(2, seed=3)))
    finally:
        product.close()
        postgres.stop()


@pytest.mark.parametrize("how", ["paused", "killed"])
async def test_object_store_gone_for_ten_seconds(how: str) -> None:
    """A store that hangs, and one that refuses connections."""
    s3 = S3Server().start()
    product = ProductServer(s3.environment(s3.new_bucket()))
    try:
        await asyncio.to_thread(product.start)
        async with new_tenant(product) as tenant:
            first, second = bytes(make_image(4)), bytes(make_image(4, seed=2))
            await _commit(tenant, T1, first)
            gone, back = (s3.pause, s3.resume) if how == "paused" else (s3.kill, s3.start)
            running = asyncio.create_task(_backup_during(tenant, second, gone))
            statuses = await _during_the_outage(tenant, 1, OUTAGE)
            assert 200 in statuses, "lists come from Postgres"
            await asyncio.to_thread(back)
            committed = {T1: first}
            if await running:
                committed[T2] = second
            await _recovers(product, tenant, committed, bytes(make_image(2, seed=3)))
    finally:
        product.close()
        s3.stop()


def _not(condition: Callable[[], bool]) -> Callable[[], Coroutine[Any, Any, object]]:
    async def check() -> object:
        return not await asyncio.to_thread(condition)

    return check


_TMPFS = "nr_inodes=400k,mode=755"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MiB of its own."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size=64m,{_TMPFS}", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount a file system here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


async def test_full_disk(small_disk: Path) -> None:
    """The upload that finds no room is refused; what was committed restores; with room again backups work."""
    postgres, nats = await asyncio.to_thread(PostgresServer().start), NatsServer().start()
    environment = {"PBS_DATABASE_URL": postgres.url, "PBS_NATS_URL": nats.url}
    product = ProductServer(environment, data_dir=small_disk)
    try:
        await asyncio.to_thread(product.start)
        async with new_tenant(product) as tenant:
            first, large = bytes(make_image(4)), random.Random(5).randbytes(20 * CHUNK)
            await _commit(tenant, T1, first)
            with pytest.raises(Refused) as refused:
                await _commit(tenant, T2, large)
            assert refused.value.status in (400, 503, 507)
            assert refused.value.text
            listed = await tenant.snapshots()
            assert [item["backup-time"] for item in listed if "size" in item] == [T1]
            snapshot = tenant.snapshot()
            async with await Restore.open(tenant.endpoint, tenant.admin.credential, snapshot) as restore:
                assert await restore.archive("disk.img.fidx") == first
            subprocess.run(["mount", "-o", f"remount,size=512m,{_TMPFS}", small_disk], check=True)
            await _recovers(product, tenant, {T1: first}, large)
    finally:
        product.close()
        nats.stop()
        postgres.stop()
