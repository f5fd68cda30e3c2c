from pbs_cloud.proto.common.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Raw(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class UpidResponse(_message.Message):
    __slots__ = ("upid",)
    UPID_FIELD_NUMBER: _ClassVar[int]
    upid: str
    def __init__(self, upid: _Optional[str] = ...) -> None: ...

class PutChunkRequest(_message.Message):
    __slots__ = ("session_id", "digest", "size")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    digest: bytes
    size: int
    def __init__(self, session_id: _Optional[str] = ..., digest: _Optional[bytes] = ..., size: _Optional[int] = ...) -> None: ...

class PutChunkResponse(_message.Message):
    __slots__ = ("duplicate", "stored_size")
    DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    STORED_SIZE_FIELD_NUMBER: _ClassVar[int]
    duplicate: bool
    stored_size: int
    def __init__(self, duplicate: _Optional[bool] = ..., stored_size: _Optional[int] = ...) -> None: ...

class GetChunkRequest(_message.Message):
    __slots__ = ("session_id", "digest")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    digest: bytes
    def __init__(self, session_id: _Optional[str] = ..., digest: _Optional[bytes] = ...) -> None: ...

class PutSharedChunkRequest(_message.Message):
    __slots__ = ("chunk", "region", "offset", "length")
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    chunk: PutChunkRequest
    region: bytes
    offset: int
    length: int
    def __init__(self, chunk: _Optional[_Union[PutChunkRequest, _Mapping]] = ..., region: _Optional[bytes] = ..., offset: _Optional[int] = ..., length: _Optional[int] = ...) -> None: ...

class GetSharedChunkRequest(_message.Message):
    __slots__ = ("chunk", "region", "offset", "capacity")
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_FIELD_NUMBER: _ClassVar[int]
    chunk: GetChunkRequest
    region: bytes
    offset: int
    capacity: int
    def __init__(self, chunk: _Optional[_Union[GetChunkRequest, _Mapping]] = ..., region: _Optional[bytes] = ..., offset: _Optional[int] = ..., capacity: _Optional[int] = ...) -> None: ...

class GetSharedChunkResponse(_message.Message):
    __slots__ = ("length",)
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    length: int
    def __init__(self, length: _Optional[int] = ...) -> None: ...

class FlushRequest(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    def __init__(self, session_id: _Optional[str] = ...) -> None: ...

class GroupRef(_message.Message):
    __slots__ = ("store", "ns", "backup_type", "backup_id")
    STORE_FIELD_NUMBER: _ClassVar[int]
    NS_FIELD_NUMBER: _ClassVar[int]
    BACKUP_TYPE_FIELD_NUMBER: _ClassVar[int]
    BACKUP_ID_FIELD_NUMBER: _ClassVar[int]
    store: str
    ns: str
    backup_type: str
    backup_id: str
    def __init__(self, store: _Optional[str] = ..., ns: _Optional[str] = ..., backup_type: _Optional[str] = ..., backup_id: _Optional[str] = ...) -> None: ...

class OpenBackupRequest(_message.Message):
    __slots__ = ("group", "backup_time", "benchmark", "process_id")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    BACKUP_TIME_FIELD_NUMBER: _ClassVar[int]
    BENCHMARK_FIELD_NUMBER: _ClassVar[int]
    PROCESS_ID_FIELD_NUMBER: _ClassVar[int]
    group: GroupRef
    backup_time: int
    benchmark: bool
    process_id: str
    def __init__(self, group: _Optional[_Union[GroupRef, _Mapping]] = ..., backup_time: _Optional[int] = ..., benchmark: _Optional[bool] = ..., process_id: _Optional[str] = ...) -> None: ...

class OpenBackupResponse(_message.Message):
    __slots__ = ("session_id", "upid", "lease_seconds", "base")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    UPID_FIELD_NUMBER: _ClassVar[int]
    LEASE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    upid: str
    lease_seconds: int
    base: BaseSnapshot
    def __init__(self, session_id: _Optional[str] = ..., upid: _Optional[str] = ..., lease_seconds: _Optional[int] = ..., base: _Optional[_Union[BaseSnapshot, _Mapping]] = ...) -> None: ...

class BaseSnapshot(_message.Message):
    __slots__ = ("backup_time", "files")
    BACKUP_TIME_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    backup_time: int
    files: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, backup_time: _Optional[int] = ..., files: _Optional[_Iterable[str]] = ...) -> None: ...

class OpenReaderRequest(_message.Message):
    __slots__ = ("group", "backup_time", "process_id", "with_task")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    BACKUP_TIME_FIELD_NUMBER: _ClassVar[int]
    PROCESS_ID_FIELD_NUMBER: _ClassVar[int]
    WITH_TASK_FIELD_NUMBER: _ClassVar[int]
    group: GroupRef
    backup_time: int
    process_id: str
    with_task: bool
    def __init__(self, group: _Optional[_Union[GroupRef, _Mapping]] = ..., backup_time: _Optional[int] = ..., process_id: _Optional[str] = ..., with_task: _Optional[bool] = ...) -> None: ...

class OpenReaderResponse(_message.Message):
    __slots__ = ("session_id", "upid", "lease_seconds", "files")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    UPID_FIELD_NUMBER: _ClassVar[int]
    LEASE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    upid: str
    lease_seconds: int
    files: _containers.RepeatedCompositeFieldContainer[File]
    def __init__(self, session_id: _Optional[str] = ..., upid: _Optional[str] = ..., lease_seconds: _Optional[int] = ..., files: _Optional[_Iterable[_Union[File, _Mapping]]] = ...) -> None: ...

class RenewLeasesRequest(_message.Message):
    __slots__ = ("process_id", "session_ids", "upids")
    PROCESS_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_IDS_FIELD_NUMBER: _ClassVar[int]
    UPIDS_FIELD_NUMBER: _ClassVar[int]
    process_id: str
    session_ids: _containers.RepeatedScalarFieldContainer[str]
    upids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, process_id: _Optional[str] = ..., session_ids: _Optional[_Iterable[str]] = ..., upids: _Optional[_Iterable[str]] = ...) -> None: ...

