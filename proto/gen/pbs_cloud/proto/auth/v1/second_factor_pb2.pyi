from pbs_cloud.proto.common.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Factor(_message.Message):
    __slots__ = ("id", "type", "description", "created", "enable")
    ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    ENABLE_FIELD_NUMBER: _ClassVar[int]
    id: str
    type: str
    description: str
    created: int
    enable: bool
    def __init__(self, id: _Optional[str] = ..., type: _Optional[str] = ..., description: _Optional[str] = ..., created: _Optional[int] = ..., enable: _Optional[bool] = ...) -> None: ...

class UserFactors(_message.Message):
    __slots__ = ("userid", "entries", "totp_locked", "tfa_locked_until")
    USERID_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    TOTP_LOCKED_FIELD_NUMBER: _ClassVar[int]
    TFA_LOCKED_UNTIL_FIELD_NUMBER: _ClassVar[int]
    userid: str
    entries: _containers.RepeatedCompositeFieldContainer[Factor]
    totp_locked: bool
    tfa_locked_until: int
    def __init__(self, userid: _Optional[str] = ..., entries: _Optional[_Iterable[_Union[Factor, _Mapping]]] = ..., totp_locked: _Optional[bool] = ..., tfa_locked_until: _Optional[int] = ...) -> None: ...

class ListUserFactorsResponse(_message.Message):
    __slots__ = ("users",)
    USERS_FIELD_NUMBER: _ClassVar[int]
    users: _containers.RepeatedCompositeFieldContainer[UserFactors]
    def __init__(self, users: _Optional[_Iterable[_Union[UserFactors, _Mapping]]] = ...) -> None: ...

class UserFactorsRequest(_message.Message):
    __slots__ = ("userid",)
    USERID_FIELD_NUMBER: _ClassVar[int]
    userid: str
    def __init__(self, userid: _Optional[str] = ...) -> None: ...

class AddFactorRequest(_message.Message):
    __slots__ = ("userid", "type", "description", "totp", "value", "password")
    USERID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    TOTP_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    PASSWORD_FIELD_NUMBER: _ClassVar[int]
    userid: str
    type: str
    description: str
    totp: str
    value: str
    password: str
    def __init__(self, userid: _Optional[str] = ..., type: _Optional[str] = ..., description: _Optional[str] = ..., totp: _Optional[str] = ..., value: _Optional[str] = ..., password: _Optional[str] = ...) -> None: ...

class AddFactorResponse(_message.Message):
    __slots__ = ("id", "recovery")
    ID_FIELD_NUMBER: _ClassVar[int]
    RECOVERY_FIELD_NUMBER: _ClassVar[int]
    id: str
    recovery: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[str] = ..., recovery: _Optional[_Iterable[str]] = ...) -> None: ...

class UpdateFactorRequest(_message.Message):
    __slots__ = ("userid", "id", "description", "enable", "password")
    USERID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    ENABLE_FIELD_NUMBER: _ClassVar[int]
    PASSWORD_FIELD_NUMBER: _ClassVar[int]
    userid: str
    id: str
    description: str
    enable: bool
    password: str
    def __init__(self, userid: _Optional[str] = ..., id: _Optional[str] = ..., description: _Optional[str] = ..., enable: _Optional[bool] = ..., password: _Optional[str] = ...) -> None: ...

class DeleteFactorRequest(_message.Message):
    __slots__ = ("userid", "id", "password")
    USERID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PASSWORD_FIELD_NUMBER: _ClassVar[int]
    userid: str
    id: str
    password: str
    def __init__(self, userid: _Optional[str] = ..., id: _Optional[str] = ..., password: _Optional[str] = ...) -> None: ...

class UnlockFactorsResponse(_message.Message):
    __slots__ = ("was_locked",)
    WAS_LOCKED_FIELD_NUMBER: _ClassVar[int]
    was_locked: bool
    def __init__(self, was_locked: _Optional[bool] = ...) -> None: ...
