"""Synchronisation with other servers, and limits of bandwidth, as far as they are kept as configuration."""

from typing import Final

from pbs_cloud.cli.groups.jobs import RUN_COLUMNS
from pbs_cloud.cli.spec import (
    COMMENT,
    DIGEST,
    MAX_DEPTH,
    NS,
    Command,
    argument,
    choice,
    integer,
    many,
    required,
    secret,
    switch,
    text,
    unset,
)
from pbs_cloud.cli.views import Column, Record, Table, first_line

_DIRECTION: Final = choice("sync-direction", "default: pull", ("all", "push", "pull"))
JOBS_VIEW: Final = Table(
    (
        Column("Job", "id"),
        Column("Datastore", "store"),
        Column("Namespace", "ns"),
        Column("Remote", lambda row: f"{row.get('remote', '')}:{row['remote-store']}"),
        *RUN_COLUMNS,
        Column("Comment", "comment", first_line),
    ),
    empty="no jobs",
)
REMOTES_VIEW: Final = Table(
    (
        Column("Remote", "name"),
        Column("Host", "host"),
        Column("Port", "port", right=True),
        Column("As", "auth-id"),
        Column("Comment", "comment", first_line),
    ),
    empty="no remotes",
)
TRAFFIC_VIEW: Final = Table(
    (
        Column("Rule", "name"),
        Column("Networks", "network"),
        Column("In", "rate-in", right=True),
        Column("Out", "rate-out", right=True),
        Column("Now in", "cur-rate-in", right=True),
        Column("Now out", "cur-rate-out", right=True),
        Column("Comment", "comment", first_line),
    ),
    empty="no rules",
)
_RATES: Final = (
    text("rate-in", "most bytes per second, e.g. 10MB"),
    text("rate-out", "most bytes per second"),
    text("burst-in", "bytes that may be faster"),
    text("burst-out", "bytes that may be faster"),
)
_SYNC: Final = (
    text("remote", "the other server; default: this one"),
    NS,
    text("remote-ns", "namespace on the other side"),
    text("owner", "owner of pulled groups"),
    choice("sync-direction", "default: pull", ("pull", "push")),
    text("schedule", "when it runs, e.g. daily"),
    switch("remove-vanished", "remove what is gone on the other side"),
    many("group-filter", "type:…, group:… or regex:…, with exclude: before it; may be repeated"),
    integer("transfer-last", "only the newest so many snapshots of each group"),
    switch("resync-corrupt", "fetch snapshots again that are damaged here"),
    switch("encrypted-only", "only encrypted snapshots"),
    switch("verified-only", "only verified snapshots"),
    MAX_DEPTH,
    COMMENT,
    *_RATES,
    switch("run-on-mount", "when a removable datastore is mounted"),
    switch("unmount-on-done", "unmount it afterwards"),
    integer("worker-threads", "parallel work"),
    text("active-encryption-key", "kept, has no effect"),
    many("associated-key", "kept, has no effect"),
)
_JOB: Final = argument("id", "name of the job", metavar="JOB", complete="sync")
_REMOTE_STORE: Final = text("remote-store", "datastore on the other side")
_NAME: Final = argument("name", "name of the remote", metavar="REMOTE", complete="remote")
_HOST: Final = text("host", "name or address")
_AUTH_ID: Final = text("auth-id", "user or token there")
_REMOTE: Final = (
    secret("password", "Password or token secret there", "password or token secret there"),
    integer("port", "its port (8007)"),
    text("fingerprint", "SHA-256 of its certificate", flags=("--remote-fingerprint",)),
    COMMENT,
    switch("use-node-proxy", "kept, has no effect"),
)
_RULE: Final = argument("name", "name of the rule", metavar="RULE")
_NETWORK: Final = many("network", "network in CIDR form, may be repeated")
_TRAFFIC: Final = (
    many("timeframe", "days and times, may be repeated"),
    COMMENT,
    *_RATES,
    many("users", "kept, has no effect"),
)


TOP: Final[dict[str, Command]] = {}
GROUPS: Final = {
    "sync-job": (
        Command(
            "list",
            "Jobs with their last and next run.",
            "GET",
            "admin/sync",
            (text("store", "only this datastore"), _DIRECTION),
            JOBS_VIEW,
        ),
        Command("config", "Configurations of all jobs.", "GET", "config/sync", (_DIRECTION,), JOBS_VIEW),
        Command("show", "Configuration of one job.", "GET", "config/sync/{id}", (_JOB,), Record()),
        Command(
            "create",
            "Create a job.",
            "POST",
            "config/sync",
            (_JOB, argument("store", "datastore"), required(_REMOTE_STORE), *_SYNC),
            done="job '{id}' created",
        ),
        Command(
            "update",
            "Change a job.",
            "PUT",
            "config/sync/{id}",
            (_JOB, text("store", "datastore"), _REMOTE_STORE, *_SYNC, unset("the fields above"), DIGEST),
            done="job '{id}' changed",
        ),
        Command("delete", "Remove a job.", "DELETE", "config/sync/{id}", (_JOB, DIGEST), done="job '{id}' removed"),
        Command("run", "Run a job now.", "POST", "admin/sync/{id}/run", (_JOB,), task=True),
    ),
    "remote": (
        Command("list", "Other servers.", "GET", "config/remote", view=REMOTES_VIEW),
        Command("show", "One of them.", "GET", "config/remote/{name}", (_NAME,), Record()),
        Command(
            "create",
            "Add a server; needs --password.",
            "POST",
            "config/remote",
            (_NAME, required(_HOST), required(_AUTH_ID), *_REMOTE),
            done="remote '{name}' created",
        ),
        Command(
            "update",
            "Change it.",
            "PUT",
            "config/remote/{name}",
            (_NAME, _HOST, _AUTH_ID, *_REMOTE, unset("comment", "port", "fingerprint", "use-node-proxy"), DIGEST),
            done="remote '{name}' changed",
        ),
        Command(
            "delete", "Remove it.", "DELETE", "config/remote/{name}", (_NAME, DIGEST), done="remote '{name}' removed"
        ),
    ),
    "traffic-control": (
        Command("list", "Rules with their current rates.", "GET", "admin/traffic-control", view=TRAFFIC_VIEW),
        Command("config", "Configurations of all rules.", "GET", "config/traffic-control", view=TRAFFIC_VIEW),
        Command("show", "One rule.", "GET", "config/traffic-control/{name}", (_RULE,), Record()),
        Command(
            "create",
            "Add a rule; it is kept, but nothing is limited yet.",
            "POST",
            "config/traffic-control",
            (_RULE, required(_NETWORK), *_TRAFFIC),
            done="rule '{name}' created",
        ),
        Command(
            "update",
            "Change a rule.",
            "PUT",
            "config/traffic-control/{name}",
            (_RULE, _NETWORK, *_TRAFFIC, unset("the fields above"), DIGEST),
            done="rule '{name}' changed",
        ),
        Command(
            "delete",
            "Remove a rule.",
            "DELETE",
            "config/traffic-control/{name}",
            (_RULE, DIGEST),
            done="rule '{name}' removed",
        ),
    ),
}
