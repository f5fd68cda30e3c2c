"""Backup and restore through the TLS port, as the stock client does it."""

import os

from testkit.client import T1, Backup, Restore, Snapshot

MIB = 1 << 20


def snapshot(time: int = T1, backup_id: str = "h1") -> Snapshot:
    return Snapshot("store1", backup_id, time)


async def backup_image(front, time: int, data: bytes, backup_id: str = "h1") -> None:
    backup = await Backup.open(front.endpoint, front.token, snapshot(time, backup_id))
    async with backup:
        await backup.image("disk", data)
        await backup.blob("a.conf.blob", b"memory: 512\n")
        await backup.finish()


async def test_backup_and_restore(front):
    data = os.urandom(9 * MIB + 5)
    await backup_image(front, T1, data)
    await front.settled()
    assert list(front.store.closed.values()) == [None]
    assert front.store.shared_puts == 3
    restore = await Restore.open(front.endpoint, front.token, snapshot())
    async with restore.session:
        assert await restore.archive("disk.img.fidx", parallel=8) == data
    await front.settled()
    assert front.pool.used == 0
    assert front.arena.free_bytes == len(front.arena.memory)
