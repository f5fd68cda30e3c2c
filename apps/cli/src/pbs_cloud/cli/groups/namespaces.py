"""Namespaces."""

from dataclasses import replace
from typing import Final

from pbs_cloud.cli.api import segment
from pbs_cloud.cli.session import Session
from pbs_cloud.cli.spec import MAX_DEPTH, STORE, Command, Param, Values, argument, flag, switch, text
from pbs_cloud.cli.views import Column, Record, Table, count

REMOVED_VIEW: Final = Record(
    (
        Column("Groups removed", "removed-groups", count),
        Column("Snapshots removed", "removed-snapshots", count),
        Column("Protected snapshots left", "protected-snapshots", count),
    ),
    empty="removed",
)
ERROR_ON_PROTECTED: Final = switch(
    "error-on-protected", "report protected snapshots that stay as an error; default: yes"
)
NAMESPACE: Final = argument("ns", "namespace, e.g. prod/web", metavar="NAMESPACE")


def _create(session: Session, values: Values) -> None:
    parent, _, name = values["ns"].rpartition("/")
    path = f"admin/datastore/{segment(values['store'])}/namespace"
    made = session.api.call("POST", path, {"name": name, "parent": parent or None}).data
    session.output.answer(made, None, done=f"namespace '{made}' is there")


def _local(param: Param) -> Param:
    return replace(param, local=True)


TOP: Final[dict[str, Command]] = {}
GROUPS: Final = {
    "namespace": (
        Command(
            "list",
            "Namespaces, the start level first.",
            "GET",
            "admin/datastore/{store}/namespace",
            (STORE, text("parent", "start here; default: the root"), MAX_DEPTH),
            Table((Column("Namespace", lambda row: row["ns"] or "(root)"), Column("Comment", "comment")), empty="none"),
        ),
        Command(
            "create",
            "Create a namespace below an existing one.",
            params=(_local(STORE), _local(NAMESPACE)),
            run=_create,
            covers=("POST admin/datastore/{store}/namespace",),
        ),
        Command(
            "delete",
            "Remove a namespace and those below.",
            "DELETE",
            "admin/datastore/{store}/namespace",
            (STORE, NAMESPACE, flag("delete-groups", "with all backups in them"), ERROR_ON_PROTECTED),
            REMOVED_VIEW,
            danger="this removes the namespace '{ns}' and those below it",
        ),
        Command(
            "move",
            "Move a namespace with its backups.",
            "POST",
            "admin/datastore/{store}/move-namespace",
            (
                STORE,
                NAMESPACE,
                argument("target-ns", "new path of the namespace", metavar="TARGET"),
                MAX_DEPTH,
                switch("delete-source", "remove the old namespace; default: yes"),
                switch("merge-groups", "into groups that exist there; default: yes"),
            ),
            task=True,
        ),
    )
}