class RenewLeasesResponse(_message.Message):
    __slots__ = ("lost_session_ids", "stop_requested_upids")
    LOST_SESSION_IDS_FIELD_NUMBER: _ClassVar[int]
    STOP_REQUESTED_UPIDS_FIELD_NUMBER: _ClassVar[int]
    lost_session_ids: _containers.RepeatedScalarFieldContainer[str]
    stop_requested_upids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, lost_session_ids: _Optional[_Iterable[str]] = ..., stop_requested_upids: _Optional[_Iterable[str]] = ...) -> None: ...

class ExpireProcessRequest(_message.Message):
    __slots__ = ("process_id",)
    PROCESS_ID_FIELD_NUMBER: _ClassVar[int]
    process_id: str
    def __init__(self, process_id: _Optional[str] = ...) -> None: ...

class ExpireDeadSessionsResponse(_message.Message):
    __slots__ = ("expired",)
    EXPIRED_FIELD_NUMBER: _ClassVar[int]
    expired: int
    def __init__(self, expired: _Optional[int] = ...) -> None: ...

class PutBlobRequest(_message.Message):
    __slots__ = ("session_id", "file_name")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    FILE_NAME_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    file_name: str
    def __init__(self, session_id: _Optional[str] = ..., file_name: _Optional[str] = ...) -> None: ...

class CloseIndexRequest(_message.Message):
    __slots__ = ("session_id", "archive_name", "csum", "size")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    ARCHIVE_NAME_FIELD_NUMBER: _ClassVar[int]
    CSUM_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    archive_name: str
    csum: bytes
    size: int
    def __init__(self, session_id: _Optional[str] = ..., archive_name: _Optional[str] = ..., csum: _Optional[bytes] = ..., size: _Optional[int] = ...) -> None: ...

