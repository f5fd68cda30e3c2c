"""The command line `pbs-cloud`."""

import os
import signal
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from pbs_cloud.runtime.errors import EXIT_CONFIG, ConfigError

app = typer.Typer(
    help="PBS Cloud: a multi-tenant backup server.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def up(
    with_parent: Annotated[bool, typer.Option("--with-parent", help="stop when the calling process ends")] = False,
) -> None:
    """Run the whole product on this machine (database and event bus embedded unless their URLs are set)."""
    from pbs_cloud.server import child, commands

    if with_parent and child.IS_LINUX:
        child.die_with(os.getppid(), signal.SIGTERM)
    _guarded(commands.up)


@app.command()
def run(service: Annotated[str, typer.Argument(help="auth, chunkstore, gc, billing or gateway")]) -> None:
    """Run one service alone, as Kubernetes does."""
    from pbs_cloud.server import commands

    _guarded(lambda: commands.run(service))


@app.command()
def migrate() -> None:
    """Create the database roles and schemas and bring them to the newest revision."""
    from pbs_cloud.server import commands

    _guarded(commands.migrate)


@app.command(name="check-config")
def check_config() -> None:
    """Check all settings and show the effective ones."""
    from pbs_cloud.server import commands

    def show() -> None:
        for line in commands.check_config():
            typer.echo(line)

    _guarded(show)


def _guarded(command: Callable[[], None]) -> None:
    """A wrong setting ends with its name and exit code 2, without a traceback."""
    try:
        command()
    except ConfigError as error:
        sys.stderr.write(f"pbs-cloud: {error}\n")
        raise typer.Exit(EXIT_CONFIG) from None
