"""One-time codes and recovery keys: shapes, use once, locks, who may change them (rest-api A.7, wire-protocol 3.6)."""

from __future__ import annotations

import base64
import json
import re
from urllib.parse import unquote

import pytest
from testkit.auth_service import PASSWORD, AuthWorld

from pbs_cloud.auth.totp import Totp, parse_uri
from pbs_cloud.contracts.auth import Credentials, TokenSettings
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import InvalidArgument, NotFound, PermissionDenied, Unauthenticated
from pbs_cloud.contracts.login import Login

SECRET = b"12345678901234567890"
URI = f"otpauth://totp/PBS:alice?secret={base64.b32encode(SECRET).decode()}&issuer=PBS"
CODES = Totp(SECRET)


@pytest.mark.parametrize(
    ("algorithm", "key_bytes", "moment", "code"),
    [
        ("SHA1", 20, 59, "94287082"),
        ("SHA256", 32, 59, "46119246"),
        ("SHA512", 64, 59, "90693936"),
        ("SHA1", 20, 1111111109, "07081804"),
        ("SHA256", 32, 1111111109, "68084774"),
        ("SHA512", 64, 1111111109, "25091201"),
        ("SHA1", 20, 20000000000, "65353130"),
        ("SHA256", 32, 20000000000, "77737706"),
        ("SHA512", 64, 20000000000, "47863826"),
    ],
)
def test_vectors_of_rfc_6238(algorithm: str, key_bytes: int, moment: int, code: str) -> None:
    totp = Totp((b"1234567890" * 7)[:key_bytes], algorithm, 8)
    assert totp.code(totp.step(moment)) == code


def test_codes_of_the_neighbouring_steps_are_good_but_only_newer_ones() -> None:
    now = 1_700_000_010
    step = CODES.step(now)
    for shift, good in ((-2, False), (-1, True), (0, True), (1, True), (2, False)):
        found = CODES.accepted_step(CODES.code(step + shift), now, -1)
        assert found == (step + shift if good else None)
    assert CODES.accepted_step(CODES.code(step), now, step) is None
    assert CODES.accepted_step(CODES.code(step + 1), now, step) == step + 1


def test_otpauth_uris() -> None:
    assert parse_uri(URI) == CODES
    more = parse_uri(URI + "&algorithm=sha256&digits=8&period=60")
    assert (more.algorithm, more.digits, more.period) == ("SHA256", 8, 60)
    for bad in (
        "http://totp/x?secret=GEZDGNBVGY3TQOJQ",
        URI.replace("totp", "hotp"),
        "otpauth://totp/x",
        "otpauth://totp/x?secret=1!",
        "otpauth://totp/x?secret=GEZDG",
        URI + "&algorithm=MD5",
        URI + "&digits=9",
        URI + "&period=0",
        URI + "&digits=six",
    ):
        with pytest.raises(InvalidArgument) as wrong:
            parse_uri(bad)
        assert wrong.value.field == "totp"


def code_now(world: AuthWorld, shift: int = 0) -> str:
    return CODES.code(CODES.step(world.clock.time()) + shift)


async def with_totp(world: AuthWorld, userid: str = "alice@pbs") -> CallContext:
    """A user with one-time codes; the code of the present step is used up, so the clock moves on."""
    ctx = await world.make_user(userid)
    await world.client.factors.add(ctx, userid, "totp", totp=URI, value=code_now(world), password=PASSWORD)
    world.clock.shift += 60
    return ctx


async def first_step(world: AuthWorld) -> Login:
    login = await world.client.login("alice@pbs", PASSWORD)
    assert login.is_partial
    return login


def announced(login: Login) -> object:
    found = re.fullmatch(r"PBS:!tfa!([^:]+):[0-9A-F]{8}::[A-Za-z0-9+/]+", login.ticket)
    assert found is not None
    return json.loads(unquote(found[1]))


async def answer(world: AuthWorld, partial: Login, text: str, userid: str = "alice@pbs") -> Login:
    return await world.client.login(userid, text, tfa_challenge=partial.ticket)


