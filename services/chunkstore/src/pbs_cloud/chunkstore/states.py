"""Values of state columns that both processes of the service share."""

from enum import IntEnum, StrEnum


class ChunkState(IntEnum):
    """State of a chunk row (formats 9.9); the partial indexes of migration 0001 name these numbers."""

    UPLOADING = 1
    LIVE = 2
    CORRUPT = 3
    CONDEMNED = 4
    DELETING = 5


class SessionState(StrEnum):
    """State of a session row."""

    ACTIVE = "active"
    FINISHED = "finished"
    ABORTED = "aborted"
    EXPIRED = "expired"


class SnapshotState(StrEnum):
    """State of a snapshot row: ``open`` while its backup runs, ``removing`` until its files are gone."""

    OPEN = "open"
    COMMITTED = "committed"
    REMOVING = "removing"


class UsageWriter(IntEnum):
    """Rows of ``usage_counter``: each process changes its own, so that they never wait for each other."""

    CATALOGUE = 0
    CHUNKS = 1
