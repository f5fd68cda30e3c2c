"""Second factors of users."""

import base64
import secrets
import sys
from typing import Any, Final
from urllib.parse import quote, urlencode

from pbs_cloud.cli.api import segment
from pbs_cloud.cli.asking import ask_line
from pbs_cloud.cli.errors import UsageError
from pbs_cloud.cli.groups.users import USERID
from pbs_cloud.cli.session import Session, path_and_params
from pbs_cloud.cli.spec import Command, Param, Values, argument, secret, switch, text
from pbs_cloud.cli.views import Column, Record, Table, enabled, moment

ISSUER: Final = "PBS Cloud"
ENTRY: Final = argument("id", "id of the factor, or `recovery`", metavar="FACTOR")
_PASSWORD: Final = secret(
    "password", "Your own password", "your own password, which the server wants from all but root@pam"
)
_DESCRIPTION: Final = text("description", "what it is")
_OPTIONAL_USER: Final = Param("userid", "user; default: all", positional=True, metavar="USER")
_COLUMNS: Final = (
    Column("Factor", "id"),
    Column("Type", "type"),
    Column("Enabled", "enable", enabled),
    Column("Created", "created", moment),
    Column("Description", "description"),
)
LIST_VIEW: Final = Table((Column("User", "userid"), *_COLUMNS), empty="no second factors")


def _list(session: Session, values: Values) -> None:
    if values["userid"] is not None:
        entries = session.api.get(f"access/tfa/{segment(values['userid'])}")
        session.output.answer(entries, LIST_VIEW)
        return
    users: list[dict[str, Any]] = session.api.get("access/tfa")
    if session.output.for_people:
        rows = [{"userid": user["userid"], **entry} for user in users for entry in user["entries"]]
        session.output.show(rows, LIST_VIEW)
    else:
        session.output.json(users)


def new_uri(userid: str) -> str:
    """An otpauth address with a secret of its own."""
    key = base64.b32encode(secrets.token_bytes(20)).decode()
    return (
        f"otpauth://totp/{quote(f'{ISSUER}:{userid}')}?{urlencode({'secret': key, 'issuer': ISSUER}, quote_via=quote)}"
    )


def _add_totp(session: Session, values: Values) -> None:
    path, params = path_and_params(_ADD, values)
    uri, code = values["uri"], values["code"]
    if uri is None:
        if code is not None or not sys.stdin.isatty():
            raise UsageError("without a terminal the secret and its code must be given", hint="--uri and --code")
        uri = new_uri(values["userid"])
        sys.stderr.write(f"Add this to your device (a QR code of it does):\n\n  {uri}\n\n")
    if code is None:
        code = ask_line("Code that the device shows now")
    answer = session.api.call("POST", path, {**params, "type": "totp", "totp": uri, "value": code}).data
    session.output.answer(answer, None, done=f"{values['userid']} has the second factor {answer['id']}")


def _add_recovery(session: Session, values: Values) -> None:
    path, params = path_and_params(_ADD, values)
    answer = session.api.call("POST", path, {**params, "type": "recovery"}).data
    keys = "\n".join(f"  {key}" for key in answer.get("recovery", []))
    session.output.answer(
        answer, None, done=f"recovery keys of {values['userid']}, shown only now; each works once:\n\n{keys}"
    )


def _unlock(session: Session, values: Values) -> None:
    was = session.api.call("PUT", f"access/users/{segment(values['userid'])}/unlock-tfa").data
    done = f"{values['userid']} is unlocked" if was else f"{values['userid']} was not locked"
    session.output.answer(was, None, done=done)


_PATH: Final = "access/tfa/{userid}"
_ADD = Command("add", path=_PATH, params=(USERID, _DESCRIPTION, _PASSWORD))
TOP: Final[dict[str, Command]] = {}
GROUPS: Final = {
    "second-factor": (
        Command(
            "list",
            "Second factors of a user, or of all.",
            params=(_OPTIONAL_USER,),
            run=_list,
            covers=("GET access/tfa", f"GET {_PATH}"),
        ),
        Command("show", "One of them.", "GET", f"{_PATH}/{{id}}", (USERID, ENTRY), Record(_COLUMNS)),
        Command(
            "add",
            "Add one-time codes of a device (TOTP).",
            params=(
                *_ADD.params,
                text("uri", "otpauth address with the secret; default: a new one, which is shown", local=True),
                text("code", "what the device shows now", local=True),
            ),
            run=_add_totp,
            covers=(f"POST {_PATH}",),
        ),
        Command(
            "recovery",
            "Make recovery keys; former ones end.",
            params=_ADD.params,
            run=_add_recovery,
            covers=(f"POST {_PATH}",),
        ),
        Command(
            "update",
            "Change a factor.",
            "PUT",
            f"{_PATH}/{{id}}",
            (USERID, ENTRY, _DESCRIPTION, switch("enable", "whether it counts"), _PASSWORD),
            done="factor {id} of {userid} changed",
        ),
        Command(
            "delete",
            "Remove a factor.",
            "DELETE",
            f"{_PATH}/{{id}}",
            (USERID, ENTRY, _PASSWORD),
            danger="{userid} will be able to log in without {id}",
            done="factor {id} of {userid} removed",
        ),
        Command(
            "unlock",
            "Accept a user's factors again after too many wrong codes.",
            params=(USERID,),
            run=_unlock,
            covers=("PUT access/users/{userid}/unlock-tfa",),
        ),
    )
}
