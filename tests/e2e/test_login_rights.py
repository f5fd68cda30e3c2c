"""Every endpoint x every role x own things, somebody else's, and another tenant's, on the running product (A.8, E).

What each caller may do stands in `testkit.rights_table`; a new endpoint without a row there fails the gateway's
`test_role_matrix`. Requests are such that a yes destroys nothing: a parameter that nobody knows, a protected snapshot,
a digest that does not fit, a namespace that is not there.
"""

import asyncio
import json
import re
import secrets
import ssl
import uuid
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest
import pytest_asyncio
from testkit.client import Backup, Rest, Snapshot
from testkit.product import ProductServer
from testkit.rights_table import ANY, PUBLIC, ROWS, UNIX_TIME, Row
from testkit.world import Tenant, endpoint_of, fresh, new_tenant, root_token, wait_for_task

from pbs_cloud.contracts.rights import ROLES

PASSWORD = "the-same-for-all"
NOBODY = "nobody"
AT_ONCE = 24
pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("e2e-local"),
    pytest.mark.asyncio(loop_scope="module"),
]
# How a refusal looks where it is not a plain 403 (rest-api A.6, A.8, C.2).
REFUSALS = re.compile(
    "^(permission check failed|missing permissions|not allowed to list permissions|Unprivileged |no permission"
    "|you are not authorized|task access not allowed|backup owner check failed|authentication failed)"
)


@dataclass
class World:
    """A tenant with a user for each role, one group of each, and one of the administrator."""

    product: ProductServer
    tenant: Tenant
    other: Tenant
    http: httpx.AsyncClient
    names: dict[str, str] = field(default_factory=dict)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)

    def user(self, role: str) -> str:
        """The user that has only this role."""
        return f"r-{role.lower()}@{self.tenant.realm}"

    async def ask(
        self, name: str, headers: Mapping[str, str], values: Mapping[str, str], probe: bool
    ) -> tuple[int, str]:
        """Status and text of a call of the table."""
        row = ROWS[name]
        method, _, template = name.partition(" ")
        path = re.sub(r"\{([a-z-]+)\}", lambda found: quote(values[found[1]], safe=""), template)
        query = {key: _filled(value, values) for key, value in row.query.items()} | ({"no-such": 1} if probe else {})
        if row.upgrade:
            return await self._upgrade(row.upgrade, query, headers)
        sent: dict[str, Any] = {"params": _texts(query)} if method in ("GET", "DELETE") else {"json": query}
        if "upload-backup-log" in path:
            sent = {"params": _texts(query), "content": b"x"}
        answer = await self.http.request(method, f"/api2/json/{path}", headers=dict(headers), **sent)
        return answer.status_code, answer.text

    async def _upgrade(self, which: str, query: Mapping[str, Any], headers: Mapping[str, str]) -> tuple[int, str]:
        protocol = "proxmox-backup-protocol-v1" if which == "backup" else "proxmox-backup-reader-protocol-v1"
        head = [f"GET /api2/json/{which}?{urlencode(_texts(query))} HTTP/1.1", "Host: pbs", f"Upgrade: {protocol}"]
        head += [f"{name}: {value}" for name, value in headers.items()]
        context = ssl._create_unverified_context()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.product.port, ssl=context)
        try:
            writer.write(("\r\n".join([*head, "Connection: Upgrade"]) + "\r\n\r\n").encode())
            text = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).decode()
            status, length = int(text.split(" ")[1]), re.search(r"(?i)content-length: (\d+)", text)
            body = await reader.readexactly(int(length[1])) if length and status != 101 else b""
            return status, body.decode()
        finally:
            writer.close()


def _filled(value: Any, values: Mapping[str, str]) -> Any:
    return value.format_map(values) if isinstance(value, str) else value


def _texts(query: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(int(value)) if isinstance(value, bool) else str(value) for key, value in query.items()}


def _refused(status: int, text: str) -> bool:
    if status in (401, 403):
        return True
    message = json.loads(text).get("error", "") if text.startswith('{"error"') else text
    return status == 400 and REFUSALS.match(message) is not None


async def _login(http: httpx.AsyncClient, user: str, password: str) -> dict[str, str]:
    answer = await http.post("/api2/json/access/ticket", json={"username": user, "password": password})
    data = answer.json()["data"]
    return {"Cookie": f"PBSAuthCookie={quote(data['ticket'])}", "CSRFPreventionToken": data["CSRFPreventionToken"]}


