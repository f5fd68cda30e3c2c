"""The command line `pbs-cloud`."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pbs_cloud.runtime.errors import EXIT_CONFIG, ConfigError

if TYPE_CHECKING:
    from pbs_cloud.runtime.settings import Settings
    from pbs_cloud.server.maintenance import Answer

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


_Tenant = Annotated[str | None, typer.Option("--tenant", help="tenant id, else all; adopt, reimport: the built-in one")]
_Format = Annotated[Literal["text", "json"], typer.Option("--output-format", help="text or json")]


@app.command()
def adopt(
    path: Annotated[Path, typer.Argument(metavar="DIR", help="a datastore that a real PBS wrote, or s3:PREFIX")],
    tenant: _Tenant = None,
    name: Annotated[str | None, typer.Option("--name", help="its name here, else that of the directory")] = None,
    take_over: Annotated[bool, typer.Option("--take-over", help="accept our own mark of a lost catalogue")] = False,
    output_format: _Format = "text",
) -> None:
    """Take over what a real PBS wrote into a directory or our bucket, without copying (docs/operations/adopt.md)."""
    from pbs_cloud.server import maintenance

    _maintained(lambda settings: maintenance.adopt(settings, path, tenant, name, take_over=take_over), output_format)


@app.command()
def reimport(
    name: Annotated[str, typer.Argument(metavar="NAME", help="a datastore that a real PBS has used meanwhile")],
    tenant: _Tenant = None,
    output_format: _Format = "text",
) -> None:
    """Take in snapshots that somebody else wrote into a datastore of ours (docs/operations/adopt.md)."""
    from pbs_cloud.server import maintenance

    _maintained(lambda settings: maintenance.reimport(settings, tenant, name), output_format)


@app.command()
def rebuild(
    store: Annotated[str | None, typer.Option("--store", help="one datastore, else all")] = None,
    tenant: _Tenant = None,
    output_format: _Format = "text",
) -> None:
    """Make the catalogue again from the stored data after the database was lost (docs/operations/rebuild.md)."""
    from pbs_cloud.server import maintenance

    _maintained(lambda settings: maintenance.rebuild(settings, tenant, store), output_format)


@app.command()
def fsck(
    store: Annotated[str | None, typer.Option("--store", help="one datastore, else all")] = None,
    tenant: _Tenant = None,
    read_data: Annotated[bool, typer.Option("--read-data", help="read and check every chunk and blob too")] = False,
    output_format: _Format = "text",
) -> None:
    """Compare database, stored data and indexes; repairs nothing, exit code 1 if something is wrong."""
    from pbs_cloud.server import maintenance

    _maintained(lambda settings: maintenance.fsck(settings, tenant, store, read_data=read_data), output_format)


@app.command()
def reseal(
    new_key: Annotated[
        bool, typer.Option("--new-key", help="first put a new key into the file; where one machine alone uses it")
    ] = False,
    output_format: _Format = "text",
) -> None:
    """Encrypt all stored secrets with the first key of PBS_SECRET_KEY_FILE (docs/operations/logins.md)."""
    from pbs_cloud.server import secret_keys

    _maintained(lambda settings: secret_keys.reseal_secrets(settings, new_key=new_key), output_format)


@app.command(name="rotate-ticket-keys")
def rotate_ticket_keys(
    end_tickets: Annotated[bool, typer.Option("--end-tickets", help="drop the old keys: all tickets end")] = False,
    output_format: _Format = "text",
) -> None:
    """Sign tickets with a new key before its time, with overlap (docs/operations/logins.md)."""
    from pbs_cloud.server import secret_keys

    _maintained(lambda settings: secret_keys.rotate_ticket_keys(settings, end_tickets=end_tickets), output_format)


def _maintained(work: "Callable[[Settings], Answer]", output_format: str) -> None:
    """Print the answer; exit code 1 if something is wrong, be it with the datastore or with the attempt."""
    from pbs_cloud.contracts.errors import PbsError
    from pbs_cloud.server import commands

    def command() -> None:
        try:
            answer = work(commands.prepare())
        except PbsError as error:
            sys.stderr.write(f"pbs-cloud: {error.message}\n")
            raise typer.Exit(1) from None
        typer.echo(answer.text(output_format))
        if not answer.good:
            raise typer.Exit(1)

    _guarded(command)


def _guarded(command: Callable[[], None]) -> None:
    """A wrong setting ends with its name and exit code 2, without a traceback."""
    try:
        command()
    except ConfigError as error:
        sys.stderr.write(f"pbs-cloud: {error}\n")
        raise typer.Exit(EXIT_CONFIG) from None
