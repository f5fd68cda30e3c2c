"""Failed logins wait: per user and address, per user, per address, over all replicas (rest-api A.6)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from testkit.auth_service import PASSWORD, AuthWorld, ShiftedClock, start_auth
from testkit.servers import temporary_folder

from pbs_cloud.auth.login_guard import ADDRESS, LIMITS, PAIR, USER
from pbs_cloud.contracts.auth import AuthClient, TokenSettings
from pbs_cloud.contracts.errors import Unauthenticated

HOME, AWAY = "192.0.2.1", "198.51.100.9"
PAIR_FAILURES, USER_FAILURES = LIMITS[PAIR].failures, LIMITS[USER].failures


async def works(client: AuthClient, address: str, userid: str = "alice@pbs", password: str = PASSWORD) -> bool:
    try:
        await client.login(userid, password, client_address=address)
    except Unauthenticated as error:
        assert error.message == "permission check failed."
        return False
    return True


async def fail(client: AuthClient, times: int, address: str, userid: str = "alice@pbs") -> None:
    for _ in range(times):
        assert not await works(client, address, userid, "wrong-password")


async def test_after_a_few_failures_even_the_right_password_waits(world: AuthWorld) -> None:
    await world.make_user("alice@pbs")
    await fail(world.client, PAIR_FAILURES - 1, AWAY)
    assert await works(world.client, AWAY), "the last one is still free, and success resets"
    await fail(world.client, PAIR_FAILURES, AWAY)
    assert not await works(world.client, AWAY)
    world.clock.shift += LIMITS[PAIR].seconds + 1
    assert await works(world.client, AWAY)
    await fail(world.client, PAIR_FAILURES, AWAY)
    assert not await works(world.client, AWAY)
    assert await works(world.client, HOME), "elsewhere one user has not failed yet"


async def test_the_owner_logs_in_from_a_known_address_whatever_strangers_try(world: AuthWorld) -> None:
    await world.make_user("alice@pbs")
    assert await works(world.client, HOME)
    for number in range(USER_FAILURES + 2):
        await fail(world.client, 1, f"203.0.113.{number}")
    assert await works(world.client, HOME)
    assert not await works(world.client, AWAY), "an unknown address waits"
    world.clock.shift += LIMITS[USER].seconds * 3
    assert await works(world.client, AWAY)


async def test_tokens_and_tickets_are_never_held_up(world: AuthWorld) -> None:
    alice = await world.make_user("alice@pbs")
    login = await world.client.login("alice@pbs", PASSWORD, client_address=AWAY)
    _, secret = await world.client.create_token(alice, "alice@pbs", "ci", TokenSettings())
    for number in range(USER_FAILURES + 2):
        await fail(world.client, 1, f"203.0.113.{number}")
    await fail(world.client, PAIR_FAILURES, AWAY)
    assert not await works(world.client, AWAY)
    assert (await world.token("alice@pbs!ci", secret)).caller.auth_id == "alice@pbs!ci"
    assert await works(world.client, AWAY, password=secret)
    assert await works(world.client, AWAY, password=login.ticket)


async def test_names_that_nobody_has_are_counted_alike(world: AuthWorld) -> None:
    await world.make_user("alice@pbs")
    counted: dict[str, list[tuple[str, int]]] = {}
    async with world.process.database.system() as connection:
        await connection.execute("DELETE FROM login_failure")
    for userid in ("alice@pbs", "nobody@pbs", "x@nosuch"):
        await fail(world.client, 3, AWAY, userid)
        async with world.process.database.system() as connection:
            rows = await connection.fetch("SELECT scope, round(level)::int FROM login_failure ORDER BY 1")
            await connection.execute("DELETE FROM login_failure")
        counted[userid] = [(scope, level) for scope, level in rows]
    assert counted["alice@pbs"] == counted["nobody@pbs"] == counted["x@nosuch"]
    assert counted["alice@pbs"] == [(ADDRESS, 3), (USER, 3), (PAIR, 3)]


async def test_one_address_cannot_try_all_users(world: AuthWorld) -> None:
    await world.make_user("alice@pbs")
    async with world.process.database.system() as connection:
        await fail(world.client, 1, AWAY, "u@pbs")
        await connection.execute(
            "UPDATE login_failure SET level = $1 WHERE scope = $2", LIMITS[ADDRESS].failures, ADDRESS
        )
    assert not await works(world.client, AWAY)
    assert await works(world.client, HOME)
    assert not await works(world.client, "::ffff:" + AWAY), "the same address written otherwise"


async def test_neighbours_in_an_ipv6_network_are_one_address(world: AuthWorld) -> None:
    await world.make_user("alice@pbs")
    for number in range(PAIR_FAILURES):
        await fail(world.client, 1, f"2001:db8:1:2::{number + 1:x}")
    assert not await works(world.client, "2001:db8:1:2:ffff::")
    assert await works(world.client, "2001:db8:1:3::1")


async def test_many_at_once_are_not_more_than_one_after_the_other(world: AuthWorld) -> None:
    await world.make_user("alice@pbs")
    await asyncio.gather(*(fail(world.client, 1, AWAY) for _ in range(30)))
    async with world.process.database.system() as connection:
        level = await connection.fetchval("SELECT level FROM login_failure WHERE scope = $1", USER)
    assert level <= PAIR_FAILURES, "the others were refused without a look at the password"


async def test_the_password_that_confirms_a_change_is_counted_too(world: AuthWorld) -> None:
    alice = await world.make_user("alice@pbs")
    for _ in range(PAIR_FAILURES):
        with pytest.raises(Unauthenticated):
            await world.client.change_password(alice, "alice@pbs", "second-secret", "wrong-password")
    with pytest.raises(Unauthenticated, match=r"^invalid credentials$"):
        await world.client.change_password(alice, "alice@pbs", "second-secret", PASSWORD)
    world.clock.shift += LIMITS[PAIR].seconds + 1
    await world.client.change_password(alice, "alice@pbs", "second-secret", PASSWORD)


async def test_replicas_agree(service_database: Callable[[str], Awaitable[str]]) -> None:
    url, clock = await service_database("auth"), ShiftedClock()
    one = await start_auth(url, temporary_folder("auth"), clock=clock)
    two = await start_auth(url, temporary_folder("auth"), clock=clock)
    try:
        world = await AuthWorld.create(one)
        await world.make_user("alice@pbs")
        await fail(one.client, PAIR_FAILURES - 2, AWAY)
        await fail(two.client, 2, AWAY)
        assert not await works(one.client, AWAY)
        assert not await works(two.client, AWAY)
        clock.shift += LIMITS[PAIR].seconds + 1
        assert await works(two.client, AWAY)
        await fail(one.client, PAIR_FAILURES - 1, AWAY)
        assert await works(one.client, AWAY), "the success on the other replica counted"
    finally:
        await two.stop()
        await one.stop()


async def test_counters_that_nobody_needs_are_removed(world: AuthWorld) -> None:
    for number in range(5):
        await fail(world.client, 1, f"203.0.113.{number}", f"u{number}@pbs")
    world.clock.shift += 86_400
    await fail(world.client, 1, AWAY)
    async with world.process.database.system() as connection:
        assert await connection.fetchval("SELECT count(*) FROM login_failure") == 3