class ReadSessionFileRequest(_message.Message):
    __slots__ = ("session_id", "file_name")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    FILE_NAME_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    file_name: str
    def __init__(self, session_id: _Optional[str] = ..., file_name: _Optional[str] = ...) -> None: ...

class UploadStatistics(_message.Message):
    __slots__ = ("count", "size", "compressed_size", "duplicates")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    COMPRESSED_SIZE_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    count: int
    size: int
    compressed_size: int
    duplicates: int
    def __init__(self, count: _Optional[int] = ..., size: _Optional[int] = ..., compressed_size: _Optional[int] = ..., duplicates: _Optional[int] = ...) -> None: ...

class FinishRequest(_message.Message):
    __slots__ = ("session_id", "statistics")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    statistics: UploadStatistics
    def __init__(self, session_id: _Optional[str] = ..., statistics: _Optional[_Union[UploadStatistics, _Mapping]] = ...) -> None: ...

class CloseSessionRequest(_message.Message):
    __slots__ = ("session_id", "error", "bytes_sent")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    BYTES_SENT_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    error: str
    bytes_sent: int
    def __init__(self, session_id: _Optional[str] = ..., error: _Optional[str] = ..., bytes_sent: _Optional[int] = ...) -> None: ...

class EnsureDatastoreRequest(_message.Message):
    __slots__ = ("tenant_id", "name")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    name: str
    def __init__(self, tenant_id: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class CreateDatastoreRequest(_message.Message):
    __slots__ = ("name", "config", "reuse_datastore")
    class ConfigEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    REUSE_DATASTORE_FIELD_NUMBER: _ClassVar[int]
    name: str
    config: _containers.ScalarMap[str, str]
    reuse_datastore: bool
    def __init__(self, name: _Optional[str] = ..., config: _Optional[_Mapping[str, str]] = ..., reuse_datastore: _Optional[bool] = ...) -> None: ...

class UpdateDatastoreRequest(_message.Message):
    __slots__ = ("name", "set", "delete", "digest")
    class SetEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    name: str
    set: _containers.ScalarMap[str, str]
    delete: _containers.RepeatedScalarFieldContainer[str]
    digest: str
    def __init__(self, name: _Optional[str] = ..., set: _Optional[_Mapping[str, str]] = ..., delete: _Optional[_Iterable[str]] = ..., digest: _Optional[str] = ...) -> None: ...

class DeleteDatastoreRequest(_message.Message):
    __slots__ = ("name", "destroy_data", "digest")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESTROY_DATA_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    name: str
    destroy_data: bool
    digest: str
    def __init__(self, name: _Optional[str] = ..., destroy_data: _Optional[bool] = ..., digest: _Optional[str] = ...) -> None: ...

class Datastore(_message.Message):
    __slots__ = ("name", "config", "maintenance")
    class ConfigEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    MAINTENANCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    config: _containers.ScalarMap[str, str]
    maintenance: str
    def __init__(self, name: _Optional[str] = ..., config: _Optional[_Mapping[str, str]] = ..., maintenance: _Optional[str] = ...) -> None: ...

class ListDatastoresResponse(_message.Message):
    __slots__ = ("datastores", "digest")
    DATASTORES_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    datastores: _containers.RepeatedCompositeFieldContainer[Datastore]
    digest: str
    def __init__(self, datastores: _Optional[_Iterable[_Union[Datastore, _Mapping]]] = ..., digest: _Optional[str] = ...) -> None: ...

class GetDatastoreStatusRequest(_message.Message):
    __slots__ = ("store", "verbose", "any_mode")
    STORE_FIELD_NUMBER: _ClassVar[int]
    VERBOSE_FIELD_NUMBER: _ClassVar[int]
    ANY_MODE_FIELD_NUMBER: _ClassVar[int]
    store: str
    verbose: bool
    any_mode: bool
    def __init__(self, store: _Optional[str] = ..., verbose: _Optional[bool] = ..., any_mode: _Optional[bool] = ...) -> None: ...

class TypeCount(_message.Message):
    __slots__ = ("backup_type", "groups", "snapshots")
    BACKUP_TYPE_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOTS_FIELD_NUMBER: _ClassVar[int]
    backup_type: str
    groups: int
    snapshots: int
    def __init__(self, backup_type: _Optional[str] = ..., groups: _Optional[int] = ..., snapshots: _Optional[int] = ...) -> None: ...

class DatastoreStatus(_message.Message):
    __slots__ = ("total", "used", "avail", "counts", "gc_status", "active_readers", "active_writers")
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    AVAIL_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    GC_STATUS_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_READERS_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_WRITERS_FIELD_NUMBER: _ClassVar[int]
    total: int
    used: int
    avail: int
    counts: _containers.RepeatedCompositeFieldContainer[TypeCount]
    gc_status: str
    active_readers: int
    active_writers: int
    def __init__(self, total: _Optional[int] = ..., used: _Optional[int] = ..., avail: _Optional[int] = ..., counts: _Optional[_Iterable[_Union[TypeCount, _Mapping]]] = ..., gc_status: _Optional[str] = ..., active_readers: _Optional[int] = ..., active_writers: _Optional[int] = ...) -> None: ...

class TenantUsage(_message.Message):
    __slots__ = ("storage_bytes", "snapshot_count")
    STORAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_COUNT_FIELD_NUMBER: _ClassVar[int]
    storage_bytes: int
    snapshot_count: int
    def __init__(self, storage_bytes: _Optional[int] = ..., snapshot_count: _Optional[int] = ...) -> None: ...

class ListNamespacesRequest(_message.Message):
    __slots__ = ("store", "parent", "max_depth")
    STORE_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    MAX_DEPTH_FIELD_NUMBER: _ClassVar[int]
    store: str
    parent: str
    max_depth: int
    def __init__(self, store: _Optional[str] = ..., parent: _Optional[str] = ..., max_depth: _Optional[int] = ...) -> None: ...

class ListNamespacesResponse(_message.Message):
    __slots__ = ("namespaces",)
    NAMESPACES_FIELD_NUMBER: _ClassVar[int]
    namespaces: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, namespaces: _Optional[_Iterable[str]] = ...) -> None: ...

