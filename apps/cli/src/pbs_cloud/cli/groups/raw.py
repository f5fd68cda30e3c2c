"""`api`: any call by its path, for what has no command of its own."""

import json
import sys
from collections.abc import Callable
from typing import Any, Final

from pbs_cloud.cli.api import Api
from pbs_cloud.cli.errors import UsageError
from pbs_cloud.cli.follow import finish
from pbs_cloud.cli.session import Session
from pbs_cloud.cli.spec import Command, Param, Values, argument, flag
from pbs_cloud.cli.views import generic

_PAIRS: Final = Param(
    "pairs",
    "parameters: name=text, or name:=JSON (numbers, true, lists, null); repeat a name for a list",
    type=list[str],
    positional=True,
    metavar="[NAME=VALUE]...",
)


def parse_pairs(given: list[str]) -> dict[str, Any]:
    """The parameters of a call. Raises UsageError."""
    found: dict[str, Any] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name.rstrip(":"):
            raise UsageError(f"'{pair}' is not of the form NAME=VALUE")
        parsed: Any = value
        if name.endswith(":"):
            name = name[:-1]
            try:
                parsed = json.loads(value)
            except ValueError:
                raise UsageError(
                    f"'{value}' is no JSON", hint="a text is given as name=text, without the colon"
                ) from None
        if name in found:
            earlier = found[name]
            parsed = [*(earlier if isinstance(earlier, list) else [earlier]), parsed]
        found[name] = parsed
    return found


def _caller(method: str) -> Callable[[Session, Values], None]:
    def run(session: Session, values: Values) -> None:
        path = values["path"].strip("/").removeprefix("api2/json/")
        response = session.api.open(method, path, parse_pairs(values["pairs"] or []), as_form=True)
        if not (response.headers.get("Content-Type") or "").startswith("application/json"):
            for piece in session.api.body(response, path):
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            return
        data = Api.parsed(response.read()).data
        if values.get("wait") and isinstance(data, str) and data.startswith("UPID:"):
            finish(session, data, wait=True)
            return
        session.output.answer(data, generic(data))

    return run


_PATH: Final = argument("path", "e.g. admin/datastore/tank/snapshots")
_WAIT: Final = flag("wait", "follow the task that it starts")
TOP: Final[dict[str, Command]] = {}
GROUPS: Final = {
    "api": (
        Command("get", "GET a path.", params=(_PATH, _PAIRS), run=_caller("GET")),
        Command("create", "POST to a path.", params=(_PATH, _PAIRS, _WAIT), run=_caller("POST")),
        Command("set", "PUT to a path.", params=(_PATH, _PAIRS, _WAIT), run=_caller("PUT")),
        Command("delete", "DELETE a path.", params=(_PATH, _PAIRS, _WAIT), run=_caller("DELETE")),
    )
}
