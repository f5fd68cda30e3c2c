from pbs_cloud.proto.common.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ConfigEntry(_message.Message):
    __slots__ = ("id", "fields")
    ID_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    id: str
    fields: str
    def __init__(self, id: _Optional[str] = ..., fields: _Optional[str] = ...) -> None: ...

class ListEntriesRequest(_message.Message):
    __slots__ = ("section",)
    SECTION_FIELD_NUMBER: _ClassVar[int]
    section: str
    def __init__(self, section: _Optional[str] = ...) -> None: ...

class ListEntriesResponse(_message.Message):
    __slots__ = ("entries", "digest")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[ConfigEntry]
    digest: str
    def __init__(self, entries: _Optional[_Iterable[_Union[ConfigEntry, _Mapping]]] = ..., digest: _Optional[str] = ...) -> None: ...

class EntryRequest(_message.Message):
    __slots__ = ("section", "id")
    SECTION_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    section: str
    id: str
    def __init__(self, section: _Optional[str] = ..., id: _Optional[str] = ...) -> None: ...

class GetEntryResponse(_message.Message):
    __slots__ = ("entry", "digest")
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    entry: ConfigEntry
    digest: str
    def __init__(self, entry: _Optional[_Union[ConfigEntry, _Mapping]] = ..., digest: _Optional[str] = ...) -> None: ...

class CreateEntryRequest(_message.Message):
    __slots__ = ("section", "entry", "secret")
    SECTION_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    section: str
    entry: ConfigEntry
    secret: str
    def __init__(self, section: _Optional[str] = ..., entry: _Optional[_Union[ConfigEntry, _Mapping]] = ..., secret: _Optional[str] = ...) -> None: ...

class UpdateEntryRequest(_message.Message):
    __slots__ = ("section", "changes", "delete", "digest", "secret")
    SECTION_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    section: str
    changes: ConfigEntry
    delete: _containers.RepeatedScalarFieldContainer[str]
    digest: str
    secret: str
    def __init__(self, section: _Optional[str] = ..., changes: _Optional[_Union[ConfigEntry, _Mapping]] = ..., delete: _Optional[_Iterable[str]] = ..., digest: _Optional[str] = ..., secret: _Optional[str] = ...) -> None: ...

class DeleteEntryRequest(_message.Message):
    __slots__ = ("section", "id", "digest")
    SECTION_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    section: str
    id: str
    digest: str
    def __init__(self, section: _Optional[str] = ..., id: _Optional[str] = ..., digest: _Optional[str] = ...) -> None: ...
