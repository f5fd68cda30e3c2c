"""Every REST call that a known consumer makes (rest-api B.1, B.4, B.5): one row each, with status and fields it reads.

``fields``: what must be in ``data``, or in each of its items; ``x.y`` is inside an object, ``=`` fixes the value.
Each answer must also be what the OpenAPI document says.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx
import jsonschema
import pytest
from testkit.client import Backup
from testkit.product import ProductServer
from testkit.world import create_tenant, wait_for_task

from pbs_cloud.gateway.rest.endpoints import all_endpoints
from pbs_cloud.gateway.rest.openapi import document
from pbs_cloud.gateway.rest.router import Router

Json = dict[str, Any]
DOCUMENT = document()
ROUTER = Router(all_endpoints())
SNAPSHOT = "backup-type=vm backup-id=100 backup-time={time}"
AD = "admin/datastore/default"
NT = "nodes/localhost/tasks"


@dataclass(frozen=True)
class Row:
    """One call. ``send``: ``query``, ``form`` or ``json``; ``given``: parameters, in JSON with their types."""

    consumer: str
    call: str
    given: str = ""
    fields: str = ""
    send: str = "query"
    status: int = 200
    least: int = 1

    @property
    def name(self) -> str:
        return f"{self.consumer}: {self.call} {self.given}".replace("{", "").replace("}", "")


_STATUS = "total used avail"
_LISTED = "backup-type backup-id backup-time files protected owner"
_NODE = "cpu memory.total memory.used swap.total root.total root.used loadavg uptime info.fingerprint cpuinfo.cpus"
_TASK = "upid worker_type starttime user"

ROWS = [
    # --- proxmox-backup-client (B.1)
    Row("cli", f"GET {AD}/groups", "", "backup-type backup-id last-backup backup-count files owner"),
    Row("cli", f"GET {AD}/groups", "ns=prod", least=0),
    Row("cli", f"GET {AD}/snapshots", "backup-type=vm backup-id=100", _LISTED),
    Row("cli", f"GET {AD}/snapshots", "backup-type=vm backup-id=nosuch", least=0),
    Row("cli", f"GET {AD}/files", SNAPSHOT, "filename size crypt-mode"),
    Row("cli", f"GET {AD}/notes", SNAPSHOT),
    Row("cli", f"PUT {AD}/notes", f"{SNAPSHOT} notes=weekly"),
    Row("cli", f"GET {AD}/protected", SNAPSHOT),
    Row("cli", f"PUT {AD}/protected", f"{SNAPSHOT} protected=true"),
    Row("cli", f"PUT {AD}/protected", f"{SNAPSHOT} protected=false"),
    Row("cli", f"POST {AD}/prune", "backup-type=vm backup-id=100 keep-last:3 dry-run:true", "backup-time keep", "json"),
    Row("cli", f"POST {AD}/prune", "backup-type=vm backup-id=100 max-depth:1", send="json", status=400),
    Row("cli", f"GET {AD}/status", "", _STATUS),
    Row("cli", f"POST {AD}/gc", send="form"),
    Row("cli", f"POST {AD}/change-owner", "backup-type=host backup-id=h1 new-owner={owner}", send="json"),
    Row("cli", f"GET {AD}/namespace", "max-depth=2", "ns"),
    Row("cli", f"POST {AD}/namespace", "parent= name=made", "=made", "json"),
    Row("cli", f"DELETE {AD}/namespace", "ns=made delete-groups=true", "removed-groups protected-snapshots"),
    Row("cli", f"DELETE {AD}/groups", "backup-type=vm backup-id=nosuch", status=400),
    Row("cli", f"DELETE {AD}/snapshots", "backup-type=vm backup-id=100 backup-time=1", status=400),
    Row("cli", f"GET {NT}", "running=true start=0 limit=50 userfilter={owner} store=default", least=0),
    Row("cli", f"GET {NT}/{{upid}}/log", "limit=500 start=1 test-status=true", "n t"),
    Row("cli", f"GET {NT}/{{upid}}/status", "", "status=stopped exitstatus=OK"),
    Row("cli", f"DELETE {NT}/{{upid}}"),
    Row("cli", "GET version", "", "version release"),
    Row("cli", "GET nodes/localhost/identity", "", "pbs-instance-id"),
    Row("cli", "GET access/users", "include_tokens=true", "userid"),
    # --- Proxmox VE storage plugin
    Row("pve", "GET admin/datastore", "", "store mount-status comment"),
    Row("pve", f"GET {AD}/snapshots", "backup-id=100", f"{_LISTED} size"),
    Row("pve", f"GET {AD}/snapshots", "", _LISTED),
    Row("pve", f"GET {AD}/protected", SNAPSHOT),
    Row("pve", f"PUT {AD}/protected", f"{SNAPSHOT} protected=1", send="form"),
    Row("pve", f"PUT {AD}/protected", f"{SNAPSHOT} protected=0", send="form"),
    Row("pve", f"GET {AD}/status", "", _STATUS),
    Row("pve", "GET nodes/localhost/identity", "", "pbs-instance-id"),
    # --- a PBS that pulls
    Row("pull", f"GET {AD}/namespace", "max-depth=7", "ns"),
    Row("pull", f"GET {AD}/namespace", "parent=prod", "ns=prod"),
    Row("pull", f"GET {AD}/groups", "ns=", "backup-type backup-id last-backup backup-count owner"),
    Row("pull", f"GET {AD}/snapshots", "backup-type=vm backup-id=100", f"{_LISTED} size"),
    Row("pull", "GET admin/datastore", "", "store"),
    # --- a PBS that pushes
    Row("push", "GET version", "", "version release repoid"),
    Row("push", f"GET {AD}/namespace", "", "ns"),
    Row("push", f"POST {AD}/namespace", "name=pushed parent=prod", "=prod/pushed", "json"),
    Row("push", f"POST {AD}/namespace", "name=pushed parent=prod", "=prod/pushed", "json"),
    Row("push", f"GET {AD}/groups", "ns=prod/pushed", least=0),
    Row("push", f"DELETE {AD}/groups", "backup-type=vm backup-id=no ns=prod error-on-protected=false", status=400),
    Row(
        "push",
        f"DELETE {AD}/namespace",
        "ns=prod/pushed delete-groups=true error-on-protected=false",
        "removed-groups protected-snapshots removed-snapshots",
    ),
    # --- Proxmox Datacenter Manager: extjs
    Row("pdm", "GET access/domains", "", "realm type"),
    Row("pdm", "GET config/datastore", "", "name path"),
    Row("pdm", "GET status/datastore-usage", "", "store total used avail history history-start history-delta"),
    Row("pdm", "GET status/metrics", "history=true start-time=1", "data"),
    Row("pdm", "GET nodes/localhost/status", "", _NODE),
    Row("pdm", "GET nodes/localhost/subscription", "", "status"),
    Row("pdm", f"GET {NT}", "limit=5 since=1", _TASK),
    Row("pdm", f"GET {NT}/{{upid}}/status", "", "status"),
    Row("pdm", f"GET {NT}/{{upid}}/log", "start=0 limit=50", "n t"),
    Row("pdm", f"GET {AD}/namespace", "", "ns"),
    Row("pdm", f"GET {AD}/snapshots", "", _LISTED),
    Row("pdm", f"GET {AD}/rrd", "timeframe=hour cf=AVERAGE", "time"),
    Row("pdm", "GET nodes/localhost/rrd", "timeframe=day cf=MAX", "time cpu memtotal memused"),
    Row("pdm", "GET nodes/localhost/config", "", least=0),
    Row("pdm", "GET nodes/localhost/apt/update", "", least=0),
    Row("pdm", "GET nodes/localhost/apt/versions", "", least=0),
    Row("pdm", "GET nodes/localhost/apt/repositories", "", "files errors standard-repos"),
    Row("pdm", "PUT access/acl", "auth-id={token} path=/ role=Admin propagate:true", send="json"),
    # --- Prometheus exporters
    Row("exporter", "GET version", "", "version release repoid"),
    Row("exporter", "GET status/datastore-usage", "", "store avail total used"),
    Row("exporter", f"GET {AD}/namespace", "", "ns"),
    Row("exporter", f"GET {AD}/snapshots", "ns=", "backup-type backup-id backup-time"),
    Row("exporter", f"GET {AD}/snapshots", "ns=prod", least=0),
    Row("exporter", "GET nodes/localhost/status", "", _NODE),
    Row("exporter", "GET nodes/localhost/subscription", "", "status"),
    # --- Home Assistant
    Row("hass", "GET admin/datastore", "", "store"),
    Row("hass", f"GET {AD}/status", "", _STATUS),
    Row("hass", f"GET {AD}/snapshots", "", "backup-time"),
    Row("hass", "GET admin/gc", "", "store upid disk-bytes index-data-bytes"),
    Row("hass", "GET version", "", "version"),
    Row("hass", "GET nodes/localhost/status", "", _NODE),
    Row("hass", "GET status/datastore-usage", "", "store total used avail"),
    Row("hass", f"GET {NT}", "limit=200", _TASK),
    Row("hass", f"GET {NT}", "running=true", least=0),
    # --- Zabbix
    Row("zabbix", "GET status/datastore-usage", "", "store total used avail"),
    Row("zabbix", f"GET {AD}/namespace", "", "ns"),
    Row("zabbix", f"GET {AD}/groups", "", "backup-id backup-count last-backup"),
    Row("zabbix", f"GET {AD}/snapshots", "", "verification.state verification.upid"),
    Row("zabbix", "GET admin/gc", "", "store"),
    Row("zabbix", "GET admin/prune", "", "id store schedule next-run"),
    Row("zabbix", "GET admin/verify", "", "id store next-run"),
    Row("zabbix", "GET admin/sync", "sync-direction=all", "id store remote remote-store"),
    Row("zabbix", f"GET {NT}", "limit=100", _TASK),
    Row("zabbix", "GET nodes/localhost/status", "", _NODE),
    Row("zabbix", "GET nodes/localhost/services", least=0),
    Row("zabbix", "GET nodes/localhost/disks/list", least=0),
    Row("zabbix", "GET nodes/localhost/subscription", "", "status"),
    Row("zabbix", "GET nodes/localhost/apt/update", least=0),
    Row("zabbix", "GET nodes/localhost/certificates/info", least=0),
    # --- Pulse, Homepage
    Row("pulse", "GET version", "", "version release"),
    Row("pulse", "GET nodes", "", "node=localhost"),
    Row("pulse", "GET nodes/localhost/status", "", _NODE),
    Row("pulse", "GET admin/datastore", "", "store"),
    Row("pulse", f"GET {AD}/status", "", _STATUS),
    Row("pulse", f"GET {AD}/gc", "", "index-data-bytes disk-bytes"),
    Row("pulse", f"GET {AD}/rrd", "cf=AVERAGE timeframe=hour", "time"),
    Row("pulse", f"GET {AD}/namespace", "", "ns"),
    Row("pulse", f"GET {AD}/groups", "", "backup-id"),
    Row("pulse", f"GET {AD}/snapshots", "", "backup-time"),
    Row("pulse", "GET config/sync", "", "id store"),
    Row("pulse", "GET config/verify", "", "id store"),
    Row("pulse", "GET config/prune", "", "id store schedule"),
    Row("pulse", f"GET {NT}", "", _TASK),
    Row("pulse", "POST access/users", "userid={fresh} comment=monitor", send="form"),
    Row("pulse", "POST access/users/{fresh}/token/monitor", "comment=m", "tokenid value", "form"),
    Row("pulse", "PUT access/acl", "path=/ auth-id={fresh} role=Audit", send="form"),
    Row("homepage", "GET status/datastore-usage", "", "store total used"),
    Row("homepage", f"GET {NT}", "errors=true limit=100 since=1", least=0),
    Row("homepage", "GET nodes/localhost/status", "", "cpu memory.used memory.total"),
    # --- Terraform provider: JSON bodies
    Row("terraform", "GET config/datastore", "", "name path"),
    Row("terraform", "GET config/datastore/default", "", "name=default path"),
    Row("terraform", "PUT config/datastore/default", "comment=made", send="json"),
    Row("terraform", "PUT config/datastore/default", 'delete:["comment"]', send="json"),
    Row("terraform", "POST config/prune", "id=tf-prune store=default schedule=daily keep-last:3", send="json"),
    Row("terraform", "GET config/prune/tf-prune", "", "id store schedule keep-last"),
    Row("terraform", "PUT config/prune/tf-prune", "keep-daily:7", send="json"),
    Row("terraform", "DELETE config/prune/tf-prune"),
    Row("terraform", "POST config/verify", "id=tf-verify store=default ignore-verified:true", send="json"),
    Row("terraform", "PUT config/verify/tf-verify", "outdated-after:30 schedule=daily", send="json"),
    Row("terraform", "DELETE config/verify/tf-verify"),
    Row("terraform", "POST config/remote", "name=tf-far host=far.example.com auth-id=a@pbs password=x", send="json"),
    Row("terraform", "GET config/remote", "", "name host auth-id"),
    Row("terraform", "PUT config/remote/tf-far", "comment=c port:8008", send="json"),
    Row("terraform", "DELETE config/remote/tf-far"),
    Row("terraform", "GET config/sync", "", "id store"),
    Row("terraform", f"GET {NT}/{{upid}}/status", "", "status=stopped exitstatus=OK"),
    # --- proxmoxer: forms with Python's booleans
    Row("proxmoxer", "GET access/users", "include_tokens=True", "userid"),
    Row("proxmoxer", "GET access/roles", "", "roleid privs"),
    Row("proxmoxer", "GET access/acl", "", "path ugid ugid_type roleid propagate"),
    Row("proxmoxer", "GET access/permissions", "", "/"),
    Row("proxmoxer", f"POST {AD}/prune", "backup-type=vm backup-id=100 keep-last=5 dry-run=True", "keep", "form"),
    Row("proxmoxer", f"PUT {AD}/group-notes", "backup-type=vm backup-id=100 notes=n", send="form"),
    Row("proxmoxer", f"GET {AD}/group-notes", "backup-type=vm backup-id=100"),
    Row("proxmoxer", f"GET {AD}/active-operations", "", "read write"),
    Row("proxmoxer", "GET nodes/localhost/time", "", "time localtime timezone"),
    Row("proxmoxer", "GET ping", "", "pong"),
]


@dataclass
class World:
    """A tenant with something of everything, and one client for each consumer."""

    clients: dict[str, httpx.Client]
    names: dict[str, str]
    fresh: str = field(default_factory=lambda: secrets.token_hex(4))


TOKENS = {"exporter": "=", "hass": " ", "zabbix": "=", "pulse": "=", "homepage": "=", "terraform": "=", "pve": "="}
TOKENS |= {"pull": " ", "push": " "}


@pytest.fixture(scope="module")
def world(product: ProductServer) -> Iterator[World]:
    names, ticket = asyncio.run(fill(product))
    login = {"Cookie": f"PBSAuthCookie={quote(ticket['ticket'], safe='')}"}
    login["CSRFPreventionToken"] = ticket["CSRFPreventionToken"]
    clients = {}
    for consumer in {row.consumer for row in ROWS}:
        headers = dict(login)
        if consumer in TOKENS:
            headers = {"Authorization": f"PBSAPIToken{TOKENS[consumer]}{names['token']}:{names['secret']}"}
        root = f"{product.url}//api2/json/" if consumer in ("cli", "pull", "push") else f"{product.url}/api2/json/"
        if consumer == "pdm":
            root = f"{product.url}/api2/extjs/"
        clients[consumer] = httpx.Client(base_url=root, headers=headers, verify=False, timeout=60)
    yield World(clients, names)
    for client in clients.values():
        client.close()


async def fill(product: ProductServer) -> tuple[dict[str, str], Json]:
    """Backups, notes, jobs, a verification and a collection in a tenant of its own."""
    tenant = await create_tenant(product)
    rest, admin = tenant.rest, f"admin@{tenant.realm}"
    now = int(time.time()) - 100
    for number, (kind, backup_id) in enumerate((("vm", "100"), ("host", "h1"))):
        snapshot = tenant.snapshot(backup_id, backup_type=kind, backup_time=now + number)
        async with await Backup.open(tenant.endpoint, tenant.admin.credential, snapshot) as backup:
            await backup.blob("qemu-server.conf.blob", b"name: web")
            await backup.finish()
    await rest.call("POST", "/admin/datastore/default/namespace", {"name": "prod"})
    verified = await rest.call("POST", "/admin/datastore/default/verify", {})
    await wait_for_task(rest, verified)
    job = {"store": "default", "schedule": "daily"}
    await rest.call("POST", "/config/prune", {"id": "nightly", **job, "keep-last": 9})
    await rest.call("POST", "/config/verify", {"id": "weekly", **job})
    remote = {"name": "far", "host": "far.example.com", "auth-id": "a@pbs", "password": "x"}
    await rest.call("POST", "/config/remote", remote)
    await rest.call("POST", "/config/sync", {"id": "mirror", **job, "remote": "far", "remote-store": "cold"})
    ticket = await rest.call("POST", "/access/ticket", {"username": admin, "password": tenant.password})
    token = tenant.admin.credential
    names = {"time": str(now), "upid": quote(verified, safe=""), "owner": token.auth_id, "token": token.auth_id}
    names |= {"secret": token.secret, "fresh": f"mon{secrets.token_hex(3)}@{tenant.realm}"}
    await tenant.close()
    return names, ticket


def parameters(row: Row, names: dict[str, str]) -> Json:
    found: Json = {}
    for text in row.given.split():
        name, mark, value = re.fullmatch(r"([\w-]+)([=:])(.*)", text).groups()  # type: ignore[union-attr]
        found[name] = value.format_map(names) if mark == "=" else json.loads(value)
    return found


def request(world: World, row: Row) -> httpx.Response:
    method, path = row.call.format_map(world.names).split(" ", 1)
    given = parameters(row, world.names)
    arguments: Json = {"headers": {}}
    if row.send == "query":
        arguments["params"] = given
        if row.consumer in ("cli", "pull", "push"):
            arguments["headers"]["Content-Type"] = "application/x-www-form-urlencoded"
    else:
        arguments["json" if row.send == "json" else "data"] = given
    if row.consumer == "pdm":
        arguments["headers"]["Accept"] = "application/json"
    return world.clients[row.consumer].request(method, path, **arguments)


def has(found: Any, wanted: str) -> bool:
    """Whether the field is there, with its value if one is named."""
    path, fixed, value = wanted.partition("=")
    for part in [part for part in path.split(".") if part]:
        if not isinstance(found, dict) or part not in found:
            return False
        found = found[part]
    return not fixed or str(found) == value


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_calls(world: World, row: Row) -> None:
    answer = request(world, row)
    shown = f"{answer.status_code} {answer.text[:600]}"
    assert answer.status_code == row.status, shown
    if row.status != 200:
        assert answer.text and not answer.text.startswith("{"), "errors are bare text"
        return
    assert answer.headers["content-type"].startswith("application/json"), shown
    body = answer.json()
    if row.consumer == "pdm":
        assert (body["success"], body.get("status")) in ((True, 200), (1, None)), shown  # the task log has no status
    conforms(row, answer.request.url.path, body)
    data = body["data"]
    items = data if isinstance(data, list) else [data]
    assert len(items) >= row.least, shown
    for item in items:
        missing = [wanted for wanted in row.fields.split() if not has(item, wanted)]
        assert not missing, f"missing {missing} in {item}"


def conforms(row: Row, path: str, body: Any) -> None:
    segments = [part for part in path.split("/") if part][2:]
    match = ROUTER.find(segments)
    assert match is not None
    operation = DOCUMENT["paths"][f"/api2/json/{match.branch.template}"][row.call.split()[0].lower()]
    schema = operation["responses"]["2XX"]["content"]["application/json"]["schema"]
    jsonschema.Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(body)
