"""Users, levels and passwords (rest-api C.2, C.3, D.4, E.2, E.6, E.10; texts of the conformance cases)."""

from __future__ import annotations

import asyncio

import pytest
from testkit.auth_service import PASSWORD, AuthWorld

from pbs_cloud.auth.levels import level_of, parse_level
from pbs_cloud.contracts.auth import TokenSettings, User, UserSettings
from pbs_cloud.contracts.context import AclEntry
from pbs_cloud.contracts.errors import (
    AlreadyExists,
    Conflict,
    InvalidArgument,
    NotFound,
    PbsError,
    PermissionDenied,
    Unauthenticated,
)
from pbs_cloud.contracts.rights import LEVELS

DENIED = "^permission check failed$"


async def get(world: AuthWorld, userid: str) -> User:
    return (await world.client.get_user(await world.root_token(), userid))[0]


async def entries_of(world: AuthWorld, auth_id: str) -> set[tuple[str, str]]:
    found, _ = await world.client.list_acl(await world.root_token())
    return {(entry.path, entry.role) for entry in found if entry.auth_id == auth_id and entry.propagate}


async def test_create_and_read_back(world: AuthWorld) -> None:
    settings = UserSettings(
        password=PASSWORD, comment="a comment", firstname="Ada", lastname="Lo", email="ada@example.com", expire=0
    )
    created = await world.client.create_user(await world.root_token(), "ada@pbs", settings)
    assert (created.userid, created.tenant_id, created.enable, created.expire) == ("ada@pbs", "default", True, 0)
    assert (created.comment, created.firstname, created.permission) == ("a comment", "Ada", None)
    assert await get(world, "ada@pbs") == created
    assert await entries_of(world, "ada@pbs") == set()


@pytest.mark.parametrize(
    ("userid", "settings", "error", "field", "text"),
    [
        ("root@pam", {}, AlreadyExists, None, "user 'root@pam' already exists."),
        ("x@nosuch", {}, InvalidArgument, None, "unknown realm 'nosuch'"),
        ("bad", {}, InvalidArgument, "userid", "value does not match the regex pattern"),
        ("root@pam!x@pbs", {}, InvalidArgument, "userid", "value does not match the regex pattern"),
        ("a" * 61 + "@pbs", {}, InvalidArgument, "userid", "value may only be 64 characters long"),
        ("x@pbs", {"password": "1234567"}, InvalidArgument, "password", "value must be at least 8 characters long"),
        ("x@pbs", {"password": "1" * 65}, InvalidArgument, "password", "value may only be 64 characters long"),
        ("x@pbs", {"comment": "c" * 129}, InvalidArgument, "comment", "value may only be 128 characters long"),
        ("x@pbs", {"comment": "1\n2"}, InvalidArgument, "comment", "value does not match the regex pattern"),
        ("x@pbs", {"firstname": "A"}, InvalidArgument, "firstname", "value must be at least 2 characters long"),
        ("x@pbs", {"expire": -1}, InvalidArgument, "expire", "value must have a minimum value of 0 (got -1)"),
        (
            "x@pbs",
            {"permission": "god"},
            InvalidArgument,
            "permission",
            "value 'god' is not defined in the enumeration.",
        ),
    ],
)
async def test_refused_users(
    world: AuthWorld, userid: str, settings: dict[str, object], error: type[PbsError], field: str | None, text: str
) -> None:
    with pytest.raises(error) as refused:
        # as a tenant's administrator: the operator may choose realms
        admin = await world.make_user("admin@pbs", level="admin")
        await world.client.create_user(admin, userid, UserSettings(**settings))  # type: ignore[arg-type]
    assert (refused.value.message, refused.value.field) == (text, field)


