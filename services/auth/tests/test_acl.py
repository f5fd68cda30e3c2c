"""ACL entries, their evaluation and their listing (rest-api A.8, C.2; texts of the conformance cases)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from testkit.auth_service import AuthWorld

from pbs_cloud.contracts.auth import TokenSettings
from pbs_cloud.contracts.context import AclEntry, CallContext
from pbs_cloud.contracts.errors import Conflict, InvalidArgument, NotFound, PbsError, PermissionDenied

STALE = "0" * 64


async def permissions(
    world: AuthWorld, ctx: CallContext, path: str | None = None, auth_id: str | None = None
) -> dict[str, dict[str, bool]]:
    return await world.client.list_permissions(ctx, auth_id, path)


async def set_acl(
    world: AuthWorld, ctx: CallContext, path: str, auth_id: str, role: str, propagate: bool = True, **more: object
) -> None:
    await world.client.update_acl(ctx, AclEntry(path, auth_id, role, propagate), **more)  # type: ignore[arg-type]


# auth id -> entries, path, what it holds there: rest-api A.8 and the suite acl-evaluation.
EVALUATION = [
    (
        "an entry holds on its path",
        [("/datastore/s", "DatastoreAudit", False)],
        "/datastore/s",
        {"Datastore.Audit": False},
    ),
    ("… and not below", [("/datastore/s", "DatastoreAudit", False)], "/datastore/s/ns", {}),
    ("… nor above", [("/datastore/s", "DatastoreAudit", True)], "/datastore", {}),
    ("inherited", [("/datastore", "DatastoreAudit", True)], "/datastore/s/a/b", {"Datastore.Audit": True}),
    (
        "NoAccess takes everything",
        [("/datastore", "DatastoreAudit", True), ("/datastore/s", "NoAccess", True)],
        "/datastore/s",
        {},
    ),
    (
        "NoAccess takes what sits beside it",
        [("/datastore/s", "DatastoreAudit", True), ("/datastore/s", "NoAccess", True)],
        "/datastore/s/ns",
        {},
    ),
    (
        "roles add up",
        [("/datastore/s", "DatastoreAudit", True), ("/datastore/s", "DatastoreBackup", False)],
        "/datastore/s",
        {"Datastore.Audit": True, "Datastore.Backup": False},
    ),
    (
        "a nearer entry replaces",
        [("/datastore", "DatastoreAdmin", True), ("/datastore/s", "DatastoreBackup", True)],
        "/datastore/s/ns",
        {"Datastore.Backup": True},
    ),
    (
        "one that does not propagate replaces only there",
        [("/datastore", "DatastoreAudit", True), ("/datastore/s", "DatastoreBackup", False)],
        "/datastore/s/ns",
        {"Datastore.Audit": True},
    ),
    ("a longer name is another store", [("/datastore/s", "DatastoreAudit", True)], "/datastore/s2", {}),
]


@pytest.mark.parametrize(
    ("entries", "path", "expected"), [case[1:] for case in EVALUATION], ids=[c[0] for c in EVALUATION]
)
async def test_evaluation(
    world: AuthWorld, entries: list[tuple[str, str, bool]], path: str, expected: dict[str, bool]
) -> None:
    alice = await world.make_user("alice@pbs")
    for where, role, propagate in entries:
        await world.grant("alice@pbs", where, role, propagate)
    found = await permissions(world, alice, path)
    assert found == ({path: expected} if expected else {})


async def test_tokens_are_cut_down_to_their_user(world: AuthWorld) -> None:
    await world.make_user("alice@pbs")
    await world.grant("alice@pbs", "/datastore/a", "DatastoreAudit", False)
    _, secret = await world.client.create_token(await world.root_token(), "alice@pbs", "t", TokenSettings())
    token = await world.token("alice@pbs!t", secret)
    assert await permissions(world, token) == {}
    await world.grant("alice@pbs!t", "/datastore", "DatastoreAdmin")
    assert await permissions(world, token) == {"/datastore/a": {"Datastore.Audit": False}}
    assert await permissions(world, token, "/datastore/b") == {}


async def test_tokens_of_root_have_what_they_were_given(world: AuthWorld) -> None:
    _, secret = await world.client.create_token(await world.root_token(), "root@pam", "t", TokenSettings())
    token = await world.token("root@pam!t", secret)
    assert not token.caller.operator and not token.caller.superuser
    assert await permissions(world, token) == {}
    await world.grant("root@pam!t", "/datastore", "DatastoreAudit")
    assert await permissions(world, token) == {"/datastore": {"Datastore.Audit": True}}


async def test_default_paths_and_those_of_entries(world: AuthWorld) -> None:
    alice = await world.make_user("alice@pbs")
    await world.make_user("bob@pbs")
    assert await permissions(world, alice) == {}
    await world.grant("alice@pbs", "/", "Audit")
    await world.grant("bob@pbs", "/datastore/x/y", "DatastoreAudit")
    found = await permissions(world, alice)
    assert set(found) == {"/", "/access", "/datastore", "/remote", "/system", "/datastore/x/y"}
    assert all(held == {"Sys.Audit": True, "Datastore.Audit": True} for held in found.values())


async def test_whose_permissions_may_be_listed(world: AuthWorld) -> None:
    alice, bob = await world.make_user("alice@pbs"), await world.make_user("bob@pbs")
    root = await world.root_token()
    _, secret = await world.client.create_token(root, "alice@pbs", "t", TokenSettings())
    await world.grant("alice@pbs", "/datastore/a", "DatastoreAudit")
    await world.grant("alice@pbs!t", "/datastore/a", "DatastoreAudit")
    mine = {"/datastore/a": {"Datastore.Audit": True}}
    assert await permissions(world, alice, auth_id="alice@pbs!t") == mine
    for ctx, target in (
        (bob, "alice@pbs"),
        (bob, "nosuch@pbs"),
        (bob, "alice@pbs!t"),
        (await world.token("alice@pbs!t", secret), "alice@pbs"),
    ):
        with pytest.raises(InvalidArgument, match=f"^not allowed to list permissions of {target}$"):
            await permissions(world, ctx, auth_id=target)
    await world.grant("bob@pbs", "/access", "Audit")
    bob = await world.user("bob@pbs")
    assert await permissions(world, bob, "/datastore/a", "alice@pbs") == mine
    assert await permissions(world, bob, auth_id="nosuch@pbs") == {}
    assert len((await permissions(world, bob, "/", "root@pam"))["/"]) == 23
    with pytest.raises(InvalidArgument, match="regex") as bad:
        await permissions(world, bob, "datastore")
    assert bad.value.field == "path"


async def test_listing_entries(world: AuthWorld) -> None:
    alice, auditor = await world.make_user("alice@pbs"), await world.make_user("auditor@pbs")
    _, secret = await world.client.create_token(await world.root_token(), "alice@pbs", "t", TokenSettings())
    await world.grant("alice@pbs", "/datastore/a", "DatastoreAudit")
    await world.grant("alice@pbs!t", "/datastore/a/n", "DatastoreAudit", False)
    await world.grant("auditor@pbs", "/", "Audit")
    auditor = await world.user("auditor@pbs")
    token_entry = AclEntry("/datastore/a/n", "alice@pbs!t", "DatastoreAudit", False)
    below, digest = await world.client.list_acl(auditor, "/datastore/a")
    assert below == (AclEntry("/datastore/a", "alice@pbs", "DatastoreAudit"), token_entry)
    assert len(digest) == 64
    assert (await world.client.list_acl(auditor, "/datastore/a", exact=True))[0] == below[:1]
    assert (await world.client.list_acl(auditor, "/datastore/b"))[0] == ()
    assert len((await world.client.list_acl(auditor))[0]) == 4
    assert (await world.client.list_acl(alice))[0] == (token_entry,)
    assert (await world.client.list_acl(await world.token("alice@pbs!t", secret)))[0] == ()


async def test_what_unprivileged_callers_may_set(world: AuthWorld) -> None:
    alice, bob = await world.make_user("alice@pbs"), await world.make_user("bob@pbs")
    _, secret = await world.client.create_token(await world.root_token(), "alice@pbs", "t", TokenSettings())
    token = await world.token("alice@pbs!t", secret)
    await set_acl(world, alice, "/datastore/a", "alice@pbs!t", "DatastoreAudit")
    assert len((await world.client.list_acl(alice))[0]) == 1
    await set_acl(world, alice, "/datastore/a", "alice@pbs!t", "DatastoreAudit", delete=True)
    assert (await world.client.list_acl(alice))[0] == ()
    for ctx, target, text in (
        (alice, "alice@pbs", "Unprivileged users can only set ACL items for API tokens."),
        (bob, "alice@pbs!t", "Unprivileged users can only set ACL items for their own API tokens."),
        (bob, "nosuch@pbs!t", "Unprivileged users can only set ACL items for their own API tokens."),
        (token, "alice@pbs!t", "Unprivileged API tokens can't set ACL items."),
    ):
        with pytest.raises(InvalidArgument) as refused:
            await set_acl(world, ctx, "/datastore/a", target, "DatastoreAudit")
        assert (refused.value.message, refused.value.field) == (text, None)


@pytest.mark.parametrize(
    ("path", "auth_id", "role", "error", "text", "field"),
    [
        ("/datastore/a", "nosuch@pbs", "DatastoreAudit", NotFound, "no such user.", None),
        ("/datastore/a", "root@pam!nosuch", "DatastoreAudit", NotFound, "no such API token.", None),
        ("/datastore/a", "", "DatastoreAudit", InvalidArgument, "missing 'userid' or 'group' parameter.", None),
        ("/nosuch", "alice@pbs", "DatastoreAudit", InvalidArgument, "invalid acl path '/nosuch'.", None),
        ("nosuch", "alice@pbs", "DatastoreAudit", InvalidArgument, "value does not match the regex pattern", "path"),
        (
            "/datastore/a",
            "alice@pbs",
            "Nosuch",
            InvalidArgument,
            "value 'Nosuch' is not defined in the enumeration.",
            "role",
        ),
    ],
)
async def test_refused_entries(
    world: AuthWorld, path: str, auth_id: str, role: str, error: type[PbsError], text: str, field: str | None
) -> None:
    await world.make_user("alice@pbs")
    with pytest.raises(error) as refused:
        await set_acl(world, await world.root_token(), path, auth_id, role)
    assert (refused.value.message, refused.value.field) == (text, field)


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("/", True),
        ("/access/users", True),
        ("/access/users/x", False),
        ("/access/openid/r", True),
        ("/datastore/a/1/2/3/4/5/6/7", True),
        ("/datastore/a/1/2/3/4/5/6/7/8", False),
        ("/remote/r/s/ns", True),
        ("/system/services/x", True),
        ("/system/tasks/x", False),
        ("/system/nosuch", False),
        ("/tape/drive/x", True),
        ("/nosuch", False),
    ],
)
async def test_known_path_shapes(world: AuthWorld, path: str, known: bool) -> None:
    root = await world.root_token()
    await world.make_user("alice@pbs")
    if known:
        await set_acl(world, root, path, "alice@pbs", "NoAccess", False)
        assert AclEntry(path, "alice@pbs", "NoAccess", False) in (await world.client.list_acl(root, path))[0]
    else:
        with pytest.raises(InvalidArgument, match=r"^invalid acl path"):
            await set_acl(world, root, path, "alice@pbs", "NoAccess")


async def test_removal_of_what_is_not_there_and_the_digest(world: AuthWorld) -> None:
    root = await world.root_token()
    await world.make_user("alice@pbs")
    await set_acl(world, root, "/datastore/a", "nosuch@pbs", "DatastoreAudit", delete=True)
    before = (await world.client.list_acl(root))[1]
    await set_acl(world, root, "/datastore/a", "alice@pbs", "DatastoreAudit", digest=before)
    after = (await world.client.list_acl(root))[1]
    assert after != before
    for digest in (before, STALE):
        with pytest.raises(
            Conflict, match=r"^detected modified configuration - file changed by other user\? Try again\.$"
        ):
            await set_acl(world, root, "/datastore/a", "alice@pbs", "DatastoreAdmin", digest=digest)
    assert (await world.client.list_acl(root))[1] == after


async def test_the_operator_is_protected(world: AuthWorld) -> None:
    admin = await world.make_user("admin@pbs", level="admin")
    await set_acl(world, admin, "/datastore/a", "admin@pbs", "DatastoreAudit")
    for target in ("root@pam", "root@pam!root-token"):
        for delete in (False, True):
            with pytest.raises(PermissionDenied, match=r"^permission check failed$"):
                await set_acl(world, admin, "/", target, "NoAccess", delete=delete)


def test_the_cases_that_this_module_repeats_are_still_in_the_suite() -> None:
    """The texts above come from these cases: whoever changes one looks here."""
    suite = json.loads((Path(__file__).parents[3] / "tests/conformance/rest/access.json").read_text())
    texts = {case["expect"].get("text") for case in suite["cases"]}
    assert "Unprivileged API tokens can't set ACL items." in texts
    assert "invalid acl path '/nosuch'." in texts
