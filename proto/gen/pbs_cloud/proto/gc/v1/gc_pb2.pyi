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
