"""Logins and requests: passwords, tickets, token secrets, refusals (rest-api A.7, C.2, wire-protocol 3)."""

from __future__ import annotations

import re

import pytest
from testkit.auth_service import PASSWORD, AuthWorld

from pbs_cloud.contracts.auth import Credentials, TokenSettings, UserSettings
from pbs_cloud.contracts.errors import InvalidArgument, Unauthenticated
from pbs_cloud.contracts.login import Login
from pbs_cloud.contracts.rights import privileges

LOGIN_REFUSED = "^permission check failed\\.$"
REQUEST_REFUSED = "^authentication failed$"


async def login_refused(world: AuthWorld, username: str, password: str | None, **more: str) -> None:
    with pytest.raises(Unauthenticated, match=LOGIN_REFUSED):
        await world.client.login(username, password, **more)


async def request_refused(world: AuthWorld, **credentials: str | bool) -> None:
    with pytest.raises(Unauthenticated, match=REQUEST_REFUSED):
        await world.client.authenticate(Credentials(**credentials))  # type: ignore[arg-type]


async def test_password_login_gives_a_ticket_that_works(world: AuthWorld) -> None:
    await world.make_user("alice@pbs")
    login = await world.client.login("alice@pbs", PASSWORD)
    assert (login.username, login.tenant_id) == ("alice@pbs", "default")
    assert re.fullmatch(r"PBS:alice@pbs:[0-9A-F]{8}::[A-Za-z0-9+/]+", login.ticket)
    assert re.fullmatch(r"[0-9A-F]{8}:[A-Za-z0-9+/]+", login.csrf_token)
    caller = await world.ticket(login)
    assert (caller.auth_id, caller.superuser, caller.operator) == ("alice@pbs", False, False)


@pytest.mark.parametrize("username", ["alice@pbs", "nobody@pbs", "alice@nosuch", "root@pam"])
async def test_wrong_passwords_and_unknown_users_are_refused_alike(world: AuthWorld, username: str) -> None:
    await world.make_user("alice@pbs")
    for password in ("wrong-password", "", "PBS:foo", "pbs_" + "0" * 64):
        await login_refused(world, username, password)


async def test_a_user_without_password_cannot_log_in_with_one(world: AuthWorld) -> None:
    await world.make_user("alice@pbs", password=None)
    await login_refused(world, "alice@pbs", "")
    await login_refused(world, "alice@pbs", PASSWORD)


async def test_bad_parameters_are_named(world: AuthWorld) -> None:
    with pytest.raises(InvalidArgument, match=r"^no password provided$") as nothing:
        await world.client.login("alice@pbs", None)
    assert nothing.value.field is None
    for username in ("root", "alice@pbs!token", "a b@pbs", "a/b@pbs", "a:b@pbs", "@pbs", "a@p"):
        with pytest.raises(InvalidArgument, match=r"^value does not match the regex pattern$") as bad:
            await world.client.login(username, "x")
        assert bad.value.field == "username"


async def test_a_ticket_is_accepted_as_password_of_its_user_only(world: AuthWorld) -> None:
    await world.make_user("alice@pbs")
    await world.make_user("bob@pbs")
    first = await world.client.login("alice@pbs", PASSWORD)
    world.clock.shift += 600
    renewed = await world.client.login("alice@pbs", first.ticket)
    assert renewed.ticket != first.ticket
    assert (await world.ticket(renewed)).auth_id == "alice@pbs"
    await login_refused(world, "bob@pbs", first.ticket)
    await login_refused(world, "alice@pbs", first.ticket + "AA")
    await login_refused(world, "alice@pbs", first.ticket.lower())
    world.clock.shift += 7200
    await login_refused(world, "alice@pbs", first.ticket)


async def test_the_cookie_is_tried_first_then_the_password_but_no_ticket(world: AuthWorld) -> None:
    await world.make_user("alice@pbs")
    good = (await world.client.login("alice@pbs", PASSWORD)).ticket
    assert (await world.client.login("alice@pbs", None, cookie_ticket=good)).username == "alice@pbs"
    assert (await world.client.login("alice@pbs", PASSWORD, cookie_ticket="foo")).username == "alice@pbs"
    await login_refused(world, "alice@pbs", None, cookie_ticket="foo")
    await login_refused(world, "alice@pbs", good, cookie_ticket="foo")


async def test_second_factor_answers_are_refused(world: AuthWorld) -> None:
    await world.make_user("alice@pbs")
    await login_refused(world, "alice@pbs", PASSWORD, tfa_challenge="PBS:!tfa!x:00000000::x")


