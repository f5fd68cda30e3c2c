"""Names from the server for the shell's completion; whatever goes wrong there are none."""

from collections.abc import Callable
from typing import Any, Final

from pbs_cloud.cli.errors import CliError

PATIENCE: Final = 3.0
_LISTS: Final[dict[str, tuple[str, str]]] = {
    "datastore": ("admin/datastore", "store"),
    "user": ("access/users", "userid"),
    "realm": ("access/domains", "realm"),
    "role": ("access/roles", "roleid"),
    "tenant": ("tenants", "slug"),
    "prune": ("config/prune", "id"),
    "verify": ("config/verify", "id"),
    "sync": ("config/sync", "id"),
    "remote": ("config/remote", "name"),
}


def completer(kind: str) -> Callable[[Any, list[str], str], list[str]]:
    """What typer calls for the words that may stand at the cursor."""

    def complete(ctx: Any, args: list[str], incomplete: str) -> list[str]:
        try:
            return sorted(name for name in _names(kind, ctx) if name.startswith(incomplete))
        except (CliError, KeyError, TypeError):
            return []

    return complete


def _names(kind: str, ctx: Any) -> list[str]:
    from pbs_cloud.cli.api import segment
    from pbs_cloud.cli.common import merged
    from pbs_cloud.cli.output import Output
    from pbs_cloud.cli.session import Session
    from pbs_cloud.cli.target import Options

    given = merged(merged(None, ctx.find_root().params), ctx.params)
    given.pop("output_format")
    session = Session(Options(**{**given, "timeout": PATIENCE}), Output("json"))
    if kind == "group":
        groups = session.api.get(f"admin/datastore/{segment(ctx.params['store'])}/groups", ns=ctx.params.get("ns"))
        return [f"{row['backup-type']}/{row['backup-id']}" for row in groups]
    path, key = _LISTS[kind]
    return [str(row[key]) for row in session.api.get(path)]
