"""Nonsense in every parameter of every endpoint: refused with a reason, never a failure of the server."""

from __future__ import annotations

import json
import random
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest
from testkit.product import ProductServer

from pbs_cloud.gateway.rest.endpoint import Endpoint
from pbs_cloud.gateway.rest.endpoints import all_endpoints

ROUNDS = 4
UPID = "UPID:n:00000001:00000001:00000001:00000001:verify:x:root@pam:"
TEXTS = [
    "", "0", "1", "-1", "x", "../..", "a/b", "\0", "é", "💾", "a" * 300, "true", "null", "[]", "{}", "9" * 25, UPID,
    "root@pam", "a@pbs!t", "default", "host", "%2e", "'", '";--', "\n", "1.5", "01", "٣", "PBS:x", "a" * 2000,
]  # fmt: skip
JSON_VALUES: list[Any] = [None, True, 0, -5, 1.5, "x", [], {}, ["a"], {"a": 1}, 2**70, "\ud800", "\0", [[[]]]]
PLAUSIBLE = {
    "store": ["default", "nosuch"], "name": ["default"], "ns": ["", "a/b"], "backup-type": ["host", "vm"],
    "backup-id": ["x"], "backup-time": ["1700000000", "253402300799"], "node": ["localhost"], "upid": [UPID],
    "userid": ["nosuch@pbs"], "file-name": ["a.blob", "x.didx"], "filepath": ["root", "L3gucHhhci5kaWR4L2E="],
    "timeframe": ["hour"], "cf": ["MAX"], "auth-id": ["root@pam"], "path": ["/datastore/default"],
    "token-name": ["t"], "id": ["x", "00000000-0000-4000-8000-000000000000"], "digest": ["0" * 64],
}  # fmt: skip
# They would change what other tests of the shared product rely on.
LEFT_OUT = {
    ("PUT", "access/acl"), ("PUT", "access/password"), ("POST", "access/ticket"), ("POST", "config/datastore"),
    ("PUT", "config/datastore/{name}"), ("DELETE", "config/datastore/{name}"), ("POST", "tenants"),
    ("DELETE", "admin/datastore/{store}/groups"), ("DELETE", "admin/datastore/{store}/snapshots"),
    ("POST", "admin/prune"), ("POST", "admin/datastore/{store}/prune-datastore"),
    ("POST", "billing/webhook"), ("POST", "admin/gc"), ("POST", "admin/datastore/{store}/gc"),
    ("POST", "admin/datastore/{store}/verify"),
}  # fmt: skip
ENDPOINTS = [endpoint for endpoint in all_endpoints() if (endpoint.method, endpoint.path) not in LEFT_OUT]


def request_of(endpoint: Endpoint, source: random.Random) -> tuple[str, dict[str, Any]]:
    """Target below ``/api2`` and arguments of one request with random parameters."""
    path, given = endpoint.path, dict[str, Any]()
    for name, param in endpoint.schema.params.items():
        in_path = "{" + name + "}" in path
        if param.optional and not in_path and source.random() < 0.5:
            continue
        pool = PLAUSIBLE.get(name, TEXTS) if source.random() < 0.7 else TEXTS
        value = source.choice(pool)
        if in_path:
            path = path.replace("{" + name + "}", quote(value[:200], safe="") or "x")
        else:
            given[name] = value
    if source.random() < 0.1:
        given[source.choice(TEXTS)] = "x"
    target = f"/api2/{source.choice(['json', 'extjs'])}/{path}"
    kind = source.choice(["query", "form", "json"])
    if endpoint.method == "GET" or kind == "query":
        return f"{target}?{urlencode(given)}"[:3000], {}
    if kind == "form":
        return target, {"content": urlencode(given), "headers": {"Content-Type": "application/x-www-form-urlencoded"}}
    values = {name: source.choice(JSON_VALUES) if source.random() < 0.3 else value for name, value in given.items()}
    return target, {"content": json.dumps(values), "headers": {"Content-Type": "application/json"}}


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_no_parameter_makes_the_server_fail(product: ProductServer, endpoint: Endpoint) -> None:
    source = random.Random(f"{endpoint.method} {endpoint.path}")
    headers = {"Authorization": product.authorization, "Accept-Encoding": "identity"}
    with httpx.Client(base_url=product.url, verify=False, headers=headers, timeout=60) as client:
        for _ in range(ROUNDS):
            target, arguments = request_of(endpoint, source)
            answer = client.request(endpoint.method, target, **arguments)
            status = answer.status_code
            if status == 200 and answer.headers.get("content-type", "").startswith("application/json"):
                body = answer.json()
                status = body.get("status", 200)
                assert ("data" in body) == (status == 200), (target, arguments, answer.text)
            assert status < 500, (target, arguments, answer.text)
            if status >= 400:
                answer.content.decode()