async def refused(world: AuthWorld, partial: Login, text: str, userid: str = "alice@pbs") -> None:
    with pytest.raises(Unauthenticated, match=r"^permission check failed\.$"):
        await answer(world, partial, text, userid)


async def test_a_login_in_two_steps(world: AuthWorld) -> None:
    await with_totp(world)
    partial = await first_step(world)
    assert (partial.csrf_token, announced(partial)) == ("invalid", {"totp": True})
    for credentials in (
        Credentials(ticket=partial.ticket),
        Credentials(ticket=partial.ticket, csrf_token="invalid", csrf_required=True),
    ):
        with pytest.raises(Unauthenticated):
            await world.client.authenticate(credentials)
    with pytest.raises(Unauthenticated):
        await world.client.login("alice@pbs", partial.ticket)
    full = await answer(world, partial, f"totp:{code_now(world)}")
    assert (await world.ticket(full)).auth_id == "alice@pbs"
    renewed = await world.client.login("alice@pbs", full.ticket)
    assert not renewed.is_partial, "a ticket renews without the second factor"


async def test_a_code_works_once(world: AuthWorld) -> None:
    ctx = await world.make_user("alice@pbs")
    code = code_now(world)
    await world.client.factors.add(ctx, "alice@pbs", "totp", totp=URI, value=code, password=PASSWORD)
    await refused(world, await first_step(world), f"totp:{code}")
    world.clock.shift += 30
    code = code_now(world)
    partial = await first_step(world)
    await answer(world, partial, f"totp:{code}")
    await refused(world, partial, f"totp:{code}")
    await refused(world, await first_step(world), f"totp:{code}")
    await refused(world, partial, f"totp:{code_now(world, -1)}")


async def test_a_partial_ticket_is_the_users_own_and_lives_ten_minutes(world: AuthWorld) -> None:
    await with_totp(world)
    bob = await world.make_user("bob@pbs")
    await world.client.factors.add(bob, "bob@pbs", "totp", totp=URI, value=code_now(world), password=PASSWORD)
    world.clock.shift += 60
    partial = await first_step(world)
    await refused(world, partial, f"totp:{code_now(world)}", "bob@pbs")
    await refused(world, partial, f"totp:{code_now(world)}", "nobody@pbs")
    full = await answer(world, partial, f"totp:{code_now(world)}")
    for challenge in (full.ticket, partial.ticket[:-4], "PBS:!tfa!x:00000000::AAAA", ""):
        with pytest.raises(Unauthenticated):
            await world.client.login("alice@pbs", f"totp:{code_now(world, 1)}", tfa_challenge=challenge)
    partial = await first_step(world)
    world.clock.shift += 605
    await refused(world, partial, f"totp:{code_now(world)}")
    assert await answer(world, await first_step(world), f"totp:{code_now(world)}")


async def test_recovery_keys_work_once_and_are_announced(world: AuthWorld) -> None:
    ctx = await with_totp(world)
    made = await world.client.factors.add(ctx, "alice@pbs", "recovery", password=PASSWORD)
    assert made.id == "recovery" and len(set(made.recovery)) == 10
    partial = await first_step(world)
    assert announced(partial) == {"totp": True, "recovery": list(range(10))}
    assert await answer(world, partial, f"recovery:{made.recovery[3].upper()}")
    await refused(world, partial, f"recovery:{made.recovery[3]}")
    partial = await first_step(world)
    assert announced(partial) == {"totp": True, "recovery": [0, 1, 2, 4, 5, 6, 7, 8, 9]}
    fresh = await world.client.factors.add(ctx, "alice@pbs", "recovery", password=PASSWORD)
    await refused(world, partial, f"recovery:{made.recovery[0]}")
    assert await answer(world, partial, f"recovery:{fresh.recovery[0]}")
    for text in ("recovery:", "recovery", "totp:", "webauthn:{}", "", PASSWORD):
        await refused(world, partial, text)


