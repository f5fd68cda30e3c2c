"""API tokens: of any user by name, and the caller's own."""

from typing import Any, Final

from pbs_cloud.cli.api import segment
from pbs_cloud.cli.groups.find import find_own_token
from pbs_cloud.cli.groups.users import USERID
from pbs_cloud.cli.session import Session, path_and_params
from pbs_cloud.cli.spec import (
    COMMENT,
    DIGEST,
    PERMISSION,
    Command,
    Param,
    Values,
    argument,
    choice,
    expire,
    switch,
    text,
    unset,
)
from pbs_cloud.cli.views import Column, Record, Table, enabled, expiry, first_line, moment_text

NAME: Final = argument("token-name", "name of the token", metavar="TOKEN")
_SINGLE: Final = "access/users/{userid}/token/{token-name}"
LIST_VIEW: Final = Table(
    (
        Column("Token", "tokenid"),
        Column("Enabled", "enable", enabled),
        Column("Expires", "expire", expiry),
        Column("Comment", "comment", first_line),
    ),
    empty="no tokens",
    sort=lambda row: row["tokenid"],
)
OWN_VIEW: Final = Table(
    (
        Column("Token", "tokenid"),
        Column("Level", "permission"),
        Column("Active", "active"),
        Column("Created", "created_at", moment_text),
        Column("Expires", lambda row: moment_text(row.get("expires_at")) or "never"),
        Column("Last used", "last_used", moment_text),
    ),
    empty="no tokens",
)


def _secret(session: Session, data: dict[str, Any], tokenid: str) -> None:
    """The secret is shown this once."""
    secret = data["value"]
    done = f"token {tokenid}, its secret is shown only now:\n\n  export PBS_API_TOKEN='{tokenid}:{secret}'\n"
    session.output.answer(data, None, done=done)


def _list(session: Session, values: Values) -> None:
    if values["userid"] is None:
        session.output.answer(session.api.get("access/tokens"), OWN_VIEW)
    else:
        session.output.answer(session.api.get(f"access/users/{segment(values['userid'])}/token"), LIST_VIEW)


def _create(session: Session, values: Values) -> None:
    path, params = path_and_params(_CREATE, values)
    _secret(session, session.api.call("POST", path, params).data, f"{values['userid']}!{values['token-name']}")


def _regenerate(session: Session, values: Values) -> None:
    path, params = path_and_params(_REGENERATE, values)
    answer = session.api.call("PUT", path, {**params, "regenerate": True}).data
    data = answer if isinstance(answer, dict) else {"value": answer}
    _secret(
        session,
        {**data, "value": data.get("value") or data.get("secret")},
        f"{values['userid']}!{values['token-name']}",
    )


def _create_own(session: Session, values: Values) -> None:
    _, params = path_and_params(_CREATE_OWN, values)
    data = session.api.call("POST", "access/tokens", params).data
    _secret(session, data, data["token"]["tokenid"])


_CREATE = Command(
    "create",
    "Create a token of a user; without --permission it has no rights yet.",
    path=_SINGLE,
    params=(USERID, NAME, PERMISSION, COMMENT, switch("enable", "whether it may be used"), expire(), DIGEST),
    run=_create,
    covers=(f"POST {_SINGLE}",),
)
_REGENERATE = Command(
    "regenerate",
    "Give a token a new secret; the old one ends.",
    path=_SINGLE,
    params=(USERID, NAME),
    run=_regenerate,
    danger="the present secret of {userid}!{token_name} will stop working",
    covers=(f"PUT {_SINGLE}",),
)
_CREATE_OWN = Command(
    "create-own",
    "Create a token of one's own with a level.",
    params=(
        argument("name", "name of the token"),
        choice("permission", "rights as a level (read)", ("read", "backup", "datastore_admin", "admin")),
        text("username", "of another user of the tenant", flags=("--user",)),
        expire(),
    ),
    run=_create_own,
    covers=("POST access/tokens",),
)
_OPTIONAL_USER: Final = Param("userid", "user; default: one's own", positional=True, metavar="USER")
TOP: Final[dict[str, Command]] = {}
GROUPS: Final = {
    "token": (
        Command(
            "list",
            "Tokens of a user, or one's own.",
            params=(_OPTIONAL_USER,),
            run=_list,
            covers=("GET access/users/{userid}/token", "GET access/tokens"),
        ),
        Command("show", "One token.", "GET", _SINGLE, (USERID, NAME), Record(LIST_VIEW.columns)),
        _CREATE,
        _CREATE_OWN,
        Command(
            "update",
            "Change a token.",
            "PUT",
            _SINGLE,
            (
                USERID,
                NAME,
                PERMISSION,
                COMMENT,
                switch("enable", "whether it may be used"),
                expire(),
                unset("comment"),
                DIGEST,
            ),
            done="token {userid}!{token_name} changed",
        ),
        _REGENERATE,
        Command(
            "delete",
            "Remove a token.",
            "DELETE",
            _SINGLE,
            (USERID, NAME, DIGEST),
            danger="what uses {userid}!{token_name} will stop working",
            done="token {userid}!{token_name} removed",
        ),
        Command(
            "delete-own",
            "Remove a token of one's own.",
            "DELETE",
            "access/tokens/{id}",
            (argument("id", "its name", metavar="TOKEN", find=find_own_token),),
            danger="what uses this token will stop working",
            done="token {id} removed",
        ),
    )
}
