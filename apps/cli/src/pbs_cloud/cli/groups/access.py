"""Rights: permissions, access control list, roles, realms, passwords."""

from collections.abc import Mapping
from typing import Any, Final

from pbs_cloud.cli.asking import ask_secret
from pbs_cloud.cli.session import Session, path_and_params
from pbs_cloud.cli.spec import COMMENT, DIGEST, Command, Values, argument, flag, secret, switch, text, unset
from pbs_cloud.cli.views import Column, Record, Table

PERMISSIONS_VIEW: Final = Table(
    (Column("Path", "path"), Column("Privileges", "privileges")), empty="no rights", sort=lambda row: row["path"]
)
ACL_VIEW: Final = Table(
    (
        Column("Path", "path"),
        Column("User or token", "ugid"),
        Column("Role", "roleid"),
        Column("Propagates", "propagate"),
    ),
    empty="no entries",
    sort=lambda row: (row["path"], row["ugid"], row["roleid"]),
)
ROLES_VIEW: Final = Table(
    (Column("Role", "roleid"), Column("Privileges", "privs"), Column("Comment", "comment")), empty="no roles"
)
REALMS_VIEW: Final = Table(
    (
        Column("Realm", "realm"),
        Column("Type", "type"),
        Column("Default", lambda row: "yes" if row.get("default") else None),
        Column("Comment", "comment"),
    ),
    empty="no realms",
)
OPENID_VIEW: Final = Table(
    (
        Column("Realm", "realm"),
        Column("Provider", "issuer-url"),
        Column("Client", "client-id"),
        Column("Makes users", "autocreate"),
        Column("Comment", "comment"),
    ),
    empty="no OpenID realms",
)
REALM: Final = argument("realm", "name of the realm", complete="realm")
_OPENID: Final = (
    secret("client-key", "Secret of the client", "secret of the client"),
    text("scopes", "besides openid (email profile)"),
    text("prompt", "what the provider shall ask its user for"),
    text("acr-values", "authentication context classes"),
    switch("autocreate", "make users, without rights, when they log in first"),
    COMMENT,
)
PATH: Final = argument("path", "e.g. /datastore/tank")
ROLE: Final = argument("role", "e.g. DatastoreBackup, see `role list`", complete="role")
AUTH_ID: Final = argument("auth-id", "user or token, e.g. alice@pbs!pve1", metavar="USER|TOKEN")


def _permissions(session: Session, values: Values) -> None:
    answer: Mapping[str, Mapping[str, bool]] = session.api.call(
        "GET", "access/permissions", {"auth-id": values["auth-id"], "path": values["path"]}
    ).data
    if not session.output.for_people:
        session.output.json(answer)
        return
    rows: list[dict[str, Any]] = []
    for path, privileges in answer.items():
        words = [name if onward else f"{name} (here only)" for name, onward in sorted(privileges.items())]
        rows.append({"path": path, "privileges": words})
    session.output.show(rows, PERMISSIONS_VIEW)


def _password(session: Session, values: Values) -> None:
    userid = values["userid"] or session.target.user
    params = {"userid": userid, "password": ask_secret("New password", twice=True)}
    if not values["no-confirmation"]:
        params["confirmation-password"] = ask_secret("Your present password")
    session.api.call("PUT", "access/password", params)
    session.output.answer(None, None, done=f"password of {userid} changed")


def _delete(session: Session, values: Values) -> None:
    path, params = path_and_params(_DELETE, values)
    session.api.call("PUT", path, {**params, "delete": True})
    done = f"{values['auth-id']} has no longer {values['role']} on {values['path']}"
    session.output.answer(None, None, done=done)


_DELETE = Command(
    "delete", "Remove an entry.", path="access/acl", params=(PATH, ROLE, AUTH_ID, DIGEST), run=_delete,
    covers=("PUT access/acl",),
)  # fmt: skip
TOP: Final = {
    "permissions": Command(
        "permissions",
        params=(
            text("auth-id", "of this user or token", local=True, metavar="USER|TOKEN"),
            text("path", "only on this path", local=True),
        ),
        run=_permissions,
        covers=("GET access/permissions",),
    ),
    "password": Command(
        "password",
        params=(
            argument("userid", "of this user; default: one's own", optional=True, local=True, metavar="USER"),
            flag("no-confirmation", "do not ask for the present password (root@pam)", local=True),
        ),
        run=_password,
        covers=("PUT access/password",),
    ),
}
GROUPS: Final = {
    "acl": (
        Command(
            "list",
            "Entries.",
            "GET",
            "access/acl",
            (text("path", "this path and those below"), flag("exact", "not those below")),
            ACL_VIEW,
        ),
        Command(
            "set",
            "Give a role on a path.",
            "PUT",
            "access/acl",
            (PATH, ROLE, AUTH_ID, switch("propagate", "also on everything below; default: yes"), DIGEST),
            done="{auth_id} has {role} on {path}",
        ),
        _DELETE,
    ),
    "role": (Command("list", "Roles and their privileges.", "GET", "access/roles", view=ROLES_VIEW),),
    "realm": (
        Command("list", "Realms.", "GET", "access/domains", view=REALMS_VIEW),
        Command("openid", "OpenID realms.", "GET", "config/access/openid", view=OPENID_VIEW),
        Command("show", "One OpenID realm.", "GET", "config/access/openid/{realm}", (REALM,), Record()),
        Command(
            "create",
            "Add an OpenID realm.",
            "POST",
            "config/access/openid",
            (
                REALM,
                text("issuer-url", "address of the provider, https", required=True),
                text("client-id", "id of this server there", required=True),
                text("username-claim", "subject, username, email or another claim"),
                *_OPENID,
            ),
            done="realm '{realm}' created",
        ),
        Command(
            "update",
            "Change an OpenID realm.",
            "PUT",
            "config/access/openid/{realm}",
            (
                REALM,
                text("issuer-url", "address of the provider, https"),
                text("client-id", "id of this server there"),
                *_OPENID,
                unset("client-key", "scopes", "prompt", "acr-values", "autocreate", "comment"),
                DIGEST,
            ),
            done="realm '{realm}' changed",
        ),
        Command(
            "delete",
            "Remove an OpenID realm; its users stay, but cannot log in there any more.",
            "DELETE",
            "config/access/openid/{realm}",
            (REALM, DIGEST),
            danger="users of the realm '{realm}' will not be able to log in",
            done="realm '{realm}' removed",
        ),
    ),
}
