from pbs_cloud.proto.chunkstore.v1 import chunkstore_pb2 as _chunkstore_pb2
from pbs_cloud.proto.chunkstore.v1 import collection_pb2 as _collection_pb2
from pbs_cloud.proto.common.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GcServiceStatus(_message.Message):
    __slots__ = ("last_sweep", "sweeps", "expired_sessions")
    LAST_SWEEP_FIELD_NUMBER: _ClassVar[int]
    SWEEPS_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    last_sweep: int
    sweeps: int
    expired_sessions: int
    def __init__(self, last_sweep: _Optional[int] = ..., sweeps: _Optional[int] = ..., expired_sessions: _Optional[int] = ...) -> None: ...

class PruneGroupRequest(_message.Message):
    __slots__ = ("group", "keep", "dry_run", "use_task")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    KEEP_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    USE_TASK_FIELD_NUMBER: _ClassVar[int]
    group: _chunkstore_pb2.GroupRef
    keep: _chunkstore_pb2.KeepOptions
    dry_run: bool
    use_task: bool
    def __init__(self, group: _Optional[_Union[_chunkstore_pb2.GroupRef, _Mapping]] = ..., keep: _Optional[_Union[_chunkstore_pb2.KeepOptions, _Mapping]] = ..., dry_run: _Optional[bool] = ..., use_task: _Optional[bool] = ...) -> None: ...

class PruneGroupResponse(_message.Message):
    __slots__ = ("snapshots", "upid")
    SNAPSHOTS_FIELD_NUMBER: _ClassVar[int]
    UPID_FIELD_NUMBER: _ClassVar[int]
    snapshots: _containers.RepeatedCompositeFieldContainer[_chunkstore_pb2.PrunedSnapshot]
    upid: str
    def __init__(self, snapshots: _Optional[_Iterable[_Union[_chunkstore_pb2.PrunedSnapshot, _Mapping]]] = ..., upid: _Optional[str] = ...) -> None: ...

class PruneDatastoreRequest(_message.Message):
    __slots__ = ("store", "ns", "max_depth", "keep", "dry_run")
    STORE_FIELD_NUMBER: _ClassVar[int]
    NS_FIELD_NUMBER: _ClassVar[int]
    MAX_DEPTH_FIELD_NUMBER: _ClassVar[int]
    KEEP_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    store: str
    ns: str
    max_depth: int
    keep: _chunkstore_pb2.KeepOptions
    dry_run: bool
    def __init__(self, store: _Optional[str] = ..., ns: _Optional[str] = ..., max_depth: _Optional[int] = ..., keep: _Optional[_Union[_chunkstore_pb2.KeepOptions, _Mapping]] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class StartCollectionRequest(_message.Message):
    __slots__ = ("store", "dry_run", "max_delete", "wait_seconds")
    STORE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    MAX_DELETE_FIELD_NUMBER: _ClassVar[int]
    WAIT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    store: str
    dry_run: bool
    max_delete: int
    wait_seconds: float
    def __init__(self, store: _Optional[str] = ..., dry_run: _Optional[bool] = ..., max_delete: _Optional[int] = ..., wait_seconds: _Optional[float] = ...) -> None: ...

class StartCollectionResponse(_message.Message):
    __slots__ = ("upid", "statistics")
    UPID_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    upid: str
    statistics: CollectionStatistics
    def __init__(self, upid: _Optional[str] = ..., statistics: _Optional[_Union[CollectionStatistics, _Mapping]] = ...) -> None: ...

class CollectionStatistics(_message.Message):
    __slots__ = ("chunks_scanned", "chunks_referenced", "chunks_orphaned", "chunks_deleted", "bytes_freed", "errors")
    CHUNKS_SCANNED_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_REFERENCED_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_ORPHANED_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_DELETED_FIELD_NUMBER: _ClassVar[int]
    BYTES_FREED_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    chunks_scanned: int
    chunks_referenced: int
    chunks_orphaned: int
    chunks_deleted: int
    bytes_freed: int
    errors: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, chunks_scanned: _Optional[int] = ..., chunks_referenced: _Optional[int] = ..., chunks_orphaned: _Optional[int] = ..., chunks_deleted: _Optional[int] = ..., bytes_freed: _Optional[int] = ..., errors: _Optional[_Iterable[str]] = ...) -> None: ...

