"""Types of arguments and options.

Typer would convert them with pydantic, whose import takes longer than a whole command. A version of typer that does not
ask here any more converts them itself, to the same values.
"""

from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

import typer

_TRUE: Final = ("1", "on", "yes", "true")


class Plain:
    """What typer asks for the value of one parameter."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value of what was typed. Raises typer.BadParameter."""
        if param.multiple or param.nargs == -1:
            return list(value or ())
        if value is None:
            return None
        try:
            return self._converted(value)
        except ValueError as error:
            raise typer.BadParameter(str(error), ctx=ctx, param=param) from None

    def _converted(self, value: Any) -> Any:
        kind = self._kind
        if get_origin(kind) is Literal:
            choices = get_args(kind)
            if value not in choices:
                raise ValueError(f"'{value}' is none of {', '.join(choices)}")
            return value
        if kind is bool:
            return value if isinstance(value, bool) else str(value).lower() in _TRUE
        if kind in (int, float):
            try:
                return kind(value)
            except ValueError:
                raise ValueError(f"'{value}' is no {'whole number' if kind is int else 'number'}") from None
        return Path(value) if kind is Path else value


def install(command: Any, kinds: dict[str, Any]) -> None:
    """Use it for all parameters of a command; those that are not named are flags."""
    for param in command.params:
        if hasattr(param, "_runtime_param"):
            vars(param)["_runtime_param"] = Plain(kinds.get(param.name, bool))
