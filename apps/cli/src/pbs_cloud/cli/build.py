"""Makes commands of the specifications."""

import inspect
import os
import sys
import traceback
from collections.abc import Callable
from typing import Annotated, Any, cast

import typer
from typer.core import TyperCommand

from pbs_cloud.cli import coercion
from pbs_cloud.cli.common import common_parameters, common_types, merged
from pbs_cloud.cli.completion import completer
from pbs_cloud.cli.errors import CliError, ExitCode
from pbs_cloud.cli.output import Output
from pbs_cloud.cli.spec import NO_WAIT, YES, Command, Param, Values
from pbs_cloud.cli.target import Options


def command(spec: Command) -> TyperCommand:
    """One command of the command line."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(spec.name, help=spec.help)(_function(spec))
    made = typer.main.get_command(app)
    assert isinstance(made, TyperCommand)
    own = {param.identifier: param.type for param in parameters(spec)}
    coercion.install(made, {**own, **common_types()})
    return made


def _function(spec: Command) -> Callable[..., None]:
    def run(ctx: typer.Context, **given: Any) -> None:
        common = merged(ctx.obj, given)
        output = Output(common.pop("output_format") or "text")
        values = {param.name: given[param.identifier] for param in parameters(spec)}
        _guarded(spec, Options(**common), output, values)

    context = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    own = [_parameter(param) for param in parameters(spec)]
    vars(run)["__signature__"] = inspect.Signature([context, *own, *common_parameters()])
    run.__annotations__ = {}
    run.__name__ = spec.name.replace("-", "_")
    return run


def parameters(spec: Command) -> tuple[Param, ...]:
    """Those of the specification, and the ones that follow from it."""
    extra = ((YES,) if spec.danger is not None else ()) + ((NO_WAIT,) if spec.task else ())
    return (*spec.params, *extra)


def _parameter(param: Param) -> inspect.Parameter:
    if param.positional:
        info: Any = typer.Argument(
            help=param.help, metavar=param.metavar, show_default=False, autocompletion=_completer(param)
        )
    else:
        flags = param.flags or ((f"--{param.name}/--no-{param.name}",) if param.type is bool else (f"--{param.name}",))
        info = typer.Option(
            *flags, help=param.help, metavar=param.metavar, show_default=False, autocompletion=_completer(param)
        )
    default = inspect.Parameter.empty if param.required else None
    kind: Any = param.type if param.required else param.type | None
    annotation = cast(Any, Annotated)[kind, info]
    return inspect.Parameter(param.identifier, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _completer(param: Param) -> Any:
    return completer(param.complete) if param.complete is not None else None


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
