"""What happens when an uploaded digest is already stored: the table of formats 1.7, from kinds and sizes alone."""

from __future__ import annotations

from enum import Enum

from pbs_cloud.chunkstore.chunks.kinds import ChunkKind
from pbs_cloud.contracts.errors import InvalidArgument

_MAGIC_SIZE = 8


class Decision(Enum):
    """`KEEP`: a duplicate, the old object stays. `REPLACE`: the new one takes its place and counts as new.

    `POISONED`: as `REPLACE`, and somebody is told: under the digest of checked content lay an encrypted object, which
    no honest client can have stored there.
    """

    KEEP = "keep"
    REPLACE = "replace"
    POISONED = "poisoned"


def decide(old_kind: ChunkKind, old_size: int, new_kind: ChunkKind, new_size: int) -> Decision:
    """First row of the table that fits, with the poisoning rule before those that would keep the poison.

    Raises:
        InvalidArgument: the upload cannot be right beside what is stored.
    """
    if old_kind.encrypted and not new_kind.encrypted:
        return Decision.POISONED
    if new_size == old_size:
        return Decision.KEEP
    if old_size == 0:
        return Decision.REPLACE
    if new_kind.encrypted:
        _refuse_strange_encryption(old_kind, old_size, new_kind)
        return Decision.KEEP
    return Decision.KEEP if old_size < new_size else Decision.REPLACE


def _refuse_strange_encryption(old_kind: ChunkKind, old_size: int, new_kind: ChunkKind) -> None:
    if old_kind in (ChunkKind.PLAIN, ChunkKind.ZSTD):
        raise InvalidArgument("chunk: encrypted, but an unencrypted one has the same digest", field="chunk")
    if new_kind is ChunkKind.ENCRYPTED and old_kind is ChunkKind.ENCRYPTED:
        raise InvalidArgument("chunk: encrypted, but another one with this digest has another size", field="chunk")
    if old_size < _MAGIC_SIZE:
        raise InvalidArgument("chunk: the stored one with this digest is cut off", field="chunk")
