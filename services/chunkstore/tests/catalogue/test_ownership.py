"""Who owns a group, and who may give it away (rest-api C.5 `change-owner`)."""

import pytest

from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import InvalidArgument, Locked, NotFound, PermissionDenied, Unauthenticated

from .conftest import Bench, caller

TIME = 1_700_000_000
ALLOWED = [("u@pbs", "u@pbs!a"), ("u@pbs!a", "u@pbs"), ("u@pbs!a", "u@pbs!b")]
REFUSED = [("u@pbs", "u@pbs"), ("u@pbs!a", "u@pbs!a"), ("u@pbs", "v@pbs"), ("v@pbs", "u@pbs"), ("v@pbs!a", "u@pbs!a")]


async def owner_of(bench: Bench, admin: CallContext, group: t.GroupRef) -> str:
    [listed] = [g for g in await bench.groups(admin, "tank") if g.backup_id == group.backup_id]
    return listed.owner


@pytest.mark.parametrize(("before", "after"), ALLOWED)
async def test_a_user_moves_groups_between_itself_and_its_tokens(
    bench: Bench, admin: CallContext, group: t.GroupRef, before: str, after: str
) -> None:
    await bench.backup(caller(admin.tenant_id, before, "DatastoreBackup"), group, TIME)
    user = caller(admin.tenant_id, "u@pbs", "DatastoreBackup")
    await bench.services.groups.change_owner(user, group, after)
    assert await owner_of(bench, admin, group) == after
    path = bench.folder / "datastores" / admin.tenant_id / "tank/host" / group.backup_id / "owner"
    assert path.read_text() == f"{after}\n"


@pytest.mark.parametrize(("before", "after"), REFUSED)
async def test_no_other_move_is_a_users(
    bench: Bench, admin: CallContext, group: t.GroupRef, before: str, after: str
) -> None:
    await bench.backup(caller(admin.tenant_id, before, "DatastoreBackup"), group, TIME)
    user = caller(admin.tenant_id, "u@pbs", "DatastoreBackup")
    with pytest.raises(Unauthenticated) as refused:
        await bench.services.groups.change_owner(user, group, after)
    text = f"u@pbs does not have permission to change owner of backup group 'host/{group.backup_id}' to {after}"
    assert refused.value.message == text
    assert await owner_of(bench, admin, group) == before


async def test_a_token_never_moves_and_modify_always_does(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    token = caller(admin.tenant_id, "u@pbs!a", "DatastoreBackup")
    await bench.backup(token, group, TIME)
    with pytest.raises(Unauthenticated):
        await bench.services.groups.change_owner(token, group, "u@pbs")
    with pytest.raises(PermissionDenied):
        await bench.services.groups.change_owner(caller(admin.tenant_id, "r@pbs", "DatastoreReader"), group, "r@pbs")
    await bench.services.groups.change_owner(admin, group, "somebody@else")
    assert await owner_of(bench, admin, group) == "somebody@else"
    with pytest.raises(InvalidArgument):
        await bench.services.groups.change_owner(admin, group, "no id")
    with pytest.raises(NotFound):
        await bench.services.groups.change_owner(admin, t.GroupRef("tank", "", "vm", "none"), "x@pbs")


async def test_not_while_a_backup_runs(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    running = await bench.open(admin, group, TIME)
    with pytest.raises(Locked):
        await bench.services.groups.change_owner(admin, group, "x@pbs")
    with pytest.raises(Locked):
        await bench.services.groups.set_notes(admin, group, "x")
    await bench.close(admin, running.session_id)


async def test_lists_show_limited_callers_their_own(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    token = caller(admin.tenant_id, "list@pbs!a", "DatastoreBackup")
    user = caller(admin.tenant_id, "list@pbs", "DatastoreBackup")
    second = t.GroupRef("tank", "", "vm", group.backup_id)
    await bench.backup(token, group, TIME)
    await bench.backup(user, second, TIME)
    assert {g.owner for g in await bench.groups(user, "tank")} == {"list@pbs", "list@pbs!a"}
    assert {g.owner for g in await bench.groups(token, "tank")} == {"list@pbs!a"}
    assert {s.owner for s in await bench.snapshots(token, "tank")} == {"list@pbs!a"}
    assert {(s.backup_type, s.owner) for s in await bench.snapshots(user, "tank")} == {
        ("host", "list@pbs!a"),
        ("vm", "list@pbs"),
    }
    with pytest.raises(PermissionDenied, match=r"missing Datastore.Audit\|Datastore.Backup on /datastore/tank$"):
        await bench.groups(caller(admin.tenant_id, "x@pbs", "RemoteAdmin"), "tank")
