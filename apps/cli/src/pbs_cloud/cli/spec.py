"""Commands as data: which call, which parameters, how the answer looks. `build` makes the command line of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pbs_cloud.cli.errors import UsageError
from pbs_cloud.cli.values import Null, parse_group, parse_size, parse_snapshot, parse_time
from pbs_cloud.cli.views import View

if TYPE_CHECKING:
    from pbs_cloud.cli.session import Session

Values = dict[str, Any]
Convert = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Param:
    """An argument or an option of a command, and the parameter of the call that it becomes.

    `convert` makes the API's value of what was typed; one that answers a dict with `spread` gives several parameters.
    """

    name: str
    help: str
    type: Any = str
    positional: bool = False
    required: bool = False
    flags: tuple[str, ...] = ()
    convert: Convert | None = None
    spread: bool = False
    local: bool = False
    """Not for the server; the command itself uses it."""
    metavar: str | None = None
    default: Any = None
    """Sent where nothing is given."""
    find: "Callable[[Session, str], str] | None" = None
    """Makes the server's id of what people type."""
    complete: str | None = None
    """Which of the server's names the shell completes it with."""
    ask: str | None = None
    """Prompt of a secret: the option itself takes no value, so that none stands in the list of processes."""

    @property
    def identifier(self) -> str:
        """Its name in Python."""
        return self.name.replace("-", "_")


@dataclass(frozen=True, slots=True)
class Command:
    """One command. Without `run` it is the call `method path`, whose braces are filled from the parameters."""

    name: str
    help: str = ""
    """Of commands of the first level it stands in the index, which the program's help reads alone."""
    method: str = "GET"
    path: str = ""
    params: tuple[Param, ...] = ()
    view: View | None = None
    done: str | None = None
    """What people read after a call without an answer; braces are filled from what was typed."""
    task: bool = False
    """The answer is a task id: follow it."""
    danger: str | None = None
    """What is lost: asked before, unless --yes."""
    run: "Callable[[Session, Values], None] | None" = None
    covers: tuple[str, ...] = ()
    """The calls that `run` makes, as `METHOD path`."""

    @property
    def calls(self) -> tuple[str, ...]:
        """The calls of the API that this command makes."""
        return self.covers or ((f"{self.method} {self.path}",) if self.path else ())


@dataclass(frozen=True, slots=True)
class Group:
    """Commands under one word."""

    commands: tuple[Command, ...]


def text(name: str, help: str, **more: Any) -> Param:
    """An option `--name TEXT`."""
    return Param(name, help, **more)


def argument(name: str, help: str, *, optional: bool = False, **more: Any) -> Param:
    """A positional argument."""
    metavar = more.pop("metavar", name.upper().replace("-", "_"))
    return Param(name, help, positional=True, required=not optional, metavar=metavar, **more)


def integer(name: str, help: str, **more: Any) -> Param:
    """An option that takes a whole number."""
    return Param(name, help, type=int, **more)


def flag(name: str, help: str, *, flags: tuple[str, ...] = (), **more: Any) -> Param:
    """An option without a value; sent only where it is given."""
    return Param(
        name, help, type=bool, flags=flags or (f"--{name}",), convert=lambda given: True if given else None, **more
    )


def switch(name: str, help: str, **more: Any) -> Param:
    """`--name` or `--no-name`; not sent where neither is given."""
    return Param(name, help, type=bool, **more)


def choice(name: str, help: str, values: tuple[str, ...], **more: Any) -> Param:
    """One of several words."""
    return Param(name, help, type=Literal[values], **more)


def many(name: str, help: str, **more: Any) -> Param:
    """An option that may be repeated."""
    return Param(name, help, type=list[str], convert=lambda given: list(given) or None, **more)


def secret(name: str, prompt: str, help: str, **more: Any) -> Param:
    """A flag that asks for a secret, twice if it is a new one."""
    return Param(
        name, f"{help}; asked for, or a line of the input", type=bool, flags=(f"--{name}",), ask=prompt, **more
    )


