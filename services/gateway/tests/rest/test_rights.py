"""Who passes the declared rights of each endpoint: every level, and nobody (rest-api A.8, E.11)."""

from __future__ import annotations

import pytest

from pbs_cloud.contracts.context import AclEntry, Caller
from pbs_cloud.contracts.errors import PermissionDenied
from pbs_cloud.contracts.rights import LEVELS
from pbs_cloud.gateway.rest.access import Anyone, Judged, Public
from pbs_cloud.gateway.rest.endpoint import Endpoint
from pbs_cloud.gateway.rest.endpoints import all_endpoints

ALICE = "alice@pbs"
MATCHED = {"store": "tank", "name": "tank", "node": "localhost", "userid": "bob@pbs", "token-name": "t", "upid": "x"}
MATCHED |= {"realm": "acme.sso", "id": "x"}
PARAMS = {**MATCHED, "ns": "prod", "parent": "prod"}
NOBODY, READ, BACKUP, STORE_ADMIN, ADMIN, OPERATOR = range(6)

# Lowest level that passes, for everything that the gateway itself decides; the rest is open or judged by a service.
LOWEST = {
    "GET admin/datastore/{store}/active-operations": READ,
    "GET admin/datastore/{store}/files": READ,
    "GET admin/datastore/{store}/gc": READ,
    "GET admin/datastore/{store}/group-notes": READ,
    "GET admin/datastore/{store}/groups": READ,
    "GET admin/datastore/{store}/notes": READ,
    "GET admin/datastore/{store}/protected": READ,
    "GET admin/datastore/{store}/rrd": READ,
    "GET admin/datastore/{store}/snapshots": READ,
    "GET admin/datastore/{store}/catalog": READ,
    "GET admin/datastore/{store}/download": READ,
    "GET admin/datastore/{store}/download-decoded": READ,
    "GET admin/datastore/{store}/pxar-file-download": READ,
    "GET admin/gc/{store}": READ,
    "GET config/datastore/{name}": READ,
    "GET nodes/{node}/config": READ,
    "GET nodes/{node}/disks/list": READ,
    "GET nodes/{node}/dns": READ,
    "GET nodes/{node}/journal": READ,
    "GET nodes/{node}/network": READ,
    "GET nodes/{node}/rrd": READ,
    "GET nodes/{node}/services": READ,
    "GET nodes/{node}/status": READ,
    "GET nodes/{node}/syslog": READ,
    "POST admin/datastore/{store}/verify": READ,
    "POST admin/datastore/{store}/change-owner": BACKUP,
    "POST admin/datastore/{store}/upload-backup-log": BACKUP,
    "PUT admin/datastore/{store}/group-notes": BACKUP,
    "PUT admin/datastore/{store}/notes": BACKUP,
    "PUT admin/datastore/{store}/protected": BACKUP,
    "DELETE admin/datastore/{store}/groups": STORE_ADMIN,
    "DELETE admin/datastore/{store}/snapshots": STORE_ADMIN,
    "POST admin/datastore/{store}/gc": STORE_ADMIN,
    "POST admin/datastore/{store}/move-group": STORE_ADMIN,
    "POST admin/datastore/{store}/namespace": STORE_ADMIN,
    "POST admin/datastore/{store}/prune": STORE_ADMIN,
    "PUT config/datastore/{name}": STORE_ADMIN,
    "DELETE access/tfa/{userid}/{id}": ADMIN,
    "DELETE access/users/{userid}": ADMIN,
    "DELETE access/users/{userid}/token/{token-name}": ADMIN,
    "DELETE config/access/openid/{realm}": ADMIN,
    "DELETE config/datastore/{name}": ADMIN,
    "GET access/tfa/{userid}": ADMIN,
    "GET access/tfa/{userid}/{id}": ADMIN,
    "GET access/users/{userid}": ADMIN,
    "GET access/users/{userid}/token": ADMIN,
    "GET access/users/{userid}/token/{token-name}": ADMIN,
    "GET admin/metrics": ADMIN,
    "GET admin/traffic-control": ADMIN,
    "GET compliance/report": ADMIN,
    "GET nodes/{node}/apt/repositories": ADMIN,
    "GET nodes/{node}/apt/update": ADMIN,
    "GET nodes/{node}/apt/versions": ADMIN,
    "GET nodes/{node}/certificates/info": ADMIN,
    "GET config/access/openid": ADMIN,
    "GET config/access/openid/{realm}": ADMIN,
    "POST access/tfa/{userid}": ADMIN,
    "POST access/users": ADMIN,
    "POST access/users/{userid}/token/{token-name}": ADMIN,
    "POST config/datastore": ADMIN,
    "POST config/access/openid": ADMIN,
    "PUT access/tfa/{userid}/{id}": ADMIN,
    "PUT access/users/{userid}": ADMIN,
    "PUT access/users/{userid}/unlock-tfa": ADMIN,
    "PUT config/access/openid/{realm}": ADMIN,
    "PUT access/users/{userid}/token/{token-name}": ADMIN,
    "DELETE config/remote/{name}": ADMIN,
    "DELETE config/traffic-control/{name}": ADMIN,
    "GET config/remote/{name}": ADMIN,
    "GET config/traffic-control": ADMIN,
    "GET config/traffic-control/{name}": ADMIN,
    "POST config/remote": ADMIN,
    "POST config/traffic-control": ADMIN,
    "PUT config/remote/{name}": ADMIN,
    "PUT config/traffic-control/{name}": ADMIN,
    "DELETE billing/webhooks/{id}": ADMIN,
    "GET billing/webhooks": ADMIN,
    "GET billing/webhooks/{id}": ADMIN,
    "POST billing/webhooks": ADMIN,
    "PUT billing/webhooks/{id}": ADMIN,
    "DELETE tenants/{id}": OPERATOR,
    "GET tenants": OPERATOR,
    "GET tenants/{id}": OPERATOR,
    "GET tenants/{id}/users": OPERATOR,
    "POST tenants": OPERATOR,
    "PUT tenants/{id}": OPERATOR,
}


