"""What can happen to a call, and where: the faults of the fault layer."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from enum import StrEnum

from testkit.faults.sites import Kind, Site

_WRITES = frozenset({"create", "complete", "write_chunk", "put_file", "copy_file", "make_namespace"})
_READS = frozenset({"read_chunk", "read_chunk_into", "read_file"})


class Mode(StrEnum):
    """What happens to a call. `lost` and `crash` come before or after the call had its effect.

    `refused`: no transaction can be begun, once; `conflict`: a serialization failure; `truncated`: an answer that is
    too short, `cut-off`: the same, and the client notices; `away`: no answer until the act is over; `partly`: a batch
    that is done but for its first part.
    """

    REFUSED = "refused"
    ERROR = "error"
    CONFLICT = "conflict"
    TIMEOUT = "timeout"
    FULL = "full"
    LOST_BEFORE = "lost-before"
    LOST_AFTER = "lost-after"
    TRUNCATED = "truncated"
    SLOW = "slow"
    AWAY = "away"
    FORBIDDEN = "forbidden"
    CUT_OFF = "cut-off"
    PARTLY = "partly"
    CRASH_BEFORE = "crash-before"
    CRASH_AFTER = "crash-after"


_MODES = {
    Kind.STATEMENT: (
        Mode.ERROR, Mode.LOST_AFTER, Mode.TIMEOUT, Mode.CRASH_BEFORE, Mode.CONFLICT, Mode.LOST_BEFORE, Mode.CRASH_AFTER,
    ),
    Kind.TRANSACTION: (
        Mode.LOST_BEFORE, Mode.LOST_AFTER, Mode.CRASH_AFTER, Mode.CONFLICT, Mode.CRASH_BEFORE, Mode.REFUSED,
    ),
    Kind.STORAGE: (Mode.ERROR, Mode.LOST_AFTER, Mode.CRASH_BEFORE, Mode.SLOW, Mode.CRASH_AFTER),
    Kind.BUCKET: (
        Mode.AWAY, Mode.LOST_AFTER, Mode.CRASH_BEFORE, Mode.LOST_BEFORE, Mode.CRASH_AFTER, Mode.FORBIDDEN, Mode.SLOW,
    ),
    Kind.NATS: (Mode.ERROR, Mode.LOST_AFTER, Mode.TIMEOUT, Mode.SLOW),
}  # fmt: skip


def modes_of(site: Site) -> tuple[Mode, ...]:
    """What can happen at a site."""
    modes = _MODES[site.kind]
    if site.method == "cursor":
        return (Mode.LOST_BEFORE, Mode.CRASH_BEFORE)
    if site.kind is Kind.STORAGE and site.method in _WRITES:
        modes = (*modes, Mode.FULL)
    if site.kind is Kind.STORAGE and site.method in _READS:
        modes = (*modes, Mode.TRUNCATED)
    if site.kind is Kind.BUCKET and site.method in ("get_async", "list"):
        modes = (*modes, Mode.CUT_OFF)
    if site.kind is Kind.BUCKET and site.method == "get_async":
        modes = (*modes, Mode.TRUNCATED)
    if site.method == "delete_objects":
        modes = (*modes, Mode.PARTLY)
    if site.path.startswith("chunkstore/maintenance/"):  # a command: its crash is its end
        modes = tuple(mode for mode in modes if mode is not Mode.CRASH_AFTER)
    return modes


def chosen_mode(site: Site, share: int) -> Mode | None:
    """What one place in `share` gets and the others do not; by a hash of the place, the same until it changes."""
    name = f"{site.path}:{site.function}:{site.kind}:{site.method}:{site.line}"
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])
    modes = modes_of(site)
    return None if number % share else modes[number // share % len(modes)]


@dataclass
class Plan:
    """A fault that waits for its call; ``process`` is whose call it was, ``fired`` wakes who waits for it."""

    site: Site
    mode: Mode
    struck: bool = False
    process: str = ""
    fired: asyncio.Event = field(default_factory=asyncio.Event)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def strikes(self) -> None:
        """It is done; from any thread."""
        self.struck = True
        self.loop.call_soon_threadsafe(self.fired.set)
