"""The options that every command has."""

import inspect
from typing import Annotated, Any, Final, Literal

import typer

Format = Literal["text", "json", "json-pretty"]
_PANEL: Final = "Connection and output"


def _option(name: str, help: str, metavar: str | None = None) -> Any:
    return typer.Option(f"--{name}", help=help, metavar=metavar, rich_help_panel=_PANEL)


COMMON: Final[dict[str, tuple[Any, Any]]] = {
    "url": (str, _option("url", "address of the server (https://localhost:8007)")),
    "token": (str, _option("token", "API token: user@realm!name:secret")),
    "profile": (str, _option("profile", "profile of the configuration file", "NAME")),
    "fingerprint": (str, _option("fingerprint", "SHA-256 of the server's certificate")),
    "insecure": (bool, _option("insecure", "trust any certificate")),
    "timeout": (float, _option("timeout", "longest wait for an answer (30)", "SECONDS")),
    "output_format": (Format, _option("output-format", "text, json or json-pretty", "FORMAT")),
}


def common_parameters() -> list[inspect.Parameter]:
    """As parameters of a function, named so that they cannot meet a command's own."""
    return [
        inspect.Parameter(
            f"common_{name}", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, info]
        )
        for name, (kind, info) in COMMON.items()
    ]


def common_types() -> dict[str, Any]:
    """Their types by the names of those parameters."""
    return {f"common_{name}": kind for name, (kind, _) in COMMON.items()}


def merged(before: Any, given: dict[str, Any]) -> dict[str, Any]:
    """What stands behind the command beats what stands before it."""
    outer = before if isinstance(before, dict) else {}
    values = {name: given.get(f"common_{name}") for name in COMMON}
    return {name: outer.get(name) if value is None else value for name, value in values.items()}
