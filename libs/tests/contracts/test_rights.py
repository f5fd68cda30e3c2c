"""Evaluation of ACL entries (rest-api A.8)."""

import itertools

import pytest

from pbs_cloud.contracts.context import AclEntry, Caller
from pbs_cloud.contracts.errors import NotOwner, PermissionDenied
from pbs_cloud.contracts.rights import (
    ALL_PRIVILEGES,
    LEVELS,
    ROLES,
    Privilege,
    has_any_below,
    privileges,
    propagation,
    require_access,
    require_owner,
)

AUDIT, BACKUP, MODIFY = Privilege.DATASTORE_AUDIT, Privilege.DATASTORE_BACKUP, Privilege.DATASTORE_MODIFY


def caller(auth_id: str, *entries: tuple[str, str, str] | tuple[str, str, str, bool]) -> Caller:
    return Caller("t1", auth_id, tuple(AclEntry(*entry) for entry in entries))


def test_a_fresh_user_and_a_fresh_token_of_root_have_nothing() -> None:
    assert privileges(caller("a@pbs"), "/") == frozenset()
    assert privileges(caller("root@pam!x"), "/datastore/s") == frozenset()


def test_the_superuser_has_everything_but_its_tokens_only_what_they_were_given() -> None:
    assert privileges(Caller("t1", "root@pam", superuser=True), "/datastore/s/a") == ALL_PRIVILEGES
    assert privileges(caller("root@pam!x", ("/datastore", "root@pam!x", "DatastoreAudit")), "/datastore/s") == {AUDIT}


def test_entries_further_down_replace_inherited_ones() -> None:
    who = caller("a@pbs", ("/", "a@pbs", "Admin"), ("/datastore/s", "a@pbs", "DatastoreBackup"))
    assert privileges(who, "/datastore/s/ns") == {BACKUP}
    assert privileges(who, "/datastore/other") == ALL_PRIVILEGES


def test_several_roles_on_one_node_add_up_and_no_access_empties() -> None:
    who = caller("a@pbs", ("/datastore/s", "a@pbs", "DatastoreBackup"), ("/datastore/s", "a@pbs", "DatastoreAudit"))
    assert privileges(who, "/datastore/s") == {AUDIT, BACKUP}
    who = caller("a@pbs", ("/", "a@pbs", "Admin"), ("/datastore/s", "a@pbs", "NoAccess"))
    assert privileges(who, "/datastore/s/a") == frozenset()


def test_entries_that_do_not_propagate_count_only_where_they_sit() -> None:
    who = caller(
        "a@pbs", ("/datastore", "a@pbs", "DatastoreAudit"), ("/datastore/s", "a@pbs", "DatastoreBackup", False)
    )
    assert propagation(who, "/datastore/s") == {BACKUP: False}
    assert privileges(who, "/datastore/s/a") == {AUDIT}


def test_a_token_is_cut_down_to_its_user_at_the_same_path() -> None:
    who = caller("a@pbs!t", ("/", "a@pbs!t", "Admin"), ("/datastore/s", "a@pbs", "DatastoreBackup"))
    assert privileges(who, "/datastore/s") == {BACKUP}
    assert privileges(who, "/datastore/x") == frozenset()


def test_names_that_share_a_prefix_do_not_share_rights() -> None:
    who = caller("a@pbs", ("/datastore/s", "a@pbs", "DatastoreBackup"))
    assert privileges(who, "/datastore/s2") == frozenset()


def test_rights_below_a_path() -> None:
    who = caller("a@pbs", ("/datastore/s/prod/web", "a@pbs", "DatastoreBackup"))
    assert has_any_below(who, "/datastore/s", [BACKUP])
    assert not has_any_below(who, "/datastore/s/prod/web", [BACKUP])
    assert not has_any_below(who, "/datastore/s", [MODIFY])


def test_access_full_and_owned() -> None:
    who = caller("a@pbs", ("/datastore/s", "a@pbs", "DatastoreBackup"))
    assert require_access(who, "s", "", (AUDIT,), (BACKUP,)) is True
    with pytest.raises(PermissionDenied, match=r"missing Datastore\.Audit\|Datastore\.Backup on /datastore/x/a/b"):
        require_access(who, "x", "a/b", (AUDIT,), (BACKUP,))


@pytest.mark.parametrize(
    ("auth_id", "owner", "passes"),
    [
        ("a@pbs", "a@pbs", True),
        ("a@pbs", "a@pbs!t", True),
        ("a@pbs!t", "a@pbs", False),
        ("a@pbs!t", "a@pbs!u", False),
        ("a@pbs", "b@pbs", False),
        ("a@pbs!t", "a@pbs!t", True),
    ],
)
def test_owner_check(auth_id: str, owner: str, passes: bool) -> None:
    if passes:
        require_owner(caller(auth_id), owner)
    else:
        with pytest.raises(NotOwner, match="backup owner check failed"):
            require_owner(caller(auth_id), owner)


def test_levels_name_existing_roles_and_grow() -> None:
    grown: list[frozenset[Privilege]] = []
    for entries in LEVELS.values():
        assert all(role in ROLES for _, role in entries)
        grown.append(privileges(caller("a@pbs", *((path, "a@pbs", role) for path, role in entries)), "/datastore/s"))
    assert all(lower < higher for lower, higher in itertools.pairwise(grown))
