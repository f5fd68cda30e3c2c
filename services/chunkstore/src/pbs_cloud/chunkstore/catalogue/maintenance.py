"""Maintenance modes: the datastore's own and the operator's overlay (rest-api C.4, C.12, E.11)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pbs_cloud.contracts.errors import Conflict, InvalidArgument

MAX_MESSAGE = 64


class Mode(StrEnum):
    """What a mode forbids: ``read-only`` writing, the others everything."""

    READ_ONLY = "read-only"
    OFFLINE = "offline"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Maintenance:
    """A mode and the message that users see."""

    mode: Mode
    message: str = ""

    @classmethod
    def parse(cls, text: str) -> Maintenance:
        """A property string: ``offline``, ``read-only,message="disk swap"``, ``type=offline,message=x``.

        Raises InvalidArgument for another mode (rest-api C.12) and for what is no property string.
        """
        values = dict(_properties(text))
        mode = values.pop("type", None)
        message = values.pop("message", "")
        if values or mode not in (Mode.READ_ONLY, Mode.OFFLINE):
            raise InvalidArgument(
                "maintenance-mode: must be offline or read-only, optionally with a message", field="maintenance-mode"
            )
        if len(message) > MAX_MESSAGE or any(not c.isprintable() for c in message):
            raise InvalidArgument(
                f"maintenance-mode: the message is longer than {MAX_MESSAGE} characters or more than a line",
                field="maintenance-mode",
            )
        return cls(Mode(mode), message)

    @property
    def text(self) -> str:
        """Property string for listings, without quotes where none are needed."""
        if not self.message:
            return self.mode.value
        quoted = self.message
        if any(c in quoted for c in ',"\\') or quoted != quoted.strip():
            quoted = '"' + quoted.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return f"{self.mode.value},message={quoted}"

    def refusal(self, store: str) -> Conflict:
        """The error for a call that the mode forbids."""
        if self.mode is Mode.DELETE:
            return Conflict(f"datastore '{store}' is unavailable: datastore is being deleted")
        return Conflict(f"datastore '{store}' is unavailable: {self.mode.value} maintenance mode: {self.message}")


def effective(own: str | None, overlay: str | None) -> Maintenance | None:
    """The stricter of the datastore's own mode and the operator's read-only overlay."""
    mine = Maintenance.parse(own) if own else None
    if mine is not None and mine.mode is not Mode.READ_ONLY:
        return mine
    return _overlay(overlay) if overlay else mine


def _overlay(text: str) -> Maintenance:
    """The operator's text: a property string, or just the message."""
    try:
        return Maintenance(Mode.READ_ONLY, Maintenance.parse(text).message)
    except InvalidArgument:
        return Maintenance(Mode.READ_ONLY, text)


def _properties(text: str) -> list[tuple[str, str]]:
    """Key and value of each part; a first part without ``=`` is the type."""
    found = []
    for position, part in enumerate(_split(text)):
        key, equals, value = part.partition("=")
        if not equals and position:
            raise InvalidArgument("maintenance-mode: a part has no value", field="maintenance-mode")
        found.append((key.strip(), _unquoted(value)) if equals else ("type", _unquoted(part)))
    return found


def _split(text: str) -> list[str]:
    """Parts between commas that stand outside of quotes."""
    parts, current, quoted, escaped = [], "", False, False
    for c in text:
        if c == "," and not quoted:
            parts.append(current)
            current = ""
            continue
        if c == '"' and not escaped:
            quoted = not quoted
        escaped = c == "\\" and quoted and not escaped
        current += c
    return [*parts, current]


def _unquoted(value: str) -> str:
    value = value.strip()
    if len(value) < 2 or not (value.startswith('"') and value.endswith('"')):
        return value
    text, escaped = "", False
    for c in value[1:-1]:
        if c == "\\" and not escaped:
            escaped = True
            continue
        text, escaped = text + c, False
    return text