class GetCollectionStatusResponse(_message.Message):
    __slots__ = ("collections",)
    COLLECTIONS_FIELD_NUMBER: _ClassVar[int]
    collections: _containers.RepeatedCompositeFieldContainer[_collection_pb2.CollectionState]
    def __init__(self, collections: _Optional[_Iterable[_Union[_collection_pb2.CollectionState, _Mapping]]] = ...) -> None: ...

class VerifyOptions(_message.Message):
    __slots__ = ("ignore_verified", "outdated_after", "read_threads", "verify_threads")
    IGNORE_VERIFIED_FIELD_NUMBER: _ClassVar[int]
    OUTDATED_AFTER_FIELD_NUMBER: _ClassVar[int]
    READ_THREADS_FIELD_NUMBER: _ClassVar[int]
    VERIFY_THREADS_FIELD_NUMBER: _ClassVar[int]
    ignore_verified: bool
    outdated_after: int
    read_threads: int
    verify_threads: int
    def __init__(self, ignore_verified: _Optional[bool] = ..., outdated_after: _Optional[int] = ..., read_threads: _Optional[int] = ..., verify_threads: _Optional[int] = ...) -> None: ...

class VerifyRequest(_message.Message):
    __slots__ = ("store", "ns", "backup_type", "backup_id", "backup_time", "max_depth", "options")
    STORE_FIELD_NUMBER: _ClassVar[int]
    NS_FIELD_NUMBER: _ClassVar[int]
    BACKUP_TYPE_FIELD_NUMBER: _ClassVar[int]
    BACKUP_ID_FIELD_NUMBER: _ClassVar[int]
    BACKUP_TIME_FIELD_NUMBER: _ClassVar[int]
    MAX_DEPTH_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    store: str
    ns: str
    backup_type: str
    backup_id: str
    backup_time: int
    max_depth: int
    options: VerifyOptions
    def __init__(self, store: _Optional[str] = ..., ns: _Optional[str] = ..., backup_type: _Optional[str] = ..., backup_id: _Optional[str] = ..., backup_time: _Optional[int] = ..., max_depth: _Optional[int] = ..., options: _Optional[_Union[VerifyOptions, _Mapping]] = ...) -> None: ...