async def test_a_ticket_ends_after_two_hours_and_with_the_future(world: AuthWorld) -> None:
    await world.make_user("alice@pbs")
    login = await world.client.login("alice@pbs", PASSWORD)
    for shift, works in ((7190, True), (7210, False), (-290, True), (-310, False)):
        world.clock.shift = shift
        if works:
            await world.ticket(login)
        else:
            await request_refused(world, ticket=login.ticket)


async def test_changing_requests_need_the_csrf_token_of_the_same_user(world: AuthWorld) -> None:
    await world.make_user("alice@pbs")
    await world.make_user("bob@pbs")
    alice = await world.client.login("alice@pbs", PASSWORD)
    bob = await world.client.login("bob@pbs", PASSWORD)
    assert await world.client.authenticate(Credentials(ticket=alice.ticket, csrf_token="x"))
    for csrf in ("00000000:AAAA", bob.csrf_token, alice.csrf_token + "A", ""):
        await request_refused(world, ticket=alice.ticket, csrf_required=True, csrf_token=csrf)
    await request_refused(world, ticket=alice.ticket, csrf_required=True)


async def test_a_bad_ticket_is_not_helped_by_a_good_token(world: AuthWorld) -> None:
    await request_refused(
        world, ticket="foo", token_id="root@pam!root-token", token_secret=world.root_secret, csrf_required=False
    )


async def test_token_needs_its_own_id_and_secret(world: AuthWorld) -> None:
    root = await world.root_token()
    await world.make_user("alice@pbs")
    _, secret = await world.client.create_token(root, "alice@pbs", "one", TokenSettings())
    _, other = await world.client.create_token(root, "alice@pbs", "two", TokenSettings())
    assert re.fullmatch("pbs_[0-9a-f]{64}", secret)
    caller = await world.client.authenticate(
        Credentials(token_id="alice@pbs!one", token_secret=secret, csrf_required=True)
    )
    assert (caller.auth_id, caller.user_id) == ("alice@pbs!one", "alice@pbs")
    bearer = await world.client.authenticate(Credentials(bearer_secret=secret))
    assert bearer.auth_id == "alice@pbs!one"
    for token_id, wrong in (
        ("alice@pbs!one", other),
        ("alice@pbs!one", secret + "X"),
        ("alice@pbs!one", secret.upper()),
        ("alice@pbs!one", ""),
        ("alice@pbs", secret),
        ("alice@pbs", PASSWORD),
        ("alice@pbs!none", secret),
        ("alice@pbs!one\0", secret),
        ("x" * 100_000, "y" * 100_000),
    ):
        await request_refused(world, token_id=token_id, token_secret=wrong)
    await request_refused(world, bearer_secret="pbs_" + "0" * 64)
    await request_refused(world)


async def test_nothing_of_a_secret_is_stored(world: AuthWorld) -> None:
    await world.make_user("alice@pbs")
    async with world.process.database.system() as connection:
        rows = await connection.fetch("SELECT u.*, k.* FROM tenant_user u LEFT JOIN api_token k ON k.user_id = u.id")
        logs = await connection.fetch("SELECT * FROM audit_log")
        events = await connection.fetch("SELECT * FROM outbox")
    text = str([tuple(row) for row in (*rows, *logs, *events)])
    assert PASSWORD not in text
    assert world.root_secret not in text
    assert "$argon2id$" in text


async def ticket_of_token(world: AuthWorld) -> tuple[Login, str]:
    await world.make_user("alice@pbs", level="admin")
    alice = await world.user("alice@pbs")
    _, secret = await world.client.create_token(alice, "alice@pbs", "reader", TokenSettings(permission="read"))
    return await world.client.login("alice@pbs", secret), secret


async def test_a_ticket_made_from_a_token_secret_stands_for_the_token(world: AuthWorld) -> None:
    login, secret = await ticket_of_token(world)
    assert (login.username, login.ticket.split(":")[1]) == ("alice@pbs", "alice@pbs")
    caller = await world.ticket(login)
    assert caller.auth_id == "alice@pbs!reader"
    assert "Datastore.Modify" not in privileges(caller, "/datastore/x")
    renewed = await world.client.login("alice@pbs", login.ticket)
    assert (await world.ticket(renewed)).auth_id == "alice@pbs!reader"
    await world.make_user("bob@pbs")
    await login_refused(world, "bob@pbs", secret)


async def test_tickets_of_a_token_end_with_its_secret(world: AuthWorld) -> None:
    login, _ = await ticket_of_token(world)
    root = await world.root_token()
    await world.client.update_token(root, "alice@pbs", "reader", TokenSettings(enable=False))
    await request_refused(world, ticket=login.ticket)
    await world.client.update_token(root, "alice@pbs", "reader", TokenSettings(enable=True))
    await world.ticket(login)
    await world.client.update_token(root, "alice@pbs", "reader", TokenSettings(), regenerate=True)
    await request_refused(world, ticket=login.ticket)
    await login_refused(world, "alice@pbs", login.ticket)


