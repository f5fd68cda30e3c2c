from pbs_cloud.proto.chunkstore.v1 import chunkstore_pb2 as _chunkstore_pb2
from pbs_cloud.proto.common.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BeginRunRequest(_message.Message):
    __slots__ = ("store", "process_id", "dry_run")
    STORE_FIELD_NUMBER: _ClassVar[int]
    PROCESS_ID_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    store: str
    process_id: str
    dry_run: bool
    def __init__(self, store: _Optional[str] = ..., process_id: _Optional[str] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class CollectionRun(_message.Message):
    __slots__ = ("token", "store", "run_epoch", "phase", "resumed", "dry_run", "orphans_due")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    STORE_FIELD_NUMBER: _ClassVar[int]
    RUN_EPOCH_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    RESUMED_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    ORPHANS_DUE_FIELD_NUMBER: _ClassVar[int]
    token: str
    store: str
    run_epoch: int
    phase: str
    resumed: bool
    dry_run: bool
    orphans_due: bool
    def __init__(self, token: _Optional[str] = ..., store: _Optional[str] = ..., run_epoch: _Optional[int] = ..., phase: _Optional[str] = ..., resumed: _Optional[bool] = ..., dry_run: _Optional[bool] = ..., orphans_due: _Optional[bool] = ...) -> None: ...

class RunRequest(_message.Message):
    __slots__ = ("token",)
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    token: str
    def __init__(self, token: _Optional[str] = ...) -> None: ...

class MarkPiece(_message.Message):
    __slots__ = ("digests", "indexes_done", "indexes_total", "warnings", "summary")
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    INDEXES_DONE_FIELD_NUMBER: _ClassVar[int]
    INDEXES_TOTAL_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    digests: bytes
    indexes_done: int
    indexes_total: int
    warnings: _containers.RepeatedScalarFieldContainer[str]
    summary: MarkSummary
    def __init__(self, digests: _Optional[bytes] = ..., indexes_done: _Optional[int] = ..., indexes_total: _Optional[int] = ..., warnings: _Optional[_Iterable[str]] = ..., summary: _Optional[_Union[MarkSummary, _Mapping]] = ...) -> None: ...

class MarkSummary(_message.Message):
    __slots__ = ("index_file_count", "index_data_bytes", "digests_read", "cutoff")
    INDEX_FILE_COUNT_FIELD_NUMBER: _ClassVar[int]
    INDEX_DATA_BYTES_FIELD_NUMBER: _ClassVar[int]
    DIGESTS_READ_FIELD_NUMBER: _ClassVar[int]
    CUTOFF_FIELD_NUMBER: _ClassVar[int]
    index_file_count: int
    index_data_bytes: int
    digests_read: int
    cutoff: int
    def __init__(self, index_file_count: _Optional[int] = ..., index_data_bytes: _Optional[int] = ..., digests_read: _Optional[int] = ..., cutoff: _Optional[int] = ...) -> None: ...

class CondemnResult(_message.Message):
    __slots__ = ("rows", "referenced", "unreferenced", "condemned", "discarded", "missing_count", "missing")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    REFERENCED_FIELD_NUMBER: _ClassVar[int]
    UNREFERENCED_FIELD_NUMBER: _ClassVar[int]
    CONDEMNED_FIELD_NUMBER: _ClassVar[int]
    DISCARDED_FIELD_NUMBER: _ClassVar[int]
    MISSING_COUNT_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    rows: int
    referenced: int
    unreferenced: int
    condemned: int
    discarded: int
    missing_count: int
    missing: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, rows: _Optional[int] = ..., referenced: _Optional[int] = ..., unreferenced: _Optional[int] = ..., condemned: _Optional[int] = ..., discarded: _Optional[int] = ..., missing_count: _Optional[int] = ..., missing: _Optional[_Iterable[bytes]] = ...) -> None: ...

class SweepRequest(_message.Message):
    __slots__ = ("token", "limit")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    token: str
    limit: int
    def __init__(self, token: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class SweepResult(_message.Message):
    __slots__ = ("removed_chunks", "removed_bytes", "removed_bad", "failed", "more")
    REMOVED_CHUNKS_FIELD_NUMBER: _ClassVar[int]
    REMOVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    REMOVED_BAD_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    removed_chunks: int
    removed_bytes: int
    removed_bad: int
    failed: int
    more: bool
    def __init__(self, removed_chunks: _Optional[int] = ..., removed_bytes: _Optional[int] = ..., removed_bad: _Optional[int] = ..., failed: _Optional[int] = ..., more: _Optional[bool] = ...) -> None: ...

class OrphanResult(_message.Message):
    __slots__ = ("found", "refused", "removed_bad", "still_bad", "lost")
    FOUND_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    REMOVED_BAD_FIELD_NUMBER: _ClassVar[int]
    STILL_BAD_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    found: int
    refused: str
    removed_bad: int
    still_bad: int
    lost: int
    def __init__(self, found: _Optional[int] = ..., refused: _Optional[str] = ..., removed_bad: _Optional[int] = ..., still_bad: _Optional[int] = ..., lost: _Optional[int] = ...) -> None: ...

class EndRunRequest(_message.Message):
    __slots__ = ("token", "upid", "result", "complete")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    UPID_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    token: str
    upid: str
    result: str
    complete: bool
    def __init__(self, token: _Optional[str] = ..., upid: _Optional[str] = ..., result: _Optional[str] = ..., complete: _Optional[bool] = ...) -> None: ...

class GcStatusJson(_message.Message):
    __slots__ = ("json",)
    JSON_FIELD_NUMBER: _ClassVar[int]
    json: str
    def __init__(self, json: _Optional[str] = ...) -> None: ...

class ListCollectionsRequest(_message.Message):
    __slots__ = ("store", "with_chunks")
    STORE_FIELD_NUMBER: _ClassVar[int]
    WITH_CHUNKS_FIELD_NUMBER: _ClassVar[int]
    store: str
    with_chunks: bool
    def __init__(self, store: _Optional[str] = ..., with_chunks: _Optional[bool] = ...) -> None: ...

class CollectionState(_message.Message):
    __slots__ = ("tenant_id", "store", "schedule", "gc_status", "running", "abandoned", "last_result", "last_end", "last_duration", "last_start", "now", "chunks", "maintenance")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    STORE_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    GC_STATUS_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    ABANDONED_FIELD_NUMBER: _ClassVar[int]
    LAST_RESULT_FIELD_NUMBER: _ClassVar[int]
    LAST_END_FIELD_NUMBER: _ClassVar[int]
    LAST_DURATION_FIELD_NUMBER: _ClassVar[int]
    LAST_START_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    MAINTENANCE_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    store: str
    schedule: str
    gc_status: str
    running: bool
    abandoned: bool
    last_result: str
    last_end: int
    last_duration: int
    last_start: int
    now: int
    chunks: int
    maintenance: str
    def __init__(self, tenant_id: _Optional[str] = ..., store: _Optional[str] = ..., schedule: _Optional[str] = ..., gc_status: _Optional[str] = ..., running: _Optional[bool] = ..., abandoned: _Optional[bool] = ..., last_result: _Optional[str] = ..., last_end: _Optional[int] = ..., last_duration: _Optional[int] = ..., last_start: _Optional[int] = ..., now: _Optional[int] = ..., chunks: _Optional[int] = ..., maintenance: _Optional[str] = ...) -> None: ...
