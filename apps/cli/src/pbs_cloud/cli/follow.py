"""Waits for a task and shows its log meanwhile."""

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from pbs_cloud.cli.api import Api, segment
from pbs_cloud.cli.errors import CliError, ExitCode, Unreachable
from pbs_cloud.cli.output import console
from pbs_cloud.cli.session import Session

PAGE: Final = 500
_PAUSES: Final = (0.1, 0.2, 0.5)
_SLOWEST: Final = 1.0
_PATIENCE: Final = 60.0
_STAMP: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d: ")
_PERCENT: Final = re.compile(r"(\d{1,3}(?:\.\d+)?) ?%")

Print = Callable[[str], None]


def finish(session: Session, upid: str, *, wait: bool) -> None:
    """Follow a task that was just started to its end; or print its id only.

    Raises CliError with TASK_FAILED unless it ends well; after Ctrl-C with INTERRUPTED, and the task goes on.
    """
    output = session.output
    if not wait:
        output.answer({"upid": upid}, None, done=upid)
        return
    state = watch(session, upid)
    if not output.for_people:
        output.json(state)
    judge(state)


def judge(state: dict[str, Any]) -> None:
    """Raises CliError unless the task ended well (warnings are well enough)."""
    status = state.get("exitstatus")
    if state["status"] == "running" or status == "OK" or str(status).startswith("WARNINGS"):
        return
    raise CliError(f"the task failed: {status or 'unknown'}", where=state["upid"], code=ExitCode.TASK_FAILED)


def watch(session: Session, upid: str) -> dict[str, Any]:
    """Print its log line by line until it ends; its state then. Raises CliError."""
    people, name = session.output.for_people, short_id(upid)[:8].lower()
    try:
        with _progress(session, upid) as (print_line, show):
            for line in lines(session.api, upid):
                if people:
                    print_line(_STAMP.sub("", line, count=1))
                show(line)
        return dict(session.api.get(f"nodes/localhost/tasks/{segment(upid)}/status"))
    except KeyboardInterrupt:
        raise CliError(
            "interrupted; the task goes on at the server",
            where=upid,
            hint=f"`pbs-cloud task log --follow {name}` shows it again,\n        `pbs-cloud task stop {name}` ends it",
            code=ExitCode.INTERRUPTED,
        ) from None


def lines(api: Api, upid: str) -> Iterator[str]:
    """The lines of the log as they come, until the task has ended. A server that restarts is waited for."""
    path = f"nodes/localhost/tasks/{segment(upid)}/log"
    start, quiet, away_since = 1, 0, None
    while True:
        try:
            reply = api.call("GET", path, {"start": start, "limit": PAGE, "test-status": True})
        except Unreachable:
            now = time.monotonic()
            away_since = away_since or now
            if now - away_since > _PATIENCE:
                raise
            time.sleep(_SLOWEST)
            continue
        away_since = None
        found = [entry for entry in reply.data if entry["n"] >= start]
        yield from (entry["t"] for entry in found)
        start += len(found)
        if start <= reply.beside["total"]:
            continue
        if not reply.beside["active"]:
            return
        quiet = 0 if found else quiet + 1
        time.sleep(_PAUSES[quiet] if quiet < len(_PAUSES) else _SLOWEST)


def short_id(upid: str) -> str:
    """The part of a task's id that people use: it names the task among all of a server."""
    parts = upid.split(":")
    return parts[4] if len(parts) == 10 else upid


def local_line(line: str) -> str:
    """A line of a log with its time in the local zone."""
    if _STAMP.match(line) is None:
        return line
    from datetime import datetime

    return f"{datetime.fromisoformat(line[:25]).astimezone():%Y-%m-%d %H:%M:%S} {line[27:]}"


@contextmanager
def _progress(session: Session, upid: str) -> Iterator[tuple[Print, Print]]:
    """Functions that print a line of the log, and that show how far it says the task is (on a terminal only)."""

    def plain(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    if not (sys.stderr.isatty() and sys.stdout.isatty()):
        yield plain, lambda line: None
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(24),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console(), transient=True) as progress:
        parts = upid.split(":")
        task = progress.add_task(parts[6] if len(parts) == 10 else "task", total=None)

        def show(line: str) -> None:
            percent = _PERCENT.search(line)
            if percent is not None and float(percent[1]) <= 100:
                progress.update(task, total=100, completed=float(percent[1]))

        yield lambda line: progress.console.print(line, markup=False, highlight=False, soft_wrap=True), show
