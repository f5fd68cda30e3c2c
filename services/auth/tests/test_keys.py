"""Ticket keys: shared by replicas, rotated with overlap (rest-api E.12)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from testkit.auth_service import PASSWORD, AuthWorld, ShiftedClock, start_auth
from testkit.servers import temporary_folder

from pbs_cloud.auth.keys import LEAD_SECONDS, OVERLAP_SECONDS, ROTATION_SECONDS, KeyRing
from pbs_cloud.auth.tickets import LIFETIME_SECONDS
from pbs_cloud.contracts.auth import Credentials
from pbs_cloud.contracts.errors import Unauthenticated


async def test_replicas_accept_each_others_tickets_and_make_equal_ones(
    service_database: Callable[[str], Awaitable[str]], run_dir: Path
) -> None:
    url, clock = await service_database("auth"), ShiftedClock()
    one = await start_auth(url, run_dir, clock=clock)
    two = await start_auth(url, temporary_folder("auth"), clock=clock)
    try:
        world = await AuthWorld.create(one)
        await world.make_user("alice@pbs")
        login = await one.client.login("alice@pbs", PASSWORD)
        credentials = Credentials(ticket=login.ticket, csrf_token=login.csrf_token, csrf_required=True)
        assert (await two.client.authenticate(credentials)).auth_id == "alice@pbs"
        for _ in range(5):
            first, second = await one.client.login("alice@pbs", PASSWORD), await two.client.login("alice@pbs", PASSWORD)
            if first.ticket.split(":")[2] == second.ticket.split(":")[2]:
                break
        assert (first.ticket, first.csrf_token) == (second.ticket, second.csrf_token)
    finally:
        await one.stop()
        await two.stop()


def ring(world: AuthWorld) -> KeyRing:
    return next(part for part in world.process.parts if isinstance(part, KeyRing))


async def test_a_key_is_replaced_after_its_time_and_old_tickets_stay_valid(world: AuthWorld) -> None:
    keys = ring(world)
    first = keys.keys
    await keys.refresh()
    assert keys.keys == first and len(first) == 1
    await world.make_user("alice@pbs")
    world.clock.shift = ROTATION_SECONDS
    await keys.refresh()
    assert len(keys.keys) == 2
    before = int(world.clock.time())
    assert keys.signing(before) == first[0], "a new key must not sign before every replica has read it"
    assert keys.signing(before + LEAD_SECONDS) == keys.keys[1]
    login = await world.client.login("alice@pbs", PASSWORD)
    world.clock.shift += LEAD_SECONDS
    await keys.refresh()
    assert (await world.ticket(login)).auth_id == "alice@pbs"
    renewed = await world.client.login("alice@pbs", login.ticket)
    assert (await world.ticket(renewed)).auth_id == "alice@pbs"


async def test_a_superseded_key_is_dropped_when_nothing_it_signed_is_valid(world: AuthWorld) -> None:
    keys = ring(world)
    world.clock.shift = ROTATION_SECONDS
    await keys.refresh()
    old, new = keys.keys
    world.clock.shift += LEAD_SECONDS + LIFETIME_SECONDS
    await keys.refresh()
    assert keys.keys == (old, new)
    world.clock.shift += OVERLAP_SECONDS
    await keys.refresh()
    assert keys.keys == (new,)


async def test_a_ticket_of_foreign_keys_is_refused(
    world: AuthWorld, service_database: Callable[[str], Awaitable[str]]
) -> None:
    await world.make_user("alice@pbs")
    login = await world.client.login("alice@pbs", PASSWORD)
    async with world.process.database.system() as connection:
        await connection.execute("DELETE FROM signing_key")
    await ring(world).refresh()
    with pytest.raises(Unauthenticated):
        await world.ticket(login)


async def test_no_tenant_sees_the_keys(world: AuthWorld) -> None:
    async with world.process.database.tenant("default") as connection:
        assert await connection.fetch("SELECT * FROM signing_key") == []