def moment(name: str, help: str, *, future: bool = False, **more: Any) -> Param:
    """A time; sent as Unix seconds."""
    return Param(name, help, convert=lambda given: parse_time(given, future=future), metavar="TIME", **more)


def expire(help: str = "when it ends: 2026-12-31, 90d, never") -> Param:
    """`--expire`."""
    return Param(
        "expire", help, convert=lambda given: 0 if given == "never" else parse_time(given, future=True), metavar="TIME"
    )


def size_or_unlimited(name: str, help: str, **more: Any) -> Param:
    """A size in human units, or `unlimited`."""
    return Param(
        name, help, convert=lambda given: Null() if given == "unlimited" else parse_size(given), metavar="SIZE", **more
    )


def nullable(name: str, help: str, **more: Any) -> Param:
    """A text; `none` unsets it."""
    return Param(name, help, convert=lambda given: Null() if given == "none" else given, **more)


def pairs(name: str, help: str, **more: Any) -> Param:
    """`--name KEY=VALUE`, repeated; sent as an object."""
    return Param(name, help, type=list[str], convert=_object, metavar="KEY=VALUE", **more)


def file(name: str, help: str, **more: Any) -> Param:
    """A local path."""
    return Param(name, help, type=Path, local=True, **more)


def _object(given: list[str]) -> dict[str, str] | None:
    if not given:
        return None
    found = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"'{pair}' is not of the form KEY=VALUE")
        found[name] = value
    return found


def _group_or_snapshot(given: str) -> Values:
    return parse_group(given) if given.count("/") == 1 else parse_snapshot(given)


STORE: Final = argument("store", "datastore", complete="datastore")
NS: Final = Param("ns", "namespace, e.g. prod/web; default: the root", metavar="NAMESPACE")
GROUP: Final = argument("group", "backup group, e.g. vm/100", convert=parse_group, spread=True, complete="group")
SNAPSHOT: Final = argument(
    "snapshot", "snapshot, e.g. vm/100/2026-03-02T02:00:04Z", convert=parse_snapshot, spread=True
)
GROUP_OR_SNAPSHOT: Final = argument(
    "target", "backup group or snapshot; default: everything", metavar="GROUP|SNAPSHOT", convert=_group_or_snapshot,
    spread=True, optional=True,
)  # fmt: skip
MAX_DEPTH: Final = integer("max-depth", "levels of namespaces below, 0 to 7; default: all")
DIGEST: Final = text("digest", "refuse if the configuration is not the one with this digest")
COMMENT: Final = text("comment", "one line of text")
YES: Final = Param("yes", "do not ask", type=bool, flags=("--yes", "-y"), local=True)
NO_WAIT: Final = Param("no-wait", "print the task's id and return at once", type=bool, flags=("--no-wait",), local=True)
LEVELS: Final = ("read", "backup", "datastore_admin", "admin")
PERMISSION: Final = choice("permission", "rights as a level", LEVELS)
KEEP: Final = tuple(
    integer(f"keep-{period}", f"keep the newest of so many {what}")
    for period, what in (
        ("last", "backups"), ("hourly", "hours"), ("daily", "days"),
        ("weekly", "weeks"), ("monthly", "months"), ("yearly", "years"),
    )
)  # fmt: skip


def unset(*names: str) -> Param:
    """`--unset FIELD`, repeated."""
    shown = ", ".join(names)
    return Param(
        "delete", f"unset a field, may be repeated: {shown}", type=list[str], flags=("--unset",), metavar="FIELD",
        convert=lambda given: list(given) or None,
    )  # fmt: skip


def optional(param: Param) -> Param:
    """The same, but it may be left out."""
    return replace(param, required=False)


def required(param: Param) -> Param:
    """The same, but it must be given."""
    return replace(param, required=True)
