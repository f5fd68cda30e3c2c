"""What commands there are, and where they are defined."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pbs_cloud.cli.spec import Command

SERVER: Final = "Server"
BACKUPS: Final = "Backups"
UPKEEP: Final = "Upkeep"
ACCESS: Final = "Access and tenants"
OTHER: Final = "This command"


@dataclass(frozen=True, slots=True)
class Entry:
    """A command or group of the first level: its module below `groups`, and its place in the help."""

    module: str
    panel: str
    help: str


TOP: Final[Mapping[str, Entry]] = {
    "ping": Entry("general", SERVER, "Whether the server answers; needs no credentials."),
    "version": Entry("general", SERVER, "Version of the API."),
    "status": Entry("general", SERVER, "What the server does right now."),
    "datastore-usage": Entry("general", SERVER, "Space of all datastores."),
    "metrics": Entry("general", SERVER, "Current values of the server and its datastores."),
    "usage": Entry("general", SERVER, "What the tenant used, as it is billed."),
    "compliance": Entry("general", SERVER, "Report of all snapshots with size, protection and retention."),
    "nodes": Entry("nodes", SERVER, "Names of the nodes."),
    "permissions": Entry("access", ACCESS, "What the credentials, or somebody else, may do."),
    "password": Entry("access", ACCESS, "Change a password; needs a login with a password, not a token."),
    "datastores": Entry("datastores", BACKUPS, "List datastores."),
    "tasks": Entry("tasks", UPKEEP, "List tasks: running ones, then the ended, the latest first."),
    "prune": Entry("prune", UPKEEP, "Remove old backups of one group, or of all groups."),
    "verify": Entry("verify", UPKEEP, "Verify a snapshot, a group, or a whole datastore."),
    "login": Entry("profiles", OTHER, "Write a profile: a token, or a login by password (for two hours)."),
    "logout": Entry("profiles", OTHER, "Remove a profile."),
}

GROUPS: Final[Mapping[str, Entry]] = {
    "datastore": Entry("datastores", BACKUPS, "Datastores: create, change, maintenance mode, statistics."),
    "namespace": Entry("namespaces", BACKUPS, "Namespaces of a datastore."),
    "group": Entry("backup_groups", BACKUPS, "Backup groups: list, notes, owner, move, forget."),
    "snapshot": Entry("snapshots", BACKUPS, "Snapshots: list, notes, protection, download, single files, forget."),
    "gc": Entry("gc", UPKEEP, "Garbage collection."),
    "prune-job": Entry("prune", UPKEEP, "Scheduled pruning."),
    "verify-job": Entry("verify", UPKEEP, "Scheduled verification."),
    "sync-job": Entry("sync", UPKEEP, "Scheduled synchronisation with other servers."),
    "remote": Entry("sync", UPKEEP, "Other servers to synchronise with."),
    "traffic-control": Entry("sync", UPKEEP, "Limits of bandwidth."),
    "task": Entry("tasks", UPKEEP, "Tasks: list, log, stop."),
    "node": Entry("nodes", SERVER, "The server as a node: status, load, logs."),
    "user": Entry("users", ACCESS, "Users."),
    "token": Entry("tokens", ACCESS, "API tokens."),
    "acl": Entry("access", ACCESS, "Access control list: who may do what where."),
    "second-factor": Entry("second_factors", ACCESS, "Second factors: one-time codes, recovery keys."),
    "role": Entry("access", ACCESS, "Roles."),
    "realm": Entry("access", ACCESS, "Realms that users log in to; OpenID."),
    "webhook": Entry("webhooks", ACCESS, "Addresses that the tenant's events are sent to."),
    "tenant": Entry("tenants", ACCESS, "Tenants, for the operator."),
    "profile": Entry("profiles", OTHER, "Profiles of the configuration file."),
    "api": Entry("raw", OTHER, "Any call of the API by its path."),
}


def load_top(name: str) -> "Command":
    """A command of the first level."""
    found: Command = _module(TOP[name]).TOP[name]
    return replace(found, name=name, help=TOP[name].help)


def load_group(name: str) -> "Mapping[str, Command]":
    """The commands of a group by name."""
    found: Mapping[str, tuple[Command, ...]] = _module(GROUPS[name]).GROUPS
    return {command.name: command for command in found[name]}


def _module(entry: Entry) -> Any:
    return importlib.import_module(f"pbs_cloud.cli.groups.{entry.module}")
