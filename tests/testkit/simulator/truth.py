"""What the simulated people know: which backups were acknowledged, and which they have asked to remove."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import Enum

from pbs_cloud.formats import blob


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk as a client makes it."""

    digest: bytes
    size: int
    data: bytes


def _chunk(number: int) -> Chunk:
    body = hashlib.sha256(b"chunk %d" % number).digest()[: 8 + number] * (1 + number % 3)
    return Chunk(hashlib.sha256(body).digest(), len(body), blob.encode(body, False))


POOL = [_chunk(number) for number in range(16)]
BY_DIGEST = {chunk.digest: chunk for chunk in POOL}


class Fact(Enum):
    """What is known of a backup."""

    RUNNING = "running"
    FINISHING = "finishing"
    ACKNOWLEDGED = "acknowledged"
    FAILED = "failed"
    FOREIGN = "foreign"
    """Another server has written it, and our catalogue does not know it."""
    COMING = "coming"
    """A command that takes it in is under way."""


_UNANSWERED = (Fact.FINISHING, Fact.COMING)


@dataclass(eq=False)
class Known:
    """One backup. `perhaps_gone`: somebody has asked for its removal, whatever the answer was."""

    time: int
    group: int
    digests: tuple[bytes, ...] = ()
    fact: Fact = Fact.RUNNING
    perhaps_gone: bool = False


@dataclass(frozen=True, slots=True)
class Foreign:
    """What another server has left: files by path, digests of chunks."""

    known: Known
    files: dict[str, bytes]


@dataclass
class Truth:
    """Everything the invariants are judged by."""

    backups: list[Known] = field(default_factory=list)
    pruned: bool = False
    forgetting: set[int] = field(default_factory=set)
    """Groups whose removal is under way, or was asked for and never answered."""
    damaged: set[bytes] = field(default_factory=set)
    found_damaged: set[bytes] = field(default_factory=set)
    """Those whose damage the product knows: they are live again only when they are healed."""

    foreign: list[Foreign] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    """Files of snapshots that another server never finished."""

    def unknown(self) -> list[Known]:
        """Snapshots of another server that have to be taken in."""
        return [known for known in self.backups if known.fact in (Fact.FOREIGN, Fact.COMING)]

    def is_foreign(self, digest: bytes) -> bool:
        """Whether a snapshot of another server needs it: its object may have been gone before there was a row."""
        return any(digest in found.known.digests for found in self.foreign)

    def possible(self, time: int) -> list[tuple[bytes, ...]]:
        """Contents that a committed backup of that time may have; a time may be used again after a failure."""
        done = (Fact.FINISHING, Fact.ACKNOWLEDGED, Fact.FOREIGN, Fact.COMING)
        return [known.digests for known in self.backups if known.time == time and known.fact in done]

    def required(self, there: Collection[int] = ()) -> list[Known]:
        """Backups that must be there: acknowledged, and nobody has asked for their removal.

        Prune may have taken all but the newest of each group, which may be a committed one (``there``: their times)
        whose answer is still to come.
        """
        found = [known for known in self.backups if known.fact is Fact.ACKNOWLEDGED]
        if self.pruned:
            coming = [known for known in self.backups if known.fact in _UNANSWERED and known.time in there]
            newest = {known.group: known for known in sorted(found + coming, key=lambda known: known.time)}
            found = [known for known in newest.values() if known.fact is Fact.ACKNOWLEDGED]
        return [known for known in found if not known.perhaps_gone and known.group not in self.forgetting]
