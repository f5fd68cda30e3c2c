"""The configuration file `~/.config/pbs-cloud/config.toml` with its named profiles."""

import contextlib
import json
import os
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from pbs_cloud.cli.errors import UsageError


@dataclass(frozen=True, slots=True)
class Profile:
    """One server and how to log in there: an API token, or a user's ticket."""

    url: str
    fingerprint: str | None = None
    insecure: bool = False
    token: str | None = None
    user: str | None = None
    ticket: str | None = None
    csrf: str | None = None
    ticket_time: int | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """All profiles, and which one applies where none is named."""

    default: str | None = None
    profiles: Mapping[str, Profile] = field(default_factory=dict)

    def with_profile(self, name: str, profile: Profile) -> "Config":
        """The same with this profile; the first one becomes the default."""
        return Config(self.default or name, {**self.profiles, name: profile})

    def without(self, name: str) -> "Config":
        """The same without it."""
        rest = {key: value for key, value in self.profiles.items() if key != name}
        return Config(None if self.default == name else self.default, rest)

    def with_default(self, name: str) -> "Config":
        """The same with another default."""
        return replace(self, default=name)


def config_path(environ: Mapping[str, str]) -> Path:
    """Where the file is."""
    base = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME") or Path.home()) / ".config")
    return Path(base) / "pbs-cloud" / "config.toml"


def load_config(path: Path) -> Config:
    """Read it; an absent file is an empty configuration. Raises UsageError."""
    try:
        parsed = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Config()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from None
    profiles: dict[str, Profile] = {}
    known = {item.name: item.type for item in fields(Profile)}
    for name, values in parsed.get("profiles", {}).items():
        if not isinstance(values, dict) or not isinstance(values.get("url"), str):
            raise UsageError(f"{path}: profile '{name}' has no url")
        unknown = set(values) - set(known)
        if unknown:
            raise UsageError(f"{path}: profile '{name}' has an unknown field '{sorted(unknown)[0]}'")
        profiles[name] = Profile(**values)
    return Config(parsed.get("default"), profiles)


def save_config(path: Path, config: Config) -> None:
    """Write it, readable for its owner alone; complete or not at all. Raises UsageError."""
    lines = [] if config.default is None else [f"default = {_quoted(config.default)}", ""]
    for name, profile in config.profiles.items():
        lines.append(f"[profiles.{_quoted(name)}]")
        for item in fields(Profile):
            value = getattr(profile, item.name)
            if value is not None and value is not False:
                lines.append(f"{item.name} = {_quoted(value) if isinstance(value, str) else json.dumps(value)}")
        lines.append("")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".config-")  # made with mode 0600
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write("\n".join(lines))
            Path(temporary).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