async def test_wrong_codes_lock_until_a_recovery_key_or_an_administrator(world: AuthWorld) -> None:
    ctx, root = await with_totp(world), await world.root_token()
    made = await world.client.factors.add(ctx, "alice@pbs", "recovery", password=PASSWORD)

    async def lock() -> None:
        partial = await first_step(world)
        for _ in range(8):
            await refused(world, partial, "totp:000000")
        await refused(world, partial, f"totp:{code_now(world)}")

    await lock()
    assert announced(await first_step(world)) == {"recovery": list(range(10))}
    listed = {user.userid: user for user in (await world.client.list_users(root))[0]}
    assert (listed["alice@pbs"].totp_locked, listed["alice@pbs"].tfa_locked_until) == (True, None)
    assert await answer(world, await first_step(world), f"recovery:{made.recovery[0]}")
    world.clock.shift += 30
    assert await answer(world, await first_step(world), f"totp:{code_now(world)}")
    world.clock.shift += 30
    await lock()
    assert await world.client.factors.unlock(root, "alice@pbs") is True
    assert await world.client.factors.unlock(root, "alice@pbs") is False
    assert await answer(world, await first_step(world), f"totp:{code_now(world)}")
    await world.make_user("bob@pbs")
    for never_had_one in ("bob@pbs", "nosuch@pbs"):
        with pytest.raises(NotFound, match=r"^no such user$"):
            await world.client.factors.unlock(root, never_had_one)


async def test_a_hundred_wrong_answers_lock_everything_for_an_hour(world: AuthWorld) -> None:
    ctx, root = await with_totp(world), await world.root_token()
    made = await world.client.factors.add(ctx, "alice@pbs", "recovery", password=PASSWORD)
    partial = await first_step(world)
    for _ in range(100):
        await refused(world, partial, "recovery:aaaa-aaaa-aaaa-aaaa")
    await refused(world, partial, f"recovery:{made.recovery[0]}")
    with pytest.raises(Unauthenticated):
        await world.client.login("alice@pbs", PASSWORD)
    (alice,) = [user for user in (await world.client.list_users(root))[0] if user.userid == "alice@pbs"]
    assert alice.tfa_locked_until is not None and 3500 < alice.tfa_locked_until - world.clock.time() <= 3600
    world.clock.shift += 3601
    assert await answer(world, await first_step(world), f"recovery:{made.recovery[0]}")


async def test_tokens_need_no_second_factor_and_cannot_be_locked(world: AuthWorld) -> None:
    ctx = await with_totp(world)
    _, secret = await world.client.create_token(ctx, "alice@pbs", "ci", TokenSettings())
    partial = await first_step(world)
    for _ in range(9):
        await refused(world, partial, "totp:000000")
    assert (await world.token("alice@pbs!ci", secret)).caller.auth_id == "alice@pbs!ci"
    assert not (await world.client.login("alice@pbs", secret)).is_partial


async def test_entries_are_listed_changed_and_removed(world: AuthWorld) -> None:
    ctx, factors = await with_totp(world), world.client.factors
    await factors.add(ctx, "alice@pbs", "recovery", description="paper", password=PASSWORD)
    totp, recovery = (await factors.get(ctx, "alice@pbs")).entries
    assert (totp.type, totp.description, totp.enable) == ("totp", "", True)
    assert (recovery.id, recovery.type, recovery.description) == ("recovery", "recovery", "paper")
    assert abs(totp.created - world.clock.time()) < 120
    await factors.update(ctx, "alice@pbs", totp.id, description="phone", enable=False, password=PASSWORD)
    assert announced(await first_step(world)) == {"recovery": list(range(10))}
    await factors.update(ctx, "alice@pbs", "recovery", enable=False, password=PASSWORD)
    assert not (await world.client.login("alice@pbs", PASSWORD)).is_partial
    await factors.update(ctx, "alice@pbs", totp.id, enable=True, password=PASSWORD)
    assert [entry.description for entry in (await factors.get(ctx, "alice@pbs")).entries] == ["phone", "paper"]
    await factors.delete(ctx, "alice@pbs", "recovery", PASSWORD)
    await factors.delete(ctx, "alice@pbs", totp.id, PASSWORD)
    assert (await factors.get(ctx, "alice@pbs")).entries == ()
    for unknown in (totp.id, "recovery", "nonsense"):
        with pytest.raises(NotFound, match=r"^no such tfa entry"):
            await factors.delete(ctx, "alice@pbs", unknown, PASSWORD)
    assert not (await world.client.login("alice@pbs", PASSWORD)).is_partial


