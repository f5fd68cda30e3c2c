"""Who may call what, one row for every endpoint: written from the specification, not from the code.

A row says which privileges let pass at which ACL path, and how to ask so that nothing is lost when the answer is yes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

UNIX_TIME = 1_700_000_000
ZEROS = "0" * 64
PUBLIC, ANY, OPERATOR = "public", "any", "operator"


@dataclass(frozen=True)
class Row:
    """``full``: one of these at ``path`` suffices; ``owned``: one of these for groups that the caller owns;
    ``every``: all of them are needed as well. ``kind``: ``public``, ``any`` (authenticated) or ``operator`` instead.

    ``query``: parameters. ``probe``: add one that no endpoint knows, since the right comes before the parameters.
    ``own_user``: users may do it to themselves. ``listing``: owned groups are shown, others left out.
    ``upgrade``: asks for a protocol instead of an answer.
    """

    path: str = "/"
    full: tuple[str, ...] = ()
    owned: tuple[str, ...] = ()
    every: tuple[str, ...] = ()
    kind: str = ""
    query: Mapping[str, Any] = field(default_factory=dict)
    probe: bool = False
    own_user: bool = False
    listing: bool = False
    upgrade: str = ""

    def allows(self, held: frozenset[str], *, owner: bool, itself: bool) -> bool:
        """Whether somebody with these privileges passes, for a group of its own or its own user."""
        if self.kind:
            return self.kind != OPERATOR
        if self.every:
            return held.issuperset(self.every)
        wanted = {*self.full, *(self.owned if owner or self.listing else ())}
        return bool(held & wanted) or (self.own_user and itself)


AUDIT, READ, BACKUP = "Datastore.Audit", "Datastore.Read", "Datastore.Backup"
MODIFY, PRUNE, VERIFY, ALLOCATE = "Datastore.Modify", "Datastore.Prune", "Datastore.Verify", "Datastore.Allocate"
SYS_AUDIT, SYS_MODIFY, RIGHTS, REALM = "Sys.Audit", "Sys.Modify", "Permissions.Modify", "Realm.Allocate"
STORE, USERS = "/datastore/{store}", "/access/users"
GROUP = {"backup-type": "host", "backup-id": "{group}"}
SNAPSHOT = {**GROUP, "backup-time": UNIX_TIME}
FILE = {**SNAPSHOT, "file-name": "index.json.blob"}
SYNC = {"store": "{store}", "remote": "{remote}", "remote-store": "elsewhere"}
_S = "admin/datastore/{store}"
_USER_READ = Row(USERS, (SYS_AUDIT,), probe=True, own_user=True)
_USER_WRITE = Row(USERS, (RIGHTS,), probe=True, own_user=True)


def _needs(path: str, *privileges: str) -> Row:
    """A fixed right, checked before the parameters."""
    return Row(path, privileges, probe=True)


def _on_group(full: str, owned: str, query: Mapping[str, Any], **more: Any) -> Row:
    return Row(STORE, (full,) if full else (), (owned,) if owned else (), query=query, **more)


ROWS: dict[str, Row] = {
    # general
    "GET ping": Row(kind=PUBLIC),
    "GET version": Row(kind=ANY),
    "GET metrics": Row("/access", (RIGHTS,)),
    "GET status": Row(kind=ANY),
    # logins, permissions, realms
    "POST access/ticket": Row(kind=PUBLIC, probe=True),
    "DELETE access/ticket": Row(kind=PUBLIC),
    "GET access/domains": Row(kind=PUBLIC),
    "GET access/roles": Row(kind=ANY),
    "GET access/permissions": Row("/access", (SYS_AUDIT,), query={"auth-id": "{userid}"}, own_user=True),
    "GET access/acl": Row(kind=ANY),
    "PUT access/acl": Row(
        "/access/acl",
        (RIGHTS,),
        query={"path": "/datastore/{store}/x", "role": "NoAccess", "auth-id": "{victim}", "delete": True},
    ),
    "PUT access/password": Row(
        "/",
        (RIGHTS,),
        query={"userid": "{userid}", "password": "{password}", "confirmation-password": "{password}"},
        own_user=True,
    ),
    "POST access/openid/auth-url": Row(kind=PUBLIC, query={"realm": "nosuch", "redirect-url": "https://x"}),
    "POST access/openid/login": Row(kind=PUBLIC, probe=True),
    "GET config/access/openid": _needs("/access/domains", SYS_AUDIT, REALM),
    "POST config/access/openid": _needs("/access/domains", REALM),
    "GET config/access/openid/{realm}": _needs("/access/domains/{realm}", SYS_AUDIT, REALM),
    "PUT config/access/openid/{realm}": _needs("/access/domains/{realm}", REALM),
    "DELETE config/access/openid/{realm}": _needs("/access/domains/{realm}", REALM),
    # users, tokens, second factors
    "GET access/users": Row(kind=ANY),
    "POST access/users": _needs(USERS, RIGHTS),
    "GET access/users/{userid}": _USER_READ,
    "PUT access/users/{userid}": _USER_WRITE,
    "DELETE access/users/{userid}": _USER_WRITE,
    "PUT access/users/{userid}/unlock-tfa": _needs(USERS, RIGHTS),
    "GET access/users/{userid}/token": _USER_READ,
    "GET access/users/{userid}/token/{token-name}": _USER_READ,
    "POST access/users/{userid}/token/{token-name}": _USER_WRITE,
    "PUT access/users/{userid}/token/{token-name}": _USER_WRITE,
    "DELETE access/users/{userid}/token/{token-name}": _USER_WRITE,
    "GET access/tfa": Row(kind=ANY),
    "GET access/tfa/{userid}": _USER_READ,
    "POST access/tfa/{userid}": _USER_WRITE,
    "GET access/tfa/{userid}/{id}": _USER_READ,
    "PUT access/tfa/{userid}/{id}": _USER_WRITE,
    "DELETE access/tfa/{userid}/{id}": _USER_WRITE,
    "GET access/tokens": Row(kind=ANY),
    "POST access/tokens": Row(
        "/access", (RIGHTS,), query={"username": "{userid}", "name": "rights", "permission": "read"}, own_user=True
    ),
    "DELETE access/tokens/{id}": Row("/access", (RIGHTS,)),
    # tenants
    **{
        name: Row(kind=OPERATOR, probe=True)
        for name in (
            "GET tenants", "POST tenants", "GET tenants/{id}", "PUT tenants/{id}", "DELETE tenants/{id}",
            "GET tenants/{id}/users",
        )
    },
    # datastores
    "GET admin/datastore": Row(kind=ANY),
    f"GET {_S}/status": Row(STORE, (AUDIT, BACKUP, READ)),
    f"GET {_S}/active-operations": _needs(STORE, AUDIT),
    f"GET {_S}/rrd": _needs(STORE, AUDIT, BACKUP),
    f"POST {_S}/mount": Row(STORE, (AUDIT,)),
    f"POST {_S}/unmount": Row(STORE, (AUDIT,)),
    f"PUT {_S}/s3-refresh": Row(STORE, (MODIFY,)),
    "GET config/datastore": Row(kind=ANY),
    "POST config/datastore": _needs("/datastore", ALLOCATE),
    "GET config/datastore/{name}": _needs("/datastore/{name}", AUDIT),
    "PUT config/datastore/{name}": _needs("/datastore/{name}", MODIFY),
    "DELETE config/datastore/{name}": _needs("/datastore/{name}", ALLOCATE),
    # contents
    f"GET {_S}/groups": _on_group(AUDIT, BACKUP, {}, listing=True),
    f"DELETE {_S}/groups": _on_group(MODIFY, PRUNE, GROUP),
    f"GET {_S}/snapshots": _on_group(AUDIT, BACKUP, {}, listing=True),
    f"DELETE {_S}/snapshots": _on_group(MODIFY, PRUNE, SNAPSHOT),
    f"GET {_S}/files": Row(STORE, (AUDIT, READ), (BACKUP,), query=SNAPSHOT),
    f"POST {_S}/change-owner": _on_group(MODIFY, BACKUP, {**GROUP, "new-owner": "{owner}"}),
    f"GET {_S}/notes": _on_group(AUDIT, BACKUP, SNAPSHOT),
    f"PUT {_S}/notes": _on_group(MODIFY, BACKUP, {**SNAPSHOT, "notes": "x"}),
    f"GET {_S}/group-notes": _on_group(AUDIT, BACKUP, GROUP),
    f"PUT {_S}/group-notes": _on_group(MODIFY, BACKUP, {**GROUP, "notes": "x"}),
    f"GET {_S}/protected": _on_group(AUDIT, BACKUP, SNAPSHOT),
    f"PUT {_S}/protected": _on_group(MODIFY, BACKUP, {**SNAPSHOT, "protected": True}),
    f"POST {_S}/prune": _on_group(MODIFY, PRUNE, {**GROUP, "dry-run": True, "keep-last": 1}),
    f"POST {_S}/prune-datastore": Row(STORE, (MODIFY, PRUNE), query={"dry-run": True, "keep-last": 1}),
    "POST admin/prune": Row(STORE, (MODIFY,), query={"store": "{store}", "dry_run": True, "keep_last": 1}),
    f"POST {_S}/verify": _on_group(VERIFY, BACKUP, GROUP),
    f"GET {_S}/namespace": Row(STORE, (MODIFY, READ, BACKUP, AUDIT)),
    f"POST {_S}/namespace": Row(STORE, (MODIFY,), query={"name": "x", "parent": "nosuch"}),
    f"DELETE {_S}/namespace": Row(STORE, (MODIFY,), query={"ns": "nosuch"}),
    f"POST {_S}/move-group": _on_group(MODIFY, PRUNE, {**GROUP, "target-ns": "nosuch"}),
    f"POST {_S}/move-namespace": Row(STORE, (MODIFY,), query={"ns": "nosuch", "target-ns": "nosuch2"}),
    f"GET {_S}/download": _on_group(READ, BACKUP, FILE),
    f"GET {_S}/download-decoded": _on_group(READ, BACKUP, FILE),
    f"POST {_S}/upload-backup-log": _on_group("", BACKUP, SNAPSHOT),
    f"GET {_S}/catalog": _on_group(READ, BACKUP, {**SNAPSHOT, "filepath": "Lw=="}),
    f"GET {_S}/pxar-file-download": _on_group(READ, BACKUP, {**SNAPSHOT, "filepath": "Lw=="}),
    "GET backup": _on_group("", BACKUP, {"store": "{store}", **GROUP, "backup-time": 1}, upgrade="backup"),
    "GET reader": _on_group(READ, BACKUP, {"store": "{store}", **SNAPSHOT}, upgrade="reader"),
    # collection and jobs
    f"POST {_S}/gc": _needs(STORE, MODIFY),
    f"GET {_S}/gc": _needs(STORE, AUDIT),
    "GET admin/gc": Row(kind=ANY),
    "GET admin/gc/{store}": _needs(STORE, AUDIT, BACKUP),
    "POST admin/gc": Row(STORE, (MODIFY,), query={"store": "{store}", "dry_run": True}),
    "GET admin/gc/status": Row(STORE, (AUDIT,), query={"store": "{store}"}),
    "GET admin/prune": Row(kind=ANY),
    "GET config/prune": Row(kind=ANY),
    "POST config/prune": Row(STORE, (MODIFY,), query={"id": "{prune-job}", "store": "{store}", "schedule": "daily"}),
    "GET config/prune/{id}": Row(STORE, (AUDIT,)),
    "PUT config/prune/{id}": Row(STORE, (MODIFY,), query={"comment": "x"}),
    "DELETE config/prune/{id}": Row(STORE, (MODIFY,), query={"digest": ZEROS}),
    "POST admin/prune/{id}/run": Row(STORE, (MODIFY,)),
    "GET admin/verify": Row(kind=ANY),
    "GET config/verify": Row(kind=ANY),
    "POST config/verify": Row(STORE, (VERIFY,), query={"id": "{verify-job}", "store": "{store}"}),
    "GET config/verify/{id}": Row(STORE, (AUDIT, VERIFY)),
    "PUT config/verify/{id}": Row(STORE, (VERIFY,), query={"comment": "x"}),
    "DELETE config/verify/{id}": Row(STORE, (VERIFY,), query={"digest": ZEROS}),
    "POST admin/verify/{id}/run": Row(STORE, (VERIFY,)),
    "GET admin/verify/{id}/status": Row(STORE, (AUDIT, VERIFY)),
    "GET admin/verify/{id}/history": Row(STORE, (AUDIT, VERIFY)),
    "GET admin/sync": Row(kind=ANY),
    "GET config/sync": Row(kind=ANY),
    "POST config/sync": Row(every=(BACKUP, "Remote.Read"), query={"id": "{sync-job}", **SYNC}),
    "GET config/sync/{id}": Row(every=(AUDIT, "Remote.Audit")),
    "PUT config/sync/{id}": Row(every=(BACKUP, "Remote.Read"), query={"comment": "x"}),
    "DELETE config/sync/{id}": Row(every=(BACKUP, "Remote.Read"), query={"digest": ZEROS}),
    "POST admin/sync/{id}/run": Row(every=(AUDIT, "Remote.Audit")),
    "GET config/remote": Row(kind=ANY),
    "POST config/remote": _needs("/remote", "Remote.Modify"),
    "GET config/remote/{name}": _needs("/remote/{name}", "Remote.Audit"),
    "PUT config/remote/{name}": _needs("/remote/{name}", "Remote.Modify"),
    "DELETE config/remote/{name}": _needs("/remote/{name}", "Remote.Modify"),
    "GET config/traffic-control": _needs("/", SYS_AUDIT),
    "POST config/traffic-control": _needs("/", SYS_MODIFY),
    "GET config/traffic-control/{name}": _needs("/", SYS_AUDIT),
    "PUT config/traffic-control/{name}": _needs("/", SYS_MODIFY),
    "DELETE config/traffic-control/{name}": _needs("/", SYS_MODIFY),
    "GET admin/traffic-control": _needs("/", SYS_AUDIT),
    "GET admin/metrics": _needs("/", SYS_AUDIT),
    # node, tasks, status
    "GET status/datastore-usage": Row(kind=ANY),
    "GET status/metrics": Row(kind=ANY),
    "GET nodes": Row(kind=ANY),
    "GET nodes/{node}/subscription": Row(kind=ANY),
    "GET nodes/{node}/identity": Row(kind=ANY),
    "GET nodes/{node}/time": Row(kind=ANY),
    "GET nodes/{node}/status": _needs("/system/status", SYS_AUDIT),
    "GET nodes/{node}/rrd": _needs("/system/status", SYS_AUDIT),
    "GET nodes/{node}/config": _needs("/system", SYS_AUDIT),
    "GET nodes/{node}/dns": _needs("/system/network/dns", SYS_AUDIT),
    "GET nodes/{node}/network": _needs("/system/network/interfaces", SYS_AUDIT),
    "GET nodes/{node}/apt/repositories": _needs("/", SYS_AUDIT),
    "GET nodes/{node}/apt/update": _needs("/", SYS_AUDIT),
    "GET nodes/{node}/apt/versions": _needs("/", SYS_AUDIT),
    "GET nodes/{node}/services": _needs("/system/services", SYS_AUDIT),
    "GET nodes/{node}/disks/list": _needs("/system/disks", SYS_AUDIT),
    "GET nodes/{node}/certificates/info": _needs("/system/certificates", SYS_MODIFY),
    "GET nodes/{node}/syslog": _needs("/system/log", SYS_AUDIT),
    "GET nodes/{node}/journal": _needs("/system/log", SYS_AUDIT),
    "GET nodes/{node}/tasks": Row(kind=ANY),
    "DELETE nodes/{node}/tasks/{upid}": Row("/system/tasks", (SYS_MODIFY,)),
    "GET nodes/{node}/tasks/{upid}/status": Row("/system/tasks", (SYS_AUDIT,)),
    "GET nodes/{node}/tasks/{upid}/log": Row("/system/tasks", (SYS_AUDIT,)),
    # billing
    "GET billing/usage": Row("/datastore", (READ,)),
    "POST billing/webhook": Row(kind=PUBLIC),
    "GET compliance/report": _needs("/access", RIGHTS),
    "GET billing/webhooks": _needs("/access", RIGHTS),
    "POST billing/webhooks": _needs("/access", RIGHTS),
    "GET billing/webhooks/{id}": _needs("/access", RIGHTS),
    "PUT billing/webhooks/{id}": _needs("/access", RIGHTS),
    "DELETE billing/webhooks/{id}": _needs("/access", RIGHTS),
}  # fmt: skip
