"""The command `pbs-cloud`: the API's commands, and the operator's where the server is installed."""

import importlib
import importlib.util
import inspect
import sys
from typing import Any, Final

import typer
from typer.core import TyperGroup

from pbs_cloud.cli import build
from pbs_cloud.cli.index import GROUPS, TOP, load_group, load_top

PROGRAM: Final = "pbs-cloud"
_SERVER: Final = "pbs_cloud.server"
_SERVER_PANEL: Final = "On the server itself"
_HELP: Final = """PBS Cloud: a multi-tenant backup server, and the client of its API.

Address and credentials come from options, from PBS_API_URL and PBS_API_TOKEN,
or from a profile that `pbs-cloud login` writes."""


def root() -> TyperGroup:
    """The whole command line; its commands are built when they are needed."""
    app = typer.Typer(help=_HELP, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich")
    app.callback()(_callback())
    made = typer.main.get_command(app)
    assert isinstance(made, TyperGroup)
    made.commands = build.LazyCommands(_names, _make)
    return made


def main() -> None:
    """Entry point."""
    root().main(args=sys.argv[1:], prog_name=PROGRAM)


def _callback() -> Any:
    def remember(ctx: typer.Context, **given: Any) -> None:
        ctx.obj = {name.removeprefix("common_"): value for name, value in given.items()}

    context = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    remember.__signature__ = inspect.Signature([context, *build.common_parameters()])  # type: ignore[attr-defined]
    remember.__annotations__ = {}
    return remember


def _names() -> list[str]:
    server = [] if _server() is None else list(_server_commands())
    return [*TOP, *GROUPS, *server]


def _make(name: str) -> build.AnyCommand | None:
    if name in TOP:
        return build.command(load_top(name), TOP[name].panel)
    if name in GROUPS:
        entry = GROUPS[name]
        return build.group(name, entry.help, entry.panel, lambda: load_group(name))
    return None if _server() is None else _server_commands().get(name)


def _server() -> Any:
    """Whether the server's distribution is here too; a workstation has the client alone."""
    try:
        return importlib.util.find_spec(f"{_SERVER}.main")
    except ModuleNotFoundError:
        return None


def _server_commands() -> dict[str, Any]:
    app = importlib.import_module(f"{_SERVER}.main").app
    commands: dict[str, Any] = dict(typer.main.get_group(app).commands)
    for command in commands.values():
        command.rich_help_panel = _SERVER_PANEL
    return commands
