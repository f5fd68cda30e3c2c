"""What known tools ask for, against the running product (rest-api B.4, B.5, D, E)."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from testkit.product import ProductServer

Json = dict[str, Any]


class Api:
    """Calls with one set of credentials; ``data`` of every answer, which must succeed."""

    def __init__(self, product: ProductServer, headers: dict[str, str]) -> None:
        self.client = httpx.Client(base_url=f"{product.url}/api2/json/", verify=False, headers=headers, timeout=60)

    def call(self, method: str, path: str, status: int = 200, **more: Any) -> Any:
        answer = self.client.request(method, path, **more)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()["data"] if status < 300 else answer.text

    def get(self, path: str, **more: Any) -> Any:
        return self.call("GET", path, **more)


@pytest.fixture(scope="module")
def root(product: ProductServer) -> Api:
    return Api(product, {"Authorization": product.authorization})


@pytest.fixture(scope="module")
def acme(product: ProductServer, root: Api) -> tuple[Json, Api]:
    """A tenant with a quota and a second datastore, and its administrator."""
    tenant, admin = new_tenant(product, root, quota=5_000_000)
    wait_for_task(admin, admin.call("POST", "config/datastore", json={"name": "second", "path": "/label"}))
    return tenant, admin


@pytest.fixture(scope="module")
def other(product: ProductServer, root: Api) -> tuple[Json, Api]:
    """Another tenant and its administrator."""
    return new_tenant(product, root)


def unique(prefix: str) -> str:
    return prefix + secrets.token_hex(4)


def new_tenant(product: ProductServer, root: Api, quota: int | None = None) -> tuple[Json, Api]:
    """A tenant and an administrator of it, logged in with a password."""
    slug = unique("acme")
    tenant = root.call("POST", "tenants", 201, json={"name": f"Acme {slug}", "slug": slug, "quota_bytes": quota})
    user = {"username": f"admin@{slug}", "tenant_id": tenant["id"], "permission": "admin", "password": "first-secret"}
    root.call("POST", "access/users", 201, json=user)
    return tenant, login(product, f"admin@{slug}", "first-secret")


def wait_for_task(api: Api, upid: str) -> Json:
    """Status of a task that has ended well; polled as Terraform does, below the node that the UPID names."""
    deadline = time.monotonic() + 60
    while True:
        status: Json = api.get(f"nodes/{upid.split(':')[1]}/tasks/{quote(upid, safe='')}/status")
        if status["status"] == "stopped":
            assert status["exitstatus"] == "OK"
            return status
        assert time.monotonic() < deadline
        time.sleep(0.1)


def login(product: ProductServer, user: str, password: str) -> Api:
    data = Api(product, {}).call("POST", "access/ticket", json={"username": user, "password": password})
    cookie = "PBSAuthCookie=" + quote(data["ticket"], safe="")
    return Api(product, {"Cookie": cookie, "CSRFPreventionToken": data["CSRFPreventionToken"]})


def test_exporter_scrape_with_a_read_token(product: ProductServer, acme: tuple[Json, Api]) -> None:
    tenant, admin = acme
    made = admin.call("POST", "access/tokens", 201, json={"name": "scrape", "permission": "read"})
    token = Api(product, {"Authorization": f"PBSAPIToken={made['token']['tokenid']}:{made['value']}"})
    assert token.get("version")["version"] == "4.2"
    usage = token.get("status/datastore-usage")[0]
    assert (usage["store"], usage["total"], usage["used"], usage["avail"]) == ("default", 5_000_000, 0, 5_000_000)
    assert token.get("admin/datastore/default/namespace") == [{"ns": ""}]
    assert token.get("admin/datastore/default/snapshots?ns=") == []
    assert token.get("nodes/localhost/status")["memory"]["total"] > 0
    assert token.get("nodes/localhost/subscription")["status"] == "notfound"
    assert token.get("admin/gc")[0]["upid"] is None
    for listing in ("admin/prune", "admin/verify", "admin/sync?sync-direction=all", "config/sync"):
        assert token.get(listing) == []
    tasks = token.client.get("nodes/localhost/tasks?errors=true&limit=100&since=1").json()
    assert (tasks["data"], tasks["total"]) == ([], 0)
    (created,) = token.get("nodes/localhost/tasks")
    assert (created["worker_type"], created["worker_id"]) == ("create-datastore", "second")
    assert token.call("POST", "config/datastore", 403, json={"name": "mine", "path": "/x"}) == "permission check failed"
    assert tenant["quota_bytes"] == 5_000_000


def test_collections_are_listed_where_the_datastore_is(acme: tuple[Json, Api], product: ProductServer) -> None:
    tenant, admin = acme
    user = f"deep@{tenant['slug']}"
    admin.call("POST", "access/users", json={"userid": user, "password": "first-secret"})
    entry = {"path": "/datastore/default/a/b", "auth-id": user, "role": "DatastoreBackup"}
    admin.call("PUT", "access/acl", json=entry)
    deep = login(product, user, "first-secret")
    assert [seen["store"] for seen in deep.get("admin/datastore")] == ["default"]
    for listing in ("admin/gc", "admin/gc?store=default", "admin/gc/default"):
        assert [state["store"] for state in deep.get(listing)] == ["default"]
    for hidden in ("admin/gc?store=second", "admin/gc/second", "admin/gc/nosuch", "admin/datastore/default/gc"):
        assert deep.call("GET", hidden, 403) == "permission check failed"


def test_fingerprints_of_certificates_are_lower_case_in_answers(acme: tuple[Json, Api]) -> None:
    _, admin = acme
    remote = {"name": "far", "host": "::1", "auth-id": "a@pbs", "password": "x", "fingerprint": ":".join(["AB"] * 32)}
    admin.call("POST", "config/remote", json=remote)
    assert admin.get("config/remote/far")["fingerprint"] == ":".join(["ab"] * 32)
    admin.call("DELETE", "config/remote/far")


def test_tenants_never_meet(acme: tuple[Json, Api], other: tuple[Json, Api]) -> None:
    (first, one), (second, two) = acme, other
    one.call("POST", "admin/datastore/default/namespace", json={"name": "secret"})
    assert two.get("admin/datastore/default/namespace") == [{"ns": ""}]
    assert [store["store"] for store in two.get("admin/datastore")] == ["default"]
    foreign = two.call("GET", "admin/datastore/second/groups", 400)
    missing = two.call("GET", "admin/datastore/nosuch/groups", 400)
    assert foreign == missing.replace("nosuch", "second")
    upid = one.get("nodes/localhost/tasks")[0]["upid"]
    assert two.call("GET", f"nodes/localhost/tasks/{quote(upid, safe='')}/status", 400) == "task access not allowed"
    users = {user["userid"] for user in two.get("access/users")}
    assert users == {f"admin@{second['slug']}"}
    foreign_user = f"admin@{first['slug']}"
    assert two.call("GET", f"access/users/{foreign_user}", 400) == f"no such user '{foreign_user}'"
    assert two.call("GET", "tenants", 403) == two.call("DELETE", f"tenants/{first['id']}", 403)
    ids = [api.get("nodes/localhost/identity")["pbs-instance-id"] for api in (one, two, one)]
    assert ids[0] != ids[1] and ids[0] == ids[2]


def test_the_operator_manages_tenants(product: ProductServer, root: Api, other: tuple[Json, Api]) -> None:
    tenant, admin = other
    assert tenant["created_at"].endswith("Z") and tenant["used_bytes"] == 0
    assert tenant["id"] in {entry["id"] for entry in root.get("tenants")}
    changed = root.call("PUT", f"tenants/{tenant['id']}", json={"quota_bytes": 1000, "maintenance": "unpaid"})
    assert (changed["quota_bytes"], changed["maintenance"]) == (1000, "unpaid")
    wait_for(lambda: "maintenance" in admin.get("admin/datastore")[0])
    refused = admin.call("POST", "admin/datastore/default/namespace", 400, json={"name": "x"})
    assert refused == "datastore 'default' is unavailable: read-only maintenance mode: unpaid"
    assert root.get(f"tenants/{tenant['id']}/users")[0]["permission"] == "admin"
    root.call("PUT", f"tenants/{tenant['id']}", json={"quota_bytes": None, "maintenance": None})
    wait_for(lambda: "maintenance" not in admin.get("admin/datastore")[0])


def test_tenants_are_deleted_with_care(product: ProductServer, root: Api, acme: tuple[Json, Api]) -> None:
    assert root.call("DELETE", f"tenants/{acme[0]['id']}", 409) == '{"error": "the tenant still has datastores"}'
    tenant, admin = new_tenant(product, root)
    assert root.call("DELETE", f"tenants/{tenant['id']}")["deleted"] is True
    assert admin.call("GET", "version", 401) == "authentication failed"
    assert root.call("DELETE", f"tenants/{tenant['id']}", 404).startswith('{"error": ')
    assert root.call("DELETE", "tenants/default", 400) == '{"error": "the built-in tenant cannot be deleted"}'


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 4  # callers are cached for two seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_terraform_creates_a_datastore(product: ProductServer, root: Api) -> None:
    name = unique("tf")
    upid = root.call("POST", "config/datastore", json={"name": name, "path": f"/mnt/{name}", "comment": "made"})
    assert wait_for_task(root, upid)["id"] == name
    read = root.client.get(f"config/datastore/{name}").json()
    assert read["data"] == {"name": name, "path": f"/mnt/{name}", "comment": "made"}
    change = {"gc-schedule": "daily", "delete": ["comment"], "digest": read["digest"]}
    assert root.call("PUT", f"config/datastore/{name}", json=change) is None
    assert root.get(f"config/datastore/{name}")["gc-schedule"] == "daily"
    stale = root.call("PUT", f"config/datastore/{name}", 400, json=change)
    assert stale.startswith("detected modified configuration")
    assert root.get(f"admin/datastore/{name}/gc")["next-run"] > time.time()


def test_datacenter_manager_adds_the_server(product: ProductServer, root: Api) -> None:
    extjs = httpx.Client(base_url=f"{product.url}/api2/extjs/", verify=False, headers=root.client.headers)
    assert extjs.get("access/domains").json()["success"] is True
    name = unique("pdm")
    made = extjs.post(f"access/users/root@pam/token/{name}", json={}).json()
    assert made["data"].keys() == {"tokenid", "value"}
    entry = {"auth-id": made["data"]["tokenid"], "path": "/", "role": "Admin", "propagate": True}
    assert extjs.put("access/acl", json=entry).json()["status"] == 200
    extjs.headers["Authorization"] = f"PBSAPIToken={made['data']['tokenid']}:{made['data']['value']}"
    for path in (
        "config/datastore",
        "status/datastore-usage",
        "status/metrics?history=true&start-time=1",
        "nodes/localhost/status",
        "nodes/localhost/subscription",
        "nodes/localhost/tasks?limit=5&since=1",
        "nodes/localhost/apt/update",
        "nodes/localhost/rrd?cf=AVERAGE&timeframe=hour",
    ):
        answer = extjs.get(path)
        assert answer.headers["content-type"] == "application/json;charset=UTF-8", path
        assert answer.json()["success"] is True, (path, answer.text)
    host = [one for one in extjs.get("status/metrics").json()["data"]["data"] if one["id"] == "host"]
    kinds = {kind: {one["metric"] for one in host if one["type"] == kind} for kind in ("gauge", "derive")}
    assert kinds["derive"] == {"net_in", "net_out", "disk_read", "disk_write"}
    assert {"cpu_current", "cpu_avg15", "mem_used", "swap_total", "disk_available"} < kinds["gauge"]
    extjs.headers["Authorization"] = product.authorization
    assert extjs.delete(f"access/users/root@pam/token/{name}").json()["data"] is None


def sum_of(report: Json, key: str) -> int:
    return sum(snapshot[key] for snapshot in report["snapshots"])


def test_usage_and_summary(product: ProductServer, root: Api) -> None:
    found = root.get("billing/usage")
    assert found is None or found["storage_bytes"] >= 0
    report = root.get("compliance/report")
    assert (report["snapshot_count"], report["total_bytes"]) == (len(report["snapshots"]), sum_of(report, "size"))
    assert root.client.get("status?foo=1").json()["summary"]["tasks"]["running"] >= 0
    assert root.call("GET", "billing/usage?tenant=nosuch&x=1", 400).startswith('{"error": "parameter verification')


def test_many_requests_without_credentials_are_slowed_and_refused(product: ProductServer) -> None:
    async def burst() -> list[httpx.Response]:
        transport = httpx.AsyncHTTPTransport(
            verify=False,
            local_address="127.0.0.9",
            limits=httpx.Limits(max_connections=200),
        )
        async with httpx.AsyncClient(transport=transport, timeout=60) as client:
            calls = [client.get(f"{product.url}/api2/json/version") for _ in range(200)]
            answers = await asyncio.gather(*calls)
            good = await client.get(
                f"{product.url}/api2/json/version", headers={"Authorization": product.authorization}
            )
            assert good.status_code == 200
            return answers

    answers = asyncio.run(burst())
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused and len(refused) < 100
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert {answer.status_code for answer in answers} == {401, 429}


def test_metrics_show_no_names(product: ProductServer, root: Api) -> None:
    root.call("GET", "admin/datastore/very-secret-name/groups", 400)
    text = httpx.get(f"{product.url}/metrics", verify=False).text
    assert 'endpoint="/api2/json/admin/datastore/{store}/groups"' in text
    assert "very-secret-name" not in text and 'tenant="' not in text
    assert "pbs_request_duration_seconds_bucket" in text