async def test_tickets_of_a_deleted_token_do_not_work_for_a_new_one_of_that_name(world: AuthWorld) -> None:
    login, _ = await ticket_of_token(world)
    root = await world.root_token()
    await world.client.delete_token(root, "alice@pbs", "reader")
    await world.client.create_token(root, "alice@pbs", "reader", TokenSettings(permission="admin"))
    await request_refused(world, ticket=login.ticket)


async def test_tickets_end_with_the_user_even_if_the_name_returns(world: AuthWorld) -> None:
    await world.make_user("alice@pbs")
    login = await world.client.login("alice@pbs", PASSWORD)
    await world.client.delete_user(await world.root_token(), "alice@pbs")
    await request_refused(world, ticket=login.ticket)
    await world.make_user("alice@pbs")
    await request_refused(world, ticket=login.ticket)


@pytest.mark.parametrize("settings", [UserSettings(enable=False), UserSettings(expire=5)])
async def test_a_disabled_or_expired_user_and_its_tokens_are_refused_at_once(
    world: AuthWorld, settings: UserSettings
) -> None:
    root = await world.root_token()
    await world.make_user("alice@pbs")
    _, secret = await world.client.create_token(root, "alice@pbs", "one", TokenSettings())
    login = await world.client.login("alice@pbs", PASSWORD)
    await world.client.update_user(root, "alice@pbs", settings)
    await request_refused(world, ticket=login.ticket)
    await request_refused(world, token_id="alice@pbs!one", token_secret=secret)
    for password in (PASSWORD, login.ticket, secret):
        await login_refused(world, "alice@pbs", password)
    await world.client.update_user(root, "alice@pbs", UserSettings(enable=True, expire=0))
    assert await world.user("alice@pbs")
    if settings.enable is False:
        await request_refused(world, ticket=login.ticket)
    else:
        await world.ticket(login)


async def test_an_expired_token_is_refused(world: AuthWorld) -> None:
    root = await world.root_token()
    await world.make_user("alice@pbs")
    soon = int(world.clock.time()) + 60
    _, secret = await world.client.create_token(root, "alice@pbs", "one", TokenSettings(expire=soon))
    await world.token("alice@pbs!one", secret)
    world.clock.shift += 61
    await request_refused(world, token_id="alice@pbs!one", token_secret=secret)


async def test_a_percent_sign_in_a_name_does_not_make_another_user_of_it(world: AuthWorld) -> None:
    """A name that would decode to ``root@pam`` must stay what it is."""
    await world.make_user("roo%74@pam")
    login = await world.client.login("roo%74@pam", PASSWORD)
    caller = await world.ticket(login)
    assert (caller.auth_id, caller.operator, caller.superuser) == ("roo%74@pam", False, False)


async def test_names_with_other_letters_log_in(world: AuthWorld) -> None:
    await world.make_user("gäste@pbs")
    login = await world.client.login("gäste@pbs", PASSWORD)
    assert login.ticket.startswith("PBS:g%C3%A4ste@pbs:")
    assert (await world.ticket(login)).auth_id == "gäste@pbs"


async def test_a_changed_password_is_not_accepted_from_memory(world: AuthWorld) -> None:
    alice = await world.make_user("alice@pbs")
    await world.client.login("alice@pbs", PASSWORD)
    await world.client.change_password(alice, "alice@pbs", "second-secret", PASSWORD)
    await login_refused(world, "alice@pbs", PASSWORD)
    assert await world.user("alice@pbs", "second-secret")
    assert await world.client.authenticate(
        Credentials(ticket=(await world.client.login("alice@pbs", "second-secret")).ticket)
    )


async def test_last_login_and_last_use_are_recorded(world: AuthWorld) -> None:
    root = await world.root_token()
    await world.make_user("alice@pbs")
    _, secret = await world.client.create_token(root, "alice@pbs", "one", TokenSettings())
    await world.token("alice@pbs!one", secret)
    for part in world.process.parts:
        if part.name == "token use":
            await part.flush()  # type: ignore[attr-defined]
    user, _ = await world.client.get_user(root, "alice@pbs")
    token, _ = await world.client.get_token(root, "alice@pbs", "one")
    assert user.last_login is not None and abs(user.last_login - world.clock.time()) < 30
    assert token.last_used is not None and abs(token.last_used - world.clock.time()) < 30
