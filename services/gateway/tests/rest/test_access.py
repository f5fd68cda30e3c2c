"""Login, users, tokens and rights through the public shapes (rest-api C.2, C.3, D.4, D.5)."""

from __future__ import annotations

import dataclasses
import hmac

import pytest
from pydantic import SecretStr

from .conftest import Api


async def test_login_forms_and_failures(api: Api) -> None:
    await api.new_user("alice@pbs")
    good = {"username": "alice@pbs", "password": "first-secret"}
    answer = await api.client.post("https://pbs//api2/json/access/ticket", json=good)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {"data", "status", "success"}
    ticket = answer.json()["data"]["ticket"]
    readme = await api.client.post(
        "/api2/json/access/ticket",
        content='{"username":"alice@pbs","password":"first-secret"}',
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert readme.status_code == 200
    assert (await api.client.post("/api2/extjs/access/ticket", data={**good, "password": ticket})).status_code == 200
    bad = await api.client.post("/api2/json/access/ticket", data={**good, "password": "wrong"})
    assert (bad.status_code, bad.text) == (401, "permission check failed.")
    assert bad.headers["content-type"] == "application/json;charset=UTF-8"
    none = await api.client.post("/api2/json/access/ticket", data={"username": "alice@pbs"})
    assert (none.status_code, none.text) == (400, "no password provided")
    extjs = await api.client.post("/api2/extjs/access/ticket", data={**good, "password": "wrong"})
    assert (extjs.status_code, extjs.json()["status"]) == (200, 401)


async def test_http_only_login_and_logout(api: Api) -> None:
    await api.new_user("alice@pbs")
    form = {"username": "alice@pbs", "password": "first-secret", "http-only": "1"}
    answer = await api.client.post("/api2/json/access/ticket", data=form)
    assert "ticket" not in answer.json()["data"]
    assert answer.json()["data"]["ticket-info"].endswith("::ticketinfo")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-PBSAuthCookie=PBS:")
    assert cookie.endswith("; Secure; SameSite=Lax; HttpOnly; Path=/;")
    api.client.cookies.clear()
    renewed = await api.client.post(
        "/api2/json/access/ticket",
        data={"username": "alice@pbs", "http-only": "1"},
        headers={"Cookie": cookie.partition(";")[0]},
    )
    assert renewed.status_code == 200
    out = await api.client.delete("/api2/json/access/ticket")
    assert (out.text, "content-type" in out.headers) == ('{"data":{},"status":200,"success":true}', False)


async def test_csrf_token_is_needed_for_changes(api: Api) -> None:
    headers = await api.new_user("alice@pbs")
    cookie = {"Cookie": headers["Cookie"]}
    assert (await api.client.get("/api2/json/version", headers=cookie)).status_code == 200
    path = "/api2/json/access/users/alice@pbs/token/t1"
    assert (await api.client.post(path, headers=cookie)).status_code == 401
    assert (await api.client.post(path, headers=headers)).status_code == 200


async def test_limits_of_a_password_change(api: Api) -> None:
    alice = await api.new_user("alice@pbs")
    for field, value, reason in (
        ("confirmation-password", "", "value must be at least 1 characters long"),
        ("confirmation-password", "x" * 1025, "value may only be 1024 characters long"),
        ("password", "x" * 65, "value may only be 64 characters long"),
    ):
        form = {"userid": "alice@pbs", "password": "second-secret", "confirmation-password": "first-secret"}
        answer = await api.client.put("/api2/json/access/password", data={**form, field: value}, headers=alice)
        assert answer.status_code == 400
        assert answer.text == f"parameter verification failed - '{field}': {reason}"


async def test_a_change_of_rights_holds_for_the_next_request(api: Api) -> None:
    await api.new_user("alice@pbs")
    made = await api.client.post("/api2/json/access/users/alice@pbs/token/t1", headers=api.root)
    token = {"Authorization": f"PBSAPIToken alice@pbs!t1:{made.json()['data']['value']}"}
    path = "/api2/json/access/users/alice@pbs/token/t1"
    assert (await api.client.get("/api2/json/version", headers=token)).status_code == 200
    await api.client.put(path, data={"expire": 5}, headers=api.root)
    assert (await api.client.get("/api2/json/version", headers=token)).status_code == 401
    await api.client.put(path, data={"expire": 0}, headers=api.root)
    assert (await api.client.get("/api2/json/version", headers=token)).status_code == 200
    await api.client.delete("/api2/json/access/users/alice@pbs", headers=api.root)
    assert (await api.client.get("/api2/json/version", headers=token)).status_code == 401


async def test_stock_users_start_without_rights_and_own_ones_with_a_level(api: Api) -> None:
    bare = await api.new_user("bare@pbs")
    assert (await api.client.get("/api2/json/access/permissions", headers=bare)).json() == {"data": {}}
    made = await api.client.post(
        "/api2/json/access/users",
        json={"username": "level@pbs", "permission": "Backup", "tenant-id": "default"},
        headers=api.root,
    )
    assert made.status_code == 201
    user = made.json()["data"]
    assert (user["permission"], user["tenant_id"], user["last_login"]) == ("backup", "default", None)
    gone = await api.client.delete(f"/api2/json/access/users/{user['id']}", headers=api.root)
    assert gone.json()["data"]["deleted"] is True


async def test_own_tokens(api: Api) -> None:
    alice = await api.new_user("alice@pbs", "Admin")
    made = await api.client.post("/api2/json/access/tokens", json={"name": "mine"}, headers=alice)
    assert made.status_code == 201, made.text
    value = made.json()["data"]["value"]
    assert len(value) == 68 and value.startswith("pbs_")
    listed = (await api.client.get("/api2/json/access/tokens", headers=alice)).json()["data"]
    assert [token["tokenid"] for token in listed] == ["alice@pbs!mine"]
    token = {"Authorization": f"Bearer {value}"}
    refused = await api.client.post("/api2/json/access/tokens", json={"name": "more"}, headers=token)
    assert (refused.status_code, refused.json()) == (403, {"error": "permission check failed"})
    for foreign in ("tokens/00000000-0000-4000-8000-000000000000", "tokens/nosuch"):
        assert (await api.client.delete(f"/api2/json/access/{foreign}", headers=alice)).status_code == 403
    for unknown in ("get", "put", "delete"):
        answer = await api.client.request(unknown, "/api2/json/billing/webhooks/nosuch", headers=alice)
        assert (answer.status_code, answer.json()) == (403, {"error": "permission check failed"})
    own = f"/api2/json/access/tokens/{listed[0]['id']}"
    assert (await api.client.delete(own, headers=alice)).json() == {"data": {"deleted": True}}


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_tenants_are_for_the_operator(api: Api, method: str) -> None:
    admin = await api.new_user("admin@pbs", "Admin")
    answer = await api.client.request(method, "/api2/json/tenants", json={"name": "x"}, headers=admin)
    assert (answer.status_code, answer.json()) == (403, {"error": "permission check failed"})


async def test_entries_from_a_path_on(api: Api) -> None:
    await api.new_user("alice@pbs", "Audit")
    await api.new_user("bob@pbs", "DatastoreAudit", "/datastore/tank")

    async def paths(query: str) -> set[str]:
        answer = await api.client.get("/api2/json/access/acl" + query, headers=api.root)
        return {entry["path"] for entry in answer.json()["data"]}

    assert await paths("") == await paths("?path=/") == {"/", "/datastore/tank"}
    assert await paths("?exact=1") == await paths("?exact=1&path=/") == {"/"}
    assert await paths("?path=/datastore") == await paths("?path=/datastore/tank&exact=1") == {"/datastore/tank"}
    assert await paths("?path=/datastore&exact=1") == await paths("?path=/data") == set()


async def test_roles_and_domains(api: Api) -> None:
    nobody = await api.new_user("nobody@pbs")
    roles = (await api.client.get("/api2/json/access/roles", headers=nobody)).json()["data"]
    assert {"roleid": "DatastoreBackup", "privs": ["Datastore.Backup"]}.items() <= next(
        role for role in roles if role["roleid"] == "DatastoreBackup"
    ).items()
    domains = (await api.client.get("/api2/json/access/domains")).json()
    assert {entry["realm"] for entry in domains["data"]} == {"pam", "pbs"}
    assert len(domains["digest"]) == 64


async def test_webhook_receiver_checks_the_signature(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    path, body = "/api2/json/billing/webhook", b'{"id": "1"}'
    refused = await api.client.post(path, content=body)
    assert (refused.status_code, refused.json()) == (400, {"error": "no webhook secret is configured"})
    settings = api.world.process.settings.model_copy(update={"webhook_receiver_secret": SecretStr("s")})
    monkeypatch.setattr(api.tree, "_node", dataclasses.replace(api.tree._node, settings=settings))
    seal = hmac.new(b"s", body, "sha256").hexdigest()
    for signature in (seal, "sha256=" + seal):
        answer = await api.client.post(path, content=body, headers={"X-Signature-256": signature})
        assert answer.json() == {"data": {"verified": True}}
    assert (await api.client.post(path, content=b"x", headers={"X-Signature-256": seal})).status_code == 401
    assert (await api.client.post(path, content=body)).status_code == 401
