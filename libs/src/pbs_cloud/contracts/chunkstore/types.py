"""Domain types of the chunkstore service. Times are Unix seconds, sizes bytes."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class GroupRef:
    """A backup group: datastore, namespace (empty = root), type and id."""

    store: str
    ns: str
    backup_type: str
    backup_id: str

    def __str__(self) -> str:
        return f"{self.backup_type}/{self.backup_id}"


@dataclass(frozen=True, slots=True)
class SnapshotKey:
    """One snapshot of a group."""

    group: GroupRef
    backup_time: int


@dataclass(frozen=True, slots=True)
class BaseSnapshot:
    """The previous snapshot of a backup session (formats 12.5)."""

    backup_time: int
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BackupSession:
    """An open backup session; every further call names ``session_id``."""

    session_id: str
    upid: str
    lease_seconds: int
    base: BaseSnapshot | None = None


@dataclass(frozen=True, slots=True)
class File:
    """A file of a snapshot as listings show it (formats 4.4)."""

    filename: str
    crypt_mode: str | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class ReaderSession:
    """An open reader session: its snapshot is pinned. ``upid`` is empty without a task."""

    session_id: str
    upid: str
    lease_seconds: int
    files: tuple[File, ...]


@dataclass(frozen=True, slots=True)
class Leases:
    """Answer to a renewal: sessions that are lost, tasks that somebody asked to stop."""

    lost_session_ids: tuple[str, ...]
    stop_requested_upids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """Result of an upload: was the digest there before, and how many bytes the store holds for it."""

    duplicate: bool
    stored_size: int


@dataclass(frozen=True, slots=True)
class UploadStatistics:
    """``chunk_upload_stats`` of the manifest (formats 4.3)."""

    count: int
    size: int
    compressed_size: int
    duplicates: int


@dataclass(frozen=True, slots=True)
class Datastore:
    """A datastore with its configuration in text form (rest-api C.12)."""

    name: str
    config: dict[str, str]
    maintenance: str | None = None


@dataclass(frozen=True, slots=True)
class TypeCount:
    backup_type: str
    groups: int
    snapshots: int


@dataclass(frozen=True, slots=True)
class DatastoreStatus:
    """rest-api C.4, E.5. ``gc_status`` is the JSON of formats 9.8."""

    total: int
    used: int
    avail: int
    counts: tuple[TypeCount, ...]
    active_readers: int
    active_writers: int
    gc_status: str | None = None


@dataclass(frozen=True, slots=True)
class TenantUsage:
    storage_bytes: int
    snapshot_count: int


@dataclass(frozen=True, slots=True)
class DeleteStatistics:
    removed_groups: int
    protected_snapshots: int
    removed_snapshots: int


@dataclass(frozen=True, slots=True)
class Group:
    """rest-api C.5 `groups`."""

    backup_type: str
    backup_id: str
    last_backup: int
    backup_count: int
    files: tuple[str, ...]
    owner: str
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class Verification:
    upid: str
    state: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """rest-api C.5 `snapshots`; ``size`` is None while the backup runs; ``retain_until``: Unix seconds of a lock."""

    backup_type: str
    backup_id: str
    backup_time: int
    owner: str
    protected: bool
    files: tuple[File, ...]
    comment: str | None = None
    verification: Verification | None = None
    fingerprint: str | None = None
    size: int | None = None
    retain_until: int | None = None


@dataclass(frozen=True, slots=True)
class PrunedSnapshot:
    """Verdict on one snapshot (formats 10); ``error`` tells why one that was to go is still there."""

    backup_time: int
    mark: str
    keep: bool
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A task as listings show it; ``endtime`` and ``status`` are None while it runs."""

    upid: str
    node: str
    pid: int
    pstart: int
    starttime: int
    worker_type: str
    auth_id: str
    worker_id: str | None = None
    endtime: int | None = None
    status: str | None = None


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Parameters of the task list (rest-api C.14)."""

    start: int = 0
    limit: int = 50
    running: bool = False
    errors: bool = False
    store: str | None = None
    userfilter: str | None = None
    typefilter: str | None = None
    statusfilter: tuple[str, ...] = ()
    since: int | None = None
    until: int | None = None
    worker_id: str | None = None


@dataclass(frozen=True, slots=True)
class LogLine:
    n: int
    text: str


@dataclass(frozen=True, slots=True)
class TaskLog:
    """A consistent page of a log: ``total`` lines exist, ``active`` while the task runs."""

    lines: tuple[LogLine, ...] = field(default=())
    total: int = 0
    active: bool = False
