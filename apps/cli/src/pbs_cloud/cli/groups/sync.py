"""Synchronisation with other servers, and limits of bandwidth."""

from typing import Final

from pbs_cloud.cli.groups.jobs import RUN_COLUMNS
from pbs_cloud.cli.spec import Command, choice, text
from pbs_cloud.cli.views import Column, Table, first_line

_DIRECTION: Final = choice("sync-direction", "default: pull", ("all", "push", "pull"))
JOBS_VIEW: Final = Table(
    (
        Column("Job", "id"),
        Column("Datastore", "store"),
        Column("Namespace", "ns"),
        Column("Remote", "remote"),
        Column("Its datastore", "remote-store"),
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
    ),
    "remote": (Command("list", "Other servers.", "GET", "config/remote", view=REMOTES_VIEW),),
    "traffic-control": (
        Command("list", "Rules with their current rates.", "GET", "admin/traffic-control", view=TRAFFIC_VIEW),
    ),
}