def caller(level: int) -> Caller:
    if level == OPERATOR:
        return Caller("default", "root@pam", superuser=True, operator=True)
    name = {READ: "read", BACKUP: "backup", STORE_ADMIN: "datastore_admin", ADMIN: "admin"}.get(level)
    entries = LEVELS[name] if name else ()
    return Caller("acme", ALICE, tuple(AclEntry(path, ALICE, role) for path, role in entries))


def passes(endpoint: Endpoint, who: Caller, matched: dict[str, str] = MATCHED) -> bool:
    try:
        endpoint.access.before(who, matched)
        endpoint.access.after(who, PARAMS)
    except PermissionDenied:
        return False
    return True


DECIDED = [e for e in all_endpoints() if not isinstance(e.access, (Public, Anyone, Judged))]


def test_the_table_names_every_endpoint_that_the_gateway_decides() -> None:
    assert {f"{endpoint.method} {endpoint.path}" for endpoint in DECIDED} == set(LOWEST)


@pytest.mark.parametrize("endpoint", DECIDED, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_lowest_level(endpoint: Endpoint) -> None:
    lowest = LOWEST[f"{endpoint.method} {endpoint.path}"]
    allowed = {level for level in range(6) if passes(endpoint, caller(level))}
    assert allowed == set(range(lowest, 6))


def test_users_manage_themselves_but_tokens_do_not() -> None:
    endpoint = next(e for e in DECIDED if e.path == "access/users/{userid}" and e.method == "PUT")
    itself = {**MATCHED, "userid": ALICE}
    assert passes(endpoint, Caller("acme", ALICE), itself)
    assert not passes(endpoint, Caller("acme", ALICE + "!t"), itself)


def test_texts_of_refusals() -> None:
    listing = next(e for e in DECIDED if e.path.endswith("/snapshots") and e.method == "GET")
    with pytest.raises(PermissionDenied) as refused:
        listing.access.after(caller(NOBODY), PARAMS)
    wanted = "permission check failed - missing Datastore.Audit|Datastore.Backup on /datastore/tank/prod"
    assert refused.value.message == wanted
