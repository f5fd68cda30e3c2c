"""List L of a run: the indexes of all snapshots that are not removed, kept in a file (step B).

Ordered by group, archive and snapshot, so that an archive's indexes follow each other in time.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO

from pbs_cloud.chunkstore.catalogue.names import Place
from pbs_cloud.runtime.database import Connection

_BATCH = 1000
_INDEXES = """
SELECT s.group_id, f.name, s.id, f.kind, f.csum, f.size, f.stored_size, f.chunk_count,
  n.path, g.backup_type, g.backup_id, s.backup_time
FROM snapshot s JOIN snapshot_file f ON f.snapshot_id = s.id
JOIN backup_group g ON g.id = s.group_id JOIN namespace n ON n.id = g.namespace_id
WHERE s.datastore_id = $1 AND s.state <> 'removing' AND f.kind <> 'blob'
ORDER BY s.group_id, f.name, s.id
"""


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One index of a snapshot; ``csum`` of its entries, ``size`` of the archive, ``stored_size`` of the file."""

    group_id: int
    name: str
    snapshot_id: int
    kind: str
    csum: bytes | None
    size: int
    stored_size: int
    chunk_count: int | None
    ns: str = ""
    backup_type: str = ""
    backup_id: str = ""
    backup_time: int = 0

    @property
    def file_key(self) -> str:
        """Where the file lay when the list was made."""
        return Place.of(self.ns, self.backup_type, self.backup_id).snapshot(self.backup_time).file_key(self.name)

    @property
    def key(self) -> tuple[int, str, int]:
        """What entries are ordered by."""
        return self.group_id, self.name, self.snapshot_id

    def related(self, other: IndexEntry | None) -> bool:
        """Whether both are the same archive of one group."""
        return other is not None and (self.group_id, self.name, self.kind) == (other.group_id, other.name, other.kind)

    def to_line(self) -> str:
        csum = "-" if self.csum is None else self.csum.hex()
        count = "-" if self.chunk_count is None else self.chunk_count
        fields = (self.group_id, self.name, self.snapshot_id, self.kind, csum, self.size, self.stored_size, count)
        place = (self.ns, self.backup_type, self.backup_id, self.backup_time)
        return "\t".join(map(str, (*fields, *place))) + "\n"

    @classmethod
    def from_line(cls, line: str) -> IndexEntry:
        group, name, snapshot, kind, csum, size, stored, count, *place = line.rstrip("\n").split("\t")
        ns, backup_type, backup_id, backup_time = place
        return cls(
            int(group),
            name,
            int(snapshot),
            kind,
            None if csum == "-" else bytes.fromhex(csum),
            int(size),
            int(stored),
            None if count == "-" else int(count),
            ns,
            backup_type,
            backup_id,
            int(backup_time),
        )


class IndexList:
    """Entries in a nameless file: however many there are, they need no memory. ``longest``: most chunks of one."""

    def __init__(self) -> None:
        with ExitStack() as stack:
            self._file: IO[str] = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n"))
            stack.pop_all()
        self.longest = 0

    async def fill(self, connection: Connection, datastore_id: int) -> None:
        """Write down all indexes as the transaction sees them."""
        async for row in _rows(connection, datastore_id):
            self._file.write(row.to_line())
            self.longest = max(self.longest, row.chunk_count or 0)

    def entries(self) -> Iterator[IndexEntry]:
        """All entries in order, once at a time."""
        self._file.seek(0)
        for line in self._file:
            yield IndexEntry.from_line(line)

    def close(self) -> None:
        self._file.close()


async def _rows(connection: Connection, datastore_id: int) -> AsyncIterator[IndexEntry]:
    async for row in connection.cursor(_INDEXES, datastore_id, prefetch=_BATCH):
        values = tuple(row)
        yield IndexEntry(*values)


def added(entries: Iterator[IndexEntry], before: Iterator[IndexEntry]) -> Iterator[IndexEntry]:
    """Entries of a list that an earlier one did not have; both in order."""
    known = next(before, None)
    for entry in entries:
        while known is not None and known.key < entry.key:
            known = next(before, None)
        if known is None or known.key != entry.key:
            yield entry
