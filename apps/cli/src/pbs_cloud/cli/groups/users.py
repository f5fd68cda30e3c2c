"""Users."""

from typing import Final

from pbs_cloud.cli.api import segment
from pbs_cloud.cli.errors import UsageError
from pbs_cloud.cli.groups.find import find_tenant
from pbs_cloud.cli.session import Session, path_and_params
from pbs_cloud.cli.spec import (
    COMMENT,
    DIGEST,
    PERMISSION,
    Command,
    Values,
    argument,
    expire,
    flag,
    secret,
    switch,
    text,
    unset,
)
from pbs_cloud.cli.views import Column, Record, Table, enabled, expiry, first_line
from pbs_cloud.cli.views import moment as shown_moment

USERID: Final = argument("userid", "user, e.g. alice@pbs", metavar="USER", complete="user")
LIST_VIEW: Final = Table(
    (
        Column("User", "userid"),
        Column("Name", lambda row: " ".join(filter(None, (row.get("firstname"), row.get("lastname"))))),
        Column("E-mail", "email"),
        Column("Enabled", "enable", enabled),
        Column("Expires", "expire", expiry),
        Column("Tokens", lambda row: [token["tokenid"].partition("!")[2] for token in row.get("tokens", [])]),
        Column("Locked", lambda row: shown_moment(row.get("tfa-locked-until")) or row.get("totp-locked")),
        Column("Comment", "comment", first_line),
    ),
    empty="no users",
    sort=lambda row: row["userid"],
)
SHOW_VIEW: Final = Record(
    (
        Column("User", "userid"),
        Column("First name", "firstname"),
        Column("Last name", "lastname"),
        Column("E-mail", "email"),
        Column("Enabled", "enable", enabled),
        Column("Expires", "expire", expiry),
        Column("Comment", "comment"),
    )
)
_DETAILS: Final = (
    COMMENT,
    text("firstname", "first name"),
    text("lastname", "last name"),
    text("email", "e-mail address"),
    switch("enable", "whether it may log in"),
    expire(),
)
_PASSWORD: Final = secret("password", "New password", "set a password")


def _create(session: Session, values: Values) -> None:
    userid, level, tenant = values["userid"], values["permission"], values["tenant"]
    _, params = path_and_params(_CREATE, values)
    password = params.pop("password", None)
    details = {name: value for name, value in params.items() if name not in ("userid", "permission")}
    if tenant is None and level is None:
        session.api.call("POST", "access/users", {**details, "userid": userid, "password": password})
        session.output.answer(None, None, done=f"user {userid} created, without rights yet")
        return
    if tenant is not None and details:
        raise UsageError("in another tenant only --permission and --password can be set")
    made = session.api.call(
        "POST",
        "access/users",
        {"username": userid, "tenant_id": tenant, "permission": level, "password": password},
    ).data
    if details:
        session.api.call("PUT", f"access/users/{segment(userid)}", details)
    done = f"user {made['username']} created with level {made['permission']} in tenant {made['tenant_id']}"
    session.output.answer(made, None, done=done)


_CREATE = Command(
    "create",
    "Create a user; without --permission it has no rights yet.",
    params=(
        USERID,
        PERMISSION,
        *_DETAILS,
        _PASSWORD,
        text("tenant", "in this tenant (operator)", local=True, find=find_tenant),
    ),
    run=_create,
    covers=("POST access/users", "PUT access/users/{userid}"),
)
_UPDATE = Command(
    "update",
    "Change a user.",
    "PUT",
    "access/users/{userid}",
    (USERID, PERMISSION, *_DETAILS, _PASSWORD, unset("comment", "firstname", "lastname", "email"), DIGEST),
    done="user {userid} changed",
)
TOP: Final[dict[str, Command]] = {}
GROUPS: Final = {
    "user": (
        Command(
            "list",
            "Users.",
            "GET",
            "access/users",
            (flag("include_tokens", "with their tokens", flags=("--tokens",)),),
            LIST_VIEW,
        ),
        Command("show", "One user.", "GET", "access/users/{userid}", (USERID,), SHOW_VIEW),
        _CREATE,
        _UPDATE,
        Command(
            "delete",
            "Remove a user with its tokens.",
            "DELETE",
            "access/users/{userid}",
            (USERID, DIGEST),
            danger="this removes {userid} with its tokens",
            done="user {userid} removed",
        ),
    )
}
