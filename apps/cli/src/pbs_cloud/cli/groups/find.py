"""Things that people name shortly, and the API by long ids."""

from typing import Final

from pbs_cloud.cli.errors import UsageError
from pbs_cloud.cli.follow import short_id
from pbs_cloud.cli.session import Session
from pbs_cloud.cli.spec import argument

_SEARCHED: Final = 5000


def find_task(session: Session, given: str) -> str:
    """The UPID of a task by the beginning of its id. Raises UsageError."""
    if given.startswith("UPID:"):
        return given
    listed = session.api.get("nodes/localhost/tasks", limit=_SEARCHED)
    found = [row["upid"] for row in listed if short_id(row["upid"]).upper().startswith(given.upper())]
    return only(found, f"task '{given}'", "`pbs-cloud task list` shows the ids; a whole UPID always works")


def find_tenant(session: Session, given: str) -> str:
    """The id of a tenant by its realm, name or id. Raises UsageError."""
    tenants = session.api.get("tenants")
    for key in ("id", "slug", "name"):
        found = [row["id"] for row in tenants if row[key] == given]
        if found:
            break
    return only(found, f"tenant '{given}'", "`pbs-cloud tenant list` shows them; name it by realm, name or id")


def find_own_token(session: Session, given: str) -> str:
    """The id of one's own token by its name. Raises UsageError."""
    tokens = session.api.get("access/tokens")
    found = [row["id"] for row in tokens if given in (row["id"], row["name"], row["tokenid"])]
    return only(found, f"token '{given}'", "`pbs-cloud token list` shows your own")


def only(found: list[str], what: str, hint: str) -> str:
    """The one that was found. Raises UsageError."""
    if len(found) != 1:
        raise UsageError(f"{what} is {'ambiguous' if found else 'not known'}", hint=hint)
    return found[0]


TASK: Final = argument("task", "id as `task list` shows it, or a whole UPID", find=find_task)
TENANT: Final = argument("id", "realm, name or id of the tenant", metavar="TENANT", find=find_tenant, complete="tenant")