async def test_who_may_see_and_change_whom(world: AuthWorld) -> None:
    alice, auditor = await world.make_user("alice@pbs"), await world.make_user("auditor@pbs")
    await world.grant("auditor@pbs", "/", "Audit")
    auditor = await world.user("auditor@pbs")
    _, secret = await world.client.create_token(alice, "alice@pbs", "t", TokenSettings())
    token = await world.token("alice@pbs!t", secret)
    client = world.client
    assert (await client.get_user(alice, "alice@pbs"))[0].userid == "alice@pbs"
    assert (await client.get_user(auditor, "alice@pbs"))[0].userid == "alice@pbs"
    for ctx in (alice, token):
        assert [user.userid for user in (await client.list_users(ctx))[0]] == ["alice@pbs"]
    assert len((await client.list_users(auditor))[0]) == 3
    listed, _ = await client.list_users(alice, include_tokens=True)
    assert [found.tokenid for found in listed[0].tokens] == ["alice@pbs!t"]
    await client.update_user(alice, "alice@pbs", UserSettings(comment="me"))
    for ctx, other in ((alice, "auditor@pbs"), (alice, "nosuch@pbs"), (token, "alice@pbs"), (auditor, "alice@pbs")):
        for call in (
            client.update_user(ctx, other, UserSettings(comment="x")),
            client.delete_user(ctx, other),
            client.create_user(ctx, "new@pbs", UserSettings()),
        ):
            with pytest.raises(PermissionDenied, match=DENIED):
                await call
    for ctx, other in ((alice, "auditor@pbs"), (alice, "nosuch@pbs"), (token, "alice@pbs")):
        with pytest.raises(PermissionDenied, match=DENIED):
            await client.get_user(ctx, other)
    root = await world.root_token()
    for missing in (client.get_user(root, "no@pbs"), client.update_user(root, "no@pbs", UserSettings(comment="x"))):
        with pytest.raises(NotFound, match=r"^no such user 'no@pbs'$"):
            await missing
    with pytest.raises(NotFound, match=r"^user 'no@pbs' does not exist\.$"):
        await client.delete_user(root, "no@pbs")


async def test_update_sets_removes_and_checks_the_digest(world: AuthWorld) -> None:
    root, client = await world.root_token(), world.client
    await client.create_user(root, "u@pbs", UserSettings(comment="c", email="e@x.org", firstname="Fi", lastname="La"))
    _, digest = await client.get_user(root, "u@pbs")
    await client.update_user(root, "u@pbs", UserSettings(comment="b", enable=False, expire=1800000000), digest=digest)
    user = await get(world, "u@pbs")
    assert (user.comment, user.enable, user.expire) == ("b", False, 1800000000)
    with pytest.raises(Conflict, match=r"^detected modified configuration - file changed by other user\? Try again\.$"):
        await client.update_user(root, "u@pbs", UserSettings(comment="z"), digest=digest)
    with pytest.raises(Conflict, match=r"^detected modified configuration"):
        await client.delete_user(root, "u@pbs", digest)
    await client.update_user(root, "u@pbs", UserSettings(enable=True, expire=0, comment=""), ["email", "firstname"])
    user = await get(world, "u@pbs")
    assert (user.comment, user.enable, user.expire, user.email, user.firstname) == (None, True, 0, None, None)
    assert user.lastname == "La"
    for field in ("enable", "comment,email"):
        with pytest.raises(InvalidArgument, match=f"^value '{field}' is not defined in the enumeration.$") as bad:
            await client.update_user(root, "u@pbs", UserSettings(), [field])
        assert bad.value.field == "delete"
    _, before = await client.list_users(root)
    await client.update_user(root, "u@pbs", UserSettings())
    assert (await client.list_users(root))[1] == before, "nothing changed"


async def test_concurrent_changes_with_one_digest_let_one_pass(world: AuthWorld) -> None:
    root, client = await world.root_token(), world.client
    await client.create_user(root, "u@pbs", UserSettings())
    _, digest = await client.get_user(root, "u@pbs")
    results = await asyncio.gather(
        *(client.update_user(root, "u@pbs", UserSettings(comment=f"c{n}"), digest=digest) for n in range(8)),
        return_exceptions=True,
    )
    assert results.count(None) == 1
    assert all(result is None or isinstance(result, Conflict) for result in results)


