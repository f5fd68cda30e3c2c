"""Profiles of the configuration file."""

from typing import Final

from pbs_cloud.cli import login
from pbs_cloud.cli.spec import Command, argument, flag, text

_NAME: Final = argument("name", "profile; default: `default`", optional=True, metavar="PROFILE")
TOP: Final = {
    "login": Command(
        "login",
        params=(
            _NAME,
            text("username", "log in as this user with a password", metavar="USER"),
            flag("password-stdin", "read the password from the input"),
            text("otp", "code of the second factor, or a recovery key"),
            flag("default", "use it where none is named"),
        ),
        run=login.login,
        covers=("POST access/ticket", "GET version", "GET ping"),
    ),
    "logout": Command("logout", params=(_NAME,), run=login.logout),
}
GROUPS: Final = {
    "profile": (
        Command("list", "Profiles.", run=login.profiles),
        Command(
            "use",
            "Make a profile the default.",
            params=(argument("name", "profile", metavar="PROFILE"),),
            run=login.use,
        ),
    )
}
