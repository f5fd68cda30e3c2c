"""The claim table of formats 9.9 as a pure function: row and claimant -> what the row becomes, and what is next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from uuid import UUID

from pbs_cloud.chunkstore.chunks.kinds import ChunkKind
from pbs_cloud.chunkstore.states import ChunkState


@dataclass(frozen=True, slots=True)
class ChunkRow:
    """A chunk row as far as claims look at it; `owner_alive`: its session is active with a valid lease."""

    digest: bytes
    state: ChunkState
    kind: ChunkKind
    size: int
    raw_size: int
    touch_epoch: int
    location: str | None = None
    owner: UUID | None = None
    owner_alive: bool = False
    writer: UUID | None = None


@dataclass(frozen=True, slots=True)
class Claimant:
    """Session, its start epoch, and the run of the process that would write."""

    session: UUID
    start_epoch: int
    writer: UUID


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a row says about its object."""

    kind: ChunkKind
    size: int
    raw_size: int


class Next(Enum):
    """What the claimant does now. `WRITE` ends with the row `live`; `HEAL` too, over a damaged object."""

    WRITE = "write"
    HEAL = "heal"
    PRESENT = "present"
    WAIT_FOR_WRITER = "wait for writer"
    WAIT_FOR_DELETE = "wait for delete"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`row`: what must be stored (None: as it is)."""

    next: Next
    row: ChunkRow | None = None


def judge(row: ChunkRow, who: Claimant, new: ObjectInfo, *, patient: bool = True) -> Verdict:
    """The table's line for an existing row.

    Who asks holds the digest's lock, so a row with this process as its writer belongs to an attempt that has ended.

    Args:
        patient: wait for an attempt of the same session in another process; else take the row from it.
    """
    epoch = max(row.touch_epoch, who.start_epoch)
    if row.state is ChunkState.LIVE:
        touched = None if epoch == row.touch_epoch else replace(row, touch_epoch=epoch)
        return Verdict(Next.PRESENT, touched)
    if row.state is ChunkState.CONDEMNED:
        return Verdict(Next.PRESENT, replace(row, state=ChunkState.LIVE, touch_epoch=epoch, owner=None, writer=None))
    if row.state is ChunkState.CORRUPT:
        return Verdict(Next.HEAL, replace(row, touch_epoch=epoch, owner=who.session, writer=who.writer))
    if row.state is ChunkState.DELETING:
        return Verdict(Next.WAIT_FOR_DELETE)
    own_attempt = row.owner == who.session and (row.writer == who.writer or not patient)
    if row.owner_alive and not own_attempt:
        return Verdict(Next.WAIT_FOR_WRITER)
    described = replace(row, kind=new.kind, size=new.size, raw_size=new.raw_size, touch_epoch=epoch)
    return Verdict(Next.WRITE, replace(described, owner=who.session, writer=who.writer))
