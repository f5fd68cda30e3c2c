from pbs_cloud.proto.common.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetUsageRequest(_message.Message):
    __slots__ = ("tenant_id", "store")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    STORE_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    store: str
    def __init__(self, tenant_id: _Optional[str] = ..., store: _Optional[str] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("storage_bytes", "upload_bytes", "download_bytes", "backup_count", "api_requests", "updated_at")
    STORAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    UPLOAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    DOWNLOAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    BACKUP_COUNT_FIELD_NUMBER: _ClassVar[int]
    API_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    storage_bytes: int
    upload_bytes: int
    download_bytes: int
    backup_count: int
    api_requests: int
    updated_at: int
    def __init__(self, storage_bytes: _Optional[int] = ..., upload_bytes: _Optional[int] = ..., download_bytes: _Optional[int] = ..., backup_count: _Optional[int] = ..., api_requests: _Optional[int] = ..., updated_at: _Optional[int] = ...) -> None: ...

class GetUsageResponse(_message.Message):
    __slots__ = ("usage",)
    USAGE_FIELD_NUMBER: _ClassVar[int]
    usage: Usage
    def __init__(self, usage: _Optional[_Union[Usage, _Mapping]] = ...) -> None: ...

class ReportApiRequestsRequest(_message.Message):
    __slots__ = ("requests_by_tenant",)
    class RequestsByTenantEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    REQUESTS_BY_TENANT_FIELD_NUMBER: _ClassVar[int]
    requests_by_tenant: _containers.ScalarMap[str, int]
    def __init__(self, requests_by_tenant: _Optional[_Mapping[str, int]] = ...) -> None: ...