class CreateNamespaceRequest(_message.Message):
    __slots__ = ("store", "ns")
    STORE_FIELD_NUMBER: _ClassVar[int]
    NS_FIELD_NUMBER: _ClassVar[int]
    store: str
    ns: str
    def __init__(self, store: _Optional[str] = ..., ns: _Optional[str] = ...) -> None: ...

class DeleteNamespaceRequest(_message.Message):
    __slots__ = ("store", "ns", "delete_groups", "error_on_protected")
    STORE_FIELD_NUMBER: _ClassVar[int]
    NS_FIELD_NUMBER: _ClassVar[int]
    DELETE_GROUPS_FIELD_NUMBER: _ClassVar[int]
    ERROR_ON_PROTECTED_FIELD_NUMBER: _ClassVar[int]
    store: str
    ns: str
    delete_groups: bool
    error_on_protected: bool
    def __init__(self, store: _Optional[str] = ..., ns: _Optional[str] = ..., delete_groups: _Optional[bool] = ..., error_on_protected: _Optional[bool] = ...) -> None: ...

class MoveGroupRequest(_message.Message):
    __slots__ = ("group", "target_ns", "merge_group")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    TARGET_NS_FIELD_NUMBER: _ClassVar[int]
    MERGE_GROUP_FIELD_NUMBER: _ClassVar[int]
    group: GroupRef
    target_ns: str
    merge_group: bool
    def __init__(self, group: _Optional[_Union[GroupRef, _Mapping]] = ..., target_ns: _Optional[str] = ..., merge_group: _Optional[bool] = ...) -> None: ...

