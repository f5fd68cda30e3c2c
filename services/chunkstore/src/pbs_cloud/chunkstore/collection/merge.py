"""Sorted digests that come as a stream, taken range by range."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator

import numpy as np

from pbs_cloud.contracts.errors import InvalidArgument
from pbs_cloud.formats.index import DIGESTS, DigestArray
from pbs_cloud.runtime.sorted_runs import is_increasing

_LONGEST_PIECE = 16 * 1024 * 1024


class SortedStream:
    """A stream of sorted, distinct digests in pieces of bytes, taken range by range."""

    def __init__(self, pieces: AsyncIterable[bytes]) -> None:
        self._pieces: AsyncIterator[bytes] = aiter(pieces)
        self._held: DigestArray = np.empty(0, dtype=DIGESTS)
        self._last: DigestArray = np.empty(0, dtype=DIGESTS)
        self._ended = False

    async def up_to(self, last: DigestArray) -> DigestArray:
        """All digests not taken yet that are not beyond `last` (an array of one). Raises InvalidArgument."""
        parts: list[DigestArray] = []
        while True:
            count = int(np.searchsorted(self._held, last, side="right")[0])
            parts.append(self._held[:count])
            self._held = self._held[count:]
            if len(self._held) or not await self._more():
                return np.concatenate(parts)

    async def rest(self) -> AsyncIterator[DigestArray]:
        """What lies beyond everything that was asked for."""
        while len(self._held) or await self._more():
            yield self._held
            self._held = self._held[:0]

    async def _more(self) -> bool:
        if self._ended:
            return False
        try:
            piece = await anext(self._pieces)
        except StopAsyncIteration:
            self._ended = True
            return False
        if len(piece) % 32 or not piece or len(piece) > _LONGEST_PIECE:
            raise InvalidArgument("digests: a piece holds no whole digests", field="digests")
        held = np.frombuffer(piece, dtype=DIGESTS)
        if not is_increasing(held) or (len(self._last) and not bool((held[:1] > self._last).all())):
            raise InvalidArgument("digests: not sorted", field="digests")
        self._held, self._last = held, held[-1:]
        return True
