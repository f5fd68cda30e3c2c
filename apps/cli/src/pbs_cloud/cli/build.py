"""Makes the command line of the specifications; nothing is built before it is needed."""

import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator, MutableMapping
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer
from typer.core import TyperCommand, TyperGroup

from pbs_cloud.cli.errors import CliError, ExitCode
from pbs_cloud.cli.output import Format, Output
from pbs_cloud.cli.spec import NO_WAIT, YES, Command, Param, Values
from pbs_cloud.cli.target import Options

if TYPE_CHECKING:
    from collections.abc import Mapping

AnyCommand = TyperCommand | TyperGroup
_PANEL: Final = "Connection and output"

_COMMON: Final[dict[str, tuple[Any, Any]]] = {
    "url": (str, typer.Option("--url", help="address of the server", rich_help_panel=_PANEL)),
    "token": (str, typer.Option("--token", help="<user>@<realm>!<name>:<secret>", rich_help_panel=_PANEL)),
    "profile": (str, typer.Option("--profile", help="profile of the configuration file", rich_help_panel=_PANEL)),
    "fingerprint": (
        str,
        typer.Option("--fingerprint", help="SHA-256 of the server's certificate", rich_help_panel=_PANEL),
    ),
    "insecure": (bool, typer.Option("--insecure", help="trust any certificate", rich_help_panel=_PANEL)),
    "timeout": (
        float,
        typer.Option("--timeout", help="seconds to wait for an answer (30)", min=0.1, rich_help_panel=_PANEL),
    ),
    "output_format": (Format, typer.Option("--output-format", help="of the answer", rich_help_panel=_PANEL)),
}


class LazyCommands(MutableMapping[str, Any]):
    """The commands of a group by name; each is built when it is asked for."""

    def __init__(self, names: Callable[[], "list[str]"], make: Callable[[str], AnyCommand | None]) -> None:
        self._names = names
        self._make = make
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            made = self._make(name)
            if made is None:
                raise KeyError(name)
            self._made[name] = made
        return self._made[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        del self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())


def group(name: str, help: str, panel: str | None, load: "Callable[[], Mapping[str, Command]]") -> TyperGroup:
    """A group whose commands are loaded when it is entered."""
    made = TyperGroup(name=name, help=help, rich_help_panel=panel, no_args_is_help=True)
    made.commands = LazyCommands(
        lambda: list(load()), lambda wanted: command(load()[wanted]) if wanted in load() else None
    )
    return made


def command(spec: Command, panel: str | None = None) -> AnyCommand:
    """One command of the command line."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(spec.name, help=spec.help, rich_help_panel=panel)(_function(spec))
    made = typer.main.get_command(app)
    assert isinstance(made, TyperCommand)
    return made


def _function(spec: Command) -> Callable[..., None]:
    def run(ctx: typer.Context, **given: Any) -> None:
        options, output = connection_options(ctx.obj, given)
        values = {param.name: given[param.identifier] for param in parameters(spec)}
        _guarded(spec, options, output, values)

    context = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    own = [_parameter(param) for param in parameters(spec)]
    run.__signature__ = inspect.Signature([context, *own, *common_parameters()])  # type: ignore[attr-defined]
    run.__annotations__ = {}
    run.__name__ = spec.name.replace("-", "_")
    return run


def parameters(spec: Command) -> tuple[Param, ...]:
    """Those of the specification, and the ones that follow from it."""
    extra = ((YES,) if spec.danger is not None else ()) + ((NO_WAIT,) if spec.task else ())
    return (*spec.params, *extra)


def _parameter(param: Param) -> inspect.Parameter:
    if param.positional:
        info: Any = typer.Argument(help=param.help, metavar=param.metavar, show_default=False)
    else:
        flags = param.flags or ((f"--{param.name}/--no-{param.name}",) if param.type is bool else (f"--{param.name}",))
        info = typer.Option(*flags, help=param.help, metavar=param.metavar, show_default=False)
    default = inspect.Parameter.empty if param.required else None
    kind: Any = param.type if param.required else param.type | None
    annotation = cast(Any, Annotated)[kind, info]
    return inspect.Parameter(param.identifier, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def common_parameters() -> list[inspect.Parameter]:
    """The options that every command has, named so that they cannot meet a command's own."""
    return [
        inspect.Parameter(
            f"common_{name}", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, info]
        )
        for name, (kind, info) in _COMMON.items()
    ]


def connection_options(outer: Any, given: Values) -> tuple[Options, Output]:
    """Where to and how to print: what stands behind the command beats what stands before it."""
    before = outer if isinstance(outer, dict) else {}
    common = {name: given.get(f"common_{name}") for name in _COMMON}
    merged = {name: before.get(name) if value is None else value for name, value in common.items()}
    output_format: Format = merged.pop("output_format") or "text"
    return Options(**merged), Output(output_format)


def _guarded(spec: Command, options: Options, output: Output, values: Values) -> None:
    """Run it; whatever goes wrong ends with a message and an exit code."""
    from pbs_cloud.cli.session import Session, execute

    try:
        execute(spec, Session(options, output), values)
        sys.stdout.flush()
    except CliError as error:
        sys.stdout.flush()
        sys.stderr.write(f"{error.text()}\n")
        raise typer.Exit(int(error.code)) from None
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        raise typer.Exit(int(ExitCode.INTERRUPTED)) from None
    except BrokenPipeError:
        _silence()
        raise typer.Exit(int(ExitCode.FAILED)) from None
    except (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
        if os.environ.get("PBS_DEBUG"):
            traceback.print_exc()
        sys.stderr.write(f"pbs-cloud: {type(error).__name__}: {error}\n  hint: PBS_DEBUG=1 shows where\n")
        raise typer.Exit(int(ExitCode.FAILED)) from None


def _silence() -> None:
    """The reader of our output is gone: nothing more to say, also not at the interpreter's end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