async def _group(world: World, store: str, backup_id: str, owner: str | None) -> None:
    """A group with one protected snapshot, given to ``owner``."""
    tenant, snapshot = world.tenant, Snapshot(store, backup_id, UNIX_TIME)
    async with await Backup.open(tenant.endpoint, tenant.admin.credential, snapshot) as backup:
        await backup.blob("a.conf.blob", b"content")
        await backup.finish()
    path = f"/admin/datastore/{store}"
    await tenant.rest.call("PUT", f"{path}/protected", {**snapshot.parameters(), "protected": True})
    if owner is not None:
        await tenant.rest.call("POST", f"{path}/change-owner", {**snapshot.group(), "new-owner": owner})


async def _fill(world: World) -> None:
    rest, realm, store = world.tenant.rest, world.tenant.realm, fresh("rights")
    made = await rest.call("POST", "/config/datastore", {"name": store, "path": "/x"})
    assert await wait_for_task(rest, made, 200) == "OK"
    await rest.post("/config/prune", id="rights-prune", store=store, schedule="daily")
    await rest.post("/config/verify", id="rights-verify", store=store)
    remote = {"name": "rights-remote", "host": "192.0.2.1", "auth-id": "sync@pbs", "password": PASSWORD}
    await rest.call("POST", "/config/remote", remote)
    sync = {"id": "rights-sync", "store": store, "remote": "rights-remote", "remote-store": "elsewhere"}
    await rest.call("POST", "/config/sync", sync)
    victim = f"victim@{realm}"
    await rest.call("POST", "/access/users", {"userid": victim, "password": PASSWORD})
    await rest.call("PUT", f"/access/users/{quote(victim)}", {"permission": "read"})
    ids = [await rest.call("POST", "/access/tokens", {"username": victim, "name": n}) for n in ("one", "two")]
    await _group(world, store, "foreign", None)
    for role in (*ROLES, NOBODY):
        await rest.call("POST", "/access/users", {"userid": world.user(role), "password": PASSWORD})
        if role != NOBODY:
            entry = {"path": "/", "role": role, "auth-id": world.user(role)}
            await rest.call("PUT", "/access/acl", entry)
        await rest.call("POST", f"/access/users/{quote(world.user(role))}/token/mine", {})
        await _group(world, store, f"own-{role}", world.user(role))
        world.headers[role] = await _login(world.http, world.user(role), PASSWORD)
    (task, *_) = await rest.get("/nodes/localhost/tasks", typefilter="backup", limit=1)
    world.names |= {
        "store": store, "name": store, "node": "localhost", "userid": victim, "victim": victim, "password": PASSWORD,
        "token-name": "one", "upid": task["upid"], "realm": f"{realm}.sso", "group": "foreign",
        "remote": "rights-remote",
        "owner": world.tenant.admin.auth_id, "token": ids[0]["token"]["id"], "token2": ids[1]["token"]["id"],
        "prune": "rights-prune", "verify": "rights-verify", "sync": "rights-sync", "tenant": world.tenant.id,
    }  # fmt: skip


def _values(world: World, name: str, role: str, own: bool) -> dict[str, str]:
    """What the placeholders of a call stand for; ``own``: the caller's own group and user."""
    values, path = dict(world.names), name.partition(" ")[2]
    if own:
        user = world.user(role)
        values |= {"group": f"own-{role}", "owner": f"{user}!mine", "userid": user, "token-name": "mine"}
    values |= {"prune-job": f"p-{role}", "verify-job": f"v-{role}", "sync-job": f"s-{role}"}
    kinds = {"prune/{id}": "prune", "verify/{id}": "verify", "sync/{id}": "sync", "tokens/{id}": "token"}
    kinds |= {"tenants/{id}": "tenant"}
    values["id"] = next((values[kind] for part, kind in kinds.items() if part in path), str(uuid.UUID(int=7)))
    if path.startswith("config/remote"):
        values["name"] = values["remote"]
    return values


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(product: ProductServer) -> AsyncIterator[World]:
    context = ssl._create_unverified_context()
    limits = httpx.Limits(max_connections=AT_ONCE)
    async with (
        new_tenant(product) as tenant,
        new_tenant(product) as other,
        httpx.AsyncClient(base_url=product.url, verify=context, limits=limits, timeout=60) as http,
    ):
        made = World(product, tenant, other, http)
        await _fill(made)
        yield made


