"""What prune and verify jobs have in common: configured, listed with their runs, started."""

from typing import Final

from pbs_cloud.cli.spec import COMMENT, DIGEST, MAX_DEPTH, NS, Command, Param, argument, text, unset
from pbs_cloud.cli.views import Column, Record, Table, first_line, moment

RUN_COLUMNS: Final = (
    Column("Schedule", "schedule"),
    Column("Next run", "next-run", moment),
    Column("Last run", "last-run-endtime", moment),
    Column("Result", "last-run-state"),
)
STATE_VIEW: Final = Record(
    (
        Column("Next run", "next-run", moment),
        Column("Last run", "last-run-endtime", moment),
        Column("Result", "last-run-state"),
        Column("Task", "last-run-upid"),
    ),
    empty="it never ran",
)


def job_argument(kind: str) -> Param:
    """The job that a command is about."""
    return argument("id", "name of the job", metavar="JOB", complete=kind)


def job_commands(
    kind: str, what: str, settings: tuple[Param, ...], fields: tuple[str, ...], needs_schedule: bool
) -> tuple[Command, ...]:
    """`list`, `show`, `create`, `update`, `delete`, `run` for one kind of job."""
    job = job_argument(kind)
    config, single = f"config/{kind}", f"config/{kind}/{{id}}"
    common = (COMMENT, NS, MAX_DEPTH, *settings)
    view = Table(
        (
            Column("Job", "id"),
            Column("Datastore", "store"),
            Column("Namespace", "ns"),
            *RUN_COLUMNS,
            Column("Enabled", lambda row: "no" if row.get("disable") else None),
            Column("Comment", "comment", first_line),
        ),
        empty="no jobs",
        sort=lambda row: row["id"],
    )
    return (
        Command(
            "list",
            f"{what} jobs with their last and next run.",
            "GET",
            f"admin/{kind}",
            (text("store", "only those of this datastore"),),
            view,
        ),
        Command("config", "Configurations of all jobs.", "GET", config),
        Command("show", "Configuration of one job.", "GET", single, (job,), Record()),
        Command(
            "create",
            "Create a job.",
            "POST",
            config,
            (
                job,
                argument("store", "datastore"),
                text("schedule", "when it runs, e.g. daily, 'sat 02:00'", required=needs_schedule),
                *common,
            ),
            done="job '{id}' created",
        ),
        Command(
            "update",
            "Change a job.",
            "PUT",
            single,
            (
                job,
                text("store", "datastore"),
                text("schedule", "when it runs"),
                *common,
                unset(*(() if needs_schedule else ("schedule",)), "comment", "ns", "max-depth", *fields),
                DIGEST,
            ),
            done="job '{id}' changed",
        ),
        Command("delete", "Remove a job.", "DELETE", single, (job, DIGEST), done="job '{id}' removed"),
        Command("run", "Run a job now.", "POST", f"admin/{kind}/{{id}}/run", (job,), task=True),
    )
