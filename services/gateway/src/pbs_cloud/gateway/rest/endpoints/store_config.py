"""Configuration fields of a datastore: their types and their text form in the chunkstore service (rest-api C.12)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pbs_cloud.contracts.chunkstore.types import Datastore
from pbs_cloud.formats.calendar import CalendarEvent
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.gateway.schema import Enum, Integer, Param, PropertyString, String, common, optional
from pbs_cloud.gateway.schema.errors import Invalid
from pbs_cloud.gateway.schema.types import Type

KEEP_FIELDS: Final = tuple(f"keep-{unit}" for unit in ("last", "hourly", "daily", "weekly", "monthly", "yearly"))
PATH: Final = String(pattern=r"/[^\x00-\x1f\x7f-\x9f]*", maximum=4096)


@dataclass(frozen=True)
class Schedule(String):
    """A calendar event."""

    def from_text(self, text: str) -> str:
        super().from_text(text)
        try:
            CalendarEvent.parse(text)
        except FormatError as error:
            raise Invalid(f"unable to parse calendar event: {error}") from None
        return text


@dataclass(frozen=True)
class Refused(Type):
    """A parameter that is known but never accepted here."""

    reason: str

    def from_text(self, text: str) -> Any:
        raise Invalid(self.reason)

    def from_json(self, value: Any) -> Any:
        raise Invalid(self.reason)

    def json_schema(self) -> dict[str, Any]:
        return {"not": {}, "description": self.reason}


_LEVELS: Final = Enum(("always", "error", "never"))
_PERCENT: Final = Integer(0, 100)
SCHEDULE: Final = Schedule(maximum=128)
MAINTENANCE: Final = String(pattern=r"[^\x00-\x1f\x7f-\x9f]*", maximum=256)
"""Its mode is judged by the chunkstore service, whose error names no parameter (rest-api A.6)."""
FIELDS: Final[Mapping[str, Param]] = {
    "comment": optional(common.COMMENT),
    "gc-schedule": optional(SCHEDULE, "calendar event"),
    "counter-reset-schedule": optional(SCHEDULE, "calendar event"),
    "verify-new": optional(common.BOOLEAN, "verify each backup after it was made"),
    "gc-on-unmount": optional(common.BOOLEAN),
    "notify-user": optional(common.USER_ID),
    "notify": optional(PropertyString({"gc": _LEVELS, "verify": _LEVELS, "sync": _LEVELS, "prune": _LEVELS})),
    "notification-mode": optional(Enum(("legacy-sendmail", "notification-system"))),
    "notification-thresholds": optional(
        PropertyString({name: Integer(0) for name in ("s3-get", "s3-put", "s3-post", "s3-delete", "s3-head")})
    ),
    "tuning": optional(
        PropertyString(
            {
                "chunk-order": Enum(("none", "inode")),
                "sync-level": Enum(("none", "file", "filesystem")),
                "gc-atime-safety-check": common.BOOLEAN,
                "gc-atime-cutoff": Integer(1, 2880),
                "gc-cache-capacity": Integer(0, 8388608),
                "default-verification-workers": Integer(1, 32),
                "default-verification-readers": Integer(1, 32),
            }
        )
    ),
    "maintenance-mode": optional(MAINTENANCE, "`offline` or `read-only`, optionally `,message=…`"),
}
CREATE_ONLY: Final[Mapping[str, Param]] = {
    "backend": optional(String(maximum=256), "kept as text; where the bytes lie is the operator's setting"),
}
PRUNE_FIELDS: Final[Mapping[str, Param]] = {
    "prune-schedule": optional(SCHEDULE, "calendar event"),
    **{name: optional(common.KEEP) for name in KEEP_FIELDS},
}
REFUSED_PRUNE_FIELDS: Final[Mapping[str, Param]] = dict.fromkeys(
    PRUNE_FIELDS, optional(Refused("datastore prune settings have been replaced by prune jobs"))
)
DELETABLE: Final = (
    *FIELDS,
    *PRUNE_FIELDS,
)
_BOOLEANS: Final = frozenset({"verify-new", "gc-on-unmount"})
_SHOWN: Final = (*FIELDS, *CREATE_ONLY)


def to_text(values: Mapping[str, Any]) -> dict[str, str]:
    """Text form for the chunkstore service; booleans are ``true`` and ``false``."""
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in values.items()}


def shown(store: Datastore) -> dict[str, Any]:
    """Configuration object; unset fields are left out."""
    found: dict[str, Any] = {"name": store.name, "path": store.config.get("path") or f"/pbs-cloud/{store.name}"}
    for name in _SHOWN:
        text = store.config.get(name)
        if text:
            found[name] = text == "true" if name in _BOOLEANS else text
    return found
