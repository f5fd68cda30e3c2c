"""`login`, `logout`, `profile`: credentials in the configuration file."""

import json
import os
import sys
import time
from dataclasses import replace
from typing import Any, Final
from urllib.parse import unquote

from pbs_cloud.cli.api import Api
from pbs_cloud.cli.asking import ask_line, ask_secret, ask_yes
from pbs_cloud.cli.config import Config, Profile, config_path, load_config, save_config
from pbs_cloud.cli.connection import server_fingerprint
from pbs_cloud.cli.errors import CliError, ExitCode, Unreachable, UsageError
from pbs_cloud.cli.session import Session
from pbs_cloud.cli.spec import Values
from pbs_cloud.cli.target import Options, Target, normal_url, resolve

RENEW_AFTER: Final = 900
LIFE: Final = 7200
_PARTIAL: Final = "PBS:!tfa!"


def login(session: Session, values: Values) -> None:
    """Check the credentials at the server, and write the profile."""
    name = values.get("name") or session.options.profile or "default"
    path = config_path(os.environ)
    config = load_config(path)
    target = _trusted(_target(session.options, config, name))
    username = values.get("username")
    profile = _with_token(target) if username is None else _with_password(target, username, values)
    config = config.with_profile(name, profile)
    save_config(path, config.with_default(name) if values.get("default") else config)
    who = username or (target.token or "").partition(":")[0]
    session.output.answer(
        {"profile": name, "url": profile.url, "auth-id": who, "file": str(path)},
        None,
        done=f"logged in to {profile.url} as {who}; profile '{name}' in {path}",
    )


def _target(options: Options, config: Config, name: str) -> Target:
    """The server to log in to: that of the profile if it exists already and no other is named."""
    if name in config.profiles:
        return resolve(options.over(Options(profile=name)), os.environ)
    return resolve(replace(options, profile=None), os.environ)


def _trusted(target: Target) -> Target:
    """With the fingerprint to pin where the certificate is not trusted otherwise; asked for on a terminal."""
    try:
        Api(replace(target, token=None, login=None)).get("ping")
    except Unreachable as error:
        if "not trusted" not in error.message or not sys.stdin.isatty():
            raise
        found = server_fingerprint(target)
        sys.stderr.write(f"The certificate of {target.url} is not trusted. Its SHA-256 fingerprint is\n  {found}\n")
        if not ask_yes("Is this the one that the server printed at its start?"):
            raise
        return replace(target, fingerprint=found)
    return target


def _with_token(target: Target) -> Profile:
    token = target.token
    if token is None:
        if not sys.stdin.isatty():
            raise UsageError(
                "nothing to log in with", hint="give --token or PBS_API_TOKEN, or --username for a password"
            )
        token = ask_secret("API token (<user>@<realm>!<name>:<secret>)")
        target = resolve(
            Options(url=target.url, token=token, fingerprint=target.fingerprint, insecure=target.insecure), os.environ
        )
    Api(replace(target, login=None)).get("version")
    return Profile(target.url, target.fingerprint, target.insecure, token=target.token)


def _with_password(target: Target, username: str, values: Values) -> Profile:
    anonymous = replace(target, token=None, login=None)
    data = _ticket(anonymous, username, password=_password(values))
    if str(data.get("ticket", "")).startswith(_PARTIAL):
        data = _second_factor(anonymous, username, data["ticket"], values)
    return _profile(target, username, data)


def _password(values: Values) -> str:
    if values.get("password-stdin"):
        return sys.stdin.readline().rstrip("\n")
    given = os.environ.get("PBS_PASSWORD")
    if given:
        return given
    if not sys.stdin.isatty():
        raise UsageError("no password", hint="--password-stdin, or PBS_PASSWORD")
    return ask_secret("Password")