class MoveNamespaceRequest(_message.Message):
    __slots__ = ("store", "ns", "target_ns", "max_depth", "delete_source", "merge_groups")
    STORE_FIELD_NUMBER: _ClassVar[int]
    NS_FIELD_NUMBER: _ClassVar[int]
    TARGET_NS_FIELD_NUMBER: _ClassVar[int]
    MAX_DEPTH_FIELD_NUMBER: _ClassVar[int]
    DELETE_SOURCE_FIELD_NUMBER: _ClassVar[int]
    MERGE_GROUPS_FIELD_NUMBER: _ClassVar[int]
    store: str
    ns: str
    target_ns: str
    max_depth: int
    delete_source: bool
    merge_groups: bool
    def __init__(self, store: _Optional[str] = ..., ns: _Optional[str] = ..., target_ns: _Optional[str] = ..., max_depth: _Optional[int] = ..., delete_source: _Optional[bool] = ..., merge_groups: _Optional[bool] = ...) -> None: ...

class DeleteStatistics(_message.Message):
    __slots__ = ("removed_groups", "protected_snapshots", "removed_snapshots")
    REMOVED_GROUPS_FIELD_NUMBER: _ClassVar[int]
    PROTECTED_SNAPSHOTS_FIELD_NUMBER: _ClassVar[int]
    REMOVED_SNAPSHOTS_FIELD_NUMBER: _ClassVar[int]
    removed_groups: int
    protected_snapshots: int
    removed_snapshots: int
    def __init__(self, removed_groups: _Optional[int] = ..., protected_snapshots: _Optional[int] = ..., removed_snapshots: _Optional[int] = ...) -> None: ...

class ListGroupsRequest(_message.Message):
    __slots__ = ("store", "ns")
    STORE_FIELD_NUMBER: _ClassVar[int]
    NS_FIELD_NUMBER: _ClassVar[int]
    store: str
    ns: str
    def __init__(self, store: _Optional[str] = ..., ns: _Optional[str] = ...) -> None: ...

class Group(_message.Message):
    __slots__ = ("backup_type", "backup_id", "last_backup", "backup_count", "files", "owner", "comment")
    BACKUP_TYPE_FIELD_NUMBER: _ClassVar[int]
    BACKUP_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_BACKUP_FIELD_NUMBER: _ClassVar[int]
    BACKUP_COUNT_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    backup_type: str
    backup_id: str
    last_backup: int
    backup_count: int
    files: _containers.RepeatedScalarFieldContainer[str]
    owner: str
    comment: str
    def __init__(self, backup_type: _Optional[str] = ..., backup_id: _Optional[str] = ..., last_backup: _Optional[int] = ..., backup_count: _Optional[int] = ..., files: _Optional[_Iterable[str]] = ..., owner: _Optional[str] = ..., comment: _Optional[str] = ...) -> None: ...

class GroupPage(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Group]
    def __init__(self, items: _Optional[_Iterable[_Union[Group, _Mapping]]] = ...) -> None: ...

class GroupRequest(_message.Message):
    __slots__ = ("group",)
    GROUP_FIELD_NUMBER: _ClassVar[int]
    group: GroupRef
    def __init__(self, group: _Optional[_Union[GroupRef, _Mapping]] = ...) -> None: ...

class DeleteGroupRequest(_message.Message):
    __slots__ = ("group", "error_on_protected")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    ERROR_ON_PROTECTED_FIELD_NUMBER: _ClassVar[int]
    group: GroupRef
    error_on_protected: bool
    def __init__(self, group: _Optional[_Union[GroupRef, _Mapping]] = ..., error_on_protected: _Optional[bool] = ...) -> None: ...

class SetGroupNotesRequest(_message.Message):
    __slots__ = ("group", "notes")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    group: GroupRef
    notes: str
    def __init__(self, group: _Optional[_Union[GroupRef, _Mapping]] = ..., notes: _Optional[str] = ...) -> None: ...

class ChangeOwnerRequest(_message.Message):
    __slots__ = ("group", "new_owner")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    NEW_OWNER_FIELD_NUMBER: _ClassVar[int]
    group: GroupRef
    new_owner: str
    def __init__(self, group: _Optional[_Union[GroupRef, _Mapping]] = ..., new_owner: _Optional[str] = ...) -> None: ...

