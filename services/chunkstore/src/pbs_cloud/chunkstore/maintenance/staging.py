"""Temporary tables: what a listing found meets the rows inside Postgres, so that a million objects need no memory here.

Row-level security forbids COPY into the tables themselves; temporary ones have none, and go with the transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pbs_cloud.formats.index import DIGESTS, DigestArray
from pbs_cloud.runtime.database import Connection

STATEMENT_SECONDS = 6 * 3600.0
"""For statements over all rows of a datastore."""

_SETTLE_AT = 1 << 20
_BATCH = 10_000
_TABLES = """
SET LOCAL idle_in_transaction_session_timeout = 0;
CREATE TEMPORARY TABLE staged_chunk (digest bytea NOT NULL, size bigint NOT NULL) ON COMMIT DROP;
CREATE TEMPORARY TABLE staged_digest (digest bytea NOT NULL) ON COMMIT DROP;
CREATE TEMPORARY TABLE staged_file (key text COLLATE "C" NOT NULL, size bigint NOT NULL) ON COMMIT DROP;
"""


async def make_tables(connection: Connection) -> None:
    """The three tables, empty, for one transaction, which may be idle for as long as a listing takes."""
    await connection.execute(_TABLES)


async def stage(connection: Connection, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Copy rows into a staged table."""
    if rows:
        await connection.copy_records_to_table(table, records=rows, timeout=STATEMENT_SECONDS)


async def analyse(connection: Connection, table: str) -> None:
    """Let the planner know what was staged."""
    await connection.execute(f"ANALYZE {table}", timeout=STATEMENT_SECONDS)


class DigestSet:
    """Distinct digests in 32 bytes each."""

    def __init__(self) -> None:
        self._known: DigestArray = np.empty(0, dtype=DIGESTS)
        self._fresh: list[DigestArray] = []
        self._waiting = 0

    def add(self, digests: DigestArray) -> None:
        if len(digests):
            self._fresh.append(np.unique(digests))
            self._waiting += len(self._fresh[-1])
        if self._waiting >= _SETTLE_AT:
            self._settle()

    async def stage(self, connection: Connection) -> int:
        """Copy all into `staged_digest`; how many there are."""
        self._settle()
        for start in range(0, len(self._known), _BATCH):
            joined = self._known[start : start + _BATCH].tobytes()
            rows = [(joined[at : at + 32],) for at in range(0, len(joined), 32)]
            await stage(connection, "staged_digest", rows)
        await analyse(connection, "staged_digest")
        return len(self._known)

    def _settle(self) -> None:
        self._known = np.unique(np.concatenate([self._known, *self._fresh]))
        self._fresh, self._waiting = [], 0