def _second_factor(target: Target, username: str, ticket: str, values: Values) -> dict[str, Any]:
    offered = _offered(ticket)
    answer = values.get("otp")
    if answer is None:
        if not sys.stdin.isatty():
            raise UsageError("the account has a second factor", hint="give its code by --otp")
        answer = ask_line(f"Second factor ({', '.join(offered) or 'code'})")
    if ":" not in answer:
        answer = f"totp:{answer}" if answer.isdigit() and len(answer) <= 8 else f"recovery:{answer}"
    return _ticket(target, username, password=answer, challenge=ticket)


def _offered(ticket: str) -> list[str]:
    encoded = ticket.removeprefix(_PARTIAL).partition(":")[0]
    try:
        return [name for name, there in json.loads(unquote(encoded)).items() if there]
    except (ValueError, AttributeError):
        return []


def _ticket(target: Target, username: str, *, password: str, challenge: str | None = None) -> dict[str, Any]:
    params = {"username": username, "password": password, "tfa-challenge": challenge}
    try:
        return dict(Api(target).call("POST", "access/ticket", params).data)
    except CliError as error:
        if error.code is not ExitCode.DENIED:
            raise
        raise CliError(f"login of {username} refused", where=error.where, code=ExitCode.DENIED) from None


def _profile(target: Target, username: str, data: dict[str, Any]) -> Profile:
    return Profile(
        target.url, target.fingerprint, target.insecure, user=username, ticket=data["ticket"],
        csrf=data["CSRFPreventionToken"], ticket_time=int(time.time()),
    )  # fmt: skip


def renewed(target: Target) -> Target:
    """With a fresh ticket if its own is some minutes old; it is kept in the profile. Raises CliError if it is over."""
    login = target.login
    if login is None or login.user is None or login.ticket is None:
        return target
    age = time.time() - (login.ticket_time or 0)
    if age < RENEW_AFTER:
        return target
    over = CliError(
        "the login is over", where=target.url, code=ExitCode.DENIED,
        hint=f"`pbs-cloud login --profile {target.profile} --username {login.user}`",
    )  # fmt: skip
    if age > LIFE:
        raise over
    try:
        data = _ticket(replace(target, login=None), login.user, password=login.ticket)
    except CliError as error:
        raise over if error.code is ExitCode.DENIED else error from None
    fresh = _profile(target, login.user, data)
    if target.profile is not None:
        path = config_path(os.environ)
        save_config(path, load_config(path).with_profile(target.profile, fresh))
    return replace(target, login=fresh)


def logout(session: Session, values: Values) -> None:
    """Remove a profile."""
    path = config_path(os.environ)
    config = load_config(path)
    name = values.get("name") or session.options.profile or config.default
    if name is None or name not in config.profiles:
        raise UsageError(f"there is no profile '{name}'" if name else "there is no profile")
    save_config(path, config.without(name))
    session.output.answer(None, None, done=f"profile '{name}' removed; its token stays valid at the server")


def profiles(session: Session, values: Values) -> None:
    """List them, without secrets."""
    from pbs_cloud.cli.views import Column, Table

    config = load_config(config_path(os.environ))
    rows = [
        {
            "name": name,
            "default": name == config.default,
            "url": profile.url,
            "auth-id": profile.user or (profile.token or "").partition(":")[0],
            "fingerprint": profile.fingerprint,
        }
        for name, profile in config.profiles.items()
    ]
    view = Table(
        (
            Column("Profile", "name"), Column("Server", "url"), Column("As", "auth-id"), Column("Default", "default"),
        ),
        empty="no profiles; `pbs-cloud login` makes one",
    )  # fmt: skip
    session.output.answer(rows, view)


def use(session: Session, values: Values) -> None:
    """Make a profile the default."""
    path = config_path(os.environ)
    config = load_config(path)
    name = values["name"]
    if name not in config.profiles:
        raise UsageError(f"there is no profile '{name}'", hint=f"there are: {', '.join(config.profiles) or 'none'}")
    save_config(path, config.with_default(name))
    session.output.answer(None, None, done=f"profile '{name}' ({normal_url(config.profiles[name].url)}) is the default")
