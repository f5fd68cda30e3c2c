"""Tenants, for the operator."""

from collections.abc import Mapping
from typing import Any, Final

from pbs_cloud.cli.groups.find import TENANT
from pbs_cloud.cli.spec import Command, argument, flag, nullable, pairs, size_or_unlimited, switch, text
from pbs_cloud.cli.views import Column, Record, Table, moment_text, size

QUOTA: Final = size_or_unlimited("quota_bytes", "limit of stored bytes, e.g. 500GiB, or unlimited", flags=("--quota",))
METADATA: Final = pairs("metadata", "free data, may be repeated")


def _quota(row: Mapping[str, Any]) -> str:
    return "unlimited" if row["quota_bytes"] is None else size(row["quota_bytes"])


_COLUMNS: Final = (
    Column("Realm", "slug"),
    Column("Name", "name"),
    Column("Used", "used_bytes", size, right=True),
    Column("Quota", _quota, right=True),
    Column("Active", "active"),
    Column("Maintenance", "maintenance"),
)
LIST_VIEW: Final = Table(_COLUMNS, empty="no tenants", sort=lambda row: row["slug"])
SHOW_VIEW: Final = Record(
    (Column("Id", "id"), *_COLUMNS, Column("Created", "created_at", moment_text), Column("Metadata", "metadata"))
)
USERS_VIEW: Final = Table(
    (
        Column("User", "username"),
        Column("Level", "permission"),
        Column("Active", "active"),
        Column("Created", "created_at", moment_text),
        Column("Last login", "last_login", moment_text),
    ),
    empty="no users",
)
TOP: Final[dict[str, Command]] = {}
GROUPS: Final = {
    "tenant": (
        Command("list", "All tenants.", "GET", "tenants", view=LIST_VIEW),
        Command("show", "One tenant.", "GET", "tenants/{id}", (TENANT,), SHOW_VIEW),
        Command(
            "create",
            "Create a tenant with its datastore `default`.",
            "POST",
            "tenants",
            (
                argument("name", "its name"),
                text("slug", "realm of its users; default: made from the name", flags=("--realm",)),
                QUOTA,
                METADATA,
            ),
            SHOW_VIEW,
        ),
        Command(
            "update",
            "Change a tenant.",
            "PUT",
            "tenants/{id}",
            (
                TENANT,
                text("name", "its name"),
                QUOTA,
                switch("active", "whether its users and tokens may log in"),
                nullable("maintenance", "make all its datastores read-only with this message; none ends it"),
                METADATA,
            ),
            SHOW_VIEW,
        ),
        Command(
            "delete",
            "Remove a tenant.",
            "DELETE",
            "tenants/{id}",
            (TENANT, flag("force", "with its datastores and all their data")),
            danger="this removes the tenant {id} with its users and tokens",
            done="tenant {id} removed",
        ),
        Command("users", "Users of a tenant.", "GET", "tenants/{id}/users", (TENANT,), USERS_VIEW),
    )
}
