"""The digests in use, sorted: 32 bytes each in sorted runs on disk, whatever their number (formats 9.9, step C)."""

from __future__ import annotations

from collections.abc import AsyncIterator

from pbs_cloud.formats.index import digest_array
from pbs_cloud.runtime.sorted_runs import MERGE_BYTES, PIECE_BYTES, RUN_BYTES, SortedRuns


class MarkSet:
    """``add`` unsorted digests, then read ``pieces`` of sorted, distinct ones; ``close`` drops all."""

    def __init__(
        self, run_bytes: int = RUN_BYTES, merge_bytes: int = MERGE_BYTES, piece_bytes: int = PIECE_BYTES
    ) -> None:
        self._runs = SortedRuns(distinct=True, run_bytes=run_bytes, merge_bytes=merge_bytes, piece_bytes=piece_bytes)

    async def add(self, digests: bytes) -> None:
        """Take concatenated digests, in any order, as often as they come."""
        await self._runs.add(digest_array(digests))

    async def pieces(self) -> AsyncIterator[bytes]:
        """All digests, each once, in order."""
        async for piece in self._runs.pieces():
            yield piece.tobytes()

    def close(self) -> None:
        """Give memory and disk back."""
        self._runs.close()
