from pbs_cloud.proto.common.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
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

class GetHistoryRequest(_message.Message):
    __slots__ = ("stores", "step", "since", "maximum")
    STORES_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_FIELD_NUMBER: _ClassVar[int]
    stores: _containers.RepeatedScalarFieldContainer[str]
    step: int
    since: int
    maximum: bool
    def __init__(self, stores: _Optional[_Iterable[str]] = ..., step: _Optional[int] = ..., since: _Optional[int] = ..., maximum: _Optional[bool] = ...) -> None: ...

class StoreHistory(_message.Message):
    __slots__ = ("store", "start", "total", "used", "available", "read_bytes", "write_bytes")
    STORE_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    READ_BYTES_FIELD_NUMBER: _ClassVar[int]
    WRITE_BYTES_FIELD_NUMBER: _ClassVar[int]
    store: str
    start: int
    total: _containers.RepeatedScalarFieldContainer[float]
    used: _containers.RepeatedScalarFieldContainer[float]
    available: _containers.RepeatedScalarFieldContainer[float]
    read_bytes: _containers.RepeatedScalarFieldContainer[float]
    write_bytes: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, store: _Optional[str] = ..., start: _Optional[int] = ..., total: _Optional[_Iterable[float]] = ..., used: _Optional[_Iterable[float]] = ..., available: _Optional[_Iterable[float]] = ..., read_bytes: _Optional[_Iterable[float]] = ..., write_bytes: _Optional[_Iterable[float]] = ...) -> None: ...

class GetHistoryResponse(_message.Message):
    __slots__ = ("stores",)
    STORES_FIELD_NUMBER: _ClassVar[int]
    stores: _containers.RepeatedCompositeFieldContainer[StoreHistory]
    def __init__(self, stores: _Optional[_Iterable[_Union[StoreHistory, _Mapping]]] = ...) -> None: ...

class WebhookFields(_message.Message):
    __slots__ = ("url", "secret", "event_filter", "has_event_filter", "headers", "has_headers", "max_retries")
    class HeadersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    URL_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    EVENT_FILTER_FIELD_NUMBER: _ClassVar[int]
    HAS_EVENT_FILTER_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    HAS_HEADERS_FIELD_NUMBER: _ClassVar[int]
    MAX_RETRIES_FIELD_NUMBER: _ClassVar[int]
    url: str
    secret: str
    event_filter: _containers.RepeatedScalarFieldContainer[str]
    has_event_filter: bool
    headers: _containers.ScalarMap[str, str]
    has_headers: bool
    max_retries: int
    def __init__(self, url: _Optional[str] = ..., secret: _Optional[str] = ..., event_filter: _Optional[_Iterable[str]] = ..., has_event_filter: _Optional[bool] = ..., headers: _Optional[_Mapping[str, str]] = ..., has_headers: _Optional[bool] = ..., max_retries: _Optional[int] = ...) -> None: ...

class WaitingDelivery(_message.Message):
    __slots__ = ("id", "event_type", "created_at", "attempts", "next_attempt", "last_error")
    ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_FIELD_NUMBER: _ClassVar[int]
    id: str
    event_type: str
    created_at: int
    attempts: int
    next_attempt: int
    last_error: str
    def __init__(self, id: _Optional[str] = ..., event_type: _Optional[str] = ..., created_at: _Optional[int] = ..., attempts: _Optional[int] = ..., next_attempt: _Optional[int] = ..., last_error: _Optional[str] = ...) -> None: ...

class Webhook(_message.Message):
    __slots__ = ("id", "url", "event_filter", "max_retries", "has_secret", "header_names", "created_at", "pending", "delivered", "dropped", "failures", "paused_until", "last_attempt", "last_status", "last_success", "waiting")
    ID_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    EVENT_FILTER_FIELD_NUMBER: _ClassVar[int]
    MAX_RETRIES_FIELD_NUMBER: _ClassVar[int]
    HAS_SECRET_FIELD_NUMBER: _ClassVar[int]
    HEADER_NAMES_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    PAUSED_UNTIL_FIELD_NUMBER: _ClassVar[int]
    LAST_ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    LAST_STATUS_FIELD_NUMBER: _ClassVar[int]
    LAST_SUCCESS_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    id: str
    url: str
    event_filter: _containers.RepeatedScalarFieldContainer[str]
    max_retries: int
    has_secret: bool
    header_names: _containers.RepeatedScalarFieldContainer[str]
    created_at: int
    pending: int
    delivered: int
    dropped: int
    failures: int
    paused_until: int
    last_attempt: int
    last_status: str
    last_success: int
    waiting: _containers.RepeatedCompositeFieldContainer[WaitingDelivery]
    def __init__(self, id: _Optional[str] = ..., url: _Optional[str] = ..., event_filter: _Optional[_Iterable[str]] = ..., max_retries: _Optional[int] = ..., has_secret: _Optional[bool] = ..., header_names: _Optional[_Iterable[str]] = ..., created_at: _Optional[int] = ..., pending: _Optional[int] = ..., delivered: _Optional[int] = ..., dropped: _Optional[int] = ..., failures: _Optional[int] = ..., paused_until: _Optional[int] = ..., last_attempt: _Optional[int] = ..., last_status: _Optional[str] = ..., last_success: _Optional[int] = ..., waiting: _Optional[_Iterable[_Union[WaitingDelivery, _Mapping]]] = ...) -> None: ...

class ListWebhooksResponse(_message.Message):
    __slots__ = ("webhooks",)
    WEBHOOKS_FIELD_NUMBER: _ClassVar[int]
    webhooks: _containers.RepeatedCompositeFieldContainer[Webhook]
    def __init__(self, webhooks: _Optional[_Iterable[_Union[Webhook, _Mapping]]] = ...) -> None: ...

class WebhookRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class UpdateWebhookRequest(_message.Message):
    __slots__ = ("id", "changes")
    ID_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    id: str
    changes: WebhookFields
    def __init__(self, id: _Optional[str] = ..., changes: _Optional[_Union[WebhookFields, _Mapping]] = ...) -> None: ...
