"""Parameters and small conversions that several areas use."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from pbs_cloud.contracts.chunkstore.types import GroupRef, SnapshotKey
from pbs_cloud.contracts.rights import Privilege as P
from pbs_cloud.formats.names import SnapshotRef
from pbs_cloud.gateway.rest.calls import Call
from pbs_cloud.gateway.schema import Param, common, optional, required

STORE_AUDIT: Final = (P.DATASTORE_AUDIT,)
STORE_BACKUP: Final = (P.DATASTORE_BACKUP,)
STORE_MODIFY: Final = (P.DATASTORE_MODIFY,)
STORE_PRUNE: Final = (P.DATASTORE_PRUNE,)
STORE_READ: Final = (P.DATASTORE_READ,)
STORE_VERIFY: Final = (P.DATASTORE_VERIFY,)

LAST_SECOND: Final = 253_402_300_799
BACKEND_TYPE: Final = "filesystem"
"""Whatever holds the bytes: it only decides whether user interfaces show pages for a bucket (rest-api C.4)."""

NS: Final[Mapping[str, Param]] = {"ns": optional(common.NAMESPACE, "namespace; empty is the root", "")}
GROUP: Final[Mapping[str, Param]] = {
    **NS,
    "backup-type": required(common.BACKUP_TYPE, "`vm`, `ct` or `host`"),
    "backup-id": required(common.BACKUP_ID),
}
SNAPSHOT: Final[Mapping[str, Param]] = {**GROUP, "backup-time": required(common.BACKUP_TIME, "Unix seconds")}
ERROR_ON_PROTECTED: Final = optional(common.BOOLEAN, "report what protection kept as an error", True)
CONFIG_DIGEST: Final = optional(common.DIGEST, "refuse if the configuration has another digest")


def group_ref(call: Call) -> GroupRef:
    """The group that the parameters name."""
    return GroupRef(call.text("store"), call.text("ns"), call.text("backup-type"), call.text("backup-id"))


def snapshot_key(call: Call) -> SnapshotKey:
    """The snapshot that the parameters name."""
    return SnapshotKey(group_ref(call), call.params["backup-time"])


def snapshot_path(call: Call) -> str:
    """``<type>/<id>/<time>`` of the parameters."""
    return str(SnapshotRef.of(call.text("backup-type"), call.text("backup-id"), call.params["backup-time"]))


def without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are set: optional ones are left out, never null."""
    return {name: value for name, value in fields.items() if value is not None}


def rfc3339(seconds: int | None) -> str | None:
    """``2026-03-01T09:00:00Z``; None stays None; what comes after the year 9999 is its last second."""
    return None if seconds is None else f"{datetime.fromtimestamp(min(seconds, LAST_SECOND), UTC):%Y-%m-%dT%H:%M:%SZ}"


def is_uuid(text: str) -> bool:
    """Whether the text is a UUID in its usual form."""
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


def digest_of(value: Any) -> str:
    """SHA-256 over a canonical form, for answers whose configuration has no row of its own."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