async def test_a_change_needs_the_own_password_and_a_proof(world: AuthWorld) -> None:
    ctx, factors = await world.make_user("alice@pbs"), world.client.factors
    for password, text in ((None, "missing password"), ("wrong-wrong", "invalid credentials")):
        with pytest.raises(Unauthenticated, match=f"^{text}$"):
            await factors.add(ctx, "alice@pbs", "totp", totp=URI, value=code_now(world), password=password)
    for fields, name in (
        ({"totp": URI}, "value"),
        ({"value": code_now(world)}, "totp"),
        ({"totp": URI, "value": "000000"}, "value"),
        ({"totp": "otpauth://totp/x", "value": "000000"}, "totp"),
    ):
        with pytest.raises(InvalidArgument) as wrong:
            await factors.add(ctx, "alice@pbs", "totp", password=PASSWORD, **fields)  # type: ignore[arg-type]
        assert wrong.value.field == name
    assert (await factors.get(ctx, "alice@pbs")).entries == ()


async def test_who_may_see_and_change_whose(world: AuthWorld) -> None:
    alice, factors = await with_totp(world), world.client.factors
    bob, admin = await world.make_user("bob@pbs"), await world.make_user("admin@pbs", level="admin")
    root_token, root = await world.root_token(), await world.root()
    await factors.add(root, "root@pam", "recovery")
    for ctx in (alice, admin, root_token):
        assert len((await factors.get(ctx, "alice@pbs")).entries) == 1
    assert [user.userid for user in await factors.list_users(bob)] == []
    assert [user.userid for user in await factors.list_users(alice)] == ["alice@pbs"]
    assert [user.userid for user in await factors.list_users(admin)] == ["alice@pbs", "root@pam"]
    (entry,) = (await factors.get(alice, "alice@pbs")).entries
    for refused_call in (
        factors.get(bob, "alice@pbs"),
        factors.get(bob, "nobody@pbs"),
        factors.add(bob, "alice@pbs", "recovery", password=PASSWORD),
        factors.delete(bob, "alice@pbs", entry.id, PASSWORD),
        factors.unlock(bob, "bob@pbs"),
        factors.delete(admin, "root@pam", "recovery", PASSWORD),
        factors.unlock(admin, "root@pam"),
    ):
        with pytest.raises(PermissionDenied):
            await refused_call
    with pytest.raises(InvalidArgument, match=r"^API tokens cannot access this API endpoint$"):
        await factors.delete(root_token, "alice@pbs", entry.id)
    _, acme = await world.make_tenant("acme")
    for foreign in ("alice@pbs", "nobody@pbs"):
        with pytest.raises(NotFound, match=f"^no such user '{foreign}'$"):
            await factors.get(acme, foreign)
    assert await factors.list_users(acme) == ()
    await factors.delete(admin, "alice@pbs", entry.id, PASSWORD)
    assert not (await world.client.login("alice@pbs", PASSWORD)).is_partial


async def test_nothing_of_a_secret_is_readable_in_the_database(world: AuthWorld) -> None:
    ctx = await with_totp(world)
    made = await world.client.factors.add(ctx, "alice@pbs", "recovery", password=PASSWORD)
    async with world.process.database.system() as connection:
        tables = ("totp_entry", "recovery_key", "factor_state", "audit_log", "outbox", "signing_key")
        rows = [row for table in tables for row in await connection.fetch(f"TABLE {table}")]
    stored = b"".join(value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row)
    for secret in (SECRET, SECRET.hex().encode(), base64.b32encode(SECRET), *(key.encode() for key in made.recovery)):
        assert secret not in stored
