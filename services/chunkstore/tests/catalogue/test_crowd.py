"""Many sessions of one datastore at once: no deadlock, and the counter is exact afterwards."""

import asyncio
import random

from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import Conflict, NotFound, SessionLost

from .conftest import Bench

TIME = 1_700_000_000


async def test_everything_at_once(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    refs = [t.GroupRef("tank", "", "ct", f"{group.backup_id}-{n}") for n in range(8)]
    dice = random.Random(7)

    async def client(number: int) -> None:
        for turn in range(6):
            ref, offset = dice.choice(refs), number * 10 + turn
            try:
                await _one(bench, admin, ref, TIME + offset, dice.choice("bbbbardgnx"))
            except (Conflict, NotFound, SessionLost):
                continue

    await asyncio.wait_for(asyncio.gather(*(client(n) for n in range(16))), 240)
    counter, stored = await bench.counted(admin)
    assert counter == stored
    for ref in refs:
        listed = await bench.snapshots(admin, "tank", backup_type="ct", backup_id=ref.backup_id)
        names = [name for name in bench.files_of(admin, f"ct/{ref.backup_id}") if name.endswith("Z")]
        assert len(names) == len(listed)
        assert all(snapshot.size is not None for snapshot in listed)
        if listed:
            await bench.services.groups.delete(admin, ref, error_on_protected=False)
        assert bench.files_of(admin, f"ct/{ref.backup_id}") == []


async def _one(bench: Bench, admin: CallContext, ref: t.GroupRef, time: int, action: str) -> None:
    if action == "b":
        await bench.backup(admin, ref, time, {"a.blob": bytes(time % 100)})
    elif action == "a":
        session = await bench.open(admin, ref, time)
        await bench.close(admin, session.session_id, error="gone")
    elif action == "x":
        await bench.end_lease(admin, await bench.open(admin, ref, time))
        await bench.services.closing.expire_dead()
    elif action == "g":
        await bench.services.groups.delete(admin, ref, error_on_protected=False)
    else:
        listed = await bench.snapshots(admin, "tank", backup_type="ct", backup_id=ref.backup_id)
        for snapshot in listed[:1]:
            await _touch(bench, admin, t.SnapshotKey(ref, snapshot.backup_time), action)


async def _touch(bench: Bench, admin: CallContext, key: t.SnapshotKey, action: str) -> None:
    if action == "d":
        await bench.services.snapshots.delete(admin, key)
    elif action == "n":
        await bench.services.snapshots.set_notes(admin, key, "n" * (key.backup_time % 50))
    else:
        reader = await bench.read(admin, key.group, key.backup_time)
        await bench.close(admin, reader.session_id, sent=1)
