"""Which server, as whom: from the options, the environment and the configuration file."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Final
from urllib.parse import urlsplit

from pbs_cloud.cli.config import Config, Profile, config_path, load_config
from pbs_cloud.cli.errors import UsageError
from pbs_cloud.cli.values import parse_fingerprint

DEFAULT_URL: Final = "https://localhost:8007"
DEFAULT_PORT: Final = 8007
DEFAULT_TIMEOUT: Final = 30.0


@dataclass(frozen=True, slots=True)
class Options:
    """The connection options of the command line; None: not given."""

    url: str | None = None
    token: str | None = None
    profile: str | None = None
    fingerprint: str | None = None
    insecure: bool | None = None
    timeout: float | None = None

    def over(self, other: "Options") -> "Options":
        """These, and the other's where nothing is given here."""
        given = {item.name: getattr(self, item.name) for item in fields(self)}
        return replace(other, **{name: value for name, value in given.items() if value is not None})


@dataclass(frozen=True, slots=True)
class Target:
    """One server, how to trust it, and the credentials for it (`token`, or a ticket in `login`)."""

    url: str
    token: str | None = None
    login: Profile | None = None
    fingerprint: str | None = None
    insecure: bool = False
    timeout: float = DEFAULT_TIMEOUT
    profile: str | None = None

    @property
    def authenticated(self) -> bool:
        """Whether there are any credentials."""
        return self.token is not None or self.login is not None

    @property
    def user(self) -> str | None:
        """The user behind the credentials."""
        if self.token is not None:
            return self.token.partition("!")[0]
        return self.login.user if self.login else None


def resolve(options: Options, environ: Mapping[str, str]) -> Target:
    """An option beats a named profile, that beats the environment, that beats the default profile.

    A profile's credentials and fingerprint go to the profile's own server only. Raises UsageError.
    """
    if options.timeout is not None and not 0 < options.timeout < 1e6:
        raise UsageError("the time-out must be a number of seconds above 0")
    config = load_config(config_path(environ))
    name, profile = _profile(options, environ, config)
    named = options.profile is not None
    from_environment = None if named else environ.get("PBS_API_URL")
    url = normal_url(options.url or from_environment or (profile.url if profile else None) or DEFAULT_URL)
    own = profile if profile is not None and normal_url(profile.url) == url else None
    token = options.token or (None if named else environ.get("PBS_API_TOKEN")) or (own.token if own else None)
    given = options.fingerprint or (None if named else environ.get("PBS_FINGERPRINT"))
    fingerprint = given or (own.fingerprint if own else None)
    return Target(
        url=url,
        token=_token(token) if token else None,
        login=own if own is not None and own.ticket and not token else None,
        fingerprint=parse_fingerprint(fingerprint) if fingerprint else None,
        insecure=options.insecure if options.insecure is not None else bool(own and own.insecure),
        timeout=options.timeout or DEFAULT_TIMEOUT,
        profile=name if own is not None else None,
    )


def _profile(options: Options, environ: Mapping[str, str], config: Config) -> tuple[str | None, Profile | None]:
    wanted = options.profile or environ.get("PBS_PROFILE")
    name = wanted or config.default
    if name is None:
        return None, None
    if name not in config.profiles:
        known = ", ".join(sorted(config.profiles)) or "none"
        raise UsageError(f"there is no profile '{name}'", hint=f"there are: {known}; `pbs-cloud login` makes one")
    return name, config.profiles[name]


def normal_url(text: str) -> str:
    """`https://host:port` from a URL, `host:port` or `host` (then port 8007). Raises UsageError."""
    given = text.strip().rstrip("/")
    bare = "://" not in given
    try:
        parts = urlsplit(f"https://{_bracketed(given)}" if bare else given)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"'{text}' is no address of a server: {error}") from None
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.path or parts.query or "@" in parts.netloc:
        raise UsageError(f"'{text}' is no address of a server", hint=f"addresses are written as {DEFAULT_URL}")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    default = DEFAULT_PORT if bare else (443 if parts.scheme == "https" else 80)
    return f"{parts.scheme}://{host}:{port or default}"


def _bracketed(host: str) -> str:
    try:
        return f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    except ValueError:
        return host


def _token(text: str) -> str:
    token = text.strip().removeprefix("PBSAPIToken=")
    name, colon, secret = token.partition(":")
    if not colon or not secret or "@" not in name or "!" not in name or any(ord(c) < 33 or ord(c) > 126 for c in token):
        raise UsageError(
            "the API token must have the form <user>@<realm>!<name>:<secret>",
            hint="it comes from --token, PBS_API_TOKEN or the profile",
        )
    return token