async def _all_at_once(calls: list[Coroutine[Any, Any, list[str]]]) -> list[str]:
    """Run all, some at a time: what was wrong."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(call: Coroutine[Any, Any, list[str]]) -> list[str]:
        async with turn:
            return await call

    return [text for found in await asyncio.gather(*map(one, calls)) for text in found]


async def _judge(world: World, name: str, row: Row, role: str, own: bool) -> list[str]:
    """What is wrong with the answer that a role gets."""
    status, text = await world.ask(name, world.headers[role], _values(world, name, role, own), row.probe)
    held = frozenset(privilege.value for privilege in ROLES[role][0]) if role != NOBODY else frozenset()
    allowed = row.allows(held, owner=own, itself=own)
    place = f"{name} as {role}, {'own' if own else 'foreign'}: {status} {text[:120]!r}"
    if status >= 500 or status == 429:
        return [f"failed: {place}"]
    if _refused(status, text) == allowed:
        return [f"{'must pass' if allowed else 'must be refused'}: {place}"]
    if row.listing and allowed:
        everything = bool(held & set(row.full))
        shown = (f'"own-{role}"' in text, '"foreign"' in text)
        return [] if shown == (True, everything) else [f"shows {shown}: {place}"]
    return []


def _roles(row: Row) -> tuple[str, ...]:
    """Every role, where a service judges. Fixed rights were judged for every role in `test_role_matrix`: a few here."""
    if row.kind in (PUBLIC, ANY):
        return (NOBODY, "Admin")
    return (NOBODY, "Audit", "DatastoreAdmin", "RemoteAdmin", "Admin") if row.probe else (*ROLES, NOBODY)


async def test_every_endpoint_for_every_role_on_own_and_foreign_things(world: World) -> None:
    calls = []
    for name, row in ROWS.items():
        if name == "POST access/ticket":
            continue
        for role in _roles(row):
            two = (False, True) if row.owned or row.own_user else (bool(row.listing),)
            calls += [_judge(world, name, row, role, own) for own in two]
    wrong = await _all_at_once(calls)
    assert not wrong, f"{len(wrong)} of {len(calls)}:\n" + "\n".join(sorted(wrong))
    await _nothing_was_lost(world)


async def _nothing_was_lost(world: World) -> None:
    """Every yes left things as they were."""
    rest, store = world.tenant.rest, world.names["store"]
    groups = {group["backup-id"]: group for group in await rest.get(f"/admin/datastore/{store}/groups")}
    assert {*(f"own-{role}" for role in (*ROLES, NOBODY)), "foreign"} <= set(groups)
    assert groups["foreign"]["owner"] == world.tenant.admin.auth_id
    assert groups["own-Admin"]["owner"] == f"{world.user('Admin')}!mine"
    users = {user["userid"] for user in await rest.get("/access/users")}
    assert {world.names["victim"], *(world.user(role) for role in ROLES)} <= users


def _ghosts(world: World, values: dict[str, str]) -> dict[str, str]:
    """Names of the same form that nothing has."""
    upid = values["upid"].split(":")
    upid[4] = f"{secrets.randbits(64):016X}"
    ghost = f"ghost{secrets.token_hex(3)}"
    changed = {
        "store": ghost, "name": ghost, "userid": f"{ghost}@{world.tenant.realm}",
        "victim": f"{ghost}@{world.tenant.realm}",
        "id": str(uuid.uuid4()) if "-" in values["id"] and len(values["id"]) == 36 else ghost, "token-name": ghost,
        "upid": ":".join(upid), "realm": f"{world.tenant.realm}.{ghost}", "group": ghost, "remote": ghost,
        "owner": f"{ghost}@{world.tenant.realm}!main", "prune-job": f"{ghost}-p", "verify-job": f"{ghost}-v",
        "sync-job": f"{ghost}-s",
    }  # fmt: skip
    return {**values, **changed}


async def _compare(world: World, name: str, headers: dict[str, str]) -> list[str]:
    """Another tenant's things answer as things that are not there (rest-api E.10)."""
    values = _values(world, name, "stranger", False)
    values["id"] = values["token2"] if values["id"] == values["token"] else values["id"]
    answers = []
    for chosen in (values, _ghosts(world, values)):
        status, text = await world.ask(name, headers, chosen, False)
        for value in sorted({quote(v, safe="") for v in chosen.values()} | set(chosen.values()), key=len, reverse=True):
            text = text.replace(value, "#") if len(value) > 2 else text
        answers.append((status, text))
    theirs, nothing = answers
    if theirs != nothing:
        return [f"{name}: {theirs} for what another tenant has, {nothing} for what nobody has"]
    return [] if theirs[0] < 500 and theirs[0] != 101 else [f"{name}: {theirs}"]


