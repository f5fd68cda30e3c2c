"""Notes of groups and snapshots: shown without a text, set with one."""

import sys

from pbs_cloud.cli.session import Session, path_and_params
from pbs_cloud.cli.spec import NS, STORE, Command, Param, Values, argument
from pbs_cloud.cli.views import Words


def notes_command(endpoint: str, of: str, place: Param) -> Command:
    """`notes STORE WHAT [TEXT]`."""
    path = f"admin/datastore/{{store}}/{endpoint}"

    def run(session: Session, values: Values) -> None:
        url, params = path_and_params(made, values)
        given = values["notes"]
        if given is None:
            session.output.answer(session.api.call("GET", url, params).data, Words())
            return
        session.api.call("PUT", url, {**params, "notes": sys.stdin.read() if given == "-" else given})
        session.output.answer(None, None, done=f"notes of {values[of]} set")

    made = Command(
        "notes",
        f"Show the notes of a {of}, or set them.",
        path=path,
        params=(STORE, place, argument("notes", "new text; - reads it from the input", optional=True, local=True), NS),
        run=run,
        covers=(f"GET {path}", f"PUT {path}"),
    )
    return made
