"""API tokens (rest-api C.3, D.5; texts of the conformance cases)."""

from __future__ import annotations

import pytest
from testkit.auth_service import AuthWorld

from pbs_cloud.contracts.auth import TokenSettings
from pbs_cloud.contracts.errors import (
    AlreadyExists,
    Conflict,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unauthenticated,
)
from pbs_cloud.contracts.rights import privileges

DENIED = "^permission check failed$"
STALE = "0" * 64


async def test_create_read_list_update_delete(world: AuthWorld) -> None:
    alice, client = await world.make_user("alice@pbs"), world.client
    assert (await client.list_tokens(alice, "alice@pbs"))[0] == ()
    token, secret = await client.create_token(alice, "alice@pbs", "pve1", TokenSettings(comment="c", expire=1800000000))
    assert (token.tokenid, token.name, token.comment, token.enable, token.expire) == (
        "alice@pbs!pve1",
        "pve1",
        "c",
        True,
        1800000000,
    )
    assert token.permission is None
    assert (await client.get_token(alice, "alice@pbs", "pve1"))[0] == token
    await client.create_token(alice, "alice@pbs", "x", TokenSettings(enable=False))
    listed, digest = await client.list_tokens(alice, "alice@pbs")
    assert [(found.name, found.enable) for found in listed] == [("pve1", True), ("x", False)]
    assert await client.update_token(alice, "alice@pbs", "pve1", TokenSettings(expire=0), delete=["comment"]) is None
    token, _ = await client.get_token(alice, "alice@pbs", "pve1")
    assert (token.comment, token.expire) == (None, 0)
    with pytest.raises(Conflict, match=r"^detected modified configuration"):
        await client.delete_token(alice, "alice@pbs", "pve1", digest)
    await client.delete_token(alice, "alice@pbs", "pve1")
    with pytest.raises(Unauthenticated):
        await world.token("alice@pbs!pve1", secret)


async def test_texts_of_refusals(world: AuthWorld) -> None:
    root, client = await world.root_token(), world.client
    await world.make_user("alice@pbs")
    await client.create_token(root, "alice@pbs", "pve1", TokenSettings())
    with pytest.raises(AlreadyExists, match=r"^token 'pve1' for user 'alice@pbs' already exists\.$"):
        await client.create_token(root, "alice@pbs", "pve1", TokenSettings())
    with pytest.raises(NotFound, match=r"^no such user 'nosuch@pbs'$"):
        await client.create_token(root, "nosuch@pbs", "pve1", TokenSettings())
    with pytest.raises(NotFound, match=r"^no such user 'nosuch@pbs'$"):
        await client.list_tokens(root, "nosuch@pbs")
    for userid in ("alice@pbs", "nosuch@pbs"):
        for missing in (
            client.get_token(root, userid, "no"),
            client.update_token(root, userid, "no", TokenSettings(comment="x")),
        ):
            with pytest.raises(NotFound, match=rf"^no such token '{userid}!no'$"):
                await missing
    with pytest.raises(NotFound, match=r"^token 'no' of user 'alice@pbs' does not exist\.$"):
        await client.delete_token(root, "alice@pbs", "no")
    for name in ("a b", "", "-x", "n" * 60):
        with pytest.raises(InvalidArgument) as bad:
            await client.create_token(root, "alice@pbs", name, TokenSettings())
        assert bad.value.field == "token-name"
    with pytest.raises(InvalidArgument, match=r"^value 'expire' is not defined in the enumeration\.$") as bad:
        await client.update_token(root, "alice@pbs", "pve1", TokenSettings(), delete=["expire"])
    assert bad.value.field == "delete"
    for call in (
        client.create_token(root, "alice@pbs", "two", TokenSettings(), STALE),
        client.update_token(root, "alice@pbs", "pve1", TokenSettings(comment="x"), digest=STALE),
        client.delete_token(root, "alice@pbs", "pve1", STALE),
    ):
        with pytest.raises(Conflict, match=r"^detected modified configuration"):
            await call


