"""What each endpoint answers with, for the OpenAPI document; tests hold every answer against it.

A shape lists fields: ``name`` is text, ``name:type`` another type, ``name?`` may be missing. Types: ``text``, ``int``,
``number``, ``bool``, ``null``, ``any``, the name of a shape, ``[type]`` a list, ``{type}`` an object with any names,
``type|null``.
"""

from __future__ import annotations

import re
from typing import Any, Final

from pbs_cloud.gateway.rest.endpoint import Endpoint

_RUN: Final = "next-run?:int last-run-state? last-run-upid? last-run-endtime?:int"
_KEEP: Final = " ".join(f"keep-{unit}?:int" for unit in ("last", "hourly", "daily", "weekly", "monthly", "yearly"))
_COUNTERS: Final = (
    "upid:text|null index-file-count:int index-data-bytes:int disk-bytes:int disk-chunks:int removed-bytes:int"
    " removed-chunks:int pending-bytes:int pending-chunks:int removed-bad:int still-bad:int"
)
_WEBHOOK: Final = (
    "id url event_filter:[text] max_retries:int signed:bool header_names:[text] created_at pending:int delivered:int"
    " dropped:int failures:int paused_until:text|null last_attempt:text|null last_status:text|null"
    " last_success:text|null"
)
_USER: Final = "userid comment? firstname? lastname? email? enable?:bool expire?:int"

SHAPES: Final[dict[str, str]] = {
    "pong": "pong:bool",
    "version": "version release repoid",
    "ticket": "username ticket? ticket-info? CSRFPreventionToken",
    "domain": "realm type comment? default?:bool",
    "role": "roleid privs:[text] comment?",
    "acl-entry": "path ugid ugid_type propagate:bool roleid",
    "token": "tokenid token-name? comment? enable?:bool expire?:int",
    "new-token": "tokenid value",
    "new-secret": "secret",
    "user": f"{_USER} tokens?:[token] totp-locked?:bool tfa-locked-until?:int",
    "own-user": "id username tenant_id permission:text|null active:bool created_at last_login:text|null",
    "own-token": (
        "id user_id name permission:text|null active:bool created_at expires_at:text|null last_used:text|null tokenid"
    ),
    "new-own-token": "token:own-token value",
    "deleted": "deleted:bool user?:own-user tenant?:tenant",
    "tenant": (
        "id name slug created_at active:bool quota_bytes:int|null used_bytes:int metadata:{text} maintenance:text|null"
    ),
    "datastore": "store comment:text|null mount-status backend-type maintenance?",
    "type-count": "groups:int snapshots:int",
    "counts": "ct:type-count|null host:type-count|null vm:type-count|null other:null",
    "gc-counters": _COUNTERS,
    "gc-state": f"store {_COUNTERS} schedule? next-run?:int last-run-endtime?:int duration?:int last-run-state?",
    "gc-statistics": (
        "upid? chunks_scanned?:int chunks_referenced?:int chunks_orphaned?:int chunks_deleted?:int bytes_freed?:int"
        " errors?:[text]"
    ),
    "gc-summary": "total_chunks:int gc_running:bool",
    "datastore-status": "total:int used:int avail:int counts?:counts gc-status?:gc-counters backend-type",
    "operations": "read:int write:int",
    "rrd-point": "time:int",
    "datastore-config": "name path comment? gc-schedule? verify-new?:bool gc-on-unmount?:bool maintenance-mode?",
    "group": "backup-type backup-id last-backup:int backup-count:int files:[text] owner comment?",
    "verification": "state upid",
    "file": "filename crypt-mode? size?:int",
    "snapshot": (
        "backup-type backup-id backup-time:int comment? verification?:verification fingerprint? files:[file] size?:int"
        " owner protected:bool"
    ),
    "deletion": "removed-groups:int protected-snapshots:int removed-snapshots:int",
    "namespace": "ns",
    "pruned": "backup-type backup-id backup-time:int keep:bool protected:bool ns?",
    "catalog-entry": "filepath text type leaf:bool size?:int mtime?:int",
    "prune-job": f"id store schedule comment? ns? max-depth?:int disable?:bool {_KEEP} {_RUN}",
    "verify-job": (
        "id store schedule? comment? ns? max-depth?:int ignore-verified?:bool outdated-after?:int read-threads?:int"
        f" verify-threads?:int {_RUN}"
    ),
    "sync-job": (
        "id store remote-store remote? ns? remote-ns? owner? remove-vanished?:bool max-depth?:int comment? schedule?"
        " group-filter?:[text] rate-in? rate-out? burst-in? burst-out? transfer-last?:int sync-direction?"
    ),
    "run": _RUN,
    "remote": "name host auth-id port?:int fingerprint? comment? use-node-proxy?:bool",
    "traffic-rule": "name network:[text] timeframe?:[text] rate-in? rate-out? burst-in? burst-out? comment?",
    "traffic": "name network:[text] cur-rate-in:int cur-rate-out:int",
    "usage": (
        "store mount-status backend-type total?:int used?:int avail?:int history?:[number|null] history-start?:int"
        " history-delta?:int estimated-full-date?:int gc-status?:gc-counters error?"
    ),
    "metric": "id metric timestamp:int type value:number",
    "metrics": "data:[metric]",
    "subdir": "subdir",
    "node": "node",
    "amounts": "total:int used:int free?:int avail?:int",
    "node-status": (
        "uptime:int loadavg:[number] cpu:number wait:number memory:amounts swap:amounts root:amounts kversion"
        " current-kernel:{text} cpuinfo:{any} info:{text} boot-info:{any}"
    ),
    "subscription": "status message? url?",
    "identity": "pbs-instance-id",
    "time": "timezone time:int localtime:int",
    "repositories": "files:[any] errors:[any] infos:[any] standard-repos:[any] digest",
    "task": ("upid node pid:int pstart:int starttime:int worker_type worker_id:text|null user endtime?:int status?"),
    "task-status": (
        "upid node pid:int pstart:int starttime:int type id:text|null user tokenid? status exitstatus? endtime?:int"
    ),
    "log-line": "n:int t",
    "billed": ("storage_bytes:int upload_bytes:int download_bytes:int backup_count:int api_requests:int updated_at"),
    "verified": "verified:bool",
    "retained": ("ns:text|null backup-type backup-id backup-time size:int retain-until:text|null protected:bool"),
    "report": "generated_at snapshot_count:int total_bytes:int snapshots:[retained]",
    "webhook": _WEBHOOK,
    "delivery": "id event_type created_at attempts:int next_attempt last_error:text|null",
    "one-webhook": f"{_WEBHOOK} waiting:[delivery]",
}