async def test_delete_removes_tokens_and_entries_of_both(world: AuthWorld) -> None:
    root, client = await world.root_token(), world.client
    await world.make_user("alice@pbs", level="backup")
    _, secret = await client.create_token(root, "alice@pbs", "t", TokenSettings(permission="read"))
    assert await entries_of(world, "alice@pbs!t")
    await client.delete_user(root, "alice@pbs")
    assert not await entries_of(world, "alice@pbs!t")
    assert not await entries_of(world, "alice@pbs")
    with pytest.raises(Unauthenticated):
        await world.token("alice@pbs!t", secret)
    with pytest.raises(NotFound):
        await client.delete_user(root, "alice@pbs")
    await world.make_user("alice@pbs")
    assert (await get(world, "alice@pbs")).permission is None


async def test_a_user_may_delete_itself(world: AuthWorld) -> None:
    alice = await world.make_user("alice@pbs")
    await world.client.delete_user(alice, "alice@pbs")
    with pytest.raises(NotFound):
        await get(world, "alice@pbs")


async def test_delete_by_id(world: AuthWorld) -> None:
    admin, alice = await world.make_user("admin@pbs", level="admin"), await world.make_user("alice@pbs")
    root, client = await world.root_token(), world.client
    first, second, operator = [await get(world, name) for name in ("alice@pbs", "admin@pbs", "root@pam")]
    with pytest.raises(PermissionDenied, match=DENIED):
        await client.delete_user(alice, second.id)
    for unknown in ("00000000-0000-0000-0000-000000000000", "no-uuid"):
        with pytest.raises(PermissionDenied, match=DENIED):
            await client.delete_user(admin, unknown)
        with pytest.raises(NotFound):
            await client.delete_user(root, unknown)
    assert (await client.delete_user(admin, first.id)).userid == "alice@pbs"
    with pytest.raises(InvalidArgument, match="root@pam"):
        await client.delete_user(root, operator.id)
    with pytest.raises(PermissionDenied):
        await client.delete_user(admin, operator.id)


@pytest.mark.parametrize("level", list(LEVELS))
async def test_a_level_writes_its_entries_and_removes_those_of_the_former(world: AuthWorld, level: str) -> None:
    await world.make_user("alice@pbs", level="datastore_admin")
    await world.grant("alice@pbs", "/datastore/own", "DatastoreAudit")
    root = await world.root_token()
    await world.client.update_user(root, "alice@pbs", UserSettings(permission=level))
    assert await entries_of(world, "alice@pbs") == {*LEVELS[level], ("/datastore/own", "DatastoreAudit")}
    assert (await get(world, "alice@pbs")).permission == level


async def test_the_level_shown_is_the_highest_that_is_complete(world: AuthWorld) -> None:
    await world.make_user("alice@pbs", level="backup")
    await world.grant("alice@pbs", "/datastore", "DatastoreAdmin")
    assert (await get(world, "alice@pbs")).permission == "datastore_admin"
    root = await world.root_token()
    await world.client.update_acl(root, AclEntry("/system", "alice@pbs", "Audit"), delete=True)
    assert (await get(world, "alice@pbs")).permission is None
    await world.grant("alice@pbs", "/", "Admin", propagate=False)
    assert (await get(world, "alice@pbs")).permission is None


def test_names_of_levels() -> None:
    assert [parse_level(name) for name in ("Backup", "DatastoreAdmin", "READ", "admin")] == [
        "backup",
        "datastore_admin",
        "read",
        "admin",
    ]
    assert level_of([], "a@pbs") is None


async def test_nobody_raises_himself(world: AuthWorld) -> None:
    alice = await world.make_user("alice@pbs", level="backup")
    with pytest.raises(PermissionDenied, match=DENIED):
        await world.client.update_user(alice, "alice@pbs", UserSettings(permission="admin"))
    await world.make_user("keeper@pbs")
    await world.grant("keeper@pbs", "/access/users", "Admin")
    keeper = await world.user("keeper@pbs")
    await world.client.create_user(keeper, "plain@pbs", UserSettings())
    for call in (
        world.client.create_user(keeper, "strong@pbs", UserSettings(permission="read")),
        world.client.update_user(keeper, "keeper@pbs", UserSettings(permission="admin")),
    ):
        with pytest.raises(PermissionDenied, match=DENIED):
            await call


