"""Logins on the running product: the second step, tokens beside it, and how long refusals take (rest-api A.6, A.7)."""

import asyncio
import secrets
import time
from base64 import b32encode
from urllib.parse import quote

import pytest
from testkit.client import Rest, Token
from testkit.product import ProductServer
from testkit.world import Tenant, fresh, shared_tenant

from pbs_cloud.auth.totp import Totp

pytestmark = pytest.mark.xdist_group("e2e-local")
SECRET = secrets.token_bytes(20)


async def _new_user(tenant: Tenant) -> tuple[str, str]:
    user, password = f"{fresh('u')}@{tenant.realm}", secrets.token_hex(12)
    await tenant.rest.call("POST", "/access/users", {"userid": user, "password": password})
    return user, password


async def test_a_user_with_codes_logs_in_in_two_steps_and_its_token_in_none(product: ProductServer) -> None:
    async with shared_tenant(product) as tenant:
        user, password = await _new_user(tenant)
        path, codes = f"/access/tfa/{quote(user)}", Totp(SECRET)
        own = await Rest.login(tenant.endpoint, user, password)
        uri = f"otpauth://totp/PBS:x?secret={b32encode(SECRET).decode()}"
        step = codes.step(time.time())
        added = {"type": "totp", "totp": uri, "value": codes.code(step), "password": password}
        assert (await own.call("POST", path, added)).keys() == {"id"}
        made = await own.call("POST", f"/access/users/{quote(user)}/token/ci", {})

        nobody = Rest(tenant.endpoint)
        first = await nobody.call("POST", "/access/ticket", {"username": user, "password": password})
        assert first["ticket"].startswith("PBS:!tfa!") and first["CSRFPreventionToken"] == "invalid"
        answer = {"username": user, "tfa-challenge": first["ticket"]}
        code = codes.code(step + 1)
        full = await nobody.call("POST", "/access/ticket", {**answer, "password": f"totp:{code}"})
        assert full["ticket"].startswith(f"PBS:{user}:")
        replayed = await nobody.exchange("POST", "/access/ticket", {**answer, "password": f"totp:{code}"})
        assert replayed.status == 401
        token = Rest(tenant.endpoint, Token(made["tokenid"], made["value"]))
        assert (await token.get("/version"))["version"]
        for rest in (own, nobody, token):
            await rest.close()


async def test_refusals_take_the_same_time_whoever_is_named(product: ProductServer) -> None:
    async with shared_tenant(product) as tenant:
        user, password = await _new_user(tenant)

        async def attempt(name: str) -> tuple[int, bytes, float]:
            rest, began = Rest(tenant.endpoint), time.monotonic()
            answer = await rest.exchange("POST", "/access/ticket", {"username": name, "password": "wrong-password"})
            await rest.close()
            return answer.status, answer.body, time.monotonic() - began

        names = [user] * 6 + [f"nobody@{tenant.realm}"] * 6 + ["x@nosuch"]
        found = await asyncio.gather(*map(attempt, names))
        assert {(status, body) for status, body, _ in found} == {(401, b"permission check failed.")}
        assert all(seconds >= 2.9 for _, _, seconds in found)
        held_up = await Rest(tenant.endpoint).exchange(
            "POST", "/access/ticket", {"username": user, "password": password}
        )
        assert held_up.status == 401, "after six failures the right password waits, too"
        (admin,) = [
            entry for entry in await tenant.rest.get("/access/users") if entry["userid"] == f"admin@{tenant.realm}"
        ]
        assert admin, "the administrator's token works on"
