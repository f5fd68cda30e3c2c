"""Verification: once, or by schedule."""

from typing import Final

from pbs_cloud.cli.groups.jobs import STATE_VIEW, job_argument, job_commands
from pbs_cloud.cli.groups.tasks import LIST_VIEW as TASKS_VIEW
from pbs_cloud.cli.spec import GROUP_OR_SNAPSHOT, MAX_DEPTH, NS, STORE, Command, integer, switch

_JOB: Final = job_argument("verify")
_OPTIONS: Final = (
    switch("ignore-verified", "skip what has a result already; default: yes"),
    integer("outdated-after", "but verify again what was verified more than so many days ago"),
    integer("read-threads", "parallel reads"),
    integer("verify-threads", "parallel checks"),
)
TOP: Final = {
    "verify": Command(
        "verify",
        method="POST",
        path="admin/datastore/{store}/verify",
        params=(STORE, GROUP_OR_SNAPSHOT, *_OPTIONS, NS, MAX_DEPTH),
        task=True,
    )
}
GROUPS: Final = {
    "verify-job": (
        *job_commands(
            "verify", "Verification", _OPTIONS, tuple(param.name for param in _OPTIONS), needs_schedule=False
        ),
        Command("status", "Last and next run of one job.", "GET", "admin/verify/{id}/status", (_JOB,), STATE_VIEW),
        Command(
            "history",
            "Earlier runs of a job.",
            "GET",
            "admin/verify/{id}/history",
            (_JOB, integer("start", "skip so many"), integer("limit", "at most so many (50)")),
            TASKS_VIEW,
        ),
    )
}