async def test_regeneration_replaces_the_secret(world: AuthWorld) -> None:
    alice, client = await world.make_user("alice@pbs"), world.client
    _, first = await client.create_token(alice, "alice@pbs", "t", TokenSettings())
    second = await client.update_token(alice, "alice@pbs", "t", TokenSettings(), regenerate=True)
    assert second is not None and second != first
    await world.token("alice@pbs!t", second)
    with pytest.raises(Unauthenticated):
        await world.token("alice@pbs!t", first)


async def test_who_may(world: AuthWorld) -> None:
    alice, bob = await world.make_user("alice@pbs"), await world.make_user("bob@pbs")
    client = world.client
    made, secret = await client.create_token(alice, "alice@pbs", "t", TokenSettings())
    token = await world.token("alice@pbs!t", secret)
    for ctx in (bob, token):
        for call in (
            client.list_tokens(ctx, "alice@pbs"),
            client.get_token(ctx, "alice@pbs", "t"),
            client.create_token(ctx, "alice@pbs", "mine", TokenSettings()),
            client.update_token(ctx, "alice@pbs", "t", TokenSettings(comment="x")),
            client.delete_token(ctx, "alice@pbs", "t"),
            client.delete_token_by_id(ctx, made.id),
            client.delete_token_by_id(ctx, "no-uuid"),
            client.delete_token_by_id(ctx, "00000000-0000-0000-0000-000000000000"),
        ):
            with pytest.raises(PermissionDenied, match=DENIED):
                await call
    await client.delete_token_by_id(alice, made.id)
    with pytest.raises(PermissionDenied, match=DENIED):
        await client.delete_token_by_id(alice, made.id)
    made, _ = await client.create_token(alice, "alice@pbs", "t", TokenSettings())
    await client.delete_token_by_id(await world.make_user("admin@pbs", level="admin"), made.id)


async def test_levels_of_own_tokens_are_cut_down_or_refused(world: AuthWorld) -> None:
    alice, client = await world.make_user("alice@pbs", level="backup"), world.client
    made, secret = await client.create_token(alice, "alice@pbs", "strong", TokenSettings(permission="admin"))
    assert made.permission == "admin"
    caller = (await world.token("alice@pbs!strong", secret)).caller
    assert privileges(caller, "/datastore/x") == privileges(alice.caller, "/datastore/x")
    for level, allowed in (("read", True), ("backup", True), ("datastore_admin", False), ("admin", False)):
        call = client.create_token(alice, "alice@pbs", level, TokenSettings(permission=level), level_within_user=True)
        if allowed:
            assert (await call)[0].permission == level
        else:
            with pytest.raises(InvalidArgument) as refused:
                await call
            assert refused.value.field == "permission"
    root = await world.root_token()
    await client.create_token(root, "root@pam", "second", TokenSettings(permission="admin"), level_within_user=True)


async def test_levels_of_others_tokens_need_the_right(world: AuthWorld) -> None:
    await world.make_user("alice@pbs")
    await world.make_user("keeper@pbs")
    await world.grant("keeper@pbs", "/access/users", "Admin")
    keeper = await world.user("keeper@pbs")
    with pytest.raises(PermissionDenied, match=DENIED):
        await world.client.create_token(keeper, "alice@pbs", "t", TokenSettings(permission="read"))
    await world.client.create_token(keeper, "alice@pbs", "t", TokenSettings())
    with pytest.raises(PermissionDenied, match=DENIED):
        await world.client.update_token(keeper, "alice@pbs", "t", TokenSettings(permission="read"))


async def test_a_deleted_token_leaves_no_entries(world: AuthWorld) -> None:
    alice, client = await world.make_user("alice@pbs", level="admin"), world.client
    await client.create_token(alice, "alice@pbs", "t", TokenSettings(permission="admin"))
    await client.delete_token(alice, "alice@pbs", "t")
    assert not [e for e in (await client.list_acl(alice))[0] if e.auth_id == "alice@pbs!t"]
    _, secret = await client.create_token(alice, "alice@pbs", "t", TokenSettings())
    assert privileges((await world.token("alice@pbs!t", secret)).caller, "/") == frozenset()
