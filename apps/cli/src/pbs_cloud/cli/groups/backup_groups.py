"""Backup groups."""

from typing import Final

from pbs_cloud.cli.groups.namespaces import ERROR_ON_PROTECTED, REMOVED_VIEW
from pbs_cloud.cli.groups.notes import notes_command
from pbs_cloud.cli.spec import GROUP, NS, STORE, Command, argument, switch, text
from pbs_cloud.cli.views import Column, Table, count, first_line, moment

LIST_VIEW: Final = Table(
    (
        Column("Group", lambda row: f"{row['backup-type']}/{row['backup-id']}"),
        Column("Last backup", "last-backup", moment),
        Column("Count", "backup-count", count, right=True),
        Column("Owner", "owner"),
        Column("Comment", "comment", first_line),
    ),
    empty="no backup groups",
    sort=lambda row: (row["backup-type"], row["backup-id"]),
)
TOP: Final[dict[str, Command]] = {}
GROUPS: Final = {
    "group": (
        Command("list", "Groups of a namespace.", "GET", "admin/datastore/{store}/groups", (STORE, NS), LIST_VIEW),
        notes_command("group-notes", "group", GROUP),
        Command(
            "change-owner",
            "Give a group to another user or token.",
            "POST",
            "admin/datastore/{store}/change-owner",
            (STORE, GROUP, argument("new-owner", "user or token", metavar="OWNER"), NS),
            done="{group} belongs to {new_owner}",
        ),
        Command(
            "move",
            "Move a group to another namespace.",
            "POST",
            "admin/datastore/{store}/move-group",
            (
                STORE,
                GROUP,
                text("target-ns", "to there; default: the root", metavar="NAMESPACE"),
                switch("merge-group", "into a group of this name there; default: yes"),
                NS,
            ),
            task=True,
        ),
        Command(
            "forget",
            "Remove a group with all its snapshots; protected ones stay.",
            "DELETE",
            "admin/datastore/{store}/groups",
            (STORE, GROUP, NS, ERROR_ON_PROTECTED),
            REMOVED_VIEW,
            danger="this removes all backups of {group}",
        ),
    )
}
