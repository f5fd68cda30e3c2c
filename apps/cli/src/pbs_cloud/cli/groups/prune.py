"""Prune: once, or by schedule."""

from typing import Final

from pbs_cloud.cli.api import segment
from pbs_cloud.cli.errors import UsageError
from pbs_cloud.cli.groups.jobs import job_commands
from pbs_cloud.cli.session import Session
from pbs_cloud.cli.spec import KEEP, MAX_DEPTH, NO_WAIT, NS, STORE, Command, Values, argument, flag, switch
from pbs_cloud.cli.values import parse_group, snapshot_time
from pbs_cloud.cli.views import Column, Table

DECISIONS_VIEW: Final = Table(
    (
        Column("Snapshot", lambda row: f"{row['backup-type']}/{row['backup-id']}/{snapshot_time(row['backup-time'])}"),
        Column("Namespace", "ns"),
        Column("", lambda row: "protected" if row["protected"] else ("keep" if row["keep"] else "remove")),
    ),
    empty="no snapshots",
)


def _prune(session: Session, values: Values) -> None:
    from pbs_cloud.cli.follow import finish

    keep = {param.name: values[param.name] for param in KEEP if values[param.name] is not None}
    if not keep:
        raise UsageError(
            "nothing says what to keep", hint="give at least one --keep-… option, and try it with --dry-run"
        )
    place = f"admin/datastore/{segment(values['store'])}"
    dry, wait = True if values["dry-run"] else None, not values["no-wait"]
    params = {**keep, "ns": values["ns"], "dry-run": dry}
    if values["group"] is None:
        reply = session.api.call("POST", f"{place}/prune-datastore", {**params, "max-depth": values["max-depth"]})
        finish(session, reply.data, wait=wait)
        return
    if values["max-depth"] is not None:
        raise UsageError("--max-depth is for whole datastores, not for one group")
    task = True if not wait and not dry else None
    answer = session.api.call(
        "POST", f"{place}/prune", {**params, **parse_group(values["group"]), "use-task": task}
    ).data
    if isinstance(answer, str):
        finish(session, answer, wait=False)
    else:
        session.output.answer(answer, DECISIONS_VIEW)


TOP: Final = {
    "prune": Command(
        "prune",
        params=(
            STORE,
            argument("group", "only this group, e.g. vm/100", optional=True),
            *KEEP,
            flag("dry-run", "only say what would go"),
            NS,
            MAX_DEPTH,
            NO_WAIT,
        ),
        run=_prune,
        covers=("POST admin/datastore/{store}/prune", "POST admin/datastore/{store}/prune-datastore"),
    )
}
GROUPS: Final = {
    "prune-job": job_commands(
        "prune",
        "Prune",
        (switch("disable", "do not run it by schedule"), *KEEP),
        ("disable", *(param.name for param in KEEP)),
        needs_schedule=True,
    )
}
