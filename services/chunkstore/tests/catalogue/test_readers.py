"""Reader sessions (wire-protocol 5, rest-api C.8, C.10)."""

import pytest

from pbs_cloud.chunkstore.catalogue.rows import find_store
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import (
    Conflict,
    DataCorrupt,
    InvalidArgument,
    Locked,
    NotFound,
    NotOwner,
    PermissionDenied,
    SessionLost,
)
from pbs_cloud.formats import blob

from .conftest import Bench, caller

TIME = 1_700_000_000


async def test_a_reader_pins_its_snapshot(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    await bench.backup(admin, group, TIME, {"a.conf.blob": b"hello"})
    key = t.SnapshotKey(group, TIME)
    reader = await bench.read(admin, group, TIME)
    assert reader.upid.split(":")[6:8] == ["reader", f"tank\\x3ahost-{group.backup_id}-{TIME:08X}"]
    assert [f.filename for f in reader.files] == ["a.conf.blob", "index.json.blob"]
    assert reader.files[0].size == len(blob.encode(b"hello"))
    with pytest.raises(Locked):
        await bench.services.snapshots.delete(admin, key)
    with pytest.raises(Locked):
        await bench.services.groups.delete(admin, group, error_on_protected=True)
    with pytest.raises(Locked):
        await bench.services.snapshots.set_protected(admin, key, True)
    await bench.services.snapshots.set_notes(admin, key, "while it is read")
    await bench.close(admin, (await bench.open(admin, group, TIME + 1)).session_id)

    read = [p async for p in bench.services.files.read(admin, reader.session_id, "a.conf.blob")]
    assert b"".join(read) == blob.encode(b"hello")
    await bench.close(admin, reader.session_id, sent=1234)
    await bench.close(admin, reader.session_id, sent=1234)
    assert (await bench.task(admin, reader.upid)).status == "OK"
    restored = [e for e in await bench.events(admin) if e["type"] == "data_restored"]
    assert [e["bytes"] for e in restored].count(1234) == 1
    assert all(int(e["metadata"]["seconds"]) >= 1 for e in restored)
    with pytest.raises(SessionLost):
        await anext(bench.services.files.read(admin, reader.session_id, "a.conf.blob"))
    await bench.services.snapshots.delete(admin, key)


async def test_reading_says_what_is_missing(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    await bench.backup(admin, group, TIME)
    reader = await bench.read(admin, group, TIME)
    with pytest.raises(NotFound):
        await anext(bench.services.files.read(admin, reader.session_id, "missing.blob"))
    for name in ("x.txt", ".hidden", "../index.json.blob"):
        with pytest.raises(InvalidArgument):
            await anext(bench.services.files.read(admin, reader.session_id, name))
    await bench.close(admin, reader.session_id)
    first = t.GroupRef("tank", "", "ct", group.backup_id)
    backup = await bench.open(admin, first, TIME)
    with pytest.raises(Conflict, match=r"no valid previous backup"):
        await anext(bench.services.files.read(admin, backup.session_id, "index.json.blob"))
    with pytest.raises(Locked):
        await bench.read(admin, first, TIME)
    await bench.close(admin, backup.session_id)
    for missing in (t.GroupRef("tank", "no", "host", "x"), first):
        with pytest.raises(NotFound, match=r"snapshot .* does not exist\.$"):
            await bench.read(admin, missing, TIME)


async def test_a_file_that_is_shorter_than_it_was_is_damage(
    bench: Bench, admin: CallContext, group: t.GroupRef
) -> None:
    await bench.backup(admin, group, TIME, {"a.conf.blob": b"hello"})
    reader = await bench.read(admin, group, TIME)
    async with bench.database.tenant(admin.tenant_id) as connection:
        backend = bench.parts.backends.of(await find_store(connection, admin.tenant_id, "tank"))
    key = f"host/{group.backup_id}/2023-11-14T22:13:20Z/a.conf.blob"
    await backend.put_file(key, blob.encode(b"hello")[:-1])
    with pytest.raises(DataCorrupt, match=r"a\.conf\.blob has 16 bytes instead of 17"):
        _ = [piece async for piece in bench.services.files.read(admin, reader.session_id, "a.conf.blob")]
    await bench.close(admin, reader.session_id)


async def test_who_may_read(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    owner = caller(admin.tenant_id, "own@pbs", "DatastoreBackup")
    await bench.backup(owner, group, TIME)
    for who in (caller(admin.tenant_id, "r@pbs", "DatastoreReader"), owner, admin):
        await bench.close(who, (await bench.read(who, group, TIME)).session_id)
        rest = await bench.read(who, group, TIME, task=False)
        assert rest.upid == ""
        await bench.close(who, rest.session_id)
    other = caller(admin.tenant_id, "other@pbs", "DatastoreBackup")
    nobody = caller(admin.tenant_id, "nobody@pbs", "DatastoreAudit")
    with pytest.raises(NotOwner, match=r"^backup owner check failed!$"):
        await bench.read(other, group, TIME)
    with pytest.raises(NotOwner, match=r"other@pbs != own@pbs"):
        await bench.read(other, group, TIME, task=False)
    with pytest.raises(Conflict, match=r"^no permissions on /datastore/tank$"):
        await bench.read(nobody, group, TIME)
    with pytest.raises(PermissionDenied):
        await bench.read(nobody, group, TIME, task=False)
