"""Second factors through the public shapes (rest-api A.7, C.3; wire-protocol 3.6)."""

from __future__ import annotations

import base64

from pbs_cloud.auth.totp import Totp

from .conftest import Api

SECRET = b"12345678901234567890"
URI = f"otpauth://totp/PBS:alice?secret={base64.b32encode(SECRET).decode()}"
TFA = "/api2/json/access/tfa"
MINE = f"{TFA}/alice@pbs"
TICKET = "/api2/json/access/ticket"
FORM = {"username": "alice@pbs", "password": "first-secret"}


def code_now(api: Api) -> str:
    totp = Totp(SECRET)
    return totp.code(totp.step(api.world.clock.time()))


async def test_a_user_sets_up_codes_and_logs_in_with_them(api: Api) -> None:
    alice = await api.new_user("alice@pbs")
    added = {"type": "totp", "description": "phone", "totp": URI, "value": code_now(api), "password": "first-secret"}
    made = await api.client.post(MINE, data=added, headers=alice)
    assert made.status_code == 200 and made.json()["data"].keys() == {"id"}, made.text
    entry = made.json()["data"]["id"]
    keys = await api.client.post(MINE, json={"type": "recovery", "password": "first-secret"}, headers=alice)
    assert keys.json()["data"]["id"] == "recovery" and len(keys.json()["data"]["recovery"]) == 10
    api.world.clock.shift += 30

    partial = await api.client.post(TICKET, data={**FORM, "http-only": "1"})
    data = partial.json()["data"]
    assert data["CSRFPreventionToken"] == "invalid" and data["ticket"].startswith("PBS:!tfa!")
    assert "set-cookie" not in partial.headers and "ticket-info" not in data
    cookie = {"Cookie": f"PBSAuthCookie={data['ticket']}"}
    assert (await api.client.get("/api2/json/version", headers=cookie)).status_code == 401
    second = {**FORM, "tfa-challenge": data["ticket"]}
    wrong = await api.client.post(TICKET, data={**second, "password": "totp:000000"})
    assert (wrong.status_code, wrong.text) == (401, "permission check failed.")
    full = await api.client.post(TICKET, json={**second, "password": f"totp:{code_now(api)}"})
    assert full.json().keys() == {"data", "status", "success"}
    cookie = {"Cookie": f"PBSAuthCookie={full.json()['data']['ticket']}"}
    assert (await api.client.get("/api2/json/version", headers=cookie)).status_code == 200
    by_cookie = await api.client.post(
        TICKET, data={**second, "password": f"recovery:{keys.json()['data']['recovery'][0]}", "http-only": "1"}
    )
    assert by_cookie.headers["set-cookie"].startswith("__Host-PBSAuthCookie=PBS:alice@pbs:")
    api.client.cookies.clear()

    listed = (await api.client.get(MINE, headers=alice)).json()["data"]
    assert [(e["id"], e["type"], e["description"], e["enable"]) for e in listed] == [
        (entry, "totp", "phone", True),
        ("recovery", "recovery", "", True),
    ]
    assert (await api.client.get(f"{MINE}/{entry}", headers=alice)).json()["data"] == listed[0]
    assert (await api.client.get(f"{MINE}/nosuch", headers=alice)).status_code == 400
    overview = (await api.client.get(TFA, headers=api.root)).json()["data"]
    assert overview == [{"userid": "alice@pbs", "entries": listed}]


async def test_lock_unlock_and_removal(api: Api) -> None:
    alice = await api.new_user("alice@pbs")
    added = {"type": "totp", "totp": URI, "value": code_now(api), "password": "first-secret"}
    entry = (await api.client.post(MINE, data=added, headers=alice)).json()["data"]["id"]
    ticket = (await api.client.post(TICKET, data=FORM)).json()["data"]["ticket"]
    for _ in range(8):
        await api.client.post(TICKET, data={**FORM, "tfa-challenge": ticket, "password": "totp:000000"})
    users = (await api.client.get("/api2/json/access/users", headers=api.root)).json()["data"]
    assert [user.get("totp-locked") for user in users if user["userid"] == "alice@pbs"] == [True]
    one = (await api.client.get("/api2/json/access/users/alice@pbs", headers=api.root)).json()["data"]
    assert "totp-locked" not in one
    assert (await api.client.post(TICKET, data=FORM)).status_code == 401, "nothing is left to answer with"
    unlock = "/api2/json/access/users/alice@pbs/unlock-tfa"
    assert (await api.client.put(unlock, headers=alice)).status_code == 403
    assert [(await api.client.put(unlock, headers=api.root)).json() for _ in range(2)] == [
        {"data": True},
        {"data": False},
    ]
    await api.new_user("bob@pbs")
    never = await api.client.put("/api2/json/access/users/bob@pbs/unlock-tfa", headers=api.root)
    assert (never.status_code, never.text) == (400, "no such user")
    changed = {"description": "old phone", "enable": 0, "password": "first-secret"}
    assert (await api.client.put(f"{MINE}/{entry}", data=changed, headers=alice)).json() == {"data": None}
    assert "!tfa!" not in (await api.client.post(TICKET, data=FORM)).json()["data"]["ticket"]
    gone = await api.client.delete(f"{MINE}/{entry}", params={"password": "first-secret"}, headers=alice)
    assert gone.json() == {"data": None}
    assert (await api.client.get(MINE, headers=alice)).json() == {"data": []}


async def test_refusals_name_what_is_wrong(api: Api) -> None:
    alice = await api.new_user("alice@pbs")
    good = {"type": "totp", "totp": URI, "value": code_now(api), "password": "first-secret"}
    for change, status, text in (
        (
            {"type": "sms"},
            400,
            "parameter verification failed - 'type': value 'sms' is not defined in the enumeration.",
        ),
        ({"type": "webauthn"}, 400, "webauthn is not offered: use totp or recovery"),
        ({"value": "000000"}, 400, "value: the code is wrong"),
        ({"password": "wrong-wrong"}, 401, "invalid credentials"),
    ):
        answer = await api.client.post(MINE, data={**good, **change}, headers=alice)
        assert (answer.status_code, answer.text) == (status, text)
    token = await api.client.post(MINE, data=good, headers=api.root)
    assert (token.status_code, token.text) == (400, "API tokens cannot access this API endpoint")
    bob = await api.new_user("bob@pbs")
    for path in (MINE, f"{TFA}/nobody@pbs"):
        assert (await api.client.get(path, headers=bob)).status_code == 403
        assert (await api.client.post(path, data=good, headers=bob)).status_code == 403