class JobFields(_message.Message):
    __slots__ = ("store", "schedule", "comment", "ns", "max_depth", "disable", "keep_last", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly", "ignore_verified", "outdated_after", "read_threads", "verify_threads")
    STORE_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    NS_FIELD_NUMBER: _ClassVar[int]
    MAX_DEPTH_FIELD_NUMBER: _ClassVar[int]
    DISABLE_FIELD_NUMBER: _ClassVar[int]
    KEEP_LAST_FIELD_NUMBER: _ClassVar[int]
    KEEP_HOURLY_FIELD_NUMBER: _ClassVar[int]
    KEEP_DAILY_FIELD_NUMBER: _ClassVar[int]
    KEEP_WEEKLY_FIELD_NUMBER: _ClassVar[int]
    KEEP_MONTHLY_FIELD_NUMBER: _ClassVar[int]
    KEEP_YEARLY_FIELD_NUMBER: _ClassVar[int]
    IGNORE_VERIFIED_FIELD_NUMBER: _ClassVar[int]
    OUTDATED_AFTER_FIELD_NUMBER: _ClassVar[int]
    READ_THREADS_FIELD_NUMBER: _ClassVar[int]
    VERIFY_THREADS_FIELD_NUMBER: _ClassVar[int]
    store: str
    schedule: str
    comment: str
    ns: str
    max_depth: int
    disable: bool
    keep_last: int
    keep_hourly: int
    keep_daily: int
    keep_weekly: int
    keep_monthly: int
    keep_yearly: int
    ignore_verified: bool
    outdated_after: int
    read_threads: int
    verify_threads: int
    def __init__(self, store: _Optional[str] = ..., schedule: _Optional[str] = ..., comment: _Optional[str] = ..., ns: _Optional[str] = ..., max_depth: _Optional[int] = ..., disable: _Optional[bool] = ..., keep_last: _Optional[int] = ..., keep_hourly: _Optional[int] = ..., keep_daily: _Optional[int] = ..., keep_weekly: _Optional[int] = ..., keep_monthly: _Optional[int] = ..., keep_yearly: _Optional[int] = ..., ignore_verified: _Optional[bool] = ..., outdated_after: _Optional[int] = ..., read_threads: _Optional[int] = ..., verify_threads: _Optional[int] = ...) -> None: ...

class JobState(_message.Message):
    __slots__ = ("next_run", "last_run_upid", "last_run_state", "last_run_endtime")
    NEXT_RUN_FIELD_NUMBER: _ClassVar[int]
    LAST_RUN_UPID_FIELD_NUMBER: _ClassVar[int]
    LAST_RUN_STATE_FIELD_NUMBER: _ClassVar[int]
    LAST_RUN_ENDTIME_FIELD_NUMBER: _ClassVar[int]
    next_run: int
    last_run_upid: str
    last_run_state: str
    last_run_endtime: int
    def __init__(self, next_run: _Optional[int] = ..., last_run_upid: _Optional[str] = ..., last_run_state: _Optional[str] = ..., last_run_endtime: _Optional[int] = ...) -> None: ...

class Job(_message.Message):
    __slots__ = ("kind", "id", "fields", "state")
    KIND_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    kind: str
    id: str
    fields: JobFields
    state: JobState
    def __init__(self, kind: _Optional[str] = ..., id: _Optional[str] = ..., fields: _Optional[_Union[JobFields, _Mapping]] = ..., state: _Optional[_Union[JobState, _Mapping]] = ...) -> None: ...

class ListJobsRequest(_message.Message):
    __slots__ = ("kind", "store")
    KIND_FIELD_NUMBER: _ClassVar[int]
    STORE_FIELD_NUMBER: _ClassVar[int]
    kind: str
    store: str
    def __init__(self, kind: _Optional[str] = ..., store: _Optional[str] = ...) -> None: ...

class ListJobsResponse(_message.Message):
    __slots__ = ("jobs", "digest")
    JOBS_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[Job]
    digest: str
    def __init__(self, jobs: _Optional[_Iterable[_Union[Job, _Mapping]]] = ..., digest: _Optional[str] = ...) -> None: ...

class JobRequest(_message.Message):
    __slots__ = ("kind", "id")
    KIND_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    kind: str
    id: str
    def __init__(self, kind: _Optional[str] = ..., id: _Optional[str] = ...) -> None: ...

class GetJobResponse(_message.Message):
    __slots__ = ("job", "digest")
    JOB_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    job: Job
    digest: str
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ..., digest: _Optional[str] = ...) -> None: ...

class CreateJobRequest(_message.Message):
    __slots__ = ("kind", "id", "fields")
    KIND_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    kind: str
    id: str
    fields: JobFields
    def __init__(self, kind: _Optional[str] = ..., id: _Optional[str] = ..., fields: _Optional[_Union[JobFields, _Mapping]] = ...) -> None: ...

class UpdateJobRequest(_message.Message):
    __slots__ = ("kind", "id", "changes", "delete", "digest")
    KIND_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    kind: str
    id: str
    changes: JobFields
    delete: _containers.RepeatedScalarFieldContainer[str]
    digest: str
    def __init__(self, kind: _Optional[str] = ..., id: _Optional[str] = ..., changes: _Optional[_Union[JobFields, _Mapping]] = ..., delete: _Optional[_Iterable[str]] = ..., digest: _Optional[str] = ...) -> None: ...

class DeleteJobRequest(_message.Message):
    __slots__ = ("kind", "id", "digest")
    KIND_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    kind: str
    id: str
    digest: str
    def __init__(self, kind: _Optional[str] = ..., id: _Optional[str] = ..., digest: _Optional[str] = ...) -> None: ...

class CreateDefaultPruneJobRequest(_message.Message):
    __slots__ = ("store", "fields")
    STORE_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    store: str
    fields: JobFields
    def __init__(self, store: _Optional[str] = ..., fields: _Optional[_Union[JobFields, _Mapping]] = ...) -> None: ...

class DeleteJobsOfDatastoreRequest(_message.Message):
    __slots__ = ("store",)
    STORE_FIELD_NUMBER: _ClassVar[int]
    store: str
    def __init__(self, store: _Optional[str] = ...) -> None: ...
