from pbs_cloud.proto.chunkstore.v1 import chunkstore_pb2 as _chunkstore_pb2
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