async def test_the_operator_belongs_to_the_operator(world: AuthWorld) -> None:
    admin = await world.make_user("admin@pbs", level="admin")
    client = world.client
    for call in (
        client.update_user(admin, "root@pam", UserSettings(enable=False)),
        client.update_user(admin, "root@pam", UserSettings(password="stolen-secret")),
        client.delete_user(admin, "root@pam"),
        client.create_token(admin, "root@pam", "mine", TokenSettings(permission="admin")),
        client.update_token(admin, "root@pam", "root-token", TokenSettings(), regenerate=True),
        client.delete_token(admin, "root@pam", "root-token"),
    ):
        with pytest.raises(PermissionDenied, match=DENIED):
            await call
    with pytest.raises(InvalidArgument, match="not authorized"):
        await client.change_password(admin, "root@pam", "stolen-secret", PASSWORD)
    with pytest.raises(InvalidArgument, match="cannot be deleted"):
        await client.delete_user(await world.root_token(), "root@pam")


async def test_password_changes(world: AuthWorld) -> None:
    admin, alice = await world.make_user("admin@pbs", level="admin"), await world.make_user("alice@pbs")
    client, new = world.client, "another-secret-1"
    with pytest.raises(Unauthenticated, match=r"^invalid credentials$"):
        await client.change_password(alice, "alice@pbs", new, "wrong-wrong")
    with pytest.raises(Unauthenticated, match=r"^missing password$"):
        await client.change_password(alice, "alice@pbs", new, None)
    with pytest.raises(InvalidArgument, match=r"^you are not authorized to change the password\.$"):
        await client.change_password(alice, "admin@pbs", new, PASSWORD)
    with pytest.raises(InvalidArgument, match=r"^value must be at least 8 characters long$"):
        await client.change_password(alice, "alice@pbs", "short", PASSWORD)
    ticket = (await client.login("alice@pbs", PASSWORD)).ticket
    with pytest.raises(Unauthenticated, match=r"^invalid credentials$"):
        await client.change_password(alice, "alice@pbs", new, ticket)
    await client.change_password(alice, "alice@pbs", new, PASSWORD)
    assert await client.login("alice@pbs", ticket), "tickets made before stay valid"
    await client.change_password(admin, "alice@pbs", "another-secret-2", PASSWORD)
    await world.user("alice@pbs", "another-secret-2")
    with pytest.raises(Unauthenticated):
        await client.change_password(admin, "nosuch@pbs", new, PASSWORD)
    await world.make_user("unix@pam")
    with pytest.raises(InvalidArgument, match="not authorized"):
        await client.change_password(admin, "unix@pam", new, PASSWORD)
    await client.change_password(await world.root(), "unix@pam", new, None)
    await world.user("unix@pam", new)
    with pytest.raises(InvalidArgument, match=r"^API tokens cannot access this API endpoint$"):
        await client.change_password(await world.root_token(), "root@pam", new, None)


async def test_passwords_in_updates_are_for_administrators(world: AuthWorld) -> None:
    alice = await world.make_user("alice@pbs")
    with pytest.raises(InvalidArgument) as refused:
        await world.client.update_user(alice, "alice@pbs", UserSettings(password="another-secret"))
    assert refused.value.field is None
    admin = await world.make_user("admin@pbs", level="admin")
    await world.client.update_user(admin, "alice@pbs", UserSettings(password="another-secret"))
    await world.user("alice@pbs", "another-secret")


async def test_active_auth_ids(world: AuthWorld) -> None:
    root, client = await world.root_token(), world.client
    await world.make_user("alice@pbs")
    await client.create_token(root, "alice@pbs", "t", TokenSettings())
    await world.make_tenant("acme")
    for auth_id in ("alice@pbs", "alice@pbs!t", "root@pam"):
        assert await client.is_active(root, auth_id)
    for auth_id in ("nosuch@pbs", "alice@pbs!none", "admin@acme", "", "!", "alice@pbs!t!t"):
        assert not await client.is_active(root, auth_id)
    await client.update_user(root, "alice@pbs", UserSettings(expire=5))
    assert not await client.is_active(root, "alice@pbs!t")
