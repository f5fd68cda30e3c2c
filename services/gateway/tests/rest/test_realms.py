"""OpenID realms and logins through the public shapes (rest-api A.10, C.2, E.2)."""

from __future__ import annotations

from testkit.openid_provider import CLIENT_ID, CLIENT_KEY, OpenidProvider

from .conftest import Api

REALMS = "/api2/json/config/access/openid"
BACK = "https://pbs.example.com:8007"


async def test_configuration(api: Api) -> None:
    fields = {
        "realm": "sso",
        "issuer-url": "https://id.example.com/x",
        "client-id": CLIENT_ID,
        "client-key": CLIENT_KEY,
        "username-claim": "email",
        "autocreate": 1,
        "comment": "Our own",
    }
    assert (await api.client.post(REALMS, data=fields, headers=api.root)).json() == {"data": None}
    again = await api.client.post(REALMS, data=fields, headers=api.root)
    assert (again.status_code, again.text) == (400, "realm 'sso' cannot be used")
    shown = {name: value for name, value in fields.items() if name != "client-key"} | {"autocreate": True}
    listed = (await api.client.get(REALMS, headers=api.root)).json()
    assert listed["data"] == [shown] and len(listed["digest"]) == 64
    one = (await api.client.get(f"{REALMS}/sso", headers=api.root)).json()
    assert one == {"data": shown, "digest": listed["digest"]}
    public = (await api.client.get("/api2/json/access/domains")).json()["data"]
    assert public[2:] == [{"realm": "sso", "type": "openid", "comment": "Our own"}]
    change = {"client-id": "other", "delete": ["comment", "autocreate"], "digest": "0" * 64}
    stale = await api.client.put(f"{REALMS}/sso", data=change, headers=api.root)
    assert stale.status_code == 400 and "modified" in stale.text
    change["digest"] = listed["digest"]
    assert (await api.client.put(f"{REALMS}/sso", data=change, headers=api.root)).json() == {"data": None}
    del shown["comment"], shown["autocreate"]
    assert (await api.client.get(f"{REALMS}/sso", headers=api.root)).json()["data"] == {**shown, "client-id": "other"}
    assert (await api.client.delete(f"{REALMS}/sso", headers=api.root)).json() == {"data": None}
    gone = await api.client.delete(f"{REALMS}/sso", headers=api.root)
    assert (gone.status_code, gone.text) == (400, "no such realm 'sso'")
    plain = await api.new_user("plain@pbs")
    for method, path in (("GET", REALMS), ("GET", f"{REALMS}/sso"), ("POST", REALMS), ("DELETE", f"{REALMS}/sso")):
        assert (await api.client.request(method, path, headers=plain)).status_code == 403


async def test_a_login_from_the_first_page_to_the_ticket(api: Api) -> None:
    async with OpenidProvider(user={"sub": "ada"}) as provider:
        fields = {"realm": "sso", "issuer-url": provider.issuer, "client-id": CLIENT_ID, "client-key": CLIENT_KEY}
        await api.client.post(REALMS, json={**fields, "autocreate": True}, headers=api.root)
        start = {"realm": "sso", "redirect-url": BACK}
        for http_only in (False, True):
            url = (await api.client.post("/api2/json/access/openid/auth-url", json=start)).json()["data"]
            code, state = await provider.log_in(url)
            finish = {"code": code, "state": state, "redirect-url": BACK, "http-only": http_only}
            answer = await api.client.post("/api2/json/access/openid/login", json=finish)
            data = answer.json()["data"]
            assert answer.json().keys() == {"data"} and data["username"] == "ada@sso"
            cookie = answer.headers["set-cookie"].partition(";")[0] if http_only else f"PBSAuthCookie={data['ticket']}"
            api.client.cookies.clear()
            headers = {"Cookie": cookie, "CSRFPreventionToken": data["CSRFPreventionToken"]}
            permissions = await api.client.get("/api2/json/access/permissions", headers=headers)
            assert permissions.json() == {"data": {}}
            made = await api.client.post(f"/api2/json/access/users/ada@sso/token/t{http_only:d}", headers=headers)
            assert made.status_code == 200
            replay = await api.client.post("/api2/json/access/openid/login", json=finish)
            assert (replay.status_code, replay.text) == (401, "permission check failed.")
        unknown = await api.client.post("/api2/json/access/openid/auth-url", json={**start, "realm": "nosuch"})
        assert (unknown.status_code, unknown.text) == (400, "no such realm 'nosuch'")
        bad = await api.client.post("/api2/json/access/openid/auth-url", json={**start, "redirect-url": "ftp://x"})
        assert (bad.status_code, bad.text) == (400, "redirect-url: must be an https URL")
        password = {"userid": "ada@sso", "password": "first-secret"}
        refused = await api.client.put("/api2/json/access/users/ada@sso", data=password, headers=api.root)
        assert refused.status_code == 400, "userid is no parameter there"
        refused = await api.client.put(
            "/api2/json/access/users/ada@sso", data={"password": "first-secret"}, headers=api.root
        )
        assert (refused.status_code, refused.text) == (501, "users of realm 'sso' have no password here")
    async with OpenidProvider() as other:
        gone = {**fields, "realm": "gone", "issuer-url": other.issuer}
        await api.client.post(REALMS, json=gone, headers=api.root)
    away = await api.client.post("/api2/json/access/openid/auth-url", json={**start, "realm": "gone"})
    assert (away.status_code, away.text) == (503, "the OpenID provider of realm 'gone' cannot be used")
