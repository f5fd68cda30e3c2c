"""From the raw request target to API path segments, with refusals that need no credentials (rest-api A.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import unquote_to_bytes

from pbs_cloud.gateway.errors import HttpError

MAX_TARGET_BYTES: Final = 3072


@dataclass(frozen=True, slots=True)
class Target:
    """``segments`` below the format, each percent-decoded; None if one is not UTF-8. ``path`` is for messages."""

    format: Literal["json", "extjs"]
    segments: tuple[str, ...] | None
    path: str


def parse_target(method: str, raw_path: bytes, query: bytes) -> Target:
    """Split and check a request target.

    Raises:
        HttpError: 400, 404 or 414 that needs no credentials.
    """
    parts = [part for part in raw_path.split(b"/") if part]
    if any(part.startswith(b".") for part in parts):
        raise HttpError(400, "path contains illegal components")
    normalized = b"/" + b"/".join(parts)
    if len(normalized) + len(query) > MAX_TARGET_BYTES:
        raise HttpError(414, "")
    path = normalized.decode("utf-8", "replace")
    if not parts or parts[0] != b"api2":
        if method != "GET":
            raise HttpError(400, "invalid http method for path")
        raise HttpError(404, f"Path '{path}' not found.")
    if len(parts) == 1:
        raise HttpError(404, f"Path '{path}' not found.")
    chosen = parts[1].decode("utf-8", "replace")
    if chosen not in ("json", "extjs"):
        raise HttpError(400, f"Unsupported output format '{chosen}'.")
    return Target("json" if chosen == "json" else "extjs", _decode(parts[2:]), path)


def _decode(parts: list[bytes]) -> tuple[str, ...] | None:
    try:
        return tuple(unquote_to_bytes(part).decode() for part in parts)
    except UnicodeDecodeError:
        return None