async def test_an_administrator_of_another_tenant_finds_nothing(world: World) -> None:
    before = [await world.tenant.rest.get(path) for path in ("/access/users", "/config/datastore", "/access/acl")]
    credential = world.other.admin.credential
    headers = dict(line.split(": ", 1) for line in credential.headers())
    named = re.compile(r"\{(store|name|userid|id|upid|realm|group|victim|remote|token-name)\}")
    calls = [
        _compare(world, name, headers)
        for name, row in ROWS.items()
        if row.kind != PUBLIC and named.search(name + json.dumps(dict(row.query)))
    ]
    assert len(calls) > 90
    wrong = await _all_at_once(calls)
    assert not wrong, "\n".join(sorted(wrong))
    for path in ("/admin/datastore", "/access/users", "/access/tfa", "/config/remote", "/nodes/localhost/tasks"):
        answer = await world.other.rest.exchange("GET", path)
        assert world.tenant.realm.encode() not in answer.body and world.names["store"].encode() not in answer.body, path
    after = [await world.tenant.rest.get(path) for path in ("/access/users", "/config/datastore", "/access/acl")]
    assert before == after


async def test_nobody_but_the_operator_touches_root(world: World) -> None:
    """An administrator of the default tenant cannot become operator (rest-api E.6)."""
    operator = Rest(endpoint_of(world.product), root_token(world.product))
    user = f"{fresh('adm')}@pbs"
    await operator.call("POST", "/access/users", {"userid": user, "password": PASSWORD})
    await operator.call("PUT", "/access/acl", {"path": "/", "role": "Admin", "auth-id": user})
    headers = await _login(world.http, user, PASSWORD)
    root, token = "/api2/json/access/users/root@pam", "/api2/json/access/users/root@pam/token/root-token"
    entry = {"path": "/", "role": "Admin", "auth-id": "root@pam!mine"}
    new_password = {"userid": "root@pam", "password": "taken-over-1", "confirmation-password": PASSWORD}
    tried = [
        ("PUT", root, {"comment": "x"}), ("PUT", root, {"password": "taken-over-1"}), ("PUT", root, {"enable": False}),
        ("DELETE", root, None), ("POST", f"{root}/token/mine", {}), ("PUT", token, {"regenerate": True}),
        ("DELETE", token, None), ("PUT", "/api2/json/access/acl", {**entry, "auth-id": "root@pam!root-token"}),
        ("PUT", "/api2/json/access/acl", {**entry, "auth-id": "root@pam"}),
        ("POST", "/api2/json/access/tfa/root@pam", {"type": "recovery", "password": PASSWORD}),
        ("PUT", f"{root}/unlock-tfa", {}), ("GET", "/api2/json/tenants", None),
        ("PUT", "/api2/json/access/password", new_password),
        ("POST", "/api2/json/access/tokens", {"username": "root@pam", "name": "mine"}),
    ]  # fmt: skip
    for method, path, body in tried:
        sent = {"json": body} if body is not None else {}
        answer = await world.http.request(method, path, headers=headers, **sent)
        expected = (400, 403) if path.endswith("password") else (403,)
        assert answer.status_code in expected, (method, path, answer.status_code, answer.text)
    assert (await operator.get("/access/users/root%40pam/token/root-token"))["tokenid"] == "root@pam!root-token"
    await operator.call("DELETE", f"/access/users/{quote(user)}", {})
    await operator.close()


async def test_the_four_levels_are_entries_and_nothing_else(world: World) -> None:
    """A level writes its entries; taking one away leaves the rest (rest-api A.8)."""
    rest, realm = world.tenant.rest, world.tenant.realm
    expected = {
        "read": {("/datastore", "DatastoreReader"), ("/system", "Audit")},
        "backup": {("/datastore", "DatastoreReader"), ("/system", "Audit"), ("/datastore", "DatastoreBackup")},
        "datastore_admin": {("/datastore", "DatastoreAdmin"), ("/system", "Audit")},
        "admin": {("/", "Admin")},
    }
    user = f"level@{realm}"
    await rest.call("POST", "/access/users", {"userid": user, "password": PASSWORD})
    for level, entries in expected.items():
        await rest.call("PUT", f"/access/users/{quote(user)}", {"permission": level})
        found = [entry for entry in await rest.get("/access/acl") if entry["ugid"] == user]
        assert {(entry["path"], entry["roleid"]) for entry in found} == entries, level
        assert all(entry["propagate"] for entry in found)
        mine = await rest.call("GET", "/access/permissions", {"auth-id": user, "path": "/datastore/x"})
        held = {privilege for path, role in entries if path != "/system" for privilege in ROLES[role][0]}
        assert set(mine.get("/datastore/x", {})) == {privilege.value for privilege in held}, level
    headers = await _login(world.http, user, PASSWORD)
    await rest.call("PUT", f"/access/users/{quote(user)}", {"permission": "read"})
    raised = await world.http.put(f"/api2/json/access/users/{user}", headers=headers, json={"permission": "admin"})
    assert raised.status_code == 403
    await rest.call("PUT", "/access/acl", {"path": "/system", "role": "Audit", "auth-id": user, "delete": True})
    status = await world.http.get("/api2/json/nodes/localhost/status", headers=headers)
    assert status.status_code == 403
