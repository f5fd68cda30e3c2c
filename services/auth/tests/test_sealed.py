"""All secrets of this service while the key of the deployment is replaced, and with a key that is missing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from testkit.auth_service import PASSWORD, AuthProcess, AuthWorld, ShiftedClock, start_auth
from testkit.openid_provider import CLIENT_ID, CLIENT_KEY, OpenidProvider
from testkit.servers import temporary_folder

from pbs_cloud.auth.keys import LEAD_SECONDS, KeyRing
from pbs_cloud.auth.sealed import SEALED
from pbs_cloud.auth.tickets import LIFETIME_SECONDS
from pbs_cloud.auth.totp import Totp
from pbs_cloud.contracts.errors import Unauthenticated, Unavailable
from pbs_cloud.contracts.login import Login
from pbs_cloud.contracts.realms import OpenidRealm
from pbs_cloud.runtime.errors import ConfigError
from pbs_cloud.runtime.resealing import reseal
from pbs_cloud.runtime.secret_box import SecretBox
from pbs_cloud.runtime.secret_keys import put_new_key_first

OLD, OTHER = "ab" * 32, "cd" * 32
BACK = "https://pbs.example.com:8007"
CODES = Totp(b"12345678901234567890")
URI = "otpauth://totp/PBS:alice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=PBS"
_HASHES = {"api_token.secret_hash", "recovery_key.key_hash", "login_failure.key", "openid_login.state"}


@pytest.fixture
def key_file() -> Path:
    path = temporary_folder("key") / "secrets.key"
    path.write_text(OLD)
    return path


@pytest.fixture
async def replicas(
    service_database: Callable[[str], Awaitable[str]], run_dir: Path, key_file: Path
) -> AsyncIterator[tuple[AuthWorld, AuthProcess]]:
    """An installation and a second process of it."""
    url, clock = await service_database("auth"), ShiftedClock()
    one = await start_auth(url, run_dir, clock=clock, key_file=key_file)
    two = await start_auth(url, temporary_folder("auth"), clock=clock, key_file=key_file)
    yield await AuthWorld.create(one), two
    await one.stop()
    await two.stop()


def ring_of(process: AuthProcess) -> KeyRing:
    return next(part for part in process.parts if isinstance(part, KeyRing))


async def with_everything(world: AuthWorld, provider: OpenidProvider) -> str:
    """A secret of each kind: one-time codes of alice@pbs, a realm; address of a login that is at the provider."""
    alice = await world.make_user("alice@pbs")
    code = CODES.code(CODES.step(world.clock.time()))
    await world.client.factors.add(alice, "alice@pbs", "totp", totp=URI, value=code, password=PASSWORD)
    realm = OpenidRealm("sso", provider.issuer, CLIENT_ID, autocreate=True)
    await world.client.realms.create_openid(await world.root_token(), realm, CLIENT_KEY)
    return await world.client.realms.start_login("sso", BACK)


async def log_in(world: AuthWorld, process: AuthProcess) -> Login:
    """With password and one-time code."""
    world.clock.shift += 60
    partial = await process.client.login("alice@pbs", PASSWORD)
    code = CODES.code(CODES.step(world.clock.time()))
    return await process.client.login("alice@pbs", f"totp:{code}", tfa_challenge=partial.ticket)


async def test_no_sealed_column_is_forgotten(replicas: tuple[AuthWorld, AuthProcess]) -> None:
    async with replicas[0].process.database.system() as connection:
        rows = await connection.fetch(
            "SELECT c.table_name || '.' || c.column_name AS name FROM information_schema.columns c"
            " JOIN information_schema.tables t USING (table_schema, table_name)"
            " WHERE c.table_schema = 'auth' AND c.data_type = 'bytea' AND t.table_type = 'BASE TABLE'"
        )
    assert {row["name"] for row in rows} == _HASHES | {column.name for column in SEALED}


async def test_the_key_is_replaced_while_everything_goes_on(
    replicas: tuple[AuthWorld, AuthProcess], key_file: Path, service_database: Callable[[str], Awaitable[str]]
) -> None:
    """New key first, all encrypted anew, old key gone: no ticket, code or login at the provider is lost on the way."""
    world, other = replicas
    async with OpenidProvider() as provider:
        address = await with_everything(world, provider)
        ticket = await log_in(world, world.process)
        put_new_key_first(key_file)
        for process in (world.process, other):
            await log_in(world, process)
            await ring_of(process).refresh()
        box = SecretBox(world.process.settings)
        done = await reseal(world.process.database, box, SEALED)
        assert (done.renewed, done.current, done.unreadable) == (len(SEALED), 0, [])
        again = await reseal(world.process.database, box, SEALED)
        assert (again.renewed, again.current, again.unreadable) == (0, len(SEALED), [])
        key_file.write_text(key_file.read_text().splitlines()[0])
        for process in (world.process, other):
            await ring_of(process).refresh()
            assert (await process.client.login("alice@pbs", ticket.ticket)).username == "alice@pbs"
            await log_in(world, process)
        code, state = await provider.log_in(address)
        assert (await other.client.realms.finish_login(state, code, BACK)).username == "0815@sso"


async def test_without_the_key_nothing_is_touched_and_the_reason_is_told(
    replicas: tuple[AuthWorld, AuthProcess], key_file: Path
) -> None:
    """What no key opens is named, stays as it is, and is read again when the key is back."""
    world, _ = replicas
    async with OpenidProvider() as provider:
        await with_everything(world, provider)
    key_file.write_text(OTHER)
    with pytest.raises(Unavailable, match="PBS_SECRET_KEY_FILE"):
        await log_in(world, world.process)
    with pytest.raises(Unavailable, match=r"a key that is not in the file \(PBS_SECRET_KEY_FILE\)"):
        await ring_of(world.process).refresh()
    with pytest.raises(ConfigError, match=r"^ticket keys cannot be read: .*\(PBS_SECRET_KEY_FILE\)$"):
        await KeyRing(world.process.database, SecretBox(world.process.settings)).start()
    key_file.write_text("bad")
    with pytest.raises(ConfigError, match=r"\(PBS_SECRET_KEY_FILE\): line 1 is not 64 hexadecimal digits$"):
        await KeyRing(world.process.database, SecretBox(world.process.settings)).start()
    key_file.write_text(OTHER)
    box = SecretBox(world.process.settings)
    done = await reseal(world.process.database, box, SEALED)
    assert (done.renewed, done.current, len(done.unreadable)) == (0, 0, len(SEALED))
    (realm,) = [text for text in done.unreadable if text.startswith("openid_realm")]
    assert realm.startswith("openid_realm.client_key of openid_realm:sso: a stored secret was encrypted with a key")
    key_file.write_text(f"{OTHER}\n{OLD}")
    assert (await reseal(world.process.database, box, SEALED)).renewed == len(SEALED)
    await ring_of(world.process).refresh()
    await log_in(world, world.process)


async def test_ticket_keys_are_replaced_with_overlap(replicas: tuple[AuthWorld, AuthProcess]) -> None:
    world, other = replicas
    await world.make_user("bob@pbs")
    ticket = await world.client.login("bob@pbs", PASSWORD)
    (first,) = ring_of(world.process).keys
    begins = await ring_of(other).replace(end_tickets=False)
    assert begins == pytest.approx(world.clock.time() + LEAD_SECONDS, abs=5)
    assert await ring_of(world.process).replace(end_tickets=False) == begins, "one that is announced is enough"
    for process in (world.process, other):
        await ring_of(process).refresh()
    assert (first, begins) == (ring_of(other).keys[0], ring_of(other).keys[1].active_from)
    world.clock.shift += LEAD_SECONDS + 10
    assert ring_of(other).signing(int(world.clock.time())).active_from == begins
    for process in (world.process, other):
        renewed = await process.client.login("bob@pbs", ticket.ticket)
    world.clock.shift += LIFETIME_SECONDS + 2 * LEAD_SECONDS
    renewed = await world.client.login("bob@pbs", PASSWORD)
    await ring_of(world.process).refresh()
    assert [key.active_from for key in ring_of(world.process).keys] == [begins]
    assert (await world.ticket(renewed)).auth_id == "bob@pbs"


async def test_all_tickets_end_when_their_keys_are_dropped(replicas: tuple[AuthWorld, AuthProcess]) -> None:
    world, other = replicas
    await world.make_user("bob@pbs")
    login = await world.client.login("bob@pbs", PASSWORD)
    before = ring_of(other).keys
    await ring_of(other).replace(end_tickets=True)
    for process in (world.process, other):
        await ring_of(process).refresh()
        assert (len(ring_of(process).keys), set(before) & set(ring_of(process).keys)) == (1, set())
        with pytest.raises(Unauthenticated):
            await process.client.login("bob@pbs", login.ticket)
        with pytest.raises(Unauthenticated):
            await world.ticket(login)
        assert (await process.client.login("bob@pbs", PASSWORD)).username == "bob@pbs"
    assert (await world.root_token()).caller.operator, "API tokens are not touched"
