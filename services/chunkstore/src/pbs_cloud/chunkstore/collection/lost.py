"""Live rows whose object is gone, found while the storage is listed anyway (step F; weakness 2 of formats 8.9)."""

from __future__ import annotations

from collections.abc import Sequence

from pbs_cloud.chunkstore.collection.sweeping import SweptStore
from pbs_cloud.runtime.database import Database

MOST = 1000
"""More than that is no lost chunk but a storage that is not what it was: a person has to look."""

_PAGE = 1000
# 2: live
_LIVE = """
SELECT digest FROM chunk WHERE datastore_id = $1 AND digest > $2 AND digest <= $3 AND state = 2 AND location IS NULL
ORDER BY digest LIMIT $4
"""
_LAST = b"\xff" * 32


class LostObjects:
    """Takes the digests of all objects in ascending order. What the list lacks is looked at under its lock."""

    def __init__(self, database: Database, store: SweptStore) -> None:
        self._database = database
        self._store = store
        self._after = b""
        self._ordered = True
        self.count = 0

    async def listed(self, digests: Sequence[bytes]) -> None:
        """The next digests. Lists that are in no order prove nothing: then nothing is compared any more."""
        if not digests:
            return
        ordered = all(first <= second for first, second in zip((self._after, *digests), digests, strict=False))
        self._ordered = self._ordered and ordered
        if self._ordered:
            await self._compare(set(digests), digests[-1])

    async def end(self) -> None:
        """The list ended: what comes after its last digest is missing too."""
        if self._ordered:
            await self._compare(set(), _LAST)

    async def _compare(self, present: set[bytes], last: bytes) -> None:
        while self.count < MOST:
            async with self._database.tenant(self._store.tenant) as connection:
                rows = await connection.fetch(_LIVE, self._store.run.datastore_id, self._after, last, _PAGE)
            for row in rows:
                self._after = row["digest"]
                if row["digest"] not in present and self.count < MOST:
                    self.count += await self._store.chunks.mark_corrupt(row["digest"], None)
            if len(rows) < _PAGE:
                break
        self._after = last
