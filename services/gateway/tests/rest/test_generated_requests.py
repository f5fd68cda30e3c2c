"""Requests made from the OpenAPI document against the running product: no 500, every answer as the document says.

``PBS_TEST_EXAMPLES`` sets how many requests each operation gets (default 4, about half a minute in all).
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx
import jsonschema
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject, SearchStrategy
from testkit.product import ProductServer

from pbs_cloud.gateway.rest.openapi import PREFIX, document

Json = dict[str, Any]
EXAMPLES = int(os.environ.get("PBS_TEST_EXAMPLES", "4"))
DOCUMENT = document()
OPERATIONS = [(method, path, found) for path, methods in DOCUMENT["paths"].items() for method, found in methods.items()]
# Waits of three seconds for wrong passwords, real collections, upgrades without their header.
SLOW = {"access/ticket": 1, "access/openid/login": 1, "access/password": 1, "admin/gc": 2}
EXPECTED = {200, 201, 202, 400, 401, 403, 404, 409, 413, 414, 429, 501, 507}
KNOWN: dict[str, list[Any]] = {
    "store": ["default", "nosuch"],
    "name": ["nosuch", "generated"],
    "ns": ["", "", "prod", "prod/web"],
    "parent": ["", "prod"],
    "target-ns": ["prod", ""],
    "backup-type": ["host", "vm", "ct"],
    "backup-id": ["h1", "nosuch"],
    "backup-time": [1, 1_772_416_804],
    "node": ["localhost"],
    "upid": ["UPID:pbs1:000F3A21:0BCD1234:00000000000004D2:69A4F290:garbage_collection:tank:alice@pbs:"],
    "userid": ["victim@{slug}", "nobody@{slug}"],
    "auth-id": ["victim@{slug}", "victim@{slug}!one"],
    "new-owner": ["victim@{slug}"],
    "token-name": ["one", "two"],
    "username": ["victim@{slug}", "nobody@{slug}"],
    "path": ["/", "/datastore", "/datastore/default/prod"],
    "role": ["DatastoreReader", "Audit"],
    "filepath": ["/", "cm9vdC5weGFyLmRpZHgvZXRj"],
    "schedule": ["daily", "mon..fri 02:30"],
    "gc-schedule": ["daily"],
    "prune-schedule": ["daily"],
    "counter-reset-schedule": ["daily"],
    "group-filter": [["type:vm"], []],
    "url": ["https://127.0.0.1/", "https://nosuch.invalid/"],
    "network": [["192.168.7.0/24"]],
    "tenant_id": ["default"],
    "digest": ["0" * 64],
    "expire": [0, 1 << 62],
}


@dataclass
class Caller:
    """Credentials, and the names that exist for them."""

    client: httpx.Client
    slug: str
    statuses: dict[int, int] = field(default_factory=dict)


@pytest.fixture(scope="module")
def callers(product: ProductServer) -> Iterator[dict[str, Caller]]:
    """The administrator of a tenant of its own, and the operator."""
    with contextlib.ExitStack() as stack:

        def client(authorization: str) -> httpx.Client:
            headers = {"Authorization": authorization}
            return stack.enter_context(httpx.Client(base_url=product.url, verify=False, headers=headers, timeout=60))

        operator, slug = client(product.authorization), "gen" + secrets.token_hex(4)

        def call(who: httpx.Client, path: str, **body: Any) -> Any:
            answer = who.post(f"{PREFIX}/{path}", json=body)
            assert answer.status_code in (200, 201), answer.text
            return answer.json()["data"]

        tenant = call(operator, "tenants", name=slug, slug=slug)
        for user, level in (("admin", "admin"), ("victim", "read")):
            made = {"username": f"{user}@{slug}", "tenant_id": tenant["id"], "permission": level}
            call(operator, "access/users", **made, password="first-secret")
        ticket = call(operator, "access/ticket", username=f"admin@{slug}", password="first-secret")
        login = client("")
        login.headers = {
            "Cookie": "PBSAuthCookie=" + quote(ticket["ticket"], safe=""),
            "CSRFPreventionToken": ticket["CSRFPreventionToken"],
        }
        token = call(login, "access/tokens", name="generated", permission="admin")
        admin = client(f"PBSAPIToken={token['token']['tokenid']}:{token['value']}")
        call(admin, "admin/datastore/default/namespace", name="prod")
        yield {"admin": Caller(admin, slug), "operator": Caller(operator, slug)}


def values(name: str, schema: Json, slug: str) -> SearchStrategy[Any]:
    """Values of a parameter, valid by its schema; names that exist come often."""
    made = from_schema(schema)
    known = [value.format(slug=slug) if isinstance(value, str) else value for value in KNOWN.get(name, [])]
    known = [value for value in known if jsonschema.Draft202012Validator(schema).is_valid(value)]
    return st.one_of(st.sampled_from(known), st.sampled_from(known), made) if known else made


def from_schema(schema: Json) -> SearchStrategy[Any]:
    """Valid values of the schemas that the document uses."""
    if "not" in schema:
        return st.nothing()
    if "anyOf" in schema:
        return st.one_of(*(from_schema(option) for option in schema["anyOf"]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema["type"]:
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "integer":
            return st.integers(schema.get("minimum", -(1 << 63)), schema.get("maximum", (1 << 63) - 1))
        case "array":
            return st.lists(from_schema(schema["items"]), max_size=3)
        case "object":
            return st.dictionaries(st.text(max_size=20), st.text(max_size=20), max_size=3)
    least, most = schema.get("minLength", 0), schema.get("maxLength", 60)
    if "pattern" in schema:
        made = st.from_regex(schema["pattern"], fullmatch=True)
        return made.filter(lambda text: least <= len(text) <= most and not text.endswith("\n"))
    return st.text(
        st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=least, max_size=min(most, 60)
    )


def drawn(data: DataObject, schemas: dict[str, Json], needed: set[str], slug: str) -> Json:
    """All needed parameters and some of the others."""
    found = {}
    for name, schema in schemas.items():
        if "not" in schema or (name not in needed and not data.draw(st.booleans())):
            continue
        found[name] = data.draw(values(name, schema, slug), label=name)
    return found


def body_schema(operation: Json) -> Json:
    found: Json = operation["requestBody"]["content"]["application/json"]["schema"]
    return found


def request_of(data: DataObject, method: str, path: str, operation: Json, slug: str) -> tuple[str, Json]:
    """URL and arguments of a valid request."""
    params = {entry["name"]: entry["schema"] for entry in operation["parameters"]}
    places = {entry["name"]: entry["in"] for entry in operation["parameters"]}
    needed = {entry["name"] for entry in operation["parameters"] if entry["required"]}
    found = drawn(data, params, needed, slug)
    url = path
    for name in [name for name, place in places.items() if place == "path"]:
        url = url.replace("{" + name + "}", quote(str(found.pop(name)), safe="") or "-")
    arguments: Json = {"params": {name: as_text(value) for name, value in found.items()}} if found else {}
    if "requestBody" in operation:
        schema = body_schema(operation)
        if "anyOf" in schema:
            schema = data.draw(st.sampled_from(schema["anyOf"]))
        arguments["json"] = drawn(data, schema["properties"], set(schema["required"]), slug)
    return url, arguments


def as_text(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return [as_text(item) for item in value] if isinstance(value, list) else value


def check(answer: httpx.Response, method: str, operation: Json) -> None:
    """Status, content type and body as the document says."""
    sent = answer.request
    shown = f"{sent.method} {sent.url} {sent.content!r}: {answer.status_code} {answer.text[:500]}"
    assert answer.status_code in EXPECTED, shown
    if answer.status_code >= 300:
        check_error(answer, operation, shown)
        return
    answered = operation["responses"]["2XX"]
    if "content" not in answered:
        return
    assert answer.headers.get("content-type", "application/json").startswith("application/json"), shown
    schema = {**answered["content"]["application/json"]["schema"], "components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator(schema).validate(answer.json())


def check_error(answer: httpx.Response, operation: Json, shown: str) -> None:
    if answer.status_code == 414:
        return
    text = answer.content.decode("utf-8")
    assert text, shown
    if operation["responses"]["default"]["$ref"].endswith("OwnError") and answer.status_code != 401:
        assert isinstance(json.loads(text)["error"], str), shown
    elif answer.headers.get("content-type"):
        assert answer.headers["content-type"] == "application/json;charset=UTF-8", shown


def leaves_alone(method: str, url: str, arguments: Json) -> bool:
    """Whether the request is none that takes the ground away: datastores are not made, the caller stays."""
    return not (
        (method == "delete" and url.endswith(("config/datastore/default", "tenants/default")))
        or "admin%40" in url
        or (method == "put" and arguments.get("json", {}).get("maintenance-mode"))
        or (method == "put" and url.endswith("tenants/default"))
    )


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    OPERATIONS,
    ids=[f"{method} {path[len(PREFIX) + 1 :]}" for method, path, _ in OPERATIONS],
)
def test_valid_requests(callers: dict[str, Caller], method: str, path: str, operation: Json) -> None:
    name = path[len(PREFIX) + 1 :]
    who = callers["operator" if name.startswith("tenants") else "admin"]
    most = min(EXAMPLES, SLOW.get(name, EXAMPLES))

    @settings(
        max_examples=most,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def run(data: DataObject) -> None:
        url, arguments = request_of(data, method, path, operation, who.slug)
        if (method, name) == ("post", "config/datastore"):
            arguments["json"]["name"] = "default"  # a real one costs thousands of folders
        if (method, name) == ("post", "tenants"):
            return
        if leaves_alone(method, url, arguments):
            check(who.client.request(method.upper(), url, **arguments), method, operation)

    run()


@pytest.mark.parametrize("kind", ["json", "form"])
def test_unknown_and_missing_parameters(callers: dict[str, Caller], kind: str) -> None:
    """Every operation names what is wrong."""
    for method, path, operation in OPERATIONS:
        name = path[len(PREFIX) + 1 :]
        if name in SLOW or name in ("backup", "reader", "billing/webhook"):
            continue
        who = callers["operator" if name.startswith("tenants") else "admin"]
        url = path
        for place in [entry["name"] for entry in operation["parameters"] if entry["in"] == "path"]:
            url = url.replace(
                "{" + place + "}", quote(str(KNOWN.get(place, ["nosuch"])[0]).format(slug=who.slug), safe="")
            )
        body = {"no-such-parameter": "1"}
        if "requestBody" in operation:
            sent: Json = {"json": body} if kind == "json" else {"data": body}
        else:
            sent = {"params": body}
        answer = who.client.request(method.upper(), url, **sent)
        shown = f"{method} {url}: {answer.status_code} {answer.text[:200]}"
        if name == "status":  # an index, which ignores what it does not know
            assert answer.status_code == 200, shown
            continue
        assert answer.status_code == 400, shown
        assert "no-such-parameter" in answer.text, shown
        required = body_schema(operation).get("required", []) if "requestBody" in operation else []
        assert all(f"'{missing}'" in answer.text for missing in required if "{" + missing + "}" not in path), shown


@pytest.mark.parametrize("value", ["\0", "\U0001f600", "a" * 3000, "'; DROP TABLE x; --", "1e9"])
def test_strange_texts_everywhere(callers: dict[str, Caller], value: str) -> None:
    """The same text for every parameter of every reading call: refused or found missing, never an accident."""
    for method, path, operation in OPERATIONS:
        name = path[len(PREFIX) + 1 :]
        if method != "get" or name in ("backup", "reader"):
            continue
        who = callers["operator" if name.startswith("tenants") else "admin"]
        url = path
        for entry in operation["parameters"]:
            if entry["in"] == "path":
                url = url.replace("{" + entry["name"] + "}", quote(value, safe=""))
        params = {entry["name"]: value for entry in operation["parameters"] if entry["in"] == "query"}
        answer = who.client.get(url, params=params)
        assert answer.status_code in EXPECTED - {500}, f"{method} {url}: {answer.status_code} {answer.text[:300]}"