CONTENT: Final = frozenset(
    {
        "GET admin/datastore/{store}/download",
        "GET admin/datastore/{store}/download-decoded",
        "GET admin/datastore/{store}/pxar-file-download",
        "GET backup",
        "GET reader",
        "GET metrics",
    }
)
"""Calls whose answer is no envelope."""

_ROUTES: Final = """
GET ping                                        pong
GET version                                     version
POST access/ticket                              ticket
DELETE access/ticket                            {any}
GET access/permissions                          {{bool}}
GET access/domains                              [domain]
GET access/roles                                [role]
GET access/acl                                  [acl-entry]
GET access/users                                [user]
POST access/users                               own-user|null
GET access/users/{userid}                       user
DELETE access/users/{userid}                    deleted|null
GET access/users/{userid}/token                 [token]
GET access/users/{userid}/token/{token-name}    token
POST access/users/{userid}/token/{token-name}   new-token
PUT access/users/{userid}/token/{token-name}    new-secret|null
PUT access/users/{userid}/unlock-tfa            bool
GET access/tfa                                  [any]
GET access/tfa/{userid}                         [any]
GET access/tfa/{userid}/{id}                    {any}
POST access/tfa/{userid}                        {any}
GET config/access/openid                        [any]
GET config/access/openid/{realm}                {any}
POST access/openid/auth-url                     text
POST access/openid/login                        ticket
GET access/tokens                               [own-token]
POST access/tokens                              new-own-token
DELETE access/tokens/{id}                       deleted
GET tenants                                     [tenant]
POST tenants                                    tenant
GET tenants/{id}                                tenant
PUT tenants/{id}                                tenant
DELETE tenants/{id}                             deleted
GET tenants/{id}/users                          [own-user]
GET admin/datastore                             [datastore]
GET admin/datastore/{store}/status              datastore-status
GET admin/datastore/{store}/active-operations   operations
GET admin/datastore/{store}/rrd                 [rrd-point]
GET config/datastore                            [datastore-config]
GET config/datastore/{name}                     datastore-config
POST config/datastore                           text
DELETE config/datastore/{name}                  text
GET admin/datastore/{store}/groups              [group]
DELETE admin/datastore/{store}/groups           deletion
GET admin/datastore/{store}/snapshots           [snapshot]
GET admin/datastore/{store}/files               [file]
GET admin/datastore/{store}/notes               text
GET admin/datastore/{store}/group-notes         text
GET admin/datastore/{store}/protected           bool
GET admin/datastore/{store}/namespace           [namespace]
POST admin/datastore/{store}/namespace          text
DELETE admin/datastore/{store}/namespace        deletion
POST admin/datastore/{store}/move-group         text
POST admin/datastore/{store}/move-namespace     text
POST admin/datastore/{store}/prune              [pruned]|text
POST admin/datastore/{store}/prune-datastore    text
POST admin/prune                                [pruned]
POST admin/datastore/{store}/verify             text
GET admin/datastore/{store}/catalog             [catalog-entry]
POST admin/datastore/{store}/gc                 text
GET admin/datastore/{store}/gc                  gc-state
GET admin/gc                                    [gc-state]
GET admin/gc/{store}                            [gc-state]
POST admin/gc                                   gc-statistics
GET admin/gc/status                             gc-summary
GET admin/prune                                 [prune-job]
GET admin/verify                                [verify-job]
GET admin/sync                                  [sync-job]
GET config/prune                                [prune-job]
GET config/verify                               [verify-job]
GET config/sync                                 [sync-job]
GET config/prune/{id}                           prune-job
GET config/verify/{id}                          verify-job
GET config/sync/{id}                            sync-job
POST admin/prune/{id}/run                       text
POST admin/verify/{id}/run                      text
GET admin/verify/{id}/status                    run
GET admin/verify/{id}/history                   [task]
GET config/remote                               [remote]
GET config/remote/{name}                        remote
GET config/traffic-control                      [traffic-rule]
GET config/traffic-control/{name}               traffic-rule
GET admin/traffic-control                       [traffic]
GET admin/metrics                               [any]
GET status                                      [subdir]
GET status/datastore-usage                      [usage]
GET status/metrics                              metrics
GET nodes                                       [node]
GET nodes/{node}/status                         node-status
GET nodes/{node}/subscription                   subscription
GET nodes/{node}/identity                       identity
GET nodes/{node}/time                           time
GET nodes/{node}/rrd                            [rrd-point]
GET nodes/{node}/config                         {any}
GET nodes/{node}/dns                            {any}
GET nodes/{node}/network                        [any]
GET nodes/{node}/apt/repositories               repositories
GET nodes/{node}/apt/update                     [any]
GET nodes/{node}/apt/versions                   [any]
GET nodes/{node}/services                       [any]
GET nodes/{node}/disks/list                     [any]
GET nodes/{node}/certificates/info              [any]
GET nodes/{node}/syslog                         [any]
GET nodes/{node}/journal                        [any]
GET nodes/{node}/tasks                          [task]
GET nodes/{node}/tasks/{upid}/status            task-status
GET nodes/{node}/tasks/{upid}/log               [log-line]
GET billing/usage                               billed|null
POST billing/webhook                            verified
GET compliance/report                           report
GET billing/webhooks                            [webhook]
POST billing/webhooks                           webhook
GET billing/webhooks/{id}                       one-webhook
PUT billing/webhooks/{id}                       webhook
DELETE billing/webhooks/{id}                    deleted
"""
_OUTER_BAR: Final = re.compile(r"\|(?![^\[{]*[\]}])")
_TYPES: Final[dict[str, dict[str, Any]]] = {
    "text": {"type": "string"},
    "int": {"type": "integer"},
    "number": {"type": "number"},
    "bool": {"type": "boolean"},
    "null": {"type": "null"},
    "any": {},
}


