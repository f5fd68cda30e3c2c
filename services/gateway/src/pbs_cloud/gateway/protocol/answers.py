"""Answers of session requests; how they become frames is the session's business."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pbs_cloud.gateway.protocol.effects import LoadedIndex


@dataclass(frozen=True, slots=True)
class JsonAnswer:
    """200 with ``{"data": …}``."""

    data: Any


@dataclass(frozen=True, slots=True)
class BytesAnswer:
    """200 with bytes of known length."""

    body: bytes | memoryview


@dataclass(frozen=True, slots=True)
class IndexAnswer:
    """200 with the bytes of a loaded index, which is closed when they were sent."""

    loaded: LoadedIndex


@dataclass(frozen=True, slots=True)
class FileAnswer:
    """200 with a file of the snapshot as it is stored."""

    name: str


@dataclass(frozen=True, slots=True)
class ChunkAnswer:
    """200 with a stored chunk of at most ``capacity`` bytes."""

    digest: bytes
    capacity: int


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """A refusal: text without JSON. ``typed``: with the content type header (wire-protocol 1.10)."""

    status: int
    message: str
    typed: bool = True
    delay_seconds: float = 0.0


Answer = JsonAnswer | BytesAnswer | IndexAnswer | FileAnswer | ChunkAnswer | ErrorAnswer