class Notes(_message.Message):
    __slots__ = ("notes",)
    NOTES_FIELD_NUMBER: _ClassVar[int]
    notes: str
    def __init__(self, notes: _Optional[str] = ...) -> None: ...

class Protected(_message.Message):
    __slots__ = ("protected",)
    PROTECTED_FIELD_NUMBER: _ClassVar[int]
    protected: bool
    def __init__(self, protected: _Optional[bool] = ...) -> None: ...

class SnapshotRequest(_message.Message):
    __slots__ = ("group", "backup_time")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    BACKUP_TIME_FIELD_NUMBER: _ClassVar[int]
    group: GroupRef
    backup_time: int
    def __init__(self, group: _Optional[_Union[GroupRef, _Mapping]] = ..., backup_time: _Optional[int] = ...) -> None: ...

class SetNotesRequest(_message.Message):
    __slots__ = ("snapshot", "notes")
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    snapshot: SnapshotRequest
    notes: str
    def __init__(self, snapshot: _Optional[_Union[SnapshotRequest, _Mapping]] = ..., notes: _Optional[str] = ...) -> None: ...

class SetProtectedRequest(_message.Message):
    __slots__ = ("snapshot", "protected")
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    PROTECTED_FIELD_NUMBER: _ClassVar[int]
    snapshot: SnapshotRequest
    protected: bool
    def __init__(self, snapshot: _Optional[_Union[SnapshotRequest, _Mapping]] = ..., protected: _Optional[bool] = ...) -> None: ...

class SetVerifyStateRequest(_message.Message):
    __slots__ = ("snapshot", "verification")
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    VERIFICATION_FIELD_NUMBER: _ClassVar[int]
    snapshot: SnapshotRequest
    verification: Verification
    def __init__(self, snapshot: _Optional[_Union[SnapshotRequest, _Mapping]] = ..., verification: _Optional[_Union[Verification, _Mapping]] = ...) -> None: ...

class ListSnapshotsRequest(_message.Message):
    __slots__ = ("store", "ns", "backup_type", "backup_id")
    STORE_FIELD_NUMBER: _ClassVar[int]
    NS_FIELD_NUMBER: _ClassVar[int]
    BACKUP_TYPE_FIELD_NUMBER: _ClassVar[int]
    BACKUP_ID_FIELD_NUMBER: _ClassVar[int]
    store: str
    ns: str
    backup_type: str
    backup_id: str
    def __init__(self, store: _Optional[str] = ..., ns: _Optional[str] = ..., backup_type: _Optional[str] = ..., backup_id: _Optional[str] = ...) -> None: ...

class File(_message.Message):
    __slots__ = ("filename", "crypt_mode", "size")
    FILENAME_FIELD_NUMBER: _ClassVar[int]
    CRYPT_MODE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    filename: str
    crypt_mode: str
    size: int
    def __init__(self, filename: _Optional[str] = ..., crypt_mode: _Optional[str] = ..., size: _Optional[int] = ...) -> None: ...

class Verification(_message.Message):
    __slots__ = ("upid", "state")
    UPID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    upid: str
    state: str
    def __init__(self, upid: _Optional[str] = ..., state: _Optional[str] = ...) -> None: ...

class Snapshot(_message.Message):
    __slots__ = ("backup_type", "backup_id", "backup_time", "comment", "verification", "fingerprint", "files", "size", "owner", "protected", "retain_until")
    BACKUP_TYPE_FIELD_NUMBER: _ClassVar[int]
    BACKUP_ID_FIELD_NUMBER: _ClassVar[int]
    BACKUP_TIME_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    VERIFICATION_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    PROTECTED_FIELD_NUMBER: _ClassVar[int]
    RETAIN_UNTIL_FIELD_NUMBER: _ClassVar[int]
    backup_type: str
    backup_id: str
    backup_time: int
    comment: str
    verification: Verification
    fingerprint: str
    files: _containers.RepeatedCompositeFieldContainer[File]
    size: int
    owner: str
    protected: bool
    retain_until: int
    def __init__(self, backup_type: _Optional[str] = ..., backup_id: _Optional[str] = ..., backup_time: _Optional[int] = ..., comment: _Optional[str] = ..., verification: _Optional[_Union[Verification, _Mapping]] = ..., fingerprint: _Optional[str] = ..., files: _Optional[_Iterable[_Union[File, _Mapping]]] = ..., size: _Optional[int] = ..., owner: _Optional[str] = ..., protected: _Optional[bool] = ..., retain_until: _Optional[int] = ...) -> None: ...

