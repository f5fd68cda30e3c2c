"""Garbage collection in the running product: the project's own calls, and kill -9 of gc while it deletes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import pytest
from testkit.client import T1, T2, Backup, Rest, Restore
from testkit.product import ProductServer
from testkit.sources import make_image
from testkit.world import Tenant, create_tenant, eventually, wait_for_task


@pytest.fixture
async def product(own_product: Callable[..., ProductServer]) -> ProductServer:
    return own_product({"PBS_GC_GRACE_SECONDS": "0"})


@pytest.fixture
async def tenant(product: ProductServer) -> AsyncIterator[Tenant]:
    made = await create_tenant(product)
    yield made
    await made.close()


async def back_up(tenant: Tenant, time: int, seed: int) -> bytes:
    """An image of two chunks that no other seed shares."""
    image = bytes(make_image(2, seed=seed))
    async with await Backup.open(tenant.endpoint, tenant.admin.credential, tenant.snapshot().at(time)) as backup:
        await backup.image("disk", image)
        await backup.finish()
    return image


async def forget(rest: Rest, tenant: Tenant, time: int) -> None:
    await rest.delete(f"{tenant.base}/snapshots", backup_type="host", backup_id="h1", backup_time=time)


@pytest.mark.timeout(180)
async def test_own_calls_and_a_killed_process(product: ProductServer, tenant: Tenant) -> None:
    rest = tenant.rest
    await back_up(tenant, T1, 1)
    kept = await back_up(tenant, T2, 2)
    await forget(rest, tenant, T1)
    dry = await rest.call("POST", "/admin/gc", {"dry_run": True})
    assert (dry["chunks_scanned"], dry["chunks_referenced"], dry["chunks_deleted"]) == (4, 2, 0)
    assert dry["chunks_orphaned"] == 2
    assert await rest.get("/admin/gc/status") == {"total_chunks": 4, "gc_running": False}

    chunks = product.pid("chunks")
    os.kill(chunks, signal.SIGSTOP)
    try:
        upid = await rest.post(f"{tenant.base}/gc")
        await eventually(lambda: _deleting(product), 20, "phase delete")
        assert (await rest.get("/admin/gc/status"))["gc_running"]
        answer = await rest.exchange("POST", f"{tenant.base}/gc")
        assert (answer.status, answer.body) == (400, b"garbage collection already running")
        gc = product.pid("gc")
        product.kill("gc")
    finally:
        os.kill(chunks, signal.SIGCONT)
    product.wait_restarted("gc", gc)
    assert await wait_for_task(rest, upid) == "unknown"
    state = await eventually(lambda: _ended(rest, tenant), 20, "end of the run, long before its lease")
    assert (state["disk-chunks"], state["pending-chunks"], state["last-run-state"]) == (2, 0, "OK")
    assert state["upid"] != upid
    assert await rest.get("/admin/gc/status") == {"total_chunks": 2, "gc_running": False}
    async with await Restore.open(tenant.endpoint, tenant.admin.credential, tenant.snapshot().at(T2)) as restore:
        assert await restore.archive("disk.img.fidx") == kept


async def _deleting(product: ProductServer) -> object:
    socket = product.data_dir / "data" / "run" / "pg"
    connection = await asyncpg.connect(host=str(socket), port=5432, user="pbs_admin", database="postgres")
    try:
        await connection.execute("SET search_path TO chunkstore; SET pbs.tenant TO '*'")
        return await connection.fetchval("SELECT 1 FROM gc_run WHERE ended_at IS NULL AND phase = 'delete'")
    finally:
        await connection.close()


async def _ended(rest: Rest, tenant: Tenant) -> Any:
    await asyncio.sleep(0.2)
    state = await rest.get(f"{tenant.base}/gc")
    return state if state.get("last-run-state") else None
