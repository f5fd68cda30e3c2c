"""Routing, formats and the order of checks: rest-api A.2, A.5, A.6."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from pbs_cloud.gateway.errors import HttpError
from pbs_cloud.gateway.rest.endpoints import all_endpoints
from pbs_cloud.gateway.rest.router import Router
from pbs_cloud.gateway.rest.target import parse_target

from .conftest import Api


@pytest.mark.parametrize("path", ["/api2/json/version", "//api2/json/version", "/api2//json///version/"])
async def test_empty_segments_are_dropped(api: Api, path: str) -> None:
    assert parse_target("GET", path.encode(), b"").segments == ("version",)


def test_segments_are_decoded_one_by_one() -> None:
    assert parse_target("GET", b"/api2/json/v%65rsion/a%2Fb", b"").segments == ("version", "a/b")
    assert parse_target("GET", b"/api2/json/%FF", b"").segments is None


@pytest.mark.parametrize(
    ("method", "path", "query", "status", "text"),
    [
        ("GET", "/api2/json/.hidden", "", 400, "path contains illegal components"),
        ("GET", "/api2/json/../json", "", 400, "path contains illegal components"),
        ("GET", "/api2/json/" + "a" * 3062, "", 414, ""),
        ("GET", "/api2/json/version", "x" * 3055, 414, ""),
        ("GET", "/api2", "", 404, "Path '/api2' not found."),
        ("GET", "/api2/xml/version", "", 400, "Unsupported output format 'xml'."),
        ("POST", "/foo", "", 400, "invalid http method for path"),
    ],
)
def test_refusals_before_authentication(method: str, path: str, query: str, status: int, text: str) -> None:
    with pytest.raises(HttpError) as caught:
        parse_target(method, path.encode(), query.encode())
    assert (caught.value.status, caught.value.message) == (status, text)


def test_3072_bytes_are_allowed() -> None:
    assert parse_target("GET", b"/api2/json/" + b"a" * 3061, b"").segments
    assert parse_target("GET", b"//api2/json/version", b"x" * 3054).segments


async def test_without_credentials_everything_but_the_public_is_401(api: Api) -> None:
    started = time.monotonic()
    answer = await api.client.get("/api2/json/nosuch")
    assert (answer.status_code, answer.text) == (401, "authentication failed")
    assert "content-type" not in answer.headers
    assert answer.headers["set-cookie"].startswith("__Host-PBSAuthCookie=; Expires=Thu, 01 Jan 1970")
    assert time.monotonic() - started >= 0.05
    assert (await api.client.post("/api2/json/ping")).status_code == 401
    assert (await api.client.get("/api2/json/ping")).json() == {"data": {"pong": True}}


async def test_line_breaks_in_paths_are_like_any_other_byte(api: Api) -> None:
    for path in ("/api2/json/version%0A", "/api2/json/access/users/a%0Ab@pbs"):
        assert (await api.client.get(path)).status_code == 401, path
    assert (await api.client.get("/api2/json/access/users/a%0Ab@pbs", headers=api.root)).status_code == 400


async def test_known_and_unknown_paths(api: Api) -> None:
    version = await api.client.get("/api2/json/version", headers=api.root)
    assert version.headers["content-type"] == "application/json;charset=UTF-8"
    assert version.json()["data"]["version"] == "4.2"
    missing = await api.client.get("/api2/json/nosuch", headers=api.root)
    assert (missing.status_code, missing.text) == (404, "Path '/api2/json/nosuch' not found.")
    assert missing.headers["content-type"] == "application/json;charset=UTF-8"
    for method in ("POST", "PATCH", "OPTIONS"):
        assert (await api.client.request(method, "/api2/json/version", headers=api.root)).status_code == 404


async def test_extjs(api: Api) -> None:
    assert (await api.client.get("/api2/extjs/version", headers=api.root)).json()["success"] is True
    missing = await api.client.get("/api2/extjs/nosuch", headers=api.root)
    assert (missing.status_code, missing.json()) == (
        200, {"success": False, "status": 404, "message": "Path '/api2/extjs/nosuch' not found.", "errors": {}},
    )  # fmt: skip
    assert (await api.client.get("/api2/extjs/version")).status_code == 401


async def test_indexes(api: Api) -> None:
    for inner in ("admin", "admin/datastore/tank", "nodes/localhost", "config/access"):
        assert (await api.client.get(f"/api2/json/{inner}?foo=1", headers=api.root)).status_code == 200, inner
    root = (await api.client.get("/api2/json?foo=1", headers=api.root)).json()["data"]
    assert {"subdir": "access"} in root and {"subdir": "backup"} in root
    upid = "UPID:n:00000001:00000001:00000001:00000001:verify:x:root@pam:"
    tasks = await api.client.get(f"/api2/json/nodes/localhost/tasks/{upid}", headers=api.root)
    assert tasks.json() == {"data": [{"subdir": "log"}, {"subdir": "status"}]}


async def test_bodies_that_are_too_large(api: Api) -> None:
    answer = await api.client.post(
        "/api2/json/access/users", content=b"x" * 524_288, headers={**api.root, "Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.text) == (400, "Request body too large")


async def test_rights_come_before_parameters(api: Api) -> None:
    nobody = await api.new_user("nobody@pbs")
    refused = await api.client.post("/api2/json/access/users", json={"x": 1}, headers=nobody)
    assert (refused.status_code, refused.text) == (403, "permission check failed")
    missing = await api.client.get("/api2/json/admin/datastore/tank/groups", headers=nobody)
    assert missing.text == "permission check failed - missing Datastore.Audit|Datastore.Backup on /datastore/tank"
    unknown = await api.client.get("/api2/json/admin/datastore/tank/groups?x=1", headers=nobody)
    assert unknown.status_code == 400


async def test_deflate_only_when_it_is_named(api: Api) -> None:
    async def encoding(wanted: str) -> str | None:
        answer = await api.client.get("/api2/json/version", headers={**api.root, "Accept-Encoding": wanted})
        assert answer.json()["data"]["version"] == "4.2"
        return answer.headers.get("content-encoding")

    assert await encoding("gzip, deflate") == "deflate"
    assert await encoding("deflate;q=0.5") == "deflate"
    assert await encoding("gzip") is None


async def test_services_that_are_away_are_503(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pbs_cloud.contracts.client.DEADLINE_SECONDS", 0.2)
    answer = await api.client.get("/api2/json/admin/datastore", headers=api.root)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"


async def test_outside_of_the_api(api: Api) -> None:
    assert (await api.client.get("/health")).json()["status"] == "healthy"
    assert (await api.client.get("/ready")).json() == {"status": "ready"}
    assert (await api.client.get("/")).status_code == 404
    assert (await api.client.post("/health")).status_code == 400
    await api.client.get("/api2/json/admin/datastore/secret-store/groups", headers=api.root | {"x": "y"})
    page = await api.client.get("/metrics")
    assert page.headers["content-type"] == "text/plain; version=0.0.4"
    text = page.text
    assert "secret-store" not in text
    assert 'endpoint="/api2/json/ping"' in text or "pbs_requests_total" in text


def test_every_endpoint_has_a_place_and_a_summary() -> None:
    endpoints = all_endpoints()
    Router(endpoints)
    for endpoint in endpoints:
        assert endpoint.summary.endswith("."), endpoint.path
        assert endpoint.access.describe(), endpoint.path


def test_the_cases_of_levels_must_and_should_find_their_paths() -> None:
    """Every path that a public case calls exists, apart from those that collection, prune and verify bring."""
    router = Router(all_endpoints())
    cases = Path(__file__).parents[4] / "tests" / "conformance" / "rest"
    later = ("gc", "prune", "prune-jobs", "verify", "verify-jobs", "sync", "routing")
    missing = set()
    for path in cases.glob("*.json"):
        content = json.loads(path.read_text())
        for case in content.get("cases", []) if path.stem not in later else []:
            if case.get("level", "must") not in ("must", "should") or case["path"].startswith("/"):
                continue
            if case["expect"]["status"] == 404:
                continue
            target = parse_target("GET", f"/api2/json/{case['path']}".encode().partition(b"?")[0], b"")
            match = router.find(target.segments or ())
            if match is None or (case["method"] not in match.branch.endpoints and case["method"] != "GET"):
                missing.add((case["method"], case["path"].replace("{scratch}", "{store}")))
    assert {path.rpartition("/")[2] for _, path in missing} <= {"gc", "prune", "verify", "prune-datastore"}