def _routes() -> dict[str, str]:
    found = {}
    for line in _ROUTES.strip().splitlines():
        method, path, kind = line.split()
        found[f"{method} {path}"] = kind
    return found


ROUTES: Final = _routes()


def answer_type(endpoint: Endpoint) -> dict[str, Any] | None:
    """JSON Schema of ``data``; None without an envelope. Changes answer ``null`` unless a route says otherwise."""
    name = f"{endpoint.method} {endpoint.path}"
    if name in CONTENT:
        return None
    return schema_of(ROUTES.get(name, "any" if endpoint.method == "GET" else "null"))


def schema_of(kind: str) -> dict[str, Any]:
    """JSON Schema of a type in the notation above; shapes by reference."""
    options = _OUTER_BAR.split(kind)
    if len(options) > 1:
        return {"anyOf": [schema_of(option) for option in options]}
    if kind.startswith("["):
        return {"type": "array", "items": schema_of(kind[1:-1])}
    if kind.startswith("{"):
        return {"type": "object", "additionalProperties": schema_of(kind[1:-1])}
    if kind in _TYPES:
        return dict(_TYPES[kind])
    return {"$ref": f"#/components/schemas/{kind}"}


def shape_schemas() -> dict[str, Any]:
    """All shapes as JSON Schemas; further fields are allowed."""
    return {name: _shape(fields) for name, fields in SHAPES.items()}


def _shape(fields: str) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    needed = []
    for field in fields.split():
        name, _, kind = field.partition(":")
        properties[name.removesuffix("?")] = schema_of(kind or "text")
        if not name.endswith("?"):
            needed.append(name)
    return {"type": "object", "properties": properties, "required": needed}
