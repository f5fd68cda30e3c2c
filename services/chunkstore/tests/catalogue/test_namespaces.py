"""Namespaces (rest-api C.6, formats 12.2)."""

import pytest

from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import AclEntry, CallContext, Caller
from pbs_cloud.contracts.errors import Conflict, InvalidArgument, NamespaceNotFound, NotFound, PermissionDenied

from .conftest import Bench, caller

TIME = 1_700_000_000
FOREIGN = "2030-01-01T00:00:00Z"


@pytest.fixture
async def top(bench: Bench, admin: CallContext, group: t.GroupRef) -> str:
    """A namespace of the test's own."""
    await bench.services.namespaces.create(admin, "tank", group.backup_id)
    return group.backup_id


async def test_levels_are_made_one_by_one(bench: Bench, admin: CallContext, top: str) -> None:
    spaces = bench.services.namespaces
    with pytest.raises(NotFound):
        await spaces.create(admin, "tank", f"{top}/a/b")
    for ns in (f"{top}/b", f"{top}/a", f"{top}/a/b", f"{top}/a", f"{top}/a-b"):
        await spaces.create(admin, "tank", ns)
    below = [f"{top}/a", f"{top}/a/b", f"{top}/a-b", f"{top}/b"]
    assert await spaces.below(admin, "tank", top, None) == [top, *below]
    assert await spaces.below(admin, "tank", top, 0) == [top]
    assert await spaces.below(admin, "tank", f"{top}/a", None) == [f"{top}/a", f"{top}/a/b"]
    assert await spaces.below(admin, "tank", f"{top}/none", None) == [f"{top}/none"]
    everything = await spaces.below(admin, "tank", "", None)
    assert everything[0] == ""
    assert set(below) <= set(everything)
    assert bench.files_of(admin, f"ns/{top}/ns") == ["a", "a-b", "b"]


async def test_names_and_depth_are_limited(bench: Bench, admin: CallContext, top: str) -> None:
    spaces, ns = bench.services.namespaces, top
    for _ in range(6):
        ns += "/d"
        await spaces.create(admin, "tank", ns)
    for wrong in (f"{ns}/d", f"{top}/{'x' * 33}", f"{top}/.x", f"{top}//x", "", "../x"):
        with pytest.raises(InvalidArgument):
            await spaces.create(admin, "tank", wrong)
    for call in (spaces.create(admin, "tank", ""), delete(bench, admin, "")):
        with pytest.raises(InvalidArgument, match=r"^Cannot create/delete root namespace!$"):
            await call


def delete(bench: Bench, ctx: CallContext, ns: str, *, groups: bool = False, protected: bool = True):  # type: ignore[no-untyped-def]
    return bench.services.namespaces.delete(ctx, "tank", ns, delete_groups=groups, error_on_protected=protected)


async def test_a_tree_of_empty_namespaces_goes_at_once(bench: Bench, admin: CallContext, top: str) -> None:
    await bench.services.namespaces.create(admin, "tank", f"{top}/a")
    await bench.services.namespaces.create(admin, "tank", f"{top}x")
    assert await delete(bench, admin, top) == t.DeleteStatistics(0, 0, 0)
    assert await delete(bench, admin, top) == t.DeleteStatistics(0, 0, 0)
    assert bench.files_of(admin, f"ns/{top}") == []
    assert f"{top}x" in await bench.services.namespaces.below(admin, "tank", "", None)
    with pytest.raises(NotFound):
        await delete(bench, admin, top, groups=True)


