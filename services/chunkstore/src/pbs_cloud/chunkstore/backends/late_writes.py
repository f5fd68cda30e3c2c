"""A request to object storage without an answer may arrive later, long after whoever sent it has given up (9.9)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class LateWrites:
    """`possible`: one of the requests that were watched may still strike."""

    possible: bool = False


_watched: ContextVar[LateWrites | None] = ContextVar("late_writes", default=None)


@contextmanager
def watch() -> Iterator[LateWrites]:
    """Watch the requests of this task for as long as the block lasts."""
    found = LateWrites()
    token = _watched.set(found)
    try:
        yield found
    finally:
        _watched.reset(token)


def note() -> None:
    """An attempt got no answer, or one that does not say whether it was carried out."""
    found = _watched.get()
    if found is not None:
        found.possible = True
