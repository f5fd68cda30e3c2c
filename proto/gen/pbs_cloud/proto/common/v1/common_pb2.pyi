from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AclEntry(_message.Message):
    __slots__ = ("path", "auth_id", "role", "propagate")
    PATH_FIELD_NUMBER: _ClassVar[int]
    AUTH_ID_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    PROPAGATE_FIELD_NUMBER: _ClassVar[int]
    path: str
    auth_id: str
    role: str
    propagate: bool
    def __init__(self, path: _Optional[str] = ..., auth_id: _Optional[str] = ..., role: _Optional[str] = ..., propagate: _Optional[bool] = ...) -> None: ...

class Caller(_message.Message):
    __slots__ = ("tenant_id", "auth_id", "acl", "superuser", "operator", "quota_bytes", "maintenance")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    AUTH_ID_FIELD_NUMBER: _ClassVar[int]
    ACL_FIELD_NUMBER: _ClassVar[int]
    SUPERUSER_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    QUOTA_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAINTENANCE_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    auth_id: str
    acl: _containers.RepeatedCompositeFieldContainer[AclEntry]
    superuser: bool
    operator: bool
    quota_bytes: int
    maintenance: str
    def __init__(self, tenant_id: _Optional[str] = ..., auth_id: _Optional[str] = ..., acl: _Optional[_Iterable[_Union[AclEntry, _Mapping]]] = ..., superuser: _Optional[bool] = ..., operator: _Optional[bool] = ..., quota_bytes: _Optional[int] = ..., maintenance: _Optional[str] = ...) -> None: ...

class CallContext(_message.Message):
    __slots__ = ("caller", "request_id", "client_address")
    CALLER_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    caller: Caller
    request_id: str
    client_address: str
    def __init__(self, caller: _Optional[_Union[Caller, _Mapping]] = ..., request_id: _Optional[str] = ..., client_address: _Optional[str] = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("code", "message", "field")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    field: str
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ..., field: _Optional[str] = ...) -> None: ...

class Empty(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