async def test_groups_go_only_when_asked_for(bench: Bench, admin: CallContext, top: str) -> None:
    await bench.services.namespaces.create(admin, "tank", f"{top}/a")
    await bench.services.namespaces.create(admin, "tank", f"{top}/b")
    ref = t.GroupRef("tank", f"{top}/a", "vm", "100")
    await bench.backup(admin, ref, TIME)
    await bench.backup(admin, ref, TIME + 1)
    with pytest.raises(Conflict) as left:
        await delete(bench, admin, top)
    assert left.value.message == "only partially deleted due to existing groups but `delete-groups` not true"
    assert await bench.services.namespaces.below(admin, "tank", top, None) == [top, f"{top}/a"]
    await bench.services.snapshots.set_protected(admin, t.SnapshotKey(ref, TIME), True)
    with pytest.raises(Conflict, match=r"^group only partially deleted due to protected snapshots$"):
        await delete(bench, admin, top, groups=True)
    assert await delete(bench, admin, top, groups=True, protected=False) == t.DeleteStatistics(0, 1, 0)
    assert [s.backup_time for s in await bench.snapshots(admin, "tank", f"{top}/a")] == [TIME]
    await bench.services.snapshots.set_protected(admin, t.SnapshotKey(ref, TIME), False)
    assert await delete(bench, admin, top, groups=True) == t.DeleteStatistics(1, 0, 1)
    assert bench.files_of(admin, f"ns/{top}") == []


async def test_snapshots_of_another_server_stay(bench: Bench, admin: CallContext, top: str) -> None:
    """Whatever is removed around them: they are not in the catalogue, so nobody has asked for that."""
    ref = t.GroupRef("tank", top, "vm", "7")
    await bench.backup(admin, ref, TIME)
    folder = bench.folder / "datastores" / admin.tenant_id / "tank" / "ns" / top / "vm" / "7"
    (folder / FOREIGN).mkdir()
    (folder / FOREIGN / "index.json.blob").write_bytes(b"theirs")
    await bench.services.snapshots.delete(admin, t.SnapshotKey(ref, TIME))
    assert await bench.groups(admin, "tank", top) == []
    assert bench.files_of(admin, f"ns/{top}/vm/7") == [FOREIGN, "owner"]
    for groups in (False, True):
        with pytest.raises(Conflict, match="holds snapshots that are not in the catalogue"):
            await delete(bench, admin, top, groups=groups)
    assert (folder / FOREIGN / "index.json.blob").read_bytes() == b"theirs"
    assert top in await bench.services.namespaces.below(admin, "tank", "", None)
    (folder / FOREIGN / "index.json.blob").unlink()
    await delete(bench, admin, top)
    assert bench.files_of(admin, f"ns/{top}") == []


async def test_contents_of_namespaces_keep_apart(bench: Bench, admin: CallContext, top: str) -> None:
    here, there = t.GroupRef("tank", top, "vm", "7"), t.GroupRef("tank", "", "vm", f"7{top}")
    await bench.backup(admin, here, TIME)
    await bench.backup(admin, there, TIME)
    assert [g.backup_id for g in await bench.groups(admin, "tank", top)] == ["7"]
    assert await bench.snapshots(admin, "tank", f"{top}/none", backup_id="7") == []
    for missing in (bench.groups(admin, "tank", f"{top}/none"), bench.snapshots(admin, "tank", f"{top}/none")):
        with pytest.raises(NotFound, match=r"^ENOENT: No such file or directory$"):
            await missing
    with pytest.raises(NamespaceNotFound):
        await bench.open(admin, t.GroupRef("tank", f"{top}/none", "vm", "7"), TIME)


async def test_callers_see_what_they_have_rights_on(bench: Bench, admin: CallContext, top: str) -> None:
    spaces = bench.services.namespaces
    await spaces.create(admin, "tank", f"{top}/a")
    await spaces.create(admin, "tank", f"{top}/a/b")
    below = caller(admin.tenant_id, "b@pbs", "DatastoreAudit", f"/datastore/tank/{top}/a")
    assert await spaces.below(below, "tank", "", None) == [f"{top}/a", f"{top}/a/b"]
    only = CallContext(
        Caller(admin.tenant_id, "c@pbs", (AclEntry(f"/datastore/tank/{top}/a/b", "c@pbs", "DatastoreBackup"),))
    )
    assert await spaces.below(only, "tank", "", None) == [f"{top}/a/b"]
    nobody = caller(admin.tenant_id, "d@pbs", "Audit", "/system")
    for ns in (top, f"{top}/none"):
        with pytest.raises(PermissionDenied, match=r"^permission check failed$"):
            await spaces.below(nobody, "tank", ns, None)
    for refused in (spaces.create(below, "tank", f"{top}/x"), delete(bench, below, f"{top}/a")):
        with pytest.raises(PermissionDenied):
            await refused
