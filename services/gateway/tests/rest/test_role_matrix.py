"""Every endpoint has a row in the table of rights; what the gateway itself decides is what the row says, for each role
and at each path. The rest of the table is played against the running product (`tests/e2e/test_login_rights.py`)."""

from __future__ import annotations

import pytest
from testkit.rights_table import ANY, OPERATOR, PUBLIC, ROWS, Row

from pbs_cloud.contracts.context import AclEntry, Caller
from pbs_cloud.contracts.errors import PermissionDenied
from pbs_cloud.contracts.rights import ROLES
from pbs_cloud.gateway.rest.access import Access, Anyone, Judged, Needs, OnStore, Operator, Public, SeesStore
from pbs_cloud.gateway.rest.endpoints import all_endpoints

ALICE = "alice@pbs"
MATCHED = {"store": "tank", "name": "tank", "node": "localhost", "userid": "bob@pbs", "token-name": "t", "upid": "x"}
MATCHED |= {"realm": "acme.sso", "id": "x"}
PARAMS = {**MATCHED, "ns": "", "parent": ""}
ENDPOINTS = {f"{endpoint.method} {endpoint.path}": endpoint for endpoint in all_endpoints()}
DECIDED = [name for name, endpoint in ENDPOINTS.items() if not isinstance(endpoint.access, (Public, Anyone, Judged))]


def test_every_endpoint_has_a_row_and_every_row_an_endpoint() -> None:
    assert set(ENDPOINTS) == set(ROWS)


def test_what_is_open_is_declared_open() -> None:
    kinds: dict[type[Access], str] = {Public: PUBLIC, Anyone: ANY, Operator: OPERATOR}
    for name, endpoint in ENDPOINTS.items():
        declared = kinds.get(type(endpoint.access))
        if declared is not None:
            assert ROWS[name].kind == declared, name
        assert (ROWS[name].kind == PUBLIC) == endpoint.access.public, name


def passes(access: Access, *entries: tuple[str, str], auth_id: str = ALICE) -> bool:
    caller = Caller(
        "acme", auth_id, tuple(AclEntry(path, owner, role) for path, role in entries for owner in {ALICE, auth_id})
    )
    try:
        access.before(caller, MATCHED)
        access.after(caller, PARAMS)
    except PermissionDenied:
        return False
    return True


def acl_path(row: Row) -> str:
    return row.path.format_map(MATCHED)


@pytest.mark.parametrize("name", DECIDED)
def test_each_role_at_the_path_of_the_row(name: str) -> None:
    """Rights at the path count, rights elsewhere do not; a token needs them itself and from its user."""
    access, row = ENDPOINTS[name].access, ROWS[name]
    if row.kind == OPERATOR:
        assert not passes(access, ("/", "Admin"))
        assert not passes(access, ("/", "Admin"), auth_id=ALICE + "!t")
        return
    assert isinstance(access, (Needs, OnStore, SeesStore))
    path = acl_path(row)
    for role, (privileges, _) in ROLES.items():
        held = frozenset(privilege.value for privilege in privileges)
        wanted = row.allows(held, owner=True, itself=False)
        assert passes(access, (path, role)) == wanted, role
        assert passes(access, (path, role), auth_id=ALICE + "!t") == wanted, role
        if path != "/":
            assert passes(access, ("/", role)) == wanted, f"{role} propagates"
            assert not passes(access, ("/", role), (path, "NoAccess")), role
    assert not passes(access)
    for elsewhere in ("/datastore/other", "/tape", "/remote/other", "/system/time", "/access/openid"):
        assert not passes(access, (elsewhere, "Admin")), elsewhere


@pytest.mark.parametrize("role", ROLES)
def test_a_right_on_a_namespace_shows_its_datastore(role: str) -> None:
    below = {"Datastore.Audit", "Datastore.Backup", "Datastore.Modify", "Datastore.Read"}
    wanted = bool(below & {privilege.value for privilege in ROLES[role][0]})
    assert passes(SeesStore(), ("/datastore/tank/a/b", role)) == wanted
    assert not passes(SeesStore(), ("/datastore/tanker/a", role))


def test_users_pass_for_themselves_but_their_tokens_do_not() -> None:
    own = [name for name in DECIDED if ROWS[name].own_user]
    assert own
    for name in DECIDED:
        access, itself = ENDPOINTS[name].access, {**MATCHED, "userid": ALICE}
        if not isinstance(access, Needs):
            continue
        for auth_id, wanted in ((ALICE, ROWS[name].own_user), (ALICE + "!t", False)):
            try:
                access.before(Caller("acme", auth_id), itself)
                passed = True
            except PermissionDenied:
                passed = False
            assert passed == wanted, (name, auth_id)
