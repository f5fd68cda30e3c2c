"""Retention locks: nobody deletes a locked snapshot or lifts its protection; after its time it is like any other."""

import dataclasses
import time
from pathlib import Path

import pytest

from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import Conflict
from pbs_cloud.formats.manifest import BackupManifest
from pbs_cloud.formats.prune import KeepOptions

from .conftest import STORE, Bench

DAY = 86_400
NOW = int(time.time())


def locking(bench: Bench, days: int | None = 30) -> Bench:
    """The same catalogue with the operator's setting."""
    settings = bench.parts.settings.model_copy(update={"worm_retention_days": days})
    return Bench(dataclasses.replace(bench.parts, settings=settings), bench.folder)


async def listed(bench: Bench, ctx: CallContext, group: t.GroupRef) -> list[t.Snapshot]:
    return await bench.snapshots(ctx, STORE, backup_id=group.backup_id)


def manifest(bench: Bench, ctx: CallContext, group: t.GroupRef, moment: int) -> BackupManifest:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
    folder: Path = bench.folder / "datastores" / ctx.tenant_id / STORE / f"host/{group.backup_id}/{stamp}"
    return BackupManifest.from_blob((folder / "index.json.blob").read_bytes())


async def expire(bench: Bench, ctx: CallContext) -> int:
    async with bench.database.tenant(ctx.tenant_id) as connection:
        await connection.execute("UPDATE snapshot SET retain_until = 1 WHERE retain_until IS NOT NULL")
    return await bench.services.upkeep._retention.lift()


async def test_a_locked_snapshot_stays(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    worm, key = locking(bench), t.SnapshotKey(group, NOW)
    await worm.backup(admin, group, NOW)
    (found,) = await listed(bench, admin, group)
    assert (found.protected, found.retain_until) == (True, NOW + 30 * DAY)
    assert manifest(bench, admin, group, NOW).unprotected["worm_retain_until"] == NOW + 30 * DAY
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW))
    assert ".protected" in bench.files_of(admin, f"host/{group.backup_id}/{stamp}")
    snapshots = bench.services.snapshots
    with pytest.raises(Conflict, match="cannot remove protected snapshot"):
        await snapshots.delete(admin, key)
    with pytest.raises(Conflict, match="retained until"):
        await snapshots.set_protected(admin, key, False)
    with pytest.raises(Conflict, match="protected snapshots"):
        await bench.services.groups.delete(admin, group, error_on_protected=True)
    await bench.backup(admin, group, NOW + 1)
    verdicts = await bench.services.pruning.prune_group(admin, group, KeepOptions(last=1), dry_run=False)
    assert [(verdict.keep, verdict.mark) for verdict in verdicts] == [(True, "protected"), (True, "keep")]
    with pytest.raises(Conflict, match="must be retained"):
        await bench.services.datastores.delete(admin, STORE, destroy_data=True, digest=None)
    await snapshots.set_notes(admin, key, "still here")
    assert manifest(bench, admin, group, NOW).retain_until == NOW + 30 * DAY
    assert [found.protected for found in await listed(bench, admin, group)] == [True, False]


async def test_after_its_time_it_is_like_any_other(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    worm, key = locking(bench), t.SnapshotKey(group, NOW)
    await worm.backup(admin, group, NOW)
    assert await bench.services.upkeep._retention.lift() == 0
    assert await expire(bench, admin) >= 1
    (found,) = await listed(bench, admin, group)
    assert (found.protected, found.retain_until) == (False, None)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW))
    assert ".protected" not in bench.files_of(admin, f"host/{group.backup_id}/{stamp}")
    await bench.services.snapshots.delete(admin, key)
    assert await listed(bench, admin, group) == []


async def test_a_wish_to_protect_outlives_the_lock(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    worm, key = locking(bench), t.SnapshotKey(group, NOW)
    await worm.backup(admin, group, NOW)
    await bench.services.snapshots.set_protected(admin, key, True)
    assert await expire(bench, admin) >= 1
    (found,) = await listed(bench, admin, group)
    assert (found.protected, found.retain_until) == (True, None)
    await bench.services.snapshots.set_protected(admin, key, False)
    assert not (await listed(bench, admin, group))[0].protected


@pytest.mark.parametrize(
    ("age", "days_left"), [(40, None), (10, 20), (-400, 30)], ids=["over", "on", "from the future"]
)
async def test_the_time_counts_from_the_backup(
    bench: Bench, admin: CallContext, group: t.GroupRef, age: int, days_left: int | None
) -> None:
    now = int(time.time())
    await locking(bench).backup(admin, group, now - age * DAY)
    (found,) = await listed(bench, admin, group)
    assert found.protected is (days_left is not None)
    if days_left is None:
        assert found.retain_until is None
    else:
        assert found.retain_until == pytest.approx(now + days_left * DAY, abs=600)


async def test_a_client_cannot_set_a_lock_of_its_own(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    await bench.backup(admin, group, NOW, unprotected={"worm_retain_until": NOW + 9999 * DAY, "notes": "n"})
    (found,) = await listed(bench, admin, group)
    assert (found.protected, found.retain_until) == (False, None)
    assert "worm_retain_until" not in manifest(bench, admin, group, NOW).unprotected


async def test_an_aborted_backup_leaves_no_mark(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    worm = locking(bench)
    session = await worm.open(admin, group, NOW)
    await bench.close(admin, session.session_id, "cut")
    assert bench.files_of(admin, f"host/{group.backup_id}") == []
