"""Writes docs/reference/cli.md: `python -m pbs_cloud.cli.reference`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_args, get_origin

from pbs_cloud.cli.build import parameters
from pbs_cloud.cli.common import COMMON
from pbs_cloud.cli.index import GROUPS, TOP, load_group, load_top
from pbs_cloud.cli.spec import Command, Param

TARGET: Final = Path(__file__).resolve().parents[5] / "docs" / "reference" / "cli.md"
_INTRODUCTION: Final = """# Command line

`pbs-cloud` is the client of the REST API, from anywhere; where the server is installed it has the operator's commands
(`up`, `run`, `migrate` …: see the README) too. This page is made from the program
by `python -m pbs_cloud.cli.reference`; do not edit it.

## Where to, and as whom

| Option | Variable | Meaning |
|---|---|---|
| `--url` | `PBS_API_URL` | a URL, `host` or `host:port` (https, port 8007); default `https://localhost:8007` |
| `--token` | `PBS_API_TOKEN` | `<user>@<realm>!<name>:<secret>` |
| `--fingerprint` | `PBS_FINGERPRINT` | SHA-256 of the server's certificate, which is then trusted without a CA |
| `--insecure` | | trust any certificate |
| `--profile` | `PBS_PROFILE` | a profile of `~/.config/pbs-cloud/config.toml` (or below `XDG_CONFIG_HOME`) |
| `--timeout` | | longest wait for an answer in seconds; default 30 |
| `--output-format` | | `text` for people, `json` or `json-pretty` for scripts |

An option beats a profile that is named, that beats the environment, that beats the default profile. The credentials and
the fingerprint of a profile go to the profile's own server only. The options may stand before or behind the command.

`pbs-cloud login` writes a profile (mode 0600): with a token for good; with `--username` and a password, and a second
factor if the account has one, for two hours after the last use. Where the certificate is not trusted it shows the
fingerprint and asks. `PBS_PASSWORD` or `--password-stdin` give the password to scripts.

```
pbs-cloud login prod --url pbs.example.com --token 'alice@pbs!laptop:…'
pbs-cloud snapshot list tank --ns prod/web
pbs-cloud --profile prod verify tank vm/100
pbs-cloud task list --running --output-format json
```

## Conventions

- Groups are written as `vm/100`, snapshots as `vm/100/2026-03-02T02:00:04Z`, namespaces as `prod/web`. Tasks may be
  named by the beginning of their id as `task list` shows it.
- Sizes: `500`, `20G`, `1.5TiB` (powers of 1024), `10GB` (of 1000). Times: `2026-03-02`, `'2026-03-02 14:00'` (local),
  `2026-03-02T14:00Z`, Unix seconds, or a distance such as `2h` or `30d`. Tables show local times; JSON has the API's
  own values.
- A command that starts a task follows its log, and the task's result is its exit code. `--no-wait` prints the id and
  returns. Ctrl-C leaves the task running.
- A command that loses data asks; `--yes` does not. Without a terminal to ask on, `--yes` is needed.
- Answers go to the output stream; remarks, questions and errors to the error stream.
- `pbs-cloud --install-completion` installs completion for bash, zsh, fish or PowerShell, `--show-completion` prints it.

| Exit code | Meaning |
|---|---|
| 0 | done; a task that ended with warnings counts as done |
| 1 | the server refused or failed |
| 2 | wrong arguments or configuration, or a question that was not answered with yes |
| 3 | no connection, certificate not trusted, no answer in time, server not ready |
| 4 | not authenticated, or without the right |
| 5 | the task ended with an error |
| 130 | Ctrl-C |
"""


def text() -> str:
    """The whole page."""
    return "\n".join([_INTRODUCTION, *_body()]) + "\n"


def _body() -> Iterator[str]:
    panels = dict.fromkeys(entry.panel for entry in (*TOP.values(), *GROUPS.values()))
    for panel in panels:
        yield f"## {panel}\n"
        for name, entry in TOP.items():
            if entry.panel == panel:
                yield from _command(load_top(name), name)
        for name, entry in GROUPS.items():
            if entry.panel == panel:
                for command in load_group(name).values():
                    yield from _command(command, f"{name} {command.name}")


def _command(spec: Command, name: str) -> Iterator[str]:
    params = parameters(spec)
    arguments = "".join(f" {_metavar(param)}" for param in params if param.positional)
    yield f"### `pbs-cloud {name}{arguments}`\n"
    calls = ", ".join(f"`{call}`" for call in spec.calls)
    yield spec.help + (f" ({calls})" if calls else "") + "\n"
    if params:
        yield "| | |\n|---|---|"
        yield from (f"| {_shown(param)} | {_cell(param.help)} |" for param in params)
        yield ""


def _metavar(param: Param) -> str:
    name = param.metavar or param.name.upper()
    return name if param.required or name.startswith("[") else f"[{name}]"


def _shown(param: Param) -> str:
    if param.positional:
        return f"`{_cell(param.metavar or param.name.upper())}`"
    if param.type is bool:
        names = param.flags or (f"--{param.name}", f"--no-{param.name}")
        return ", ".join(f"`{name}`" for name in names)
    names = param.flags or (f"--{param.name}",)
    needed = " (required)" if param.required else ""
    return ", ".join(f"`{name} {_cell(param.metavar or _type(param.type))}`" for name in names) + needed


def _type(kind: Any) -> str:
    if get_origin(kind) is not None:
        choices = get_args(kind)
        return "|".join(map(str, choices)) if all(isinstance(one, str) for one in choices) else "TEXT"
    return {int: "NUMBER", float: "NUMBER"}.get(kind, "PATH" if kind is Path else "TEXT")


def _cell(words: str) -> str:
    return words.replace("|", "\\|")


def options() -> frozenset[str]:
    """Names of the options that every command has."""
    return frozenset(f"--{name.replace('_', '-')}" for name in COMMON)


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
    sys.stdout.write(f"{TARGET}\n")
