"""Parameters of the two protocol upgrades (rest-api C.10)."""

from typing import Final

from pbs_cloud.gateway.schema import common as c
from pbs_cloud.gateway.schema.types import Schema, optional, required

BACKUP_UPGRADE_PROTOCOL: Final = "proxmox-backup-protocol-v1"
READER_UPGRADE_PROTOCOL: Final = "proxmox-backup-reader-protocol-v1"

_SNAPSHOT: Final = {
    "store": required(c.STORE, "datastore"),
    "ns": optional(c.NAMESPACE, "namespace", ""),
    "backup-type": required(c.BACKUP_TYPE_ENUM),
    "backup-id": required(c.BACKUP_ID),
    "backup-time": required(c.BACKUP_TIME, "Unix seconds"),
    "debug": optional(c.BOOLEAN, "more lines in the task log"),
}

BACKUP_UPGRADE: Final = Schema(
    {
        **_SNAPSHOT,
        "benchmark": optional(c.BOOLEAN, "throw the data away; group host/benchmark only", False),
        "no-cache": optional(c.BOOLEAN, "do not use the server's local cache", False),
    }
)
READER_UPGRADE: Final = Schema(_SNAPSHOT)
