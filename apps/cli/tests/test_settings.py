"""Which server, as whom: options, variables and profiles."""

from __future__ import annotations

from pathlib import Path

import pytest

from pbs_cloud.cli.config import Config, Profile, config_path, load_config, save_config
from pbs_cloud.cli.errors import UsageError
from pbs_cloud.cli.target import DEFAULT_URL, Options, normal_url, resolve

PIN = bytes(range(32)).hex(":")
TOKEN = "alice@pbs!laptop:secret"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    prod = Profile("https://prod:8007", fingerprint=PIN, token="alice@pbs!prod:p")
    lab = Profile("https://lab:8007", user="bob@pbs", ticket="PBS:bob@pbs:0::x", csrf="c", ticket_time=5)
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    save_config(config_path(environ), Config().with_profile("prod", prod).with_profile("lab", lab))
    return environ


def test_the_file_is_for_its_owner_and_comes_back(environ: dict[str, str]) -> None:
    path = config_path(environ)
    assert path.stat().st_mode & 0o777 == 0o600
    config = load_config(path)
    assert (config.default, list(config.profiles)) == ("prod", ["prod", "lab"])
    odd = Profile("https://x:1", token='q"\\\n\x7fü')
    save_config(path, config.with_profile('we"ird', odd).without("prod"))
    assert load_config(path) == Config(None, {"lab": config.profiles["lab"], 'we"ird': odd})
    assert [entry.name for entry in path.parent.iterdir()] == ["config.toml"]


@pytest.mark.parametrize("content", ["x", "[profiles.a]\n", "[profiles.a]\nurl='https://a'\ncolour='red'\n"])
def test_a_damaged_file_is_refused(environ: dict[str, str], content: str) -> None:
    path = config_path(environ)
    path.write_text(content)
    with pytest.raises(UsageError, match=r"config\.toml"):
        resolve(Options(), environ)


def test_precedence(environ: dict[str, str]) -> None:
    assert resolve(Options(), {"XDG_CONFIG_HOME": "/nowhere"}).url == DEFAULT_URL
    default = resolve(Options(), environ)
    assert (default.url, default.token, default.fingerprint) == ("https://prod:8007", "alice@pbs!prod:p", PIN)
    ticket = resolve(Options(profile="lab"), environ)
    assert (ticket.token, ticket.user, ticket.authenticated) == (None, "bob@pbs", True)
    variables = {**environ, "PBS_API_URL": "https://env:1", "PBS_API_TOKEN": TOKEN}
    assert (resolve(Options(), variables).url, resolve(Options(), variables).token) == ("https://env:1", TOKEN)
    assert resolve(Options(profile="prod"), variables).token == "alice@pbs!prod:p", (
        "a named profile beats the variables"
    )
    assert resolve(Options(url="https://opt:2"), variables).url == "https://opt:2"
    assert resolve(Options(token=TOKEN, profile="lab"), environ).login is None
    with pytest.raises(UsageError, match="nothere"):
        resolve(Options(profile="nothere"), environ)


def test_a_profile_s_secrets_stay_with_its_server(environ: dict[str, str]) -> None:
    for target in (
        resolve(Options(url="https://elsewhere:8007"), environ),
        resolve(Options(), {**environ, "PBS_API_URL": "https://elsewhere:8007"}),
        resolve(Options(profile="lab", url="https://prod:8007"), environ),
    ):
        assert (target.authenticated, target.fingerprint) == (False, None)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("pbs.example.com", "https://pbs.example.com:8007"), ("pbs:443", "https://pbs:443"), ("https://pbs", "https://pbs:443"),
        ("http://pbs/", "http://pbs:80"), ("::1", "https://[::1]:8007"), ("[::1]:9", "https://[::1]:9"),
    ],
)  # fmt: skip
def test_addresses(text: str, url: str) -> None:
    assert normal_url(text) == url


@pytest.mark.parametrize("text", ["", "ftp://x", "https://x/api2", "https://u:p@x", "https://x:99999", "x:y"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError):
        normal_url(text)


@pytest.mark.parametrize("token", ["secret", "alice@pbs:secret", "alice@pbs!t:", "alice@pbs!t:a b", "a@b!c:d\r\nX: y"])
def test_what_is_no_token(token: str, environ: dict[str, str]) -> None:
    with pytest.raises(UsageError) as error:
        resolve(Options(token=token), environ)
    assert "secret" not in error.value.message.replace("<secret>", "")