class SnapshotPage(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Snapshot]
    def __init__(self, items: _Optional[_Iterable[_Union[Snapshot, _Mapping]]] = ...) -> None: ...

class ListFilesResponse(_message.Message):
    __slots__ = ("files",)
    FILES_FIELD_NUMBER: _ClassVar[int]
    files: _containers.RepeatedCompositeFieldContainer[File]
    def __init__(self, files: _Optional[_Iterable[_Union[File, _Mapping]]] = ...) -> None: ...

class KeepOptions(_message.Message):
    __slots__ = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
    LAST_FIELD_NUMBER: _ClassVar[int]
    HOURLY_FIELD_NUMBER: _ClassVar[int]
    DAILY_FIELD_NUMBER: _ClassVar[int]
    WEEKLY_FIELD_NUMBER: _ClassVar[int]
    MONTHLY_FIELD_NUMBER: _ClassVar[int]
    YEARLY_FIELD_NUMBER: _ClassVar[int]
    last: int
    hourly: int
    daily: int
    weekly: int
    monthly: int
    yearly: int
    def __init__(self, last: _Optional[int] = ..., hourly: _Optional[int] = ..., daily: _Optional[int] = ..., weekly: _Optional[int] = ..., monthly: _Optional[int] = ..., yearly: _Optional[int] = ...) -> None: ...

class PruneGroupRequest(_message.Message):
    __slots__ = ("group", "keep", "dry_run", "zone")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    KEEP_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    ZONE_FIELD_NUMBER: _ClassVar[int]
    group: GroupRef
    keep: KeepOptions
    dry_run: bool
    zone: str
    def __init__(self, group: _Optional[_Union[GroupRef, _Mapping]] = ..., keep: _Optional[_Union[KeepOptions, _Mapping]] = ..., dry_run: _Optional[bool] = ..., zone: _Optional[str] = ...) -> None: ...

class PrunedSnapshot(_message.Message):
    __slots__ = ("backup_time", "mark", "keep", "error")
    BACKUP_TIME_FIELD_NUMBER: _ClassVar[int]
    MARK_FIELD_NUMBER: _ClassVar[int]
    KEEP_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    backup_time: int
    mark: str
    keep: bool
    error: str
    def __init__(self, backup_time: _Optional[int] = ..., mark: _Optional[str] = ..., keep: _Optional[bool] = ..., error: _Optional[str] = ...) -> None: ...

class PruneGroupResponse(_message.Message):
    __slots__ = ("snapshots",)
    SNAPSHOTS_FIELD_NUMBER: _ClassVar[int]
    snapshots: _containers.RepeatedCompositeFieldContainer[PrunedSnapshot]
    def __init__(self, snapshots: _Optional[_Iterable[_Union[PrunedSnapshot, _Mapping]]] = ...) -> None: ...

class CreateTaskRequest(_message.Message):
    __slots__ = ("worker_type", "worker_id", "process_id", "auth_id")
    WORKER_TYPE_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    PROCESS_ID_FIELD_NUMBER: _ClassVar[int]
    AUTH_ID_FIELD_NUMBER: _ClassVar[int]
    worker_type: str
    worker_id: str
    process_id: str
    auth_id: str
    def __init__(self, worker_type: _Optional[str] = ..., worker_id: _Optional[str] = ..., process_id: _Optional[str] = ..., auth_id: _Optional[str] = ...) -> None: ...

