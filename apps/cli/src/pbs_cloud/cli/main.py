"""The command `pbs-cloud`: the API's commands, and the operator's where the server is installed."""

import importlib
import importlib.util
import inspect
import sys
from typing import Any, Final

import typer
from typer.core import TyperGroup

from pbs_cloud.cli import coercion
from pbs_cloud.cli.common import common_parameters, common_types, merged
from pbs_cloud.cli.index import GROUPS, TOP, load_group, load_top
from pbs_cloud.cli.lazy import LazyCommand, LazyCommands, lazy_group

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
    coercion.install(made, common_types())
    made.commands = LazyCommands(_names, _make)
    return made


def main() -> None:
    """Entry point."""
    root().main(args=sys.argv[1:], prog_name=PROGRAM)


def _callback() -> Any:
    def remember(ctx: typer.Context, **given: Any) -> None:
        ctx.obj = merged(None, given)

    context = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    vars(remember)["__signature__"] = inspect.Signature([context, *common_parameters()])
    remember.__annotations__ = {}
    return remember


def _names() -> list[str]:
    server = [] if _server() is None else list(_server_commands())
    return [*TOP, *GROUPS, *server]


def _make(name: str) -> Any:
    if name in TOP:
        top = TOP[name]
        return LazyCommand(name, top.help, top.panel, lambda: _built(load_top(name)))
    if name in GROUPS:
        group = GROUPS[name]
        return lazy_group(
            name,
            group.help,
            group.panel,
            lambda: list(load_group(name)),
            lambda part: _built(load_group(name).get(part)),
        )
    return None if _server() is None else _server_commands().get(name)


def _built(spec: Any) -> Any:
    from pbs_cloud.cli.build import command

    return None if spec is None else command(spec)


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
