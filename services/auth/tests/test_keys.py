"""Ticket keys: shared by replicas, rotated with overlap (rest-api E.12)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from testkit.auth_service import PASSWORD, AuthProcess, AuthWorld, ShiftedClock, start_auth
from testkit.servers import temporary_folder

from pbs_cloud.auth.keys import LEAD_SECONDS, OVERLAP_SECONDS, ROTATION_SECONDS, KeyRing
from pbs_cloud.auth.tickets import LIFETIME_SECONDS, TicketKey
from pbs_cloud.contracts.auth import Credentials
from pbs_cloud.contracts.errors import Unauthenticated, Unavailable
from pbs_cloud.runtime.secret_box import SecretBox
from pbs_cloud.runtime.settings import Settings


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


async def test_tickets_renew_across_replicas_while_keys_rotate(
    service_database: Callable[[str], Awaitable[str]], run_dir: Path
) -> None:
    """A client that renews every 15 minutes, now here now there, is never refused; the old key goes in the end."""
    url, clock = await service_database("auth"), ShiftedClock()
    one = await start_auth(url, run_dir, clock=clock)
    two = await start_auth(url, temporary_folder("auth"), clock=clock)
    try:
        world = await AuthWorld.create(one)
        await world.make_user("alice@pbs")
        clock.shift = ROTATION_SECONDS - OVERLAP_SECONDS - 3600 + 450  # no turn falls where a key begins or ends
        login, seen = await one.client.login("alice@pbs", PASSWORD), set()
        for turn in range(20):
            clock.shift += 900
            here, there = (one, two) if turn % 2 else (two, one)
            for process in (one, two):
                await ring_of(process).refresh()
            login = await here.client.login("alice@pbs", login.ticket)
            credentials = Credentials(ticket=login.ticket, csrf_token=login.csrf_token, csrf_required=True)
            assert (await there.client.authenticate(credentials)).auth_id == "alice@pbs"
            assert ring_of(one).keys == ring_of(two).keys
            seen.add(tuple(key.active_from for key in ring_of(one).keys))
        assert [len(keys) for keys in sorted(seen)] == [1, 2, 1], "one key, both, only the new one"
    finally:
        await one.stop()
        await two.stop()


async def test_keys_lie_sealed_and_those_of_before_are_sealed_when_they_are_read(world: AuthWorld) -> None:
    keys = ring(world)
    (key,) = keys.keys
    await world.make_user("alice@pbs")
    login = await world.client.login("alice@pbs", PASSWORD)
    async with world.process.database.system() as connection:
        (sealed,) = await connection.fetch("SELECT ticket_seed, csrf_secret FROM signing_key")
        assert key.ticket_seed not in bytes(sealed[0]) and key.csrf_secret not in bytes(sealed[1])
        await connection.execute("UPDATE signing_key SET ticket_seed = $1, csrf_secret = $2", *plain(key))
    await keys.refresh()
    assert keys.keys == (key,)
    async with world.process.database.system() as connection:
        (again,) = await connection.fetch("SELECT ticket_seed, csrf_secret FROM signing_key")
    assert len(again[0]) > 32 and key.ticket_seed not in bytes(again[0])
    assert (await world.ticket(login)).auth_id == "alice@pbs"


async def test_another_key_of_the_deployment_opens_nothing(world: AuthWorld) -> None:
    other = temporary_folder("key") / "secrets.key"
    other.write_text("ab" * 32)
    box = SecretBox(Settings(secret_key_file=other))
    with pytest.raises(Unavailable, match="PBS_SECRET_KEY_FILE"):
        await KeyRing(world.process.database, box, world.clock).refresh()


def plain(key: TicketKey) -> tuple[bytes, bytes]:
    return key.ticket_seed, key.csrf_secret


def ring_of(process: AuthProcess) -> KeyRing:
    return next(part for part in process.parts if isinstance(part, KeyRing))


def ring(world: AuthWorld) -> KeyRing:
    return ring_of(world.process)


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