class AppendTaskLogRequest(_message.Message):
    __slots__ = ("upid", "lines")
    UPID_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    upid: str
    lines: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, upid: _Optional[str] = ..., lines: _Optional[_Iterable[str]] = ...) -> None: ...

class FinishTaskRequest(_message.Message):
    __slots__ = ("upid", "status")
    UPID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    upid: str
    status: str
    def __init__(self, upid: _Optional[str] = ..., status: _Optional[str] = ...) -> None: ...

class Task(_message.Message):
    __slots__ = ("upid", "node", "pid", "pstart", "starttime", "worker_type", "worker_id", "auth_id", "endtime", "status")
    UPID_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    PSTART_FIELD_NUMBER: _ClassVar[int]
    STARTTIME_FIELD_NUMBER: _ClassVar[int]
    WORKER_TYPE_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    AUTH_ID_FIELD_NUMBER: _ClassVar[int]
    ENDTIME_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    upid: str
    node: str
    pid: int
    pstart: int
    starttime: int
    worker_type: str
    worker_id: str
    auth_id: str
    endtime: int
    status: str
    def __init__(self, upid: _Optional[str] = ..., node: _Optional[str] = ..., pid: _Optional[int] = ..., pstart: _Optional[int] = ..., starttime: _Optional[int] = ..., worker_type: _Optional[str] = ..., worker_id: _Optional[str] = ..., auth_id: _Optional[str] = ..., endtime: _Optional[int] = ..., status: _Optional[str] = ...) -> None: ...

class ListTasksRequest(_message.Message):
    __slots__ = ("start", "limit", "running", "errors", "store", "userfilter", "typefilter", "statusfilter", "since", "until", "worker_id")
    START_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    STORE_FIELD_NUMBER: _ClassVar[int]
    USERFILTER_FIELD_NUMBER: _ClassVar[int]
    TYPEFILTER_FIELD_NUMBER: _ClassVar[int]
    STATUSFILTER_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    start: int
    limit: int
    running: bool
    errors: bool
    store: str
    userfilter: str
    typefilter: str
    statusfilter: _containers.RepeatedScalarFieldContainer[str]
    since: int
    until: int
    worker_id: str
    def __init__(self, start: _Optional[int] = ..., limit: _Optional[int] = ..., running: _Optional[bool] = ..., errors: _Optional[bool] = ..., store: _Optional[str] = ..., userfilter: _Optional[str] = ..., typefilter: _Optional[str] = ..., statusfilter: _Optional[_Iterable[str]] = ..., since: _Optional[int] = ..., until: _Optional[int] = ..., worker_id: _Optional[str] = ...) -> None: ...

class ListTasksResponse(_message.Message):
    __slots__ = ("tasks", "total")
    TASKS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    tasks: _containers.RepeatedCompositeFieldContainer[Task]
    total: int
    def __init__(self, tasks: _Optional[_Iterable[_Union[Task, _Mapping]]] = ..., total: _Optional[int] = ...) -> None: ...

class TaskRequest(_message.Message):
    __slots__ = ("upid",)
    UPID_FIELD_NUMBER: _ClassVar[int]
    upid: str
    def __init__(self, upid: _Optional[str] = ...) -> None: ...

class ReadTaskLogRequest(_message.Message):
    __slots__ = ("upid", "start", "limit")
    UPID_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    upid: str
    start: int
    limit: int
    def __init__(self, upid: _Optional[str] = ..., start: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class LogLine(_message.Message):
    __slots__ = ("n", "text")
    N_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    n: int
    text: str
    def __init__(self, n: _Optional[int] = ..., text: _Optional[str] = ...) -> None: ...

class TaskLog(_message.Message):
    __slots__ = ("lines", "total", "active")
    LINES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    lines: _containers.RepeatedCompositeFieldContainer[LogLine]
    total: int
    active: bool
    def __init__(self, lines: _Optional[_Iterable[_Union[LogLine, _Mapping]]] = ..., total: _Optional[int] = ..., active: _Optional[bool] = ...) -> None: ...
